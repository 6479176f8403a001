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

"""The output of named layers, read or perturbed without touching the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch
from monai.networks.layers.simplelayers import SkipConnection
from torch import nn
from torch.nn.functional import dropout

from .encoder import encoder_layers
from .teacher import unwrap

__all__ = ["FeatureDropout", "FeatureTap"]


def _layer(network: nn.Module, name: str) -> nn.Module:
    layers = {other: module for other, module in network.named_modules() if other}
    if name not in layers:
        raise ValueError(f"{type(network).__name__} has no layer {name!r}. Its layers are: {', '.join(layers)}.")
    return layers[name]


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
        self.module = _layer(self.network, layer)
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
            finding = f"ran {len(outputs)} times" if len(outputs) != 1 else f"gave a {type(outputs[0]).__name__}"
            names = ", ".join(name for name, _ in self.network.named_modules() if name)
            raise RuntimeError(
                f"The layer {self.layer!r} must give one tensor, once in a forward pass, but it {finding}. "
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


class FeatureDropout:
    """
    Sets whole channels of named layers' outputs to zero, in some rows of a batch: the feature perturbation of UniMatch.

    The channels are drawn for every sample and layer; those that are left are scaled by ``1 / (1 - prob)``. Of a skip
    connection of MONAI's ``UNet``, which concatenates the encoder's features and what comes from below, the encoder's
    are dropped. A layer that takes the output of another one takes it whole, so that the decoder sees the features
    perturbed and the encoder does not.

    Yang et al., "Revisiting weak-to-strong consistency in semi-supervised semantic segmentation", CVPR 2023.

    Args:
        layers: names of the layers, as in ``network.named_modules()``; each gives one tensor. None: those at which the
            decoder takes the encoder's features, see :py:func:`monai_sscm.networks.encoder_layers`, which are found
            when they are first needed.
        prob: probability of a channel to be dropped, in [0, 1).

    Raises:
        ValueError: when ``prob`` is not as described; and when it is used, where the network has no such layer, or is
            of a kind whose layers must be named.

    Example:
        >>> import torch
        >>> from monai.networks.nets import UNet
        >>> from monai_sscm.networks import FeatureDropout
        >>> network = UNet(spatial_dims=2, in_channels=1, out_channels=2, channels=(4, 8, 16), strides=(2, 2))
        >>> image = torch.rand(4, 1, 16, 16)
        >>> whole = network(image)
        >>> with FeatureDropout()(network, slice(2, 4)):
        ...     perturbed = network(image)
        >>> torch.equal(perturbed[:2], whole[:2]), torch.equal(perturbed[2:], whole[2:])
        (True, False)
    """

    def __init__(self, layers: Sequence[str] | None = None, prob: float = 0.5) -> None:
        if not 0 <= prob < 1:
            raise ValueError(f"`prob` must lie in [0, 1), got {prob!r}.")
        self.layers = None if layers is None else tuple(layers)
        self.prob = prob

    @contextmanager
    def __call__(self, network: nn.Module, rows: slice) -> Iterator[None]:
        """
        Args:
            network: network with the layers.
            rows: the samples of the batch that are perturbed while the ``with`` block lasts.
        """
        if self.layers is None:
            self.layers = tuple(encoder_layers(network))
        # perturbed outputs by their identity, each kept with the output as it was
        outputs: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

        def restore(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(outputs[id(x)][1] if id(x) in outputs else x for x in args)

        def drop(module: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
            channels = args[0].shape[1] if isinstance(module, SkipConnection) else output.shape[1]
            keep = torch.ones(output.shape[:2], dtype=output.dtype, device=output.device)
            keep[rows, :channels] = dropout(keep[rows, :channels], self.prob)
            perturbed = output * keep.view(*keep.shape, *(1,) * (output.ndim - 2))
            outputs[id(perturbed)] = (perturbed, output)
            return perturbed

        handles = []
        try:
            for module in [_layer(unwrap(network), name) for name in self.layers]:
                handles += [module.register_forward_pre_hook(restore), module.register_forward_hook(drop)]
            yield
        finally:
            for handle in handles:
                handle.remove()
