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

"""The loss of the labelled batch."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from monai_sscm.transforms import IGNORED

from .weighted import WeightedLoss

__all__ = ["LabeledDiceCELoss"]


class LabeledDiceCELoss(WeightedLoss):
    """
    Dice loss plus cross-entropy of the pixels that are labelled.

    Where all are, it is ``DiceCELoss(to_onehot_y=True, softmax=True)`` of MONAI. The others are in no sum: the Dice
    loss of an image is of its labelled pixels, and the cross-entropy is the mean over those of the batch. An image
    without any has loss 0, and so has a batch.

    Args:
        smooth: added to both sides of the Dice ratio.
        ignore_index: target value of pixels that are not labelled.

    Example:
        >>> import torch
        >>> from monai.losses import DiceCELoss
        >>> from monai_sscm.losses import LabeledDiceCELoss
        >>> pred, target = torch.rand(2, 3, 8, 8), torch.randint(0, 3, (2, 1, 8, 8))
        >>> loss = LabeledDiceCELoss()(pred, target)
        >>> torch.allclose(loss, DiceCELoss(to_onehot_y=True, softmax=True)(pred, target))
        True
        >>> target[:, :, :4] = 255
        >>> torch.allclose(LabeledDiceCELoss()(pred, target), LabeledDiceCELoss()(pred[:, :, 4:], target[:, :, 4:]))
        True
    """

    def __init__(self, smooth: float = 1e-5, ignore_index: int = IGNORED) -> None:
        super().__init__()
        self.smooth = smooth
        self.ignore_index = ignore_index

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """
        Args:
            pred: logits ``(B, C, *spatial)``.
            target: class indices ``(B, 1, *spatial)``, or one-hot ``(B, C, *spatial)``.
        """
        index = self._index(pred, target, None)
        counted = index != self.ignore_index
        logits, axes = pred.float(), tuple(range(2, pred.ndim))
        prob = logits.softmax(1) * counted[:, None]
        classes = torch.arange(pred.shape[1], device=pred.device).view(1, -1, *(1,) * len(axes))
        truth = index[:, None] == classes
        overlap, total = (prob * truth).sum(axes), prob.sum(axes) + truth.sum(axes)
        dice = 1 - (2 * overlap + self.smooth) / (total + self.smooth)
        # the sum over the number: without any labelled pixel a mean would be nan
        entropy = cross_entropy(logits, index, reduction="sum", ignore_index=self.ignore_index)
        return dice.mean() + entropy / counted.sum().clamp_min(1)
