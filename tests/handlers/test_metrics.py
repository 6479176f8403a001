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

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from scipy import ndimage

from monai_sscm.handlers import hausdorff_metrics, segmentation_metrics

NAMES = ["background", "a", "b"]


def run(outputs: list, metrics: dict) -> dict[str, float]:
    engine = Engine(lambda engine, batch: batch)
    for name, metric in metrics.items():
        metric.attach(engine, name)
    return engine.run(outputs).metrics


def output(pred: np.ndarray, label: np.ndarray, spacing: tuple[float, ...] | None) -> dict:
    """What an evaluator gives for one scan."""
    meta = {} if spacing is None else {"geometry": {"spacing": np.array(spacing)}}
    affine = torch.eye(4) if spacing is None else torch.diag(torch.tensor([*spacing, 1.0]))
    image = MetaTensor(torch.zeros(1, 1, *pred.shape), affine=affine, meta=meta)
    return {"image": image, "pred": torch.as_tensor(pred)[None, None], "label": torch.as_tensor(label)[None, None]}


def by_hand(ours: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...]) -> float:
    """From every edge voxel of one to the nearest edge voxel of the other, and back: the larger 95 % quantile."""
    edges = [np.argwhere(m & ~ndimage.binary_erosion(m)) * np.array(spacing) for m in (ours, truth)]
    apart = np.linalg.norm(edges[0][:, None] - edges[1][None], axis=-1)
    return max(np.percentile(apart.min(1), 95), np.percentile(apart.min(0), 95))


def test_hausdorff_distance_a_second_way():
    random = np.random.RandomState(0)
    spacing = (0.7, 0.8, 5.0)
    scans, expected = [], {1: [], 2: []}
    for _ in range(3):
        masks = []
        for _ in range(2):
            mask = np.zeros((20, 18, 8), np.uint8)
            for index in (1, 2):
                x, y, z = (random.randint(2, n // 2) for n in mask.shape)
                mask[x : x + 6, y : y + 5, z : z + 3] = index
            masks.append(mask)
        scans.append(output(*masks, spacing))
        for index, distances in expected.items():
            distances.append(by_hand(masks[0] == index, masks[1] == index, spacing))
    got = run(scans, hausdorff_metrics(NAMES))
    assert set(got) == {"hd95_a", "hd95_b"}
    assert got["hd95_a"] == pytest.approx(np.mean(expected[1]), rel=1e-4)
    assert got["hd95_b"] == pytest.approx(np.mean(expected[2]), rel=1e-4)


def test_hausdorff_distance_of_a_class_that_is_missed():
    there, nothing = np.zeros((6, 6, 4), np.uint8), np.zeros((6, 6, 4), np.uint8)
    there[2:4, 2:4, 1] = 1
    diagonal = float(np.linalg.norm([6, 6, 8]))
    for pair in ((there, nothing), (nothing, there)):
        # missing a lesion, or inventing one, is as bad as can be; a picture has no millimetres and does not count
        scans = [output(*pair, (1, 1, 2)), output(there, there, (1, 1, 2)), output(*pair, None)]
        got = run(scans, hausdorff_metrics(NAMES))
        assert got["hd95_a"] == pytest.approx(diagonal / 2) and np.isnan(got["hd95_b"])


@pytest.mark.parametrize("shape", [(9, 8), (6, 6, 4)])
def test_ignored_pixels_are_not_scored(shape):
    random = np.random.RandomState(0)
    label, pred = random.randint(0, 3, shape), random.randint(0, 3, shape)
    ignored = random.rand(*shape) > 0.5
    label[ignored] = 255
    other = np.where(ignored, (pred + 1) % 3, pred)  # predicts another class there
    metrics = [segmentation_metrics(NAMES)] + [hausdorff_metrics(NAMES)] * (len(shape) == 3)
    for metric in metrics:
        spacing = (1.0,) * 3 if len(shape) == 3 else None
        scores = [run([output(p, label, spacing)], metric) for p in (pred, other)]
        assert scores[0] == scores[1] and all(np.isfinite(x) for x in scores[0].values())
    logits = [np.moveaxis(np.eye(3)[p], -1, 0) for p in (pred, other)]
    of_logits = [
        run([{"pred": torch.as_tensor(x)[None], "label": torch.as_tensor(label)[None, None]}], metrics[0])
        for x in logits
    ]
    assert of_logits[0] == of_logits[1] == run([output(pred, label, None)], metrics[0])


def test_a_hausdorff_distance_is_that_without_what_is_predicted_on_ignored_pixels():
    label, pred = np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 4), np.uint8)
    label[1:4, 1:4, 1], pred[2:5, 1:4, 1] = 1, 1
    alone = run([output(pred, label, (1, 1, 1))], hausdorff_metrics(NAMES))["hd95_a"]
    label[..., 3], pred[..., 3] = 255, 1
    assert run([output(pred, label, (1, 1, 1))], hausdorff_metrics(NAMES))["hd95_a"] == alone == pytest.approx(1.0)


def test_scores_of_class_indices_are_those_of_logits():
    g = torch.Generator().manual_seed(0)
    logits = [torch.rand((1, 3, 6, 5, 4), generator=g) for _ in range(3)]
    label = [torch.randint(0, 3, (1, 1, 6, 5, 4), generator=g) for _ in range(3)]
    of_logits = run([{"pred": p, "label": y} for p, y in zip(logits, label)], segmentation_metrics(NAMES))
    indices = [p.argmax(1, keepdim=True).to(torch.uint8) for p in logits]
    assert run([{"pred": p, "label": y} for p, y in zip(indices, label)], segmentation_metrics(NAMES)) == of_logits


@pytest.mark.parametrize("spatial", [(6, 5), (4, 3, 5)])
@pytest.mark.parametrize("decollated", [True, False])
def test_scores_a_second_way(spatial, decollated):
    g = torch.Generator().manual_seed(0)
    pred = [torch.rand((2, 4, *spatial), generator=g) for _ in range(3)]
    label = [torch.randint(0, 3, (2, 1, *spatial), generator=g) for _ in range(3)]
    for p in pred:
        p[:, 3] = -1  # class 3 is neither there nor predicted
    outputs = [{"pred": MetaTensor(p), "label": MetaTensor(y)} for p, y in zip(pred, label)]
    if decollated:
        outputs = [[{k: v[i] for k, v in out.items()} for i in range(2)] for out in outputs]
    engine = Engine(lambda engine, batch: batch)
    for name, metric in segmentation_metrics(["a", "b", "c", "d"]).items():
        metric.attach(engine, name)
    got = engine.run(outputs).metrics

    p, y = torch.cat([x.argmax(1).flatten() for x in pred]).numpy(), torch.cat([x.flatten() for x in label]).numpy()
    ious = []
    for c, name in enumerate("abc"):
        both, either = ((p == c) & (y == c)).sum(), ((p == c) | (y == c)).sum()
        ious.append(both / either)
        assert got[f"iou_{name}"] == pytest.approx(both / either)
        assert got[f"dice_{name}"] == pytest.approx(2 * both / ((p == c).sum() + (y == c).sum()))
    assert np.isnan(got["iou_d"]) and np.isnan(got["dice_d"])
    assert got["mean_iou"] == pytest.approx(np.mean(ious))
    assert next(iter(segmentation_metrics(["a", "b"]))) == "mean_iou"


def test_one_hot_labels():
    label = torch.randint(0, 3, (2, 4, 4))
    one_hot = torch.nn.functional.one_hot(label, 3).movedim(-1, 1)
    engine = Engine(lambda engine, batch: batch)
    for name, metric in segmentation_metrics("abc").items():
        metric.attach(engine, name)
    assert engine.run([{"pred": one_hot.float(), "label": one_hot}]).metrics["mean_iou"] == 1
    with pytest.raises(ValueError, match="one channel or 3"):
        engine.run([{"pred": one_hot.float(), "label": one_hot[:, :2]}])


def test_ignored_pixels_have_no_distance():
    pred, label = np.zeros((2, 6, 6, 4), np.uint8)
    pred[1, 1, 1] = label[1, 1, 1] = pred[5, 5, 3] = 1
    assert run([output(pred, label, (1, 1, 1))], hausdorff_metrics(NAMES))["hd95_a"] > 0
    label[5, 5, 3] = 255
    assert run([output(pred, label, (1, 1, 1))], hausdorff_metrics(NAMES))["hd95_a"] == 0
