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

"""The step of all optimizers, which is taken only where every gradient is finite."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import nn
from torch.optim.optimizer import Optimizer

__all__ = ["GuardedStep"]


class GuardedStep:
    """
    Lets all optimizers step, or none of them: where a gradient is NaN or infinite, all is left as it was before.

    What a forward pass changes, running statistics and the like, is kept by :py:meth:`open`, before the first of the
    iterations whose gradients add up, and brought back by :py:meth:`close`, after the last, if the step is skipped.

    Args:
        max_skipped: how many skipped steps in a row are an error, see :py:meth:`check`; more than a gradient scaler
            needs to find its scale.

    Example:
        >>> import torch
        >>> from monai_sscm.engines import GuardedStep
        >>> network = torch.nn.Linear(1, 1)
        >>> optimizer, guarded = torch.optim.SGD(network.parameters(), 0.1), GuardedStep()
        >>> guarded.open([network])
        >>> network(torch.ones(1, 1)).sum().backward()
        >>> guarded.close([optimizer], iteration=1)
        True
    """

    def __init__(self, max_skipped: int = 50) -> None:
        self.max_skipped = max_skipped
        self.skipped_in_a_row = 0
        self._modules: list[nn.Module] = []
        self._saved: list[torch.Tensor] = []

    def open(self, modules: Sequence[nn.Module]) -> None:
        """
        Before the first forward pass that leads to the step.

        Args:
            modules: networks whose buffers are brought back if the step is skipped.
        """
        self._modules = list(modules)
        self._saved = [buffer.clone() for buffer in self._buffers()]

    def close(
        self, optimizers: Sequence[Optimizer], iteration: int, scaler: torch.amp.GradScaler | None = None
    ) -> bool:
        """
        Step, after the last backward pass.

        Args:
            optimizers: those whose parameters have gradients move.
            iteration: the iteration, for messages.
            scaler: scaler of the gradients. None: they are not scaled.

        Returns:
            whether the optimizers have moved.
        """
        gradients = {optimizer: _gradients(optimizer) for optimizer in optimizers}
        moving = [optimizer for optimizer in optimizers if gradients[optimizer]]
        if scaler is not None:
            for optimizer in moving:
                scaler.unscale_(optimizer)
        # the norm after DDP's reduction is the same on every rank, and so is the decision
        norm = torch.nn.utils.get_total_norm([g for optimizer in moving for g in gradients[optimizer]])
        is_finite = bool(norm.isfinite())
        if is_finite:
            for optimizer in moving:
                optimizer.step() if scaler is None else scaler.step(optimizer)
            self.skipped_in_a_row = 0
        else:
            for buffer, saved in zip(self._buffers(), self._saved, strict=True):
                buffer.copy_(saved)
            self.skipped_in_a_row += 1
            # a gradient scaler that looks for its scale overflows now and then, but not on and on
            if scaler is None or not scaler.is_enabled() or self.skipped_in_a_row % 10 == 0:
                warnings.warn(
                    f"Iteration {iteration}: a gradient is NaN or infinite, so this step is skipped "
                    f"({self.skipped_in_a_row} in a row). If this goes on, look for NaN in the images, lower the "
                    "learning rate or clip the gradients."
                )
        if scaler is not None and moving:
            scaler.update()
        return is_finite

    def check(self, iteration: int) -> None:
        """
        End the training where nothing is learned any more.

        Args:
            iteration: the iteration, for the message.

        Raises:
            ValueError: when ``max_skipped`` steps in a row were skipped.
        """
        if self.skipped_in_a_row >= self.max_skipped:
            raise ValueError(
                f"The gradients of {self.max_skipped} steps in a row, up to iteration {iteration}, are NaN "
                "or infinite: nothing is learned any more. The weights are those before. Look for NaN in the "
                "images, lower the learning rate, clip the gradients, or turn mixed precision off."
            )

    def _buffers(self) -> list[torch.Tensor]:
        return [buffer for module in self._modules for buffer in module.buffers()]


def _gradients(optimizer: Optimizer) -> list[torch.Tensor]:
    return [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
