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

import inspect

import pytest

from monai_sscm.cli.main import main
from monai_sscm.study import study


def test_the_arguments_arrive(monkeypatch):
    """All that the function takes, with its own defaults."""
    calls = []
    monkeypatch.setattr("monai_sscm.study.study", lambda **arguments: calls.append(arguments))
    main(["study"])
    defaults = {name: parameter.default for name, parameter in inspect.signature(study).parameters.items()}
    lists = {name: list(value) for name, value in defaults.items() if isinstance(value, tuple)}
    assert calls.pop() == {**defaults, **lists, "values": {}}
    main(["study", "--bundle", "my/bundle", "--values", "max_epochs=2", "zoom=1.0", "--num_labeled", "2", "4"])
    given = {"bundle": "my/bundle", "values": {"max_epochs": "2", "zoom": "1.0"}, "num_labeled": [2, 4]}
    assert given.items() <= calls.pop().items()


def test_a_value_without_a_name_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["study", "--values", "max_epochs"])
    assert "--values: must be NAME=VALUE, got 'max_epochs'" in capsys.readouterr().err
