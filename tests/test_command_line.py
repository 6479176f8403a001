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

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_sscm.__main__ import main


@pytest.mark.parametrize("command", [[], ["demo"], ["study"], ["prepare"], ["bundle"], ["phantoms"]])
def test_help_everywhere(capsys, command):
    with pytest.raises(SystemExit) as left:
        main([*command, "--help"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith(" ".join(["usage: python -m monai_sscm", *command]))


@pytest.mark.slow
def test_demo(tmp_path, capsys):
    main(["demo", "--max_epochs", "1", "--output_dir", str(tmp_path)])
    out, err = capsys.readouterr()
    table = (tmp_path / "table.md").read_text()
    assert table in out and [row.split("|")[1].strip() for row in table.splitlines()] == [
        "method",
        "---",
        "supervised",
        "SupMix + SUFD",
    ]
    assert "smoke run" in out and "50/50" in err  # a live bar
    lines = out.splitlines()
    assert lines[-2].endswith(str(tmp_path / "table.md")) and str(tmp_path / "overlay.png") in lines[-1]
    picture = np.asarray(Image.open(tmp_path / "overlay.png"))
    assert picture.shape == (256, 4 * 256, 3)
    panels = np.split(picture, 4, axis=1)
    assert all((panels[0] != panel).any() for panel in panels[1:])


def test_a_demo_without_epochs_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["demo", "--max_epochs", "0"])
    assert "--max_epochs: must be 1 or more, got 0" in capsys.readouterr().err


def test_bundle(tmp_path, capsys):
    main(["bundle", "chase_vessel_segmentation"])
    assert (Path(capsys.readouterr().out.strip()) / "configs" / "train.yaml").is_file()
    main(["bundle", "chase_vessel_segmentation", "--to", str(tmp_path / "mine")])
    assert (Path(capsys.readouterr().out.strip()) / "configs" / "train.yaml").is_file()
    assert (tmp_path / "mine" / "models" / "model.pt").is_file()


def test_an_error_is_one_line(tmp_path):
    command = [sys.executable, "-m", "monai_sscm", "prepare", "chase_db1", "--from", "nothing.zip"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("Error: There is no 'nothing.zip': give CHASE_DB1's zip")
    assert len(done.stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == ["data"] and os.listdir(tmp_path / "data") == []


def test_phantoms(tmp_path):
    arguments = ["--num_train", "3", "--num_val", "1", "--num_test", "0", "--size", "32"]
    main(["phantoms", str(tmp_path / "folder"), *arguments])
    assert len(list((tmp_path / "folder" / "images").glob("*.png"))) == 4
    main(["phantoms", str(tmp_path / "scans"), "--kind", "chest", *arguments])
    assert len(list((tmp_path / "scans" / "images").glob("*.nii.gz"))) == 4
