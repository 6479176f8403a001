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

"""A client of a federation, whose trainer runs once a round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ignite.engine import Events

from monai_sscm.networks import unwrap, update_teacher

from .saving import save_checkpoint

__all__ = ["FederatedRounds"]


class FederatedRounds:
    """
    Handler of a :py:class:`monai_sscm.engines.SemiSupervisedTrainer` that :py:class:`monai.fl.client.MonaiAlgo` runs,
    once a round, from the aggregated weights, which it puts into the student.

    When a round begins the teacher becomes a copy of the student, so that it labels by what all clients have learned,
    and is its moving average within the round. When it ends, ``models/model_final.pt`` are the student's weights, which
    are those that go to the server; the teacher's are in ``models/model.pt``, by the
    :py:class:`monai_sscm.handlers.CheckpointHandler` before it.

    Args:
        output_dir: folder to write to.
        max_epochs: epochs of all rounds together, over which the learning rate falls.

    Raises:
        ValueError: when a round would begin after them, with a learning rate of 0.

    Example:
        >>> import tempfile
        >>> from monai_sscm.handlers import FederatedRounds
        >>> handler = FederatedRounds(tempfile.mkdtemp(), max_epochs=30)  # among the trainer's `train_handlers`
    """

    def __init__(self, output_dir: str | Path, max_epochs: int) -> None:
        self.path = Path(output_dir) / "models" / "model_final.pt"
        self.max_epochs = max_epochs

    def attach(self, engine: Any) -> None:
        """
        Args:
            engine: the trainer.
        """
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.COMPLETED, self._complete)

    def _start(self, engine: Any) -> None:
        if engine.state.max_epochs > self.max_epochs:
            raise ValueError(
                f"This round ends after {engine.state.max_epochs} epochs, but the learning rate falls to 0 over "
                f"`max_epochs`={self.max_epochs}: give as `max_epochs`, in `train_kwargs`, rounds times local epochs."
            )
        update_teacher(engine.teacher, engine.network, decay=0.0)

    def _complete(self, engine: Any) -> None:
        save_checkpoint(unwrap(engine.network).state_dict(), self.path)
