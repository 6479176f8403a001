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
What the student learns from an unlabelled batch.

A method of one's own is a list of views, and needs neither another trainer nor a class:

    >>> import torch
    >>> from monai.losses import DiceCELoss
    >>> from monai.networks.nets import UNet
    >>> from monai_sscm.engines import PseudoLabeler, Ramp, SemiSupervisedTrainer, View
    >>> from monai_sscm.losses import WeightedDiceCELoss, WeightedMSELoss
    >>> from monai_sscm.transforms import RandStrongIntensity
    >>> def swap_halves(batch):  # the upper half of every image, pseudo-label and weight is the next one's
    ...     upper = torch.arange(32).view(1, 1, 32, 1) < 16
    ...     names = {"unlabeled_image": "mixed_image", "pseudo_label": "mixed_label", "pseudo_weight": "mixed_weight"}
    ...     return {name: torch.where(upper, batch[key].roll(-1, 0), batch[key]) for key, name in names.items()}
    >>> views = [
    ...     View(mix=swap_halves, augment=RandStrongIntensity(spatial_dims=2), loss=WeightedDiceCELoss()),
    ...     View(target="pseudo_prob", loss=WeightedMSELoss(), weight=Ramp(value=0.1, steps=500)),
    ... ]
    >>> network = UNet(spatial_dims=2, in_channels=1, out_channels=2, channels=(4, 8, 16), strides=(2, 2))
    >>> batch = {"image": torch.rand(2, 1, 32, 32), "label": torch.randint(0, 2, (2, 1, 32, 32))}
    >>> trainer = SemiSupervisedTrainer(
    ...     device="cpu",
    ...     max_epochs=1,
    ...     train_data_loader=[{**batch, "unlabeled_image": torch.rand(4, 1, 32, 32)}],
    ...     network=network,
    ...     optimizer=torch.optim.AdamW(network.parameters(), 1e-3),
    ...     loss_function=DiceCELoss(softmax=True, to_onehot_y=True),
    ...     views=views,
    ...     pseudo_labeler=PseudoLabeler(threshold=0.9, weighting="pixel"),
    ...     decollate=False,
    ... )
    >>> trainer.run()
    >>> [tuple(view["pred"].shape) for view in trainer.state.views]
    [(4, 2, 32, 32), (4, 2, 32, 32)]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .keys import SemiSupervisedKeys as Keys

__all__ = ["Ramp", "View", "weight_at"]


@dataclass(frozen=True)
class View:
    """
    One view of the unlabelled batch: how it is mixed and augmented, and what the student's prediction is compared with.

    Mean Teacher is a view without mix and with a soft target, FixMatch one with strong augmentation, ClassMix and
    SupMix are views with a mix. A method is a list of views; the trainer is always the same.

    Args:
        mix: dictionary transform on the batch, such as :py:class:`monai_sscm.transforms.SupervisedClassMixd`. It writes
            ``mixed_image``, ``mixed_label`` and, if pixels are to be weighted, ``mixed_weight``; with ``mixed_mask``,
            what was pasted is known to handlers. None: the unlabelled image with the teacher's target as they are.
        augment: strong augmentation of the image, batch in, batch out, that moves no pixel, such as
            :py:class:`monai_sscm.transforms.RandStrongIntensity`. None: none.
        perturb: perturbation of the student's features, such as :py:class:`monai_sscm.networks.FeatureDropout`: called
            with the network and the rows of the batch that are this view, it returns a context in which they are
            perturbed. None: none.
        target: without a mix, what the prediction is compared with: ``"pseudo_label"``, class indices, or
            ``"pseudo_prob"``, the teacher's probabilities.
        loss: called with prediction (logits), target and weight; a loss of :py:mod:`monai_sscm.losses`.
        weight: factor of the loss: a number, or a callable that is given the iteration (from 1) and returns one,
            such as :py:class:`Ramp`. In iterations where it is 0 the view is not computed.

    Raises:
        ValueError: when ``loss`` is missing or ``target`` is unknown.

    Example:
        >>> from monai_sscm.engines import Ramp, View
        >>> from monai_sscm.losses import WeightedCELoss, WeightedMSELoss
        >>> from monai_sscm.transforms import RandStrongIntensity
        >>> mean_teacher = View(target="pseudo_prob", loss=WeightedMSELoss(), weight=Ramp(value=0.1, steps=500))
        >>> fixmatch = View(augment=RandStrongIntensity(spatial_dims=2), loss=WeightedCELoss())
    """

    mix: Callable | None = None
    augment: Callable | None = None
    perturb: Callable[[nn.Module, slice], AbstractContextManager] | None = None
    target: str = Keys.PSEUDO_LABEL.value
    loss: Callable | None = None
    weight: float | Callable[[int], float] = 1.0

    def __post_init__(self) -> None:
        if self.loss is None:
            raise ValueError("A view needs a `loss`, called with (prediction, target, weight).")
        if self.target not in (Keys.PSEUDO_LABEL, Keys.PSEUDO_PROB):
            raise ValueError(f"`target` must be 'pseudo_label' or 'pseudo_prob', got {self.target!r}.")
        if self.mix is not None and self.target != Keys.PSEUDO_LABEL:
            raise ValueError("A view with a mix takes the mix's 'mixed_label' as its target: leave `target` out.")

    @torch.no_grad()
    def build(self, batch: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """
        The batch as the view shows it to the student.

        Args:
            batch: batch by key, with the pseudo-labels.

        Returns:
            ``image``, ``target``, ``weight`` and ``mask``.

        Raises:
            ValueError: when the batch has no unlabelled image, or the mix writes elsewhere.
        """
        if self.mix is not None:
            mixed = self.mix(batch)
            if Keys.MIXED_IMAGE not in mixed or Keys.MIXED_LABEL not in mixed:
                raise ValueError(
                    "A view's mix must write 'mixed_image' and 'mixed_label': set its "
                    "output_keys=('mixed_image', 'mixed_label', 'mixed_weight')."
                )
            image, target = mixed[Keys.MIXED_IMAGE], mixed[Keys.MIXED_LABEL]
            weight, mask = mixed.get(Keys.MIXED_WEIGHT), mixed.get(Keys.MIXED_MASK)
        elif Keys.UNLABELED_IMAGE in batch:
            image, target = batch[Keys.UNLABELED_IMAGE], batch[self.target]
            weight, mask = batch[Keys.PSEUDO_WEIGHT], None
        else:
            raise ValueError(f"A view needs 'unlabeled_image', the batch has {list(batch)}.")
        if self.augment is not None:
            image = self.augment(image)
        return {"image": image, "target": target, "weight": weight, "mask": mask}


@dataclass(frozen=True)
class Ramp:
    """
    Ramp-up of a weight over iterations: ``value * exp(-5 (1 - t / steps)^2)``, then constant.

    Laine, Aila, "Temporal ensembling for semi-supervised learning", ICLR 2017.

    Args:
        value: the weight after the ramp.
        steps: length of the ramp in iterations; 0 for none.

    Example:
        >>> from monai_sscm.engines import Ramp
        >>> ramp = Ramp(value=2.0, steps=100)
        >>> [round(ramp(t), 3) for t in (0, 50, 100, 1000)]
        [0.013, 0.573, 2.0, 2.0]
    """

    value: float = 1.0
    steps: int = 0

    def __call__(self, iteration: int) -> float:
        missing = 0.0 if iteration >= self.steps else 1 - iteration / self.steps
        return self.value * math.exp(-5 * missing**2)


def weight_at(weight: float | Callable[[int], float], iteration: int) -> float:
    """
    A weight that is a number or a function of the iteration.

    Args:
        weight: the number or the function.
        iteration: the iteration, from 1.
    """
    return weight(iteration) if callable(weight) else weight
