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
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch.nn.functional import interpolate

__all__ = ["SlabInferer"]


class SlabInferer(Inferer):
    """
    Segments volumes by a network for slices, a slab of slices at a time, so that memory grows with the volume and not
    with its logits.

    Each volume is cropped to a box. The slices of a slab are scaled to [0, 1] by a window, or standardized by the mean
    and the standard deviation of each channel in the volume, and resized; the inferer runs the network on them as on a
    batch; its logits are interpolated to the box's size, and their largest class goes into the mask. Outside the box is
    background.

    Args:
        inferer: what runs the network on a batch of slices, such as a sliding window.
        size: height and width at which the network sees the box, as in training. None: as ``spacing`` says.
        spacing: mm between pixels along both axes of a slice, as in training; needs volumes with an affine matrix, as
            MetaTensors have. None: slices stay as they are, unless ``size`` is given.
        slab: slices at a time.
        crop: function from a volume, an array ``(X, Y, Z)``, to its box, a slice for each axis, such as
            :py:func:`monai_sscm.transforms.lung_box`; it gets the first channel. None: the whole volume.
        window: intensities that become 0 and 1; those outside are clipped. None: intensities stay as they are.
        standardize: whether each channel of a volume gets the mean 0 and the standard deviation 1, as by MONAI's
            ``NormalizeIntensity``.
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
        size: Sequence[int] | None = None,
        spacing: Sequence[float] | None = None,
        slab: int = 8,
        crop: Callable[[np.ndarray], tuple[slice, slice, slice]] | None = None,
        window: Sequence[float] | None = None,
        standardize: bool = False,
        keep_logits: bool = False,
    ) -> None:
        super().__init__()
        if slab < 1:
            raise ValueError(f"`slab` must be at least 1, got {slab!r}.")
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise ValueError(f"`size` must be a height and a width, got {list(size)}.")
        if spacing is not None and (len(spacing) != 2 or not min(spacing) > 0):
            raise ValueError(f"`spacing` must be two numbers above 0, in mm, got {list(spacing)}.")
        if size is not None and spacing is not None:
            raise ValueError("`size` and `spacing` both say how large the network sees slices: give one of them.")
        if window is not None and not (len(window) == 2 and window[0] < window[1]):
            raise ValueError(f"`window` must be two intensities, the lower one first, got {list(window)}.")
        if window is not None and standardize:
            raise ValueError("`window` and `standardize` both scale intensities: give one of them.")
        self.inferer = inferer
        self.size = None if size is None else [int(n) for n in size]
        self.spacing = spacing
        self.slab = slab
        self.crop = crop
        self.window = window
        self.standardize = standardize
        self.keep_logits = keep_logits

    def __call__(self, inputs: torch.Tensor, network: Callable, *args: Any, **kwargs: Any) -> torch.Tensor:
        """
        Args:
            inputs: volumes ``(B, C, X, Y, Z)``, slices along the last axis.
            network: from slices ``(N, C, *seen)`` to logits ``(N, classes, *seen)``.
            args, kwargs: further arguments of the network.

        Returns:
            class indices ``(B, 1, X, Y, Z)``, uint8, or logits ``(B, classes, X, Y, Z)``, with the metadata of the
            volumes.
        """
        if inputs.ndim != 5:
            raise ValueError(f"The volumes must have the shape (B, C, X, Y, Z), got {tuple(inputs.shape)}.")
        sizes = self._seen_sizes(inputs)
        volumes = inputs.as_subclass(torch.Tensor)  # type: ignore[arg-type]
        masks = [
            self._segment(volume, size, network, *args, **kwargs) for volume, size in zip(volumes, sizes, strict=True)
        ]
        out = masks[0][None] if len(masks) == 1 else torch.stack(masks)
        if isinstance(inputs, MetaTensor):
            return MetaTensor(out, meta=inputs.meta, applied_operations=inputs.applied_operations)
        return out

    def _seen_sizes(self, inputs: torch.Tensor) -> list[Callable[[Sequence[int]], list[int]]]:
        """For each volume, the function from the size of its box in a slice to that at which the network sees it."""
        if self.spacing is None:
            return [lambda native: list(self.size or native)] * len(inputs)
        if not isinstance(inputs, MetaTensor):
            raise ValueError("With `spacing`, volumes must be MetaTensors, whose affine says how large voxels are.")
        stored = inputs.affine.reshape(-1, 4, 4)[:, :3, :2].norm(dim=1).expand(len(inputs), 2) / torch.tensor(
            self.spacing, dtype=torch.float64
        )
        return [
            lambda native, f=factors: [max(1, round(n * x)) for n, x in zip(native, f, strict=True)]  # type: ignore[misc]
            for factors in stored.tolist()
        ]

    def _segment(
        self,
        volume: torch.Tensor,
        seen_size: Callable[[Sequence[int]], list[int]],
        network: Callable,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        shape = volume.shape[1:]
        whole = (slice(None), slice(None), slice(0, shape[2]))
        x, y, z = whole if self.crop is None else self.crop(volume[0].cpu().numpy())
        low, span = self._scale(volume)
        out = torch.zeros((1, *shape), dtype=torch.uint8, device=volume.device)
        for start in range(z.start, z.stop, self.slab):
            part = slice(start, min(start + self.slab, z.stop))
            slices = volume[:, x, y, part].permute(3, 0, 1, 2).float()
            native = list(slices.shape[2:])
            slices = (slices - low) / span
            slices = slices.clamp(0, 1) if self.window is not None else slices
            seen = seen_size(native)
            slices = slices if seen == native else interpolate(slices, seen, mode="bilinear")
            logits = self.inferer(slices, network, *args, **kwargs).float()
            logits = logits if seen == native else interpolate(logits, native, mode="bilinear")
            if not self.keep_logits:
                out[0, x, y, part] = logits.argmax(1).permute(1, 2, 0).to(torch.uint8)
                continue
            if out.dtype == torch.uint8:
                # outside the box it is background for sure
                out = torch.full((logits.shape[1], *shape), -100.0, device=volume.device)
                out[0] = 100.0
            out[:, x, y, part] = logits.permute(1, 2, 3, 0)
        return out

    def _scale(self, volume: torch.Tensor) -> tuple[Any, Any]:
        """What is subtracted from intensities, and what they are divided by then."""
        if self.window is not None:
            return self.window[0], self.window[1] - self.window[0]
        if not self.standardize:
            return 0.0, 1.0
        # a slab at a time: a volume is large, and larger in double precision
        slabs, voxels = volume.split(self.slab, dim=-1), volume[0].numel()
        mean = torch.stack([slab.double().sum((1, 2, 3)) for slab in slabs]).sum(0)[:, None, None] / voxels
        squares = [(slab.double() - mean[..., None]).square().sum((1, 2, 3)) for slab in slabs]
        std = (torch.stack(squares).sum(0)[:, None, None] / voxels).sqrt()
        std[std == 0] = 1.0
        return mean.float(), std.float()
