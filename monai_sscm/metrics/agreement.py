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


"""How well several masks of one image agree: an estimate of how good they are, where there is no true one."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .overlap import confusion_matrix, dice_per_class

__all__ = ["mask_agreement", "mean_of_classes"]

_PART = 2**22  # voxels that are counted at a time


def mask_agreement(mask: torch.Tensor, others: Sequence[torch.Tensor], num_classes: int) -> torch.Tensor:
    """
    Mean Dice of a mask and others of the same image, class by class.

    With masks Y_k of other views of the network, this is the mean over k of Dice(mask, Y_k): the Dice to expect of the
    mask if the truth were one of them. It ranks masks; it says how good they are only after calibration, since the
    views share their mistakes.

    Args:
        mask: class indices ``(*spatial)``, of any integer type.
        others: at least one other mask, of the same shape.
        num_classes: number of classes with the background.

    Returns:
        ``(num_classes,)``, float64, in [0, 1]. A class that a pair has in one of its masks only counts 0; a pair
        without the class in both is left out; a class that is in none of the masks is nan.

    Raises:
        ValueError: when there is no other mask, or one has another shape.

    Example:
        >>> import torch
        >>> from monai_sscm.metrics import mask_agreement
        >>> mask, other = torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0, 1, 1])
        >>> mask_agreement(mask, [mask, other], num_classes=3)
        tensor([0.8333, 0.9000,    nan], dtype=torch.float64)
    """
    if not others:
        raise ValueError("Agreement needs another mask of the image, got none.")
    wrong = [tuple(other.shape) for other in others if other.shape != mask.shape]
    if wrong:
        raise ValueError(f"The masks must have one shape, got {tuple(mask.shape)} and {wrong[0]}.")
    pairs = [dice_per_class(_confusion(other, mask, num_classes)) for other in others]
    return torch.stack(pairs).double().nanmean(0)


def _confusion(a: torch.Tensor, b: torch.Tensor, num_classes: int) -> torch.Tensor:
    """A part at a time: counting takes many times the memory of the masks."""
    parts = zip(a.flatten().split(_PART), b.flatten().split(_PART), strict=True)
    return torch.stack([confusion_matrix(x.long(), y.long(), num_classes) for x, y in parts]).sum(0)


def mean_of_classes(scores: torch.Tensor) -> float:
    """
    The mean over all classes but the background, without those that are nan.

    Args:
        scores: of every class, ``(num_classes,)``, background first.

    Returns:
        the mean; nan where all are.

    Example:
        >>> import torch
        >>> from monai_sscm.metrics import mean_of_classes
        >>> mean_of_classes(torch.tensor([1.0, 0.5, torch.nan, 0.75]))
        0.625
    """
    return float(scores[1:].nanmean())
