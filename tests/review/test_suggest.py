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

import csv
import re

import nibabel
import numpy as np
import pytest
from PIL import Image

from monai_sscm.cli.main import main
from monai_sscm.data.layouts import read_layout
from monai_sscm.review import suggest


def test_suggested_volumes_are_laid_out_on_their_own_grid(runs, tmp_path, capsys):
    run, folder = runs["volumes"], tmp_path / "to_label"
    main(["suggest", str(run), "--number", "3", "--copy_to", str(folder), "--device", "cpu"])
    with open(run / "suggestions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2", "3"] and len({row["case"] for row in rows}) == 3
    assert "Correct the masks in" in capsys.readouterr().out
    assert Image.open(run / "suggestions.png").size == (720, 260)
    layout = read_layout(folder)
    assert sorted(case.name for case in layout.cases) == sorted(row["case"] for row in rows)
    for case in layout.cases:
        image, mask = nibabel.load(case.image), nibabel.load(case.label)
        assert mask.shape == image.shape and np.array_equal(mask.affine, image.affine)
        original = next(row["image"] for row in rows if row["case"] == case.name)
        assert open(case.image, "rb").read() == open(original, "rb").read()
    with pytest.raises(FileExistsError, match="exists: choose a folder that does not"):
        suggest(run, copy_to=folder)


def test_of_more_images_some_are_looked_at(runs, caplog):
    with caplog.at_level("INFO"):
        found = suggest(runs["pictures"], number=5, among=2, values={"device": "cpu"})
    assert len(found) == 2 and "Looking at 2 of 3 unlabeled images" in caplog.text
    assert found[0].score >= found[1].score >= 0


def test_what_is_wrong_is_named(runs, tmp_path):
    with pytest.raises(ValueError, match="is no training: give the folder"):
        suggest(tmp_path)
    (tmp_path / "configs").mkdir()
    config = (runs["pictures"] / "configs" / "train.yaml").read_text()
    (tmp_path / "configs" / "train.yaml").write_text(config)
    with pytest.raises(ValueError, match="is not finished"):
        suggest(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.pt").write_bytes(b"")
    gone = re.sub("(?m)^dataset_dir: .*$", "dataset_dir: /not/there", config)
    (tmp_path / "configs" / "train.yaml").write_text(gone)
    with pytest.raises(FileNotFoundError, match="'/not/there' of the training .* is not there: set `dataset_dir`"):
        suggest(tmp_path)
