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

"""The names that the data loader, the trainer and the handlers share."""

from __future__ import annotations

from ignite.engine import EventEnum
from monai.utils.enums import StrEnum

__all__ = ["EVENT_COUNTERS", "SemiSupervisedEvents", "SemiSupervisedKeys"]


class SemiSupervisedKeys(StrEnum):
    """
    Keys of a batch, in the order in which they come to be, and of the trainer's ``state.output``.

    ``IMAGE`` and ``LABEL`` are MONAI's. The loader brings the first five; the teacher adds the pseudo-label's; a view's
    mix adds the mixed ones.
    """

    IMAGE = "image"
    LABEL = "label"
    UNLABELED_IMAGE = "unlabeled_image"
    DONOR_IMAGE = "donor_image"
    DONOR_LABEL = "donor_label"

    PSEUDO_LABEL = "pseudo_label"
    PSEUDO_PROB = "pseudo_prob"
    PSEUDO_CONFIDENCE = "pseudo_confidence"
    PSEUDO_WEIGHT = "pseudo_weight"

    MIXED_IMAGE = "mixed_image"
    MIXED_LABEL = "mixed_label"
    MIXED_WEIGHT = "mixed_weight"
    MIXED_MASK = "mixed_mask"

    SUPERVISED_LOSS = "supervised_loss"
    UNSUPERVISED_LOSS = "unsupervised_loss"
    ADVERSARIAL_LOSS = "adversarial_loss"
    DISCRIMINATOR_LOSS = "discriminator_loss"
    DISCRIMINATOR_ACCURACY = "discriminator_accuracy"


class SemiSupervisedEvents(EventEnum):
    """
    Events of :py:class:`monai_sscm.engines.SemiSupervisedTrainer`, beside MONAI's ``IterationEvents``. Each has a
    counter in ``engine.state``: ``pseudo_labels``, ``optimizer_steps``, ``skipped_steps``.

    - ``PSEUDO_LABEL_COMPLETED``: the teacher has labelled the unlabelled batch; ``state.pseudo`` holds what it said.
    - ``OPTIMIZER_STEP_COMPLETED``: student, discriminator and teacher have moved.
    - ``OPTIMIZER_STEP_SKIPPED``: a gradient was not finite, so nothing has moved.
    """

    PSEUDO_LABEL_COMPLETED = "pseudo_label_completed"
    OPTIMIZER_STEP_COMPLETED = "optimizer_step_completed"
    OPTIMIZER_STEP_SKIPPED = "optimizer_step_skipped"


EVENT_COUNTERS = {
    SemiSupervisedEvents.PSEUDO_LABEL_COMPLETED: "pseudo_labels",
    SemiSupervisedEvents.OPTIMIZER_STEP_COMPLETED: "optimizer_steps",
    SemiSupervisedEvents.OPTIMIZER_STEP_SKIPPED: "skipped_steps",
}
