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

"""What the teacher's logits say of unlabelled images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import distributed

from .keys import SemiSupervisedKeys as Keys

__all__ = ["PseudoLabeler"]


class PseudoLabeler:
    """
    From the teacher's logits to pseudo-labels, probabilities, confidences and weights.

    The pseudo-label of a pixel is its most probable class, the confidence that class's probability. Any callable that
    takes logits and returns these four entries can take its place in the trainer.

    With ``weighting="class"`` every class has a threshold of its own that follows the teacher: at most ``threshold``,
    and so low that at least the share ``min_share`` of the pixels that are called so is confident (the class-balanced
    choice of Zou et al., ECCV 2018, beside a fixed threshold). So a class that the teacher is never sure of, such as a
    soft lesion, still teaches with its surest pixels, and an easy one is held to ``threshold``. The share is counted
    over the batches that had the class, older ones less by ``momentum``. Several processes count together.

    Args:
        threshold: confidence from which a pixel counts as confident, in [0, 1].
        weighting: the pseudo-label's weight: ``"image"``, the share of confident pixels of the image on all its pixels;
            ``"pixel"``, 1 on confident pixels and 0 elsewhere; ``"class"``, the same with a threshold for each class.
        min_share: smallest share of a class's pixels that is confident, with ``"class"``, in [0, 1].
        momentum: weight of a batch in the count when the next one comes, with ``"class"``.

    Raises:
        ValueError: when an argument is not as described.

    Example:
        >>> import torch
        >>> from monai_sscm.engines import PseudoLabeler
        >>> logits = torch.tensor([[2.0, 0.0], [-2.0, 0.1]]).view(1, 2, 1, 2)  # two classes, two pixels
        >>> pseudo = PseudoLabeler(threshold=0.9)(logits)
        >>> pseudo["pseudo_label"].tolist(), pseudo["pseudo_weight"].tolist()
        ([[[[0, 1]]]], [[[[0.5, 0.5]]]])
    """

    #: steps of equal width into which confidences are counted, from 0 to 1
    BINS = 200

    def __init__(
        self, threshold: float = 0.95, weighting: str = "image", min_share: float = 0.2, momentum: float = 0.99
    ) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"`threshold` is a probability in [0, 1], got {threshold!r}.")
        if weighting not in ("image", "pixel", "class"):
            raise ValueError(f"`weighting` must be 'image', 'pixel' or 'class', got {weighting!r}.")
        if not 0 <= min_share <= 1:
            raise ValueError(f"`min_share` is a share in [0, 1], got {min_share!r}.")
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` must lie in [0, 1), got {momentum!r}.")
        self.threshold = threshold
        self.weighting = weighting
        self.min_share = min_share
        self.momentum = momentum
        #: number of every class's pixels by confidence ``(C, BINS)``, with ``weighting="class"``; None before a step
        self.counts: torch.Tensor | None = None

    @torch.no_grad()
    def __call__(self, logits: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        Args:
            logits: the teacher's logits ``(B, C, *spatial)``.

        Returns:
            ``pseudo_prob`` ``(B, C, *spatial)``, and ``pseudo_label``, ``pseudo_confidence`` and ``pseudo_weight``
            ``(B, 1, *spatial)``.

        Raises:
            ValueError: when there is only one channel.
        """
        if logits.shape[1] < 2:
            raise ValueError(
                f"The network gives {logits.shape[1]} channel; pseudo-labels need one for each class, background "
                "included: build it with `out_channels` = number of classes, at least 2."
            )
        prob = logits.float().softmax(1)
        confidence, pseudo_label = prob.max(1, keepdim=True)
        if self.weighting == "class":
            thresholds = self._thresholds(confidence, pseudo_label, logits.shape[1])
            weight = (confidence >= thresholds[pseudo_label]).float()
        else:
            weight = (confidence >= self.threshold).float()
        if self.weighting == "image":
            weight = weight.flatten(1).mean(1).view(-1, *(1,) * (weight.ndim - 1)).expand_as(weight)
        return {
            Keys.PSEUDO_LABEL.value: pseudo_label,
            Keys.PSEUDO_PROB.value: prob,
            Keys.PSEUDO_CONFIDENCE.value: confidence,
            Keys.PSEUDO_WEIGHT.value: weight,
        }

    def state_dict(self) -> dict[str, Any]:
        """The count of every class's confidences."""
        return {"counts": self.counts}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """
        Take up what :py:meth:`state_dict` gave.

        Args:
            state_dict: the state.
        """
        self.counts = state_dict["counts"]

    def _thresholds(self, confidence: torch.Tensor, pseudo_label: torch.Tensor, num_classes: int) -> torch.Tensor:
        """Count a batch, and find every class's threshold ``(C,)``; nothing is read back from the device."""
        known = confidence.isfinite()  # a network may give no numbers
        step = (confidence.where(known, 0) * self.BINS).long().clamp_max(self.BINS - 1)
        place = (pseudo_label * self.BINS + step).flatten()
        batch = torch.zeros(num_classes * self.BINS, device=place.device)
        batch = batch.index_add_(0, place, known.flatten().to(batch.dtype)).view(num_classes, self.BINS)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(batch)
        before = torch.zeros_like(batch) if self.counts is None else self.counts.to(batch.device)
        self.counts = torch.where(batch.any(1, keepdim=True), self.momentum * before + batch, before)
        # pixels of at least a step's confidence; there are enough in as many steps as lie below the threshold
        at_least = self.counts.flip(1).cumsum(1).flip(1)
        enough = (at_least >= self.min_share * at_least[:, :1]).sum(1) - 1
        return (enough / self.BINS).clamp_max(self.threshold)
