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

from monai_sscm.handlers import ScanSaver, findings, hausdorff_metrics, segmentation_metrics

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


def test_scores_of_class_indices_are_those_of_logits():
    g = torch.Generator().manual_seed(0)
    logits = [torch.rand((1, 3, 6, 5, 4), generator=g) for _ in range(3)]
    label = [torch.randint(0, 3, (1, 1, 6, 5, 4), generator=g) for _ in range(3)]
    of_logits = run([{"pred": p, "label": y} for p, y in zip(logits, label)], segmentation_metrics(NAMES))
    indices = [p.argmax(1, keepdim=True).to(torch.uint8) for p in logits]
    assert run([{"pred": p, "label": y} for p, y in zip(indices, label)], segmentation_metrics(NAMES)) == of_logits


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
    saver = ScanSaver(tmp_path, NAMES)
    for case in ("one", "two"):
        image = MetaTensor(torch.zeros(1, 4, 5, 1), meta={"filename_or_obj": f"{case}.png"})
        saver.save(case, image, torch.ones(1, 4, 5, 1, dtype=torch.uint8), image)
    lines = (tmp_path / "findings.csv").read_text().splitlines()
    assert lines[0] == "case,class,voxels,volume_ml,lesions,largest_ml,slices"
    assert lines[1:] == ["one,a,20,,1,,1", "one,b,0,,0,,0", "two,a,20,,1,,1", "two,b,0,,0,,0"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["findings.csv", "one_seg.png", "two_seg.png"]
