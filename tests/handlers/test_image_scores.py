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
from PIL import Image

from monai_sscm.handlers import ImageScores
from monai_sscm.transforms import TakeSliced

NAMES = ["background", "ground-glass", "consolidation"]


def run(handler: ImageScores, batches: list[dict], outputs: list[list[dict]]) -> Engine:
    engine = Engine(lambda engine, batch: outputs[engine.state.iteration - 1])
    handler.attach(engine)
    engine.run(batches)
    return engine


def read(folder) -> list[dict[str, str]]:
    with open(folder / "images.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("logits", [True, False])
def test_every_image_has_its_scores(tmp_path, logits):
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 2, (3, 1, 8, 6), generator=generator)  # no consolidation
    pred = torch.randint(0, 2, (3, 1, 8, 6), generator=generator)
    pred[2] = torch.where(label[2] == 1, 2, 0)  # and here it is predicted
    given = torch.nn.functional.one_hot(pred[:, 0], 3).movedim(-1, 1).float() if logits else pred
    files = ["/a/1.b.png", "/a/2.nii.gz", "/a/3.jpg"]
    images = [MetaTensor(torch.rand(1, 8, 6), meta={"filename_or_obj": file}) for file in files]
    outputs = [[{"image": images[i], "label": label[i], "pred": given[i]}] for i in range(3)]
    handler = ImageScores(tmp_path / "new" / "scores", NAMES, overlays=True)
    run(handler, [{}] * 3, outputs)
    rows = read(tmp_path / "new" / "scores")
    assert [row["image"] for row in rows] == ["1.b", "2", "3"]
    for i, row in enumerate(rows):
        for a, true in enumerate(NAMES):
            for b, predicted in enumerate(NAMES):
                count = int(((label[i] == a) & (pred[i] == b)).sum())
                assert int(row[f"{true}_as_{predicted}"]) == count
        both = int(((label[i] == 1) & (pred[i] == 1)).sum())
        either = int(((label[i] == 1) | (pred[i] == 1)).sum())
        assert float(row["iou_ground-glass"]) == pytest.approx(both / either)
        assert float(row["dice_ground-glass"]) == pytest.approx(2 * both / (either + both))
        assert row["iou_consolidation"] == ("0.0" if i == 2 else "nan")
        picture = Image.open(tmp_path / "new" / "scores" / f"{row['image']}.jpg")
        assert picture.size == (3 * 6, 8)
    # once more: the earlier lines are gone
    run(handler, [{}], outputs[:1])
    assert len(read(tmp_path / "new" / "scores")) == 1


def test_slices_of_a_stack_are_told_apart(tmp_path):
    stack = MetaTensor(torch.rand(1, 4, 4, 20), meta={"filename_or_obj": "stack.nii.gz"})
    images = [TakeSliced("image")({"image": stack, "slice": i}) for i in (7, 12)]
    label = torch.zeros(1, 4, 4, 1, dtype=torch.uint8)
    outputs = [{"image": image["image"], "label": label, "pred": label} for image in images]
    run(ImageScores(tmp_path, NAMES), [{}], [outputs])
    assert [row["image"] for row in read(tmp_path)] == ["stack_7", "stack_12"]
    assert not list(tmp_path.glob("*.jpg"))


@pytest.mark.parametrize("as_list", [True, False])
def test_overlays_show_the_image_in_its_own_colors(tmp_path, as_list):
    """Not as the network sees it: each channel standardized for itself."""
    image = MetaTensor(torch.rand(3, 16, 16), meta={"filename_or_obj": "a.png"})
    shown = torch.zeros(3, 16, 16)
    shown[0, :8] = 200  # red above, black below
    label = torch.zeros(1, 16, 16, dtype=torch.uint8)
    batch = [{"shown": shown}] if as_list else {"shown": shown[None]}
    run(ImageScores(tmp_path, NAMES, overlays=True), [batch], [[{"image": image, "label": label, "pred": label}]])
    picture = np.asarray(Image.open(tmp_path / "a.jpg")).astype(int)
    assert abs(picture[:6, :6, 0] - 200).max() < 10 and picture[:6, :6, 1:].max() < 60 and picture[10:, :6].max() < 60
