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

"""How good the pseudo-labels seem, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from ignite.engine import Engine, Events

from monai_sscm.engines.keys import SemiSupervisedKeys as Keys

from .alarm import Alarm

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["PseudoLabelStats", "pseudo_label_stats"]


@torch.no_grad()
def pseudo_label_stats(
    pseudo: dict[str, torch.Tensor],
    views: Sequence[dict[str, Any]],
    class_names: Sequence[str],
    threshold: float | None,
) -> dict[str, float]:
    """
    Figures on the pseudo-labels of one batch; an image-wide confidence is mostly the background's, these are not.

    For every class c: ``pseudo_share_c``, the share of pixels that the teacher gives to c; ``pseudo_confidence_c``, its
    mean highest probability there; ``pseudo_confident_c``, the share of them at or above the threshold; and, if there
    is a view, ``pseudo_agreement_c``, the share of the first view's target pixels of class c, pasted ones left out,
    that the student predicts alike. Figures of a class without pixels are nan. ``pseudo_weight`` is the mean weight of
    all pixels, as the teacher's confidence gives it, before a view changes it.

    Args:
        pseudo: ``trainer.state.pseudo``.
        views: ``trainer.state.views``.
        class_names: names of the classes in the order of their indices.
        threshold: confidence from which a pixel counts as confident. None: there is none, and no
            ``pseudo_confident_c``.
    """
    label, confidence = pseudo[Keys.PSEUDO_LABEL], pseudo[Keys.PSEUDO_CONFIDENCE]
    stats = {"pseudo_weight": float(pseudo[Keys.PSEUDO_WEIGHT].mean())}
    if views:
        pred, target, mask = views[0]["pred"], views[0]["target"], views[0]["mask"]
        pred = pred if isinstance(pred, torch.Tensor) else pred[0]
        target = target if target.shape[1] == 1 else target.argmax(1, keepdim=True)
        alike = pred.argmax(1, keepdim=True) == target
        received = torch.ones_like(alike) if mask is None else ~mask
    for c, name in enumerate(class_names):
        here = label == c
        stats[f"pseudo_share_{name}"] = float(here.float().mean())
        stats[f"pseudo_confidence_{name}"] = float(confidence[here].mean())
        if threshold is not None:
            stats[f"pseudo_confident_{name}"] = float((confidence[here] >= threshold).float().mean())
        if views:
            stats[f"pseudo_agreement_{name}"] = float(alike[received & (target == c)].float().mean())
    return stats


class PseudoLabelStats:
    """
    Handler of a :py:class:`monai_sscm.engines.SemiSupervisedTrainer`: every so many iterations it puts
    :py:func:`pseudo_label_stats` into ``engine.state.pseudo_stats`` and into TensorBoard.

    It warns when the pseudo-labels have collapsed, that is when at ``patience`` readings in a row all pixels were of
    one class, or less than ``min_weight`` of them were confident.

    Args:
        class_names: names of the classes in the order of their indices.
        summary_writer: TensorBoard's writer; None writes nowhere.
        interval: iterations from one to the next.
        patience: readings in a row that must be bad for a warning.
        min_weight: mean weight of the pseudo-labels below which a reading is bad, in [0, 1].
    """

    def __init__(
        self,
        class_names: Sequence[str],
        summary_writer: SummaryWriter | None = None,
        interval: int = 50,
        patience: int = 4,
        min_weight: float = 0.01,
    ) -> None:
        self.class_names = tuple(class_names)
        self.summary_writer = summary_writer
        self.interval = interval
        self.min_weight = min_weight
        self.alarm = Alarm(patience)

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: the trainer.
        """
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self)

    def __call__(self, engine: Any) -> None:
        """
        Args:
            engine: the trainer.
        """
        if not engine.state.pseudo:
            return
        # a pseudo-labeler of the user's own may have none
        threshold = getattr(engine.pseudo_labeler, "threshold", None)
        engine.state.pseudo_stats = pseudo_label_stats(
            engine.state.pseudo, engine.state.views, self.class_names, threshold
        )
        if self.summary_writer is not None:
            for name, value in engine.state.pseudo_stats.items():
                self.summary_writer.add_scalar(name, value, engine.state.iteration)
        self._warn(engine.state.pseudo_stats, threshold)

    def _warn(self, stats: dict[str, float], threshold: float | None) -> None:
        wanted = "any weight" if threshold is None else f"a confidence of {threshold} or more"
        for name in self.class_names:
            self.alarm(
                name,
                stats[f"pseudo_share_{name}"] == 1,
                f"The teacher has given all pixels of the unlabeled images to {name!r} at {self.alarm.patience} "
                "readings in a row: the pseudo-labels have collapsed. Look whether labeled and unlabeled images have "
                "the same intensities and scale, lengthen the ramp-up, weigh the view less, crop labeled images "
                "around the rare classes, or label more images.",
            )
        self.alarm(
            "weight",
            stats["pseudo_weight"] < self.min_weight,
            f"Less than {self.min_weight:.0%} of the unlabeled pixels had {wanted} at {self.alarm.patience} "
            "readings in a row, so next to nothing is learned from them: lower the confidence threshold, train longer, "
            "or look whether the unlabeled images are like the labeled ones.",
        )
