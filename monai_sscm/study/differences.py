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

"""Paired differences between methods, and how sure they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from monai_sscm.metrics import iou_per_class

from .methods import Methods, Rows

__all__ = ["Difference", "difference", "differences", "mean_iou"]

_REPLICATES = 2000
# of fewer, a bootstrap has too few different draws to say how far a difference varies
_FEWEST_SEEDS, _FEWEST_PATIENTS = 2, 3


@dataclass(frozen=True)
class Difference:
    """
    How much better a method is than another, in points of mIoU, over the seeds that both have.

    The interval holds the middle 95 % of a bootstrap: in each of 2,000 replicates seeds are drawn with replacement, and
    so are patients (children, groups of slices), the same for every seed and both methods; scores are those of the
    drawn patients' summed confusion matrices. Images are never drawn by themselves: those of a patient are alike.

    Args:
        method, other: names of the methods.
        num_labeled: labels that each had.
        of_seed: difference for every seed.
        replicates: the bootstrap's differences.
        num_patients: patients that were scored.
    """

    method: str
    other: str
    num_labeled: int
    of_seed: Mapping[int, float]
    replicates: np.ndarray
    num_patients: int

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(list(self.of_seed.values())))

    @property
    def too_few(self) -> str | None:
        """Why there is no interval, in words; None where there is one."""
        few = [f"{len(self.of_seed)} seed"] if len(self.of_seed) < _FEWEST_SEEDS else []
        if self.num_patients < _FEWEST_PATIENTS:
            few.append(f"{self.num_patients} patient{'s' * (self.num_patients > 1)}")
        return f"none: {' and '.join(few)}" if few else None

    @property
    def interval(self) -> tuple[float, float]:
        """2.5 % and 97.5 % quantile of the replicates, to be trusted where there are not :py:attr:`too_few`."""
        low, high = np.quantile(self.replicates, [0.025, 0.975])
        return float(low), float(high)


def mean_iou(matrices: np.ndarray) -> float:
    """
    Mean IoU of summed confusion matrices, in percent; absent classes are left out.

    Args:
        matrices: confusion matrices of images ``(..., C, C)``, truth in rows.

    Example:
        >>> import numpy as np
        >>> from monai_sscm.study import mean_iou
        >>> round(mean_iou(np.array([[[8, 2], [0, 0]], [[8, 0], [2, 4]]])), 2)
        65.0
    """
    return float(_mean_ious(matrices.reshape(-1, *matrices.shape[-2:]).sum(0)))


def difference(
    rows: Rows,
    method: str,
    other: str,
    num_labeled: int,
    other_num_labeled: int | None = None,
) -> Difference | None:
    """
    Compare two methods, seed by seed.

    Args:
        rows: results of a study.
        method, other: names of the methods.
        num_labeled: which budget.
        other_num_labeled: the other's budget, if it differs.

    Returns:
        None where no seed has both.
    """
    budgets = {method: num_labeled, other: other_num_labeled or num_labeled}
    runs = {
        name: {r["seed"]: r["images"] for r in rows if r["method"] == name and r["num_labeled"] == budget}
        for name, budget in budgets.items()
    }
    seeds = sorted(set(runs[method]) & set(runs[other]))
    if not seeds:
        return None
    patient_of = next(r["patients"] for r in rows if r["method"] == method)
    images = sorted(patient_of)
    patients = sorted({patient_of[image] for image in images})
    # (method, seed, patient, C, C)
    matrices = np.array(
        [
            [
                [np.sum([runs[name][seed][i] for i in images if patient_of[i] == p], axis=0) for p in patients]
                for seed in seeds
            ]
            for name in (method, other)
        ]
    )
    of_seed = {seed: mean_iou(matrices[0, k]) - mean_iou(matrices[1, k]) for k, seed in enumerate(seeds)}
    random = np.random.RandomState(0)
    replicates = []
    for _ in range(_REPLICATES):
        drawn = matrices[:, :, random.randint(len(patients), size=len(patients))]
        of_drawn = _mean_ious(drawn.sum(2))
        replicates.append((of_drawn[0] - of_drawn[1])[random.randint(len(seeds), size=len(seeds))].mean())
    return Difference(method, other, num_labeled, of_seed, np.array(replicates), len(patients))


def _mean_ious(matrices: np.ndarray) -> np.ndarray:
    """Mean IoU of each confusion matrix ``(..., C, C)``, in percent."""
    return 100 * iou_per_class(torch.as_tensor(matrices)).nanmean(-1).numpy()


def differences(rows: Rows, method: str, methods: Methods) -> list[Difference]:
    """``method`` minus every other, at each budget; methods of a budget of their own are compared with all budgets."""
    found = []
    for num_labeled in sorted({r["num_labeled"] for r in rows if r["method"] == method}):
        for name in methods:
            own = methods[name].values.get("num_labeled")
            budgets = {r["num_labeled"] for r in rows if r["method"] == name}
            other = next(iter(budgets), None) if own is not None else num_labeled
            if name != method and other in budgets:
                compared = difference(rows, method, name, num_labeled, other)
                if compared is not None:
                    found.append(compared)
    return found
