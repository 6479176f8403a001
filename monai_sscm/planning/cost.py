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


"""What a network can see at once, and how long that takes: figures for the rules."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .hardware import Hardware

__all__ = ["halvings", "multiple_of", "network_channels", "pixels_of_a_patch", "seconds_of_a_pixel", "shrink_to"]

# a level of the network is no smaller than this along an axis, as in nnU-Net
_SMALLEST = 4
_MOST_LEVELS = 4
# seconds of one core for the forward and backward pass of a pixel by a UNet of 16 channels, as measured, by dimensions
_SECONDS = {2: 1.7e-6, 3: 1.25e-6}


def halvings(size: Sequence[float], spacing: Sequence[float], exact: bool = False) -> list[list[int]]:
    """
    The strides of a network's levels: nnU-Net's rule. An axis is halved while 4 pixels are left of it, and while its
    pixels are less than twice as large as the smallest.

    Args:
        size: what the network sees.
        spacing: size of a pixel along each axis, in any unit.
        exact: whether only even sizes are halved.

    Returns:
        one stride for each axis, by level; at least one level and at most four.

    Example:
        >>> from monai_sscm.planning.cost import halvings
        >>> halvings((40, 40, 10), (1.0, 1.0, 3.0))
        [[2, 2, 1], [2, 2, 2], [2, 2, 1]]
    """
    sides, widths = [int(x) for x in size], list(spacing)
    levels: list[list[int]] = []
    while len(levels) < _MOST_LEVELS:
        open_axes = [i for i, side in enumerate(sides) if side // 2 >= _SMALLEST and not (exact and side % 2)]
        finest = min((widths[i] for i in open_axes), default=0.0)
        level = [2 if i in open_axes and widths[i] < 2 * finest else 1 for i in range(len(sides))]
        if 2 not in level:
            break
        levels.append(level)
        sides = [side // stride for side, stride in zip(sides, level, strict=True)]
        widths = [width * stride for width, stride in zip(widths, level, strict=True)]
    return levels or [[1] * len(sides)]


def multiple_of(strides: Sequence[Sequence[int]]) -> list[int]:
    """How far a network halves each axis: sizes must be multiples of it."""
    return [math.prod(level[axis] for level in strides) for axis in range(len(strides[0]))]


def shrink_to(size: Sequence[int], spacing: Sequence[float], pixels: float) -> list[int]:
    """
    A patch of at most so many pixels: the image, cut along the axis that is longest in space until it is small enough.

    Args:
        size: the image's.
        spacing: size of a pixel along each axis.
        pixels: how many it may have.

    Returns:
        a size that a network with the strides of :py:func:`halvings` takes, within the image where that has 8 pixels.

    Example:
        >>> from monai_sscm.planning.cost import shrink_to
        >>> shrink_to((35, 50, 35), (1.0, 1.0, 1.0), 110_000), shrink_to((10, 600), (1.0, 1.0), 40_000)
        ([32, 48, 32], [10, 592])
    """
    patch = [max(8, side) for side in size]
    while True:
        steps = multiple_of(halvings(patch, spacing))
        rounded = [side // step * step for side, step in zip(patch, steps, strict=True)]
        longest = max(range(len(patch)), key=lambda axis: rounded[axis] * spacing[axis])
        if math.prod(rounded) <= pixels or rounded[longest] <= 2 * steps[longest]:
            return rounded
        patch[longest] = rounded[longest] - steps[longest]


def pixels_of_a_patch(dims: int, hardware: Hardware) -> int:
    """How many pixels a patch may have: 192 x 192 or 48 x 48 x 48 on a CPU, more with a GPU's memory."""
    if not hardware.has_gpu:
        side = 192 if dims == 2 else 48
    elif hardware.gpu_memory < 20:
        side = 384 if dims == 2 else 96
    else:
        side = 512 if dims == 2 else 128
    return int(side**dims)


def network_channels(levels: int, dims: int, hardware: Hardware) -> list[int]:
    """Channels of a UNet's levels: twice as many with each, with a GPU twice as many in all."""
    first = 32 if hardware.has_gpu else 16
    return [min(first * 2**level, 512 if dims == 2 else 320) for level in range(levels + 1)]


def seconds_of_a_pixel(dims: int, channels: Sequence[int], classes: int, hardware: Hardware) -> float:
    """About how long the forward and the backward pass of a pixel take."""
    seconds = _SECONDS[dims] * (channels[0] / 16) ** 1.6 * (1 + 0.04 * classes)
    # a GPU is taken for 150 cores; threads share memory, and more than eight help little
    return seconds / (150 if hardware.has_gpu else min(hardware.threads, 8) ** 0.8)
