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

"""Overlap of a prediction and the truth: confusion matrix, IoU, Dice."""

from __future__ import annotations

import torch

__all__ = ["confusion_matrix", "dice_per_class", "iou_per_class"]


def confusion_matrix(label: torch.Tensor, pred: torch.Tensor, num_classes: int) -> torch.Tensor:
    """
    Count the pixels of every class that are predicted as every class.

    Args:
        label: class indices of the truth, int64; pixels with other values, such as an ignored one, do not count.
        pred: class indices of the prediction, of the same shape.
        num_classes: number of classes with the background.

    Returns:
        ``(C, C)``, truth in rows, prediction in columns.

    Example:
        >>> import torch
        >>> from monai_sscm.metrics import confusion_matrix
        >>> confusion_matrix(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1]), num_classes=2)
        tensor([[1, 1],
                [0, 2]])
    """
    counted = (label >= 0) & (label < num_classes)
    pairs = label[counted] * num_classes + pred[counted]
    return torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def iou_per_class(matrix: torch.Tensor) -> torch.Tensor:
    """
    Intersection over union of every class.

    Args:
        matrix: confusion matrix ``(C, C)``, truth in rows, prediction in columns; or several, ``(..., C, C)``.

    Returns:
        ``(C,)``, or ``(..., C)``, in [0, 1]; nan for a class that is neither in the truth nor predicted.

    Example:
        >>> import torch
        >>> from monai_sscm.metrics import iou_per_class
        >>> iou_per_class(torch.tensor([[8, 2, 0], [0, 2, 0], [0, 0, 0]]))
        tensor([0.8000, 0.5000,    nan], dtype=torch.float64)
    """
    matrix = matrix.double()
    both = matrix.diagonal(dim1=-2, dim2=-1)
    return both / (matrix.sum(-2) + matrix.sum(-1) - both)


def dice_per_class(matrix: torch.Tensor) -> torch.Tensor:
    """
    Dice coefficient of every class, ``2 |A and B| / (|A| + |B|)``; nan as in :py:func:`iou_per_class`.

    Args:
        matrix: as there.

    Returns:
        ``(C,)``, or ``(..., C)``, in [0, 1].

    Example:
        >>> import torch
        >>> from monai_sscm.metrics import dice_per_class
        >>> truth_in_rows = torch.tensor([[8, 2, 0], [0, 2, 0], [0, 0, 0]])
        >>> [round(x, 3) for x in dice_per_class(truth_in_rows).tolist()]
        [0.889, 0.667, nan]
    """
    matrix = matrix.double()
    return 2 * matrix.diagonal(dim1=-2, dim2=-1) / (matrix.sum(-2) + matrix.sum(-1))
