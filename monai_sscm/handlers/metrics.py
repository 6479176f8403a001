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

"""Data-set scores from one confusion matrix, in which an absent class is absent and not zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from ignite.metrics import ConfusionMatrix, Metric, MetricsLambda

__all__ = ["dice_per_class", "iou_per_class", "segmentation_metrics"]


def iou_per_class(matrix: torch.Tensor) -> torch.Tensor:
    """
    Intersection over union of every class.

    Args:
        matrix: confusion matrix ``(C, C)``, truth in rows, prediction in columns.

    Returns:
        ``(C,)``, in [0, 1]; nan for a class that is neither in the truth nor predicted.

    Example:
        >>> import torch
        >>> from monai_sscm.handlers import iou_per_class
        >>> iou_per_class(torch.tensor([[8, 2, 0], [0, 2, 0], [0, 0, 0]]))
        tensor([0.8000, 0.5000,    nan], dtype=torch.float64)
    """
    matrix = matrix.double()
    both = matrix.diagonal()
    return both / (matrix.sum(0) + matrix.sum(1) - both)


def dice_per_class(matrix: torch.Tensor) -> torch.Tensor:
    """
    Dice coefficient of every class, ``2 |A and B| / (|A| + |B|)``; nan as in :py:func:`iou_per_class`.

    Args:
        matrix: confusion matrix ``(C, C)``, truth in rows, prediction in columns.
    """
    matrix = matrix.double()
    return 2 * matrix.diagonal() / (matrix.sum(0) + matrix.sum(1))


def segmentation_metrics(
    class_names: Sequence[str], output_transform: Callable[[Any], tuple[torch.Tensor, torch.Tensor]] | None = None
) -> dict[str, Metric]:
    """
    Mean IoU, and IoU and Dice of every class, over all pixels of the data set; to be given to an evaluator as
    ``key_val_metric``, where the mean IoU, being first, is the key.

    Args:
        class_names: names of the classes in the order of their indices, background first.
        output_transform: from the engine's output to logits or one-hot prediction ``(B, C, *spatial)`` and class
            indices ``(B, *spatial)``. None: ``pred`` and ``label`` of a dictionary or a decollated list.

    Returns:
        ``mean_iou``, and ``iou_<name>`` and ``dice_<name>`` for every class; absent classes are nan and left out of
        the mean.
    """
    matrix = ConfusionMatrix(len(class_names), output_transform=output_transform or _pred_and_label)
    metrics: dict[str, Metric] = {"mean_iou": MetricsLambda(lambda m: float(iou_per_class(m).nanmean()), matrix)}
    for i, name in enumerate(class_names):
        metrics[f"iou_{name}"] = MetricsLambda(lambda m, i=i: float(iou_per_class(m)[i]), matrix)
        metrics[f"dice_{name}"] = MetricsLambda(lambda m, i=i: float(dice_per_class(m)[i]), matrix)
    return metrics


def _pred_and_label(output: Any) -> tuple[torch.Tensor, torch.Tensor]:
    if isinstance(output, list):
        output = {key: torch.stack([torch.as_tensor(item[key]) for item in output]) for key in ("pred", "label")}
    pred, label = torch.as_tensor(output["pred"]), torch.as_tensor(output["label"])
    if label.shape[1] not in (1, pred.shape[1]):
        raise ValueError(f"The label must have one channel or {pred.shape[1]}, got {tuple(label.shape)}.")
    return pred, (label[:, 0] if label.shape[1] == 1 else label.argmax(1)).long()
