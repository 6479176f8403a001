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

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from monai_sscm.handlers import FindingsWriter, PredictionSaver, findings

NAMES = ["background", "a", "b"]


def test_findings_of_nothing_and_of_touching_corners():
    mask = np.zeros((6, 6, 3), np.uint8)
    assert findings(mask, NAMES, 0.1)[0] == {
        "class": "a",
        "voxels": 0,
        "volume_ml": 0.0,
        "lesions": 0,
        "largest_ml": 0.0,
        "slices": 0,
    }
    mask[0, 0, 0] = mask[1, 1, 1] = 2  # one lesion, by a corner
    mask[5, 5, 0] = 2
    a, b = findings(mask, NAMES, None)
    assert a["voxels"] == 0 and (b["voxels"], b["lesions"], b["slices"]) == (3, 2, 2)
    assert b["volume_ml"] is None and b["largest_ml"] is None


def test_rows_of_findings_grow_and_the_file_is_whole(tmp_path):
    saver, writer = PredictionSaver(tmp_path, NAMES), FindingsWriter(tmp_path, NAMES)
    for case in ("one", "two"):
        image = MetaTensor(torch.zeros(1, 4, 5, 1), meta={"filename_or_obj": f"{case}.png"})
        pred = torch.ones(1, 4, 5, 1, dtype=torch.uint8)
        saver.save(case, image, pred)
        writer.add(case, image, pred)
    lines = (tmp_path / "findings.csv").read_text().splitlines()
    assert lines[0] == "case,class,voxels,volume_ml,lesions,largest_ml,slices"
    assert lines[1:] == ["one,a,20,,1,,1", "one,b,0,,0,,0", "two,a,20,,1,,1", "two,b,0,,0,,0"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["findings.csv", "labels.txt", "one_seg.png", "two_seg.png"]


def test_volumes_in_ml_of_logits_and_of_class_indices(tmp_path):
    """Of axes that are not at right angles too; a second run begins a new table."""
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 5.0]])
    image = MetaTensor(torch.zeros(1, 4, 4, 2), meta={"geometry": {}, "original_affine": affine})
    mask = torch.zeros(1, 4, 4, 2, dtype=torch.uint8)
    mask[0, :2, :2] = 1
    logits = torch.nn.functional.one_hot(mask[0].long(), 3).movedim(-1, 0).float()
    flat = MetaTensor(torch.zeros(1, 4, 4), meta={})
    samples = [("indices", image, mask), ("logits", image, logits), ("picture", flat, logits[..., 0])]

    def evaluate(engine, batch):
        return [{"image": image, "pred": pred} for _, image, pred in samples]

    engine = Engine(evaluate)
    FindingsWriter(tmp_path, NAMES).attach(engine)
    for _ in range(2):
        engine.state.max_epochs = None
        engine.run([[{"name": name} for name, *_ in samples]])
        with open(tmp_path / "findings.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["case"] for row in rows] == ["indices", "indices", "logits", "logits", "picture", "picture"]
    for row in rows[:4:2]:
        assert float(row["volume_ml"]) == float(row["largest_ml"]) == pytest.approx(8 * 30 / 1000)
        assert (row["voxels"], row["lesions"], row["slices"]) == ("8", "1", "2")
    assert rows[4] == {**rows[0], "case": "picture", "voxels": "4", "slices": "1", "volume_ml": "", "largest_ml": ""}


def test_slices_are_axial_however_the_volume_is_stored(tmp_path):
    """The first axis goes to the feet here: its three slices count, not the one of the last axis."""
    affine = np.array([[0.0, 0, 2, 0], [0, 2, 0, 0], [-5, 0, 0, 0], [0, 0, 0, 1]])
    image = MetaTensor(torch.zeros(1, 6, 4, 5), meta={"geometry": {}, "original_affine": affine})
    mask = torch.zeros(1, 6, 4, 5, dtype=torch.uint8)
    mask[0, 1:4, 2, 2] = 1
    writer = FindingsWriter(tmp_path, NAMES)
    writer.add("a", image, mask)
    assert (writer.rows[0]["slices"], writer.rows[0]["voxels"]) == (3, 3)
    assert writer.rows[0]["volume_ml"] == pytest.approx(3 * 20 / 1000)
