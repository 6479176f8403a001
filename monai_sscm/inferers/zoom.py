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

"""Inference at another size than the image's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer
from torch.nn.functional import interpolate

from monai_sscm.transforms import resize_image, seen_size
from monai_sscm.transforms.image.array import SMOOTH

__all__ = ["ZoomInferer"]


class ZoomInferer(Inferer):
    """
    Lets a network that was trained on images of another size, such as half, predict at the size of the image.

    Images are resized as :py:class:`monai_sscm.transforms.ZoomToSide` resizes those of training, the inferer runs at
    that size, and its logits are interpolated back, so that predictions are scored and saved at native size.

    Args:
        zoom: the network's size as a factor of the image's, as in training; 1 leaves all as it is.
        inferer: what runs at that size, such as a sliding window.
        shortest_side: pixels of the shortest side of the images that the network learned from, before ``zoom``. Images
            of other cameras are then seen as if they were as large, up to four times this along the longest side, as a
            narrow strip is no picture of the same field. None: every image is taken as it is.

    Raises:
        ValueError: when ``zoom`` or ``shortest_side`` is not above 0.

    Example:
        >>> import torch
        >>> from monai.inferers import SlidingWindowInferer
        >>> from monai_sscm.inferers import ZoomInferer
        >>> inferer = ZoomInferer(0.5, SlidingWindowInferer(roi_size=(16, 16), sw_batch_size=4))
        >>> inferer(torch.rand(1, 3, 45, 61), torch.nn.Conv2d(3, 2, 1)).shape
        torch.Size([1, 2, 45, 61])
    """

    def __init__(self, zoom: float, inferer: Inferer, shortest_side: int | None = None) -> None:
        super().__init__()
        for name, value in (("zoom", zoom), ("shortest_side", shortest_side)):
            if value is not None and not value > 0:
                raise ValueError(f"`{name}` must be above 0, got {value!r}.")
        self.zoom = zoom
        self.inferer = inferer
        self.shortest_side = shortest_side

    def __call__(self, inputs: torch.Tensor, network: Callable, *args: Any, **kwargs: Any) -> torch.Tensor:
        """
        Args:
            inputs: images ``(B, C, *spatial)``.
            network: from images to logits of the same size.
            args, kwargs: further arguments of the network.

        Returns:
            logits ``(B, classes, *spatial)``.
        """
        native = list(inputs.shape[2:])
        seen = seen_size(native, self.zoom, self.shortest_side)
        if seen == native:
            return self.inferer(inputs, network, *args, **kwargs)
        logits = self.inferer(resize_image(inputs, seen), network, *args, **kwargs)
        return interpolate(logits.float(), native, mode=SMOOTH[len(native)])
