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

"""Whether the discriminator learns something general or remembers the labelled images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from ignite.engine import Engine, Events

from monai_sscm.engines.keys import SemiSupervisedKeys as Keys
from monai_sscm.networks import unwrap

from .alarm import Alarm

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["DiscriminatorStats"]


class DiscriminatorStats:
    """
    Handler of a :py:class:`monai_sscm.engines.SemiSupervisedTrainer` with a discriminator: the share of patches that
    the discriminator takes for labelled, of the labelled batch, of the unlabelled batch, and of images that it never
    learns from.

    A discriminator with a few labelled images can learn them by heart: then it takes these for labelled and the
    held-out images, which are like them, for unlabelled. Shares near 0.5 everywhere are what the student aims at. The
    figures, taken with the student in evaluation mode, go as ``judged_labeled_labeled``, ``judged_labeled_unlabeled``
    and ``judged_labeled_held_out`` to ``engine.state.discriminator_stats`` and to TensorBoard.

    It warns when at ``patience`` readings in a row the discriminator won, that is told ``max_accuracy`` of the patches
    rightly, or knew the labelled images by heart, that is found held-out images no more like them than unlabelled ones.

    Args:
        held_out: batches with ``image``, of images that are in neither stream, such as crops of validation images; read
            again from the start when it ends. None: there are none, and it cannot be told whether the discriminator
            knows the labelled images by heart.
        summary_writer: TensorBoard's writer; None writes nowhere.
        interval: iterations from one to the next.
        patience: readings in a row that must be bad for a warning.
        max_accuracy: mean share of rightly judged patches of labelled and of unlabelled images from which a reading is
            bad, above 0.5.
    """

    def __init__(
        self,
        held_out: Iterable[dict[str, Any]] | None,
        summary_writer: SummaryWriter | None = None,
        interval: int = 50,
        patience: int = 4,
        max_accuracy: float = 0.95,
    ) -> None:
        self.held_out = held_out
        self.summary_writer = summary_writer
        self.interval = interval
        self.max_accuracy = max_accuracy
        self.alarm = Alarm(patience)
        self._batches: Iterator[dict[str, Any]] = iter(())

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: the trainer.
        """
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self)

    @torch.no_grad()
    def __call__(self, engine: Any) -> None:
        """
        Args:
            engine: the trainer.
        """
        alignment = engine.feature_alignment
        if alignment is None:
            return
        output = engine.state.output
        labeled = torch.stack([x[Keys.IMAGE] for x in output]) if isinstance(output, list) else output[Keys.IMAGE]
        images = {"labeled": labeled}
        if self.held_out is not None:
            images["held_out"] = self._next_held_out(self.held_out)
        if Keys.UNLABELED_IMAGE in engine.state.pseudo:
            images["unlabeled"] = engine.state.pseudo[Keys.UNLABELED_IMAGE]
        # in evaluation mode, so that held-out images leave no trace in running statistics
        engine.network.eval()
        stats = {}
        for name, image in images.items():
            plain = torch.as_tensor(image).to(engine.state.device)
            logits = unwrap(alignment.discriminator)(alignment.feature_tap.forward_until(plain))
            stats[f"judged_labeled_{name}"] = float((logits > 0).float().mean())
        engine.network.train()
        engine.state.discriminator_stats = stats
        if self.summary_writer is not None:
            for name, value in stats.items():
                self.summary_writer.add_scalar(name, value, engine.state.iteration)
        if "unlabeled" in images:
            labeled_share, unlabeled_share = (stats[f"judged_labeled_{name}"] for name in ("labeled", "unlabeled"))
            self._warn(labeled_share, unlabeled_share, stats.get("judged_labeled_held_out"))

    def _next_held_out(self, held_out: Iterable[dict[str, Any]]) -> Any:
        batch = next(self._batches, None)
        if batch is None:
            self._batches = iter(held_out)
            batch = next(self._batches, None)
            if batch is None:
                raise ValueError("`held_out` is empty: it needs batches with 'image'.")
        return batch[Keys.IMAGE]

    def _warn(self, labeled: float, unlabeled: float, held_out: float | None) -> None:
        wins = (labeled + 1 - unlabeled) / 2 >= self.max_accuracy
        self.alarm(
            "accuracy",
            wins,
            f"The discriminator has told labeled from unlabeled images in {self.max_accuracy:.0%} of the patches or "
            f"more at {self.alarm.patience} readings in a row: it wins, and the student cannot follow it. Lower its "
            "learning rate, ask it less often (`adversarial_interval`), or see what tells the images apart: another "
            "scanner, another scale, other borders.",
        )
        self.alarm(
            "memory",
            wins and held_out is not None and held_out - unlabeled < 0.1,
            "The discriminator knows the labeled images by heart: it takes held-out images, which are like them, for "
            "unlabeled ones. Label more images, augment them more strongly, or lower its learning rate.",
        )
