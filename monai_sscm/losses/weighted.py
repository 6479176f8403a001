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

"""
Losses of a view of the unlabelled batch: prediction, target and a weight for every pixel.

A pixel of weight 0 does not count (in ``WeightedMSELoss`` on request), a pixel whose target is
:py:data:`monai_sscm.transforms.IGNORED` never does, and a paste has weight 1. Sums are divided by the
number of pixels, not by the sum of the weights: where the teacher is unsure the whole loss gets small (but for
``WeightedDiceLoss``, a ratio of sums).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.losses import DeepSupervisionLoss
from monai.networks import one_hot
from torch import nn
from torch.nn.functional import cross_entropy, interpolate

from monai_sscm.transforms import IGNORED

__all__ = ["WeightedCELoss", "WeightedDeepSupervisionLoss", "WeightedDiceCELoss", "WeightedDiceLoss", "WeightedMSELoss"]


class WeightedLoss(nn.Module):
    """
    What all losses of a view take: prediction ``(B, C, *spatial)``, logits; target, class indices ``(B, 1, *spatial)``
    or one-hot ``(B, C, *spatial)``; and the weight of every pixel ``(B, 1, *spatial)``, or None to weigh all alike.
    """

    @staticmethod
    def _check(pred: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None) -> None:
        """Refuse one channel of logits, and a target that is neither an index map nor has a channel for every class."""
        if not isinstance(pred, torch.Tensor):
            raise ValueError(
                f"The network gives {len(pred)} predictions, with deep supervision: put the loss, of the labeled batch "
                "and of each view, into a monai_sscm.losses.WeightedDeepSupervisionLoss."
            )
        if pred.shape[1] < 2:
            raise ValueError(
                f"The prediction must have a channel for every class, background too, got {pred.shape[1]}."
            )
        if target.shape[1] not in (1, pred.shape[1]) or target.shape[2:] != pred.shape[2:]:
            raise ValueError(
                f"The target must be class indices in one channel or have {pred.shape[1]} channels, of the "
                f"prediction's size, got {tuple(target.shape)} for a prediction {tuple(pred.shape)}."
            )
        if weight is not None and weight.shape != (pred.shape[0], 1, *pred.shape[2:]):
            raise ValueError(
                f"The weight must have one channel and the prediction's size, got {tuple(weight.shape)} for a "
                f"prediction {tuple(pred.shape)}."
            )

    def _index(self, pred: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
        """Class indices ``(B, *spatial)``."""
        self._check(pred, target, weight)
        index = target.argmax(1) if target.shape[1] == pred.shape[1] else target[:, 0]
        return index.long()


class WeightedCELoss(WeightedLoss):
    """
    Cross-entropy of every pixel times its weight, divided by the number of pixels.

    Args:
        ignore_index: target value that does not count.

    Example:
        >>> import torch
        >>> from monai_sscm.losses import WeightedCELoss
        >>> pred, target, weight = torch.zeros(2, 4, 8, 8), torch.zeros(2, 1, 8, 8), torch.full((2, 1, 8, 8), 0.5)
        >>> round(float(WeightedCELoss()(pred, target, weight)), 4)  # half of log(4)
        0.6931
    """

    def __init__(self, ignore_index: int = IGNORED) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, pred: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """
        Args:
            pred: logits ``(B, C, *spatial)``.
            target: class indices ``(B, 1, *spatial)``, or one-hot ``(B, C, *spatial)``.
            weight: weight of every pixel ``(B, 1, *spatial)``; None weighs all alike.
        """
        index = self._index(pred, target, weight)
        loss = cross_entropy(pred.float(), index, reduction="none", ignore_index=self.ignore_index)
        return loss.mean() if weight is None else (loss * weight[:, 0]).mean()


class WeightedDiceLoss(WeightedLoss):
    """
    Soft Dice loss in which every pixel counts by its weight.

    With probabilities p, one-hot target y and weights w, the loss of a class is
    :math:`1 - (2 \\sum w p y + s) / (\\sum w p + \\sum w y + s)`, summed over the batch and averaged over the classes.
    It does not get smaller where all weights do; without any weight it is 0.

    Args:
        include_background: whether class 0 counts.
        smooth: the s above; an empty class that is predicted empty has loss 0.
        ignore_index: target value that does not count.

    Example:
        >>> import torch
        >>> from monai_sscm.losses import WeightedDiceLoss
        >>> target = torch.randint(0, 3, (2, 1, 8, 8))
        >>> pred = 100.0 * torch.nn.functional.one_hot(target[:, 0], 3).movedim(-1, 1)
        >>> round(float(WeightedDiceLoss()(pred, target, torch.ones(2, 1, 8, 8))), 4)
        0.0
    """

    def __init__(self, include_background: bool = True, smooth: float = 1e-5, ignore_index: int = IGNORED) -> None:
        super().__init__()
        self.include_background = include_background
        self.smooth = smooth
        self.ignore_index = ignore_index

    def forward(self, pred: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """
        Args:
            pred, target, weight: as in :py:class:`WeightedCELoss`.
        """
        index = self._index(pred, target, weight)[:, None]
        counted = index != self.ignore_index
        w = counted.float() if weight is None else counted * weight.float()
        prob = pred.float().softmax(1)
        truth = one_hot(torch.where(counted, index, 0), pred.shape[1], dtype=prob.dtype)
        axes = (0, *range(2, pred.ndim))
        overlap = (w * prob * truth).sum(axes)
        total = (w * prob).sum(axes) + (w * truth).sum(axes)
        dice = 1 - (2 * overlap + self.smooth) / (total + self.smooth)
        return (dice if self.include_background else dice[1:]).mean()


class WeightedDiceCELoss(WeightedLoss):
    """
    :py:class:`WeightedDiceLoss`, times the mean weight, plus :py:class:`WeightedCELoss`.

    Args:
        include_background: whether class 0 counts in the Dice loss.
        smooth: of the Dice loss.
        ignore_index: target value that does not count.

    Example:
        >>> import torch
        >>> from monai_sscm.losses import WeightedDiceCELoss
        >>> pred, target = torch.zeros(2, 4, 8, 8), torch.zeros(2, 1, 8, 8)
        >>> bool(WeightedDiceCELoss()(pred, target, torch.ones(2, 1, 8, 8)) > 1.3)  # log 4, and the Dice loss
        True
    """

    def __init__(self, include_background: bool = True, smooth: float = 1e-5, ignore_index: int = IGNORED) -> None:
        super().__init__()
        self.dice = WeightedDiceLoss(include_background, smooth, ignore_index)
        self.cross_entropy = WeightedCELoss(ignore_index)

    def forward(self, pred: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """
        Args:
            pred, target, weight: as in :py:class:`WeightedCELoss`.
        """
        counted = (self._index(pred, target, weight) != self.cross_entropy.ignore_index).float()
        share = counted.mean() if weight is None else (counted[:, None] * weight.float()).mean()
        return share * self.dice(pred, target, weight) + self.cross_entropy(pred, target, weight)


class WeightedMSELoss(WeightedLoss):
    """
    Squared difference of probabilities, averaged over the classes, times the weight: the consistency of Mean Teacher.

    Args:
        use_weight: whether the weight counts; Mean Teacher has none.

    Example:
        >>> import torch
        >>> from monai_sscm.losses import WeightedMSELoss
        >>> pred, prob = torch.zeros(1, 2, 4, 4), torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
        >>> float(WeightedMSELoss()(pred, prob))
        0.25
    """

    def __init__(self, use_weight: bool = False) -> None:
        super().__init__()
        self.use_weight = use_weight

    def forward(self, pred: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """
        Args:
            pred: logits ``(B, C, *spatial)``.
            target: probabilities ``(B, C, *spatial)``, or class indices ``(B, 1, *spatial)``.
            weight: weight of every pixel ``(B, 1, *spatial)``.
        """
        self._check(pred, target, weight)
        counted = None
        if target.shape[1] == 1:
            counted = target != IGNORED
            target = one_hot(torch.where(counted, target, 0).long(), pred.shape[1], dtype=torch.float32)
        loss = (pred.float().softmax(1) - target).square().mean(1, keepdim=True)
        loss = loss if counted is None else loss * counted
        return (loss * weight).mean() if self.use_weight and weight is not None else loss.mean()


class WeightedDeepSupervisionLoss(DeepSupervisionLoss):
    """
    :py:class:`monai.losses.DeepSupervisionLoss` for the loss of a view: a network's list of outputs, one target and one
    weight. Without a weight it is one for the labelled batch, of class indices of any type. Targets and weights are
    resized to each output with nearest neighbours.

    Args:
        loss: loss of one output: prediction, target, weight.
        weight_mode: ``"same"``, ``"exp"`` or ``"two"``, see the base class.
        weights: weights of the outputs in place of a mode.

    Example:
        >>> import torch
        >>> from monai_sscm.losses import WeightedCELoss, WeightedDeepSupervisionLoss
        >>> preds = [torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 4, 4)]
        >>> loss = WeightedDeepSupervisionLoss(WeightedCELoss(), weight_mode="same")
        >>> round(float(loss(preds, torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8))), 4)  # the sum over both
        1.3863
    """

    def __init__(
        self, loss: Callable[..., torch.Tensor], weight_mode: str = "exp", weights: list[float] | None = None
    ) -> None:
        super().__init__(loss, weight_mode, weights)  # type: ignore[arg-type]

    def forward(  # type: ignore[override]
        self,
        pred: torch.Tensor | Sequence[torch.Tensor],
        target: torch.Tensor,
        weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Args:
            pred: one output or the list of outputs, the one of full size first.
            target: target of full size.
            weight: weight of every pixel, of full size.
        """
        preds = [pred] if isinstance(pred, torch.Tensor) else list(pred)
        loss = torch.zeros((), device=preds[0].device)
        for share, p in zip(self.get_weights(levels=len(preds)), preds, strict=True):
            size = p.shape[2:]
            y = target if target.shape[2:] == size else interpolate(target.float(), size, mode="nearest-exact")
            w = weight
            if w is not None and w.shape[2:] != size:
                w = interpolate(w.float(), size, mode="nearest-exact")
            # a loss of labels alone takes no weight
            loss = loss + share * (self.loss(p, y) if w is None else self.loss(p, y, w))
        return loss
