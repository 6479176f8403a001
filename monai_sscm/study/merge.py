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

"""Trainings of several folds as one result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from monai_sscm.metrics import dice_per_class, iou_per_class

__all__ = ["merge_folds"]


def merge_folds(rows: Mapping[str, Mapping[str, Any]], seed: int, class_names: Sequence[str]) -> dict[str, Any]:
    """
    Make one result of a method's results on several folds, which tables, figures and report take as any other.

    Scores are those of the summed confusion matrices of all images, each of which was scored by the training that had
    not seen its patient.

    Args:
        rows: result of each fold, by the folder of its study within that of all.
        seed: what the result has as its seed.
        class_names: names of the classes, background first.

    Example:
        >>> from monai_sscm.study.merge import merge_folds
        >>> row = {"method": "supmix", "num_labeled": 3, "seed": 0, "settings": {}, "versions": {}, "curves": {},
        ...        "seconds": 60, "peak_memory_mb": 900, "patients": {"a": "a"}, "images": {"a": [[8, 2], [0, 2]]}}
        >>> other = row | {"seed": 1, "patients": {"b": "b"}, "images": {"b": [[8, 0], [2, 4]]}}
        >>> merged = merge_folds({"fold_1": row, "fold_2": other}, 0, ["background", "vessel"])
        >>> sorted(merged["images"]), round(merged["last"]["mean_iou"], 3), merged["pictures"]["b"]
        (['a', 'b'], 0.7, 'fold_2/runs/supmix_labeled3_seed1/last/b.jpg')
    """
    images: dict[str, Any] = {}
    patients: dict[str, str] = {}
    pictures: dict[str, str] = {}
    for folder, row in rows.items():
        run = f"{row['method']}_labeled{row['num_labeled']}_seed{row['seed']}"
        for image, matrix in row["images"].items():
            name = image if image not in images else f"{folder}/{image}"  # in folders of the same names
            images[name], patients[name] = matrix, row["patients"][image]
            pictures[name] = f"{folder}/runs/{run}/last/{image}.jpg"
    first = next(iter(rows.values()))
    memory = [row["peak_memory_mb"] for row in rows.values() if row["peak_memory_mb"]]
    return {
        "method": first["method"],
        "num_labeled": max(row["num_labeled"] for row in rows.values()),
        "seed": seed,
        "settings": first["settings"],
        "num_validation": 0,
        "num_trainings": len(rows),
        "last": _scores(np.sum([np.asarray(matrix) for matrix in images.values()], axis=0), class_names),
        "images": images,
        "patients": patients,
        "pictures": pictures,
        "curves": _mean_curves([row["curves"] for row in rows.values()]),
        "seconds": sum(row["seconds"] for row in rows.values()),
        "peak_memory_mb": max(memory, default=None),
        "versions": first["versions"],
    }


def _scores(matrix: np.ndarray, class_names: Sequence[str]) -> dict[str, float]:
    """As the bundles' ``metrics.csv`` has them; without classes that are nowhere."""
    ious, dices = (f(torch.as_tensor(matrix)) for f in (iou_per_class, dice_per_class))
    scores = {"mean_iou": float(ious.nanmean())}
    for k, name in enumerate(class_names):
        scores |= {f"iou_{name}": float(ious[k]), f"dice_{name}": float(dices[k])}
    return {name: round(score, 5) for name, score in scores.items() if score == score}


def _mean_curves(curves: Sequence[Mapping[str, Sequence[Sequence[float]]]]) -> dict[str, list[list[float]]]:
    """The mean of the folds at the steps that all have."""
    means = {}
    for tag in set.intersection(*(set(curve) for curve in curves)):
        points = [{step: value for step, value in curve[tag]} for curve in curves]
        steps = sorted(set.intersection(*map(set, points)))
        means[tag] = [[step, round(float(np.mean([p[step] for p in points])), 4)] for step in steps]
    return means
