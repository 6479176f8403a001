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

"""The pair of losses between a student and the feature discriminator, on logits."""

from __future__ import annotations

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

__all__ = ["adversarial_loss", "discriminator_loss"]


def adversarial_loss(unlabeled_logits: torch.Tensor) -> torch.Tensor:
    """
    What the student minimizes: the discriminator should take unlabelled images for labelled ones.

    The mean of ``-log(sigmoid(logit))`` over the patches, safe in every precision.

    Args:
        unlabeled_logits: what the discriminator says of unlabelled images, ``(B, 1, *patches)``.

    Example:
        >>> import torch
        >>> from monai_sscm.losses import adversarial_loss
        >>> round(float(adversarial_loss(torch.zeros(2, 1, 4, 4))), 4)
        0.6931
    """
    return _mean_bce(unlabeled_logits, 1.0)


def discriminator_loss(labeled_logits: torch.Tensor, unlabeled_logits: torch.Tensor) -> torch.Tensor:
    """
    What the discriminator minimizes: labelled images are 1, unlabelled ones 0, both sides count the same.

    Half the binary cross-entropy of each side, whatever their batch sizes.

    Args:
        labeled_logits: what the discriminator says of labelled images, ``(B, 1, *patches)``.
        unlabeled_logits: what it says of unlabelled images, ``(B, 1, *patches)``.

    Example:
        >>> import torch
        >>> from monai_sscm.losses import discriminator_loss
        >>> round(float(discriminator_loss(torch.zeros(4, 1, 4, 4), torch.zeros(2, 1, 4, 4))), 4)
        0.6931
    """
    return 0.5 * (_mean_bce(labeled_logits, 1.0) + _mean_bce(unlabeled_logits, 0.0))


def _mean_bce(logits: torch.Tensor, target: float) -> torch.Tensor:
    logits = logits.float()
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
