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

import torch

from .keys import SemiSupervisedKeys as Keys

__all__ = ["PseudoLabeler"]


class PseudoLabeler:
    """
    From the teacher's logits to pseudo-labels, probabilities, confidences and weights.

    The pseudo-label of a pixel is its most probable class, the confidence that class's probability. Any callable that
    takes logits and returns these four entries can take its place in the trainer.

    Args:
        threshold: confidence from which a pixel counts as confident, in [0, 1].
        weighting: the pseudo-label's weight: ``"image"``, the share of confident pixels of the image on all its pixels;
            ``"pixel"``, 1 on confident pixels and 0 elsewhere.

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

    def __init__(self, threshold: float = 0.95, weighting: str = "image") -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"`threshold` is a probability in [0, 1], got {threshold!r}.")
        if weighting not in ("image", "pixel"):
            raise ValueError(f"`weighting` must be 'image' or 'pixel', got {weighting!r}.")
        self.threshold = threshold
        self.weighting = weighting

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
        weight = (confidence >= self.threshold).float()
        if self.weighting == "image":
            weight = weight.flatten(1).mean(1).view(-1, *(1,) * (weight.ndim - 1)).expand_as(weight)
        return {
            Keys.PSEUDO_LABEL.value: pseudo_label,
            Keys.PSEUDO_PROB.value: prob,
            Keys.PSEUDO_CONFIDENCE.value: confidence,
            Keys.PSEUDO_WEIGHT.value: weight,
        }
