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

"""A trainer that ends, however often it was stopped and resumed, as if it had never been stopped."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer, Workflow
from monai.transforms import Randomizable

from monai_sscm.data import SemiSupervisedLoader
from monai_sscm.networks import weight_sums

from .keys import EVENT_COUNTERS, SemiSupervisedEvents

__all__ = ["ResumableTrainer"]

_logger = logging.getLogger(__name__)


class ResumableTrainer(SupervisedTrainer):
    """
    MONAI's ``SupervisedTrainer``, made to be stopped after any optimizer step and to go on from its state.

    What is random in an iteration depends on the seed, the iteration and the rank, not on what ran before. A
    :py:class:`monai_sscm.data.SemiSupervisedLoader` is told which epoch comes and how many of its batches were used.
    The state has the gradient scaler and the counters of :py:class:`monai_sscm.engines.SemiSupervisedEvents`. Weights
    that others load into the network between its runs, or while one starts, as hosts of bundles do, are noticed.

    Args:
        args: device, max_epochs, train_data_loader, network, optimizer and loss_function, as in
            :py:class:`monai.engines.SupervisedTrainer`.
        seed: torch's generators (dropout) and random transforms of the step are seeded anew before every iteration from
            it, the iteration and the rank. So a run that is stopped and taken up again, see
            :py:class:`monai_sscm.handlers.CheckpointHandler`, ends as if it had not been stopped.
        amp: automatic mixed precision on the device's own type: float16 with a gradient scaler on CUDA, bfloat16 on the
            CPU, unless ``amp_kwargs`` names a ``dtype``.
        optim_set_to_none: whether gradients are removed and not set to zero before they are computed, as in PyTorch.
        event_names, event_to_attr: events beside those of :py:class:`monai_sscm.engines.SemiSupervisedEvents`, and the
            counters of those that have one.
        kwargs: further arguments of ``SupervisedTrainer``.

    Raises:
        ValueError: when ``epoch_length`` is not the loader's.

    Example:
        >>> import torch
        >>> from monai_sscm.engines import ResumableTrainer
        >>> batch = {"image": torch.rand(2, 1, 8, 8), "label": torch.rand(2, 1, 8, 8)}
        >>> network = torch.nn.Conv2d(1, 1, 1)
        >>> optimizer = torch.optim.SGD(network.parameters(), 0.1)
        >>> trainer = ResumableTrainer("cpu", 1, [batch], network, optimizer, torch.nn.MSELoss(), decollate=False)
        >>> trainer.run()
        >>> sorted(trainer.state_dict())[-3:]
        ['scaler', 'seed', 'skipped_steps']
    """

    def __init__(
        self,
        *args: Any,
        seed: int = 0,
        amp: bool = False,
        optim_set_to_none: bool = True,
        event_names: Sequence | None = None,
        event_to_attr: Mapping | None = None,
        **kwargs: Any,
    ) -> None:
        self.seed = seed
        kwargs |= {"amp": amp, "optim_set_to_none": optim_set_to_none}
        kwargs["event_names"] = [*(event_names or []), SemiSupervisedEvents]
        kwargs["event_to_attr"] = {**(event_to_attr or {}), **EVENT_COUNTERS}
        super().__init__(*args, **kwargs)
        if isinstance(self.data_loader, SemiSupervisedLoader) and self.state.epoch_length != len(self.data_loader):
            raise ValueError(
                f"`epoch_length` is {self.state.epoch_length}, but the loader's epochs have {len(self.data_loader)} "
                "batches: set it in the loader, whose orders and seeds go by its own epochs."
            )
        if amp:
            half = self.amp_kwargs.get("dtype", torch.get_autocast_dtype(self.state.device.type)) == torch.float16
            self.scaler = torch.amp.GradScaler(self.state.device.type, enabled=half)  # type: ignore[assignment]
        # the weights as this trainer left them; None where a checkpoint of the trainer brings others
        self._left: list[float] | None = weight_sums(self.network)
        self.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        self.add_event_handler(Events.ITERATION_STARTED, self._seed)

    def run(self) -> None:  # type: ignore[override]
        """Run the training."""
        # behind all handlers that load weights
        with self.add_event_handler(Events.STARTED, self._look_for_weights):
            try:
                # not Trainer.run, which would replace the gradient scaler and lose its state
                Workflow.run(self)
            finally:
                self._left = weight_sums(self.network)

    def _look_for_weights(self) -> None:
        if self._left is not None and weight_sums(self.network) != self._left:
            _logger.info("The training starts with weights that were loaded into its network.")
            self._weights_loaded()

    def _weights_loaded(self) -> None:
        """What follows from other weights in the network than this trainer left there: nothing."""

    def state_dict(self) -> dict[str, Any]:  # type: ignore[override]
        """The engine's state, its counters, the seed and the gradient scaler."""
        return {
            **super().state_dict(),
            **{name: getattr(self.state, name) for name in EVENT_COUNTERS.values()},
            "seed": self.seed,
            "scaler": {} if self.scaler is None else self.scaler.state_dict(),
        }

    def load_state_dict(self, state_dict: Mapping) -> None:
        """
        Take up what :py:meth:`state_dict` gave; the seed is this trainer's.

        Args:
            state_dict: the state.
        """
        self._left = None
        state = dict(state_dict)
        state.pop("seed")
        scaler = state.pop("scaler")
        if self.scaler is not None and scaler:
            self.scaler.load_state_dict(scaler)
        for name in EVENT_COUNTERS.values():
            setattr(self.state, name, state.pop(name))
        super().load_state_dict(state)

    @property
    def between_steps(self) -> bool:
        """Whether no gradients wait for further iterations of their accumulation group."""
        return self.state.iteration == 0 or self._accumulation()[1]

    def _accumulation(self) -> tuple[bool, bool]:
        """Whether this iteration is the first, and whether it is the last, of those that share an optimizer step."""
        length = self.state.epoch_length
        position = self.state.iteration - 1 if length is None else (self.state.iteration - 1) % length
        first = position % self.accumulation_steps == 0
        last = (position + 1) % self.accumulation_steps == 0 or position + 1 == length
        return first, last

    def _precision(self) -> torch.autocast:
        """Mixed precision, if there is any."""
        return torch.autocast(self.state.device.type, enabled=self.amp, **self.amp_kwargs)

    def _backward(self, loss: torch.Tensor) -> None:
        """Gradients of a loss, as this iteration's share of those of its accumulation group."""
        loss = loss / self.accumulation_steps
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def _start_epoch(self) -> None:
        """Tell the loader which epoch comes, and how many of its batches were used before a stop."""
        if isinstance(self.data_loader, SemiSupervisedLoader):
            used = self.state.iteration - (self.state.epoch - 1) * len(self.data_loader)
            self.data_loader.set_epoch(self.state.epoch, start=used)

    def _seed(self) -> None:
        """Make what is random in an iteration depend on seed, iteration and rank, not on what ran before."""
        sequence = np.random.SeedSequence([self.seed, self.state.iteration, self.state.rank])
        transforms = self._random_transforms()
        of_torch, *of_transforms = sequence.generate_state(1 + len(transforms)).tolist()
        torch.manual_seed(of_torch)
        for transform, seed in zip(transforms, of_transforms, strict=True):
            transform.set_random_state(seed=seed)

    def _random_transforms(self) -> list[Randomizable]:
        """The random transforms of a step, in an order that stays."""
        return []

    def _fire(self, event: SemiSupervisedEvents) -> None:
        """Count an event and tell its handlers."""
        name = EVENT_COUNTERS[event]
        setattr(self.state, name, getattr(self.state, name) + 1)
        self.fire_event(event)
