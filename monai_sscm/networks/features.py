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

"""The output of a named layer, without touching the network."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch
from torch import nn

from .teacher import unwrap

__all__ = ["FeatureTap"]


class _LayerReached(Exception):
    """Ends a forward pass at the tapped layer."""


class FeatureTap:
    """
    Reads the output of a named layer while its ``with`` block lasts.

    The layer must give one tensor, once in a forward pass. Outside the block the network carries no hook, so it can be
    copied, scripted and exported. Under DDP or ``torch.compile`` the network inside is tapped.

    Args:
        network: network with the layer.
        layer: name of the layer, as in ``network.named_modules()``.

    Raises:
        ValueError: when there is no such layer; the message lists those there are.
        RuntimeError: when the layer did not run exactly once, or gave something else than a tensor.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from monai_sscm.networks import FeatureTap
        >>> network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1))
        >>> with FeatureTap(network, "1") as tap:
        ...     logits = network(torch.rand(2, 1, 16, 16))
        ...     features = tap.read()
        ...     only_so_far = tap.forward_until(torch.rand(2, 1, 16, 16))
        >>> features.shape, only_so_far.shape
        (torch.Size([2, 8, 14, 14]), torch.Size([2, 8, 14, 14]))
    """

    def __init__(self, network: nn.Module, layer: str) -> None:
        self.network = unwrap(network)
        self.layer = layer
        layers = {name: module for name, module in self.network.named_modules() if name}
        if layer not in layers:
            raise ValueError(
                f"{type(self.network).__name__} has no layer {layer!r}. Its layers are: {', '.join(layers)}."
            )
        self.module = layers[layer]
        self._outputs: list[Any] = []
        self._stop = False
        self._handle: torch.utils.hooks.RemovableHandle | None = None

    def __enter__(self) -> FeatureTap:
        self._outputs.clear()
        self._handle = self.module.register_forward_hook(self._keep)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
        self._outputs.clear()

    def _keep(self, module: nn.Module, args: Any, output: Any) -> None:
        self._outputs.append(output)
        if self._stop:
            raise _LayerReached

    def read(self) -> torch.Tensor:
        """The layer's output in the last forward pass, which is then forgotten here."""
        outputs, self._outputs = self._outputs, []
        if len(outputs) != 1 or not isinstance(outputs[0], torch.Tensor):
            found = f"ran {len(outputs)} times" if len(outputs) != 1 else f"gave a {type(outputs[0]).__name__}"
            names = ", ".join(name for name, _ in self.network.named_modules() if name)
            raise RuntimeError(
                f"The layer {self.layer!r} must give one tensor, once in a forward pass, but it {found}. "
                f"Name another of the network's layers: {names}."
            )
        return outputs[0]

    def forward_until(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output for ``x``; what comes after the layer is not computed."""
        self._outputs.clear()
        self._stop = True
        try:
            self.network(x)
        except _LayerReached:
            pass
        finally:
            self._stop = False
        return self.read()
