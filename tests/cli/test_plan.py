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
from tests.helpers.datasets import write_dataset


def test_plan(tmp_path, capsys):
    folder = write_dataset(tmp_path / "data", (30, 30))
    main(["plan", str(folder), "--to", str(tmp_path / "mine"), "--max_epochs", "4", "--seed=3"])
    printed = capsys.readouterr().out
    assert printed.startswith("Found:       2 labeled images and 2 unlabeled")
    assert f"monai-sscm train {folder} --output_dir {tmp_path}/mine" in printed
    text = (tmp_path / "mine" / "configs" / "train.yaml").read_text()
    assert "\nmax_epochs: 4 " in text and "\nseed: 3 " in text


def test_a_misspelled_value(tmp_path):
    with pytest.raises(ValueError, match="did you mean `--max_epochs`"):
        main(["plan", str(tmp_path), "--to", str(tmp_path / "mine"), "--max_epoch", "4"])


def test_other_commands_take_no_values(capsys):
    with pytest.raises(SystemExit):
        main(["phantoms", "x", "--nothing", "1"])
    assert "there is no --nothing" in capsys.readouterr().err
