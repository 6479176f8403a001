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


"""Features of whole images, by which one can tell how unlike they are."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from torch import nn

from monai_sscm.networks import Ensemble, encoder_layers, unwrap

__all__ = ["ImageFeatures"]


class ImageFeatures:
    """
    Handler of an evaluator: keeps mean and standard deviation of each channel at the deepest level of the network, over
    all pixels of all windows of an image, in ``by_name``, by the images' names.

    Args:
        network: the evaluator's network, of a kind that :py:func:`monai_sscm.networks.encoder_layers` knows.

    Raises:
        ValueError: when the network is of another kind.

    Example:
        >>> import torch
        >>> from monai.engines import SupervisedEvaluator
        >>> from monai.networks.nets import UNet
        >>> from monai_sscm.handlers import ImageFeatures
        >>> network = UNet(spatial_dims=2, in_channels=1, out_channels=2, channels=(4, 8), strides=(2,))
        >>> features = ImageFeatures(network)
        >>> images = [{"image": torch.rand(1, 1, 16, 16), "name": ["a"]}]
        >>> evaluator = SupervisedEvaluator(torch.device("cpu"), images, network, val_handlers=[features])
        >>> evaluator.run()
        >>> features.by_name["a"].shape
        torch.Size([16])
    """

    def __init__(self, network: nn.Module) -> None:
        first = network.networks[0] if isinstance(network, Ensemble) else network
        network = unwrap(first)  # type: ignore[arg-type]
        self.layer = dict(network.named_modules())[encoder_layers(network)[-1]]
        self.by_name: dict[str, torch.Tensor] = {}
        self._handle: Any = None
        self._sums: list[torch.Tensor] = []

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: the evaluator, whose batches are of one image; before any handler that runs the network again.
        """
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_STARTED, self._listen)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._keep)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._raise)

    def _start(self) -> None:
        self.by_name = {}

    def _listen(self) -> None:
        self._sums = []
        self._handle = self.layer.register_forward_hook(self._add)

    def _add(self, module: nn.Module, args: Any, output: torch.Tensor) -> None:
        x = output.detach().transpose(0, 1).flatten(1).double()
        count = torch.full_like(x[:, 0], x.shape[1])
        self._sums.append(torch.stack([x.sum(1), x.square().sum(1), count]).cpu())

    def _keep(self, engine: Any) -> None:
        self._stop()
        total, squares, count = torch.stack(self._sums).sum(0)
        mean = total / count
        spread = (squares / count - mean.square()).clamp_min(0).sqrt()
        self.by_name[str(engine.state.batch["name"][0])] = torch.cat([mean, spread])

    def _stop(self) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _raise(self, error: Exception) -> None:
        self._stop()
        raise error
