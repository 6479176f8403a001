# Copyright (c) monai_sscm contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import pytest

from monai_sscm.cli.main import main


def test_the_arguments_arrive(monkeypatch):
    calls = []
    monkeypatch.setattr("monai_sscm.study.demo.demo", lambda **values: calls.append(values))
    main(["demo", "--max_epochs", "1", "--output_dir", "out"])
    assert calls == [{"dataset_dir": None, "output_dir": "out", "max_epochs": 1}]


def test_a_demo_without_epochs_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["demo", "--max_epochs", "0"])
    assert "--max_epochs: must be a whole number of 1 or more, got '0'" in capsys.readouterr().err
