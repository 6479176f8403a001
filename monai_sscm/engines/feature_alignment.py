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

"""The Sup-Unsup Feature Discriminator: features of unlabelled images become like those of labelled ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.optimizer import Optimizer

from monai_sscm.losses import adversarial_loss, discriminator_loss
from monai_sscm.networks import FeatureTap, unwrap

from .batch import concatenate
from .keys import SemiSupervisedKeys as Keys
from .view import weight_at

__all__ = ["FeatureAlignment", "one_alignment"]


class FeatureAlignment:
    """
    A discriminator learns to tell labelled from unlabelled images by the student's features, and the student learns
    features by which it cannot.

    Features are of the images as the loader brings them, never of the mixed ones: where something was pasted is where
    a class is, so a discriminator that is told so, or that sees the surroundings, learns to tell the classes apart and
    not the images.

    Mano, Saito, Hotta, "Accuracy Improvement of Semi-Supervised Segmentation Using Supervised ClassMix and
    Sup-Unsup Feature Discriminator", VISAPP 2025.

    Args:
        discriminator: network from a feature map to logits, positive for labelled images, such as
            :py:class:`monai_sscm.networks.FeatureDiscriminator`.
        optimizer: its optimizer.
        layer: name of the student's layer whose output the discriminator sees.
        weight: factor of the adversarial loss: a number, or a callable of the iteration.
        interval: the discriminator is asked, and learns, every so many iterations; the adversarial loss is multiplied
            by this number.

    Raises:
        ValueError: when ``interval`` is less than 1.

    Example:
        >>> import torch
        >>> from monai.networks.nets import UNet
        >>> from monai_sscm.engines import FeatureAlignment
        >>> from monai_sscm.networks import FeatureDiscriminator
        >>> network = UNet(spatial_dims=2, in_channels=1, out_channels=2, channels=(4, 8, 16), strides=(2, 2))
        >>> discriminator = FeatureDiscriminator(spatial_dims=2, in_channels=4)
        >>> optimizer = torch.optim.Adam(discriminator.parameters(), 1e-4)
        >>> alignment = FeatureAlignment(discriminator, optimizer, layer="model.0")
        >>> batch = {"image": torch.rand(2, 1, 32, 32), "unlabeled_image": torch.rand(3, 1, 32, 32)}
        >>> with alignment.attach(network) as tap:
        ...     logits = network(batch["image"])
        ...     of_labeled, of_unlabeled = alignment.features(tap.read(), batch)
        >>> alignment.adversarial_loss(of_unlabeled).backward()
        >>> sorted(map(str, alignment.discriminator_step(of_labeled.detach(), of_unlabeled.detach())))
        ['discriminator_accuracy', 'discriminator_loss']
    """

    def __init__(
        self,
        discriminator: nn.Module,
        optimizer: Optimizer,
        layer: str,
        weight: float | Callable[[int], float] = 0.01,
        interval: int = 1,
    ) -> None:
        if interval < 1:
            raise ValueError(f"`interval` (the trainer's `adversarial_interval`) must be at least 1, got {interval!r}.")
        self.discriminator = discriminator
        self.optimizer = optimizer
        self.layer = layer
        self.weight = weight
        self.interval = interval

    def attach(self, network: nn.Module) -> FeatureTap:
        """
        Find the layer.

        Args:
            network: the student.

        Returns:
            the tap, which is also ``feature_tap``; the student carries its hook within a ``with`` block.

        Raises:
            ValueError: when there is no such layer, or the student is compiled.
        """
        if any(hasattr(module, "_orig_mod") for module in network.modules()):
            raise ValueError("A discriminator cannot be combined with `compile`: compiled layers are not tapped.")
        self.feature_tap = FeatureTap(network, self.layer)
        return self.feature_tap

    def is_due(self, iteration: int) -> bool:
        """
        Whether the discriminator is asked.

        Args:
            iteration: the iteration, from 1.
        """
        return iteration % self.interval == 0

    def factor(self, iteration: int) -> float:
        """
        What the adversarial loss is multiplied by.

        Args:
            iteration: the iteration, from 1.
        """
        return weight_at(self.weight, iteration) * self.interval

    def features(self, features: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """
        The student's features of labelled and of unlabelled images.

        Args:
            features: those of the student's pass, in which the labelled images came first.
            batch: batch by key, with ``image`` and ``unlabeled_image``.

        Raises:
            ValueError: when there is no unlabelled image.
        """
        if Keys.UNLABELED_IMAGE not in batch:
            raise ValueError(f"The discriminator needs 'unlabeled_image', the batch has {list(batch)}.")
        image, unlabeled = batch[Keys.IMAGE], batch[Keys.UNLABELED_IMAGE]
        if not any(isinstance(module, _BatchNorm) for module in self.feature_tap.network.modules()):
            return features[: len(image)], self.feature_tap.forward_until(unlabeled)
        # statistics of different batches would give away which is which: both go through together
        joint = self.feature_tap.forward_until(concatenate([image, unlabeled]))
        return joint[: len(image)], joint[len(image) :]

    def adversarial_loss(self, unlabeled: torch.Tensor) -> torch.Tensor:
        """
        The student's loss, whose gradient goes through the discriminator and not into it.

        Args:
            unlabeled: features of unlabelled images.
        """
        discriminator = unwrap(self.discriminator)
        parameters = [p for p in discriminator.parameters() if p.requires_grad]
        for p in parameters:
            p.requires_grad_(False)
        logits = discriminator(unlabeled)
        for p in parameters:
            p.requires_grad_(True)
        return adversarial_loss(logits)

    def discriminator_step(self, labeled: torch.Tensor, unlabeled: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        The discriminator's loss, with its graph, and accuracy.

        Args:
            labeled: features of labelled images, detached.
            unlabeled: features of unlabelled images, detached.
        """
        logits = self.discriminator(torch.cat([labeled, unlabeled]))
        of_labeled, of_unlabeled = logits[: len(labeled)], logits[len(labeled) :]
        with torch.no_grad():
            accuracy = 0.5 * ((of_labeled > 0).float().mean() + (of_unlabeled < 0).float().mean())
        return {
            Keys.DISCRIMINATOR_LOSS.value: discriminator_loss(of_labeled, of_unlabeled),
            Keys.DISCRIMINATOR_ACCURACY.value: accuracy,
        }

    def state_dict(self) -> dict[str, Any]:
        """The discriminator and its optimizer."""
        return {
            "discriminator": unwrap(self.discriminator).state_dict(),
            "discriminator_optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """
        Take up what :py:meth:`state_dict` gave.

        Args:
            state_dict: the state; further entries are left alone.
        """
        unwrap(self.discriminator).load_state_dict(state_dict["discriminator"])
        self.optimizer.load_state_dict(state_dict["discriminator_optimizer"])


def one_alignment(
    ready: FeatureAlignment | None,
    discriminator: nn.Module | None,
    optimizer: Optimizer | None,
    layer: str | None,
    weight: float | Callable[[int], float],
    interval: int,
) -> FeatureAlignment | None:
    """
    The alignment that a trainer's arguments stand for: a ready-made one, one of its parts, or none.

    Raises:
        ValueError: when a part is missing, or both are given.
    """
    if discriminator is None and optimizer is None:
        return ready
    if discriminator is None or optimizer is None or layer is None:
        raise ValueError(
            "`discriminator` needs `discriminator_optimizer` and `feature_layer`; without it, leave them out."
        )
    if ready is not None:
        raise ValueError("Pass either `feature_alignment` or a `discriminator`, not both.")
    return FeatureAlignment(discriminator, optimizer, layer, weight, interval)
