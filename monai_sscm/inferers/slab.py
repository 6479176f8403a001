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

"""A network for slices, over a volume of any length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer
from torch.nn.functional import interpolate

__all__ = ["SlabInferer"]


class SlabInferer(Inferer):
    """
    Segments volumes by a network for slices, a slab of slices at a time, so that memory grows with the volume and not
    with its logits.

    Each volume is cropped to a box. The slices of a slab are scaled to [0, 1] by a window and resized; the inferer runs
    the network on them as on a batch; its logits are interpolated to the box's size, and their largest class goes into
    the mask. Outside the box is background.

    Args:
        inferer: what runs the network on a batch of slices, such as a sliding window.
        size: height and width at which the network sees the box, as in training.
        slab: slices at a time.
        crop: function from a volume, an array ``(X, Y, Z)``, to its box, a slice for each axis, such as
            :py:func:`monai_sscm.transforms.lung_box`. None: the whole volume.
        window: intensities that become 0 and 1; those outside are clipped. None: intensities stay as they are.
        keep_logits: whether to return the logits, for probabilities; memory then grows with them.

    Raises:
        ValueError: when an argument or the shape of the volumes is wrong.

    Example:
        >>> import torch
        >>> from monai.inferers import SimpleInferer
        >>> from monai_sscm.inferers import SlabInferer
        >>> inferer = SlabInferer(SimpleInferer(), size=(32, 32), slab=4, window=(-1000, 200))
        >>> volume = torch.randint(-1000, 200, (1, 1, 45, 61, 10), dtype=torch.int16)
        >>> mask = inferer(volume, torch.nn.Conv2d(1, 3, 1))
        >>> mask.shape, mask.dtype
        (torch.Size([1, 1, 45, 61, 10]), torch.uint8)
    """

    def __init__(
        self,
        inferer: Inferer,
        size: Sequence[int],
        slab: int = 8,
        crop: Callable[[np.ndarray], tuple[slice, slice, slice]] | None = None,
        window: Sequence[float] | None = None,
        keep_logits: bool = False,
    ) -> None:
        super().__init__()
        if slab < 1:
            raise ValueError(f"`slab` must be at least 1, got {slab!r}.")
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"`size` must be a height and a width, got {list(size)}.")
        if window is not None and not (len(window) == 2 and window[0] < window[1]):
            raise ValueError(f"`window` must be two intensities, the lower one first, got {list(window)}.")
        self.inferer = inferer
        self.size = tuple(int(n) for n in size)
        self.slab = slab
        self.crop = crop
        self.window = window
        self.keep_logits = keep_logits

    def __call__(self, inputs: torch.Tensor, network: Callable, *args: Any, **kwargs: Any) -> torch.Tensor:
        """
        Args:
            inputs: volumes ``(B, 1, X, Y, Z)``, slices along the last axis.
            network: from slices ``(N, 1, *size)`` to logits ``(N, classes, *size)``.
            args, kwargs: further arguments of the network.

        Returns:
            class indices ``(B, 1, X, Y, Z)``, uint8, or logits ``(B, classes, X, Y, Z)``.
        """
        if inputs.ndim != 5 or inputs.shape[1] != 1:
            raise ValueError(f"The volumes must have the shape (B, 1, X, Y, Z), got {tuple(inputs.shape)}.")
        volumes = inputs.as_subclass(torch.Tensor)  # type: ignore[arg-type]
        return torch.stack([self._segment(volume[0], network, *args, **kwargs) for volume in volumes])

    def _segment(self, volume: torch.Tensor, network: Callable, *args: Any, **kwargs: Any) -> torch.Tensor:
        whole = (slice(None), slice(None), slice(0, volume.shape[2]))
        x, y, z = whole if self.crop is None else self.crop(volume.cpu().numpy())
        out = torch.zeros((1, *volume.shape), dtype=torch.uint8, device=volume.device)
        for start in range(z.start, z.stop, self.slab):
            part = slice(start, min(start + self.slab, z.stop))
            slices = volume[x, y, part].permute(2, 0, 1)[:, None].float()
            native = list(slices.shape[2:])
            if self.window is not None:
                low, high = self.window
                slices = ((slices - low) / (high - low)).clamp(0, 1)
            slices = interpolate(slices, self.size, mode="bilinear")
            logits = self.inferer(slices, network, *args, **kwargs)
            logits = interpolate(logits.float(), native, mode="bilinear")
            if not self.keep_logits:
                out[0, x, y, part] = logits.argmax(1).permute(1, 2, 0).to(torch.uint8)
                continue
            if out.dtype == torch.uint8:
                # outside the box it is background for sure
                out = torch.full((logits.shape[1], *volume.shape), -100.0, device=volume.device)
                out[0] = 100.0
            out[:, x, y, part] = logits.permute(1, 2, 3, 0)
        return out
