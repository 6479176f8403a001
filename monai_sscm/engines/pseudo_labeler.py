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

    With ``weighting="class"`` every class has a threshold of its own that follows the teacher: the moving mean of the
    confidence of the pixels that it calls so, at most ``threshold``. So a class that the teacher is never sure of, such
    as a soft lesion, still teaches with its better half, and an easy one is held to ``threshold``. A class that is
    absent from a batch keeps its mean. Several processes share their means.

    Args:
        threshold: confidence from which a pixel counts as confident, in [0, 1].
        weighting: the pseudo-label's weight: ``"image"``, the share of confident pixels of the image on all its pixels;
            ``"pixel"``, 1 on confident pixels and 0 elsewhere; ``"class"``, the same with a threshold for each class.
        momentum: share of a class's mean confidence that stays at a step, with ``"class"``.

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

    #: every class's mean confidence before it is seen
    START = 0.85

    def __init__(self, threshold: float = 0.95, weighting: str = "image", momentum: float = 0.99) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"`threshold` is a probability in [0, 1], got {threshold!r}.")
        if weighting not in ("image", "pixel", "class"):
            raise ValueError(f"`weighting` must be 'image', 'pixel' or 'class', got {weighting!r}.")
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` must lie in [0, 1), got {momentum!r}.")
        self.threshold = threshold
        self.weighting = weighting
        self.momentum = momentum
        #: mean confidence of every class ``(C,)``, with ``weighting="class"``; None before the first step
        self.class_confidence: torch.Tensor | None = None

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
            thresholds = self._follow(confidence, pseudo_label, logits.shape[1]).clamp_max(self.threshold)
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
        """The mean confidence of every class."""
        return {"class_confidence": self.class_confidence}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """
        Take up what :py:meth:`state_dict` gave.

        Args:
            state_dict: the state.
        """
        self.class_confidence = state_dict["class_confidence"]

    def _follow(self, confidence: torch.Tensor, pseudo_label: torch.Tensor, num_classes: int) -> torch.Tensor:
        """Move the classes' mean confidences by those of a batch; nothing is read back from the device."""
        if self.class_confidence is None:
            self.class_confidence = torch.full((num_classes,), self.START)
        mean = self.class_confidence.to(confidence.device)
        index = pseudo_label.flatten()
        seen = torch.stack([confidence.flatten(), torch.ones_like(confidence).flatten()], dim=1)
        total, number = torch.zeros(num_classes, 2, device=mean.device).index_add_(0, index, seen).unbind(1)
        if distributed.is_available() and distributed.is_initialized():
            both = torch.stack([total, number])
            distributed.all_reduce(both)
            total, number = both
        moved = self.momentum * mean + (1 - self.momentum) * total / number.clamp_min(1)
        # a class that is not there keeps its mean, and all do where a network gives no numbers
        self.class_confidence = torch.where((number > 0) & total.isfinite(), moved, mean)
        return self.class_confidence
