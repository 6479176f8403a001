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


"""How well views of the network agree upon each mask, while an evaluator segments images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys as Keys
from torch import nn

from monai_sscm.metrics import mask_agreement
from monai_sscm.networks.views import make_views

__all__ = ["ViewAgreement"]


class ViewAgreement:
    """
    Handler of an evaluator: segments each image again by every view of
    :py:func:`monai_sscm.networks.make_views`, and puts how well the masks agree into ``engine.state.agreement``: for
    each image of the batch, of every class, see :py:func:`monai_sscm.metrics.mask_agreement`.

    Masks are compared as the network's inferer gives them, before they are brought back to the stored grid. Each view
    costs as much as the segmentation itself.

    Args:
        network: the evaluator's network, whose weights are loaded before the evaluator starts.
        num_classes: number of classes with the background.
        checkpoint: where the weights are from, see :py:func:`monai_sscm.networks.make_views`.
        weights: which of a training's networks it is.
        mirror_axes: axes along which the network was trained on mirrored images.
        mark_unsure: whether pixels on which the views do not agree get the class ``num_classes`` in the prediction.

    Example:
        >>> import torch
        >>> from monai.engines import SupervisedEvaluator
        >>> from monai_sscm.handlers import ViewAgreement
        >>> network = torch.nn.Conv2d(1, 2, 3, padding=1)
        >>> views = ViewAgreement(network, num_classes=2, checkpoint=None)
        >>> evaluator = SupervisedEvaluator(torch.device("cpu"), [{"image": torch.rand(1, 1, 16, 16)}], network,
        ...     val_handlers=[views])
        >>> evaluator.run()
        >>> len(evaluator.state.agreement), evaluator.state.agreement[0].shape
        (1, torch.Size([2]))
    """

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        checkpoint: str | Path | list[str] | None = None,
        weights: str = "teacher",
        mirror_axes: list[int] | None = None,
        mark_unsure: bool = False,
    ) -> None:
        self.network = network
        self.num_classes = num_classes
        self.checkpoint = checkpoint
        self.weights = weights
        self.mirror_axes = tuple(mirror_axes or ())
        self.mark_unsure = mark_unsure
        self._views: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {}

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: the evaluator.
        """
        engine.add_event_handler(Events.STARTED, self._make_views)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self)

    def _make_views(self) -> None:
        self._views = make_views(self.network, self.checkpoint, self.weights, self.mirror_axes)

    def __call__(self, engine: Any) -> None:
        """
        Args:
            engine: the evaluator, after its network has given a prediction.
        """
        image, pred = (engine.state.output[key] for key in (Keys.IMAGE, Keys.PRED))
        mask = _indices(pred)
        others = []
        with engine.mode(engine.network), torch.autocast("cuda", enabled=engine.amp, **engine.amp_kwargs):
            for view in self._views.values():
                others.append(_indices(engine.inferer(image, view)))
        engine.state.agreement = [
            mask_agreement(mask[i], [other[i] for other in others], self.num_classes) for i in range(len(mask))
        ]
        if self.mark_unsure:
            unsure = torch.stack([other != mask for other in others]).any(0)
            engine.state.output[Keys.PRED] = _marked(pred, unsure, self.num_classes)


def _indices(pred: torch.Tensor) -> torch.Tensor:
    """Class indices ``(B, *spatial)``, uint8, of logits, or of class indices ``(B, 1, *spatial)``."""
    plain = torch.as_tensor(pred).as_subclass(torch.Tensor)  # type: ignore[arg-type]
    return plain[:, 0] if plain.dtype == torch.uint8 else plain.argmax(1).to(torch.uint8)


def _marked(pred: torch.Tensor, unsure: torch.Tensor, mark: int) -> torch.Tensor:
    """The prediction with another class at some pixels: class indices, or logits with another channel."""
    if pred.dtype == torch.uint8:
        return pred.masked_fill(unsure[:, None], mark)
    high, low = float(pred.max()) + 1, float(pred.min()) - 1
    channel = torch.where(unsure[:, None], high, low).to(pred.dtype)
    return torch.cat([pred, channel], dim=1)
