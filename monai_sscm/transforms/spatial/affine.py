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

"""
Random rotation, zoom, shift and flips of a whole batch, on its device: the geometry of every stream of a training.

Array and dictionary versions; class names that end with 'd' denote dictionary-based transforms.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.utils import ensure_tuple, ensure_tuple_rep
from torch.nn.functional import affine_grid, grid_sample

from ..batch import RandBatchTransform, RandBatchTransformd

__all__ = ["RandBatchAffine", "RandBatchAffineD", "RandBatchAffineDict", "RandBatchAffined"]

_MODES = ("bilinear", "nearest")
_PADDING_MODES = ("border", "reflection", "zeros")


class RandBatchAffine(RandBatchTransform):
    """
    Flip, rotate, zoom and shift every sample of a batch in its own way, and keep the size.

    One call serves a batch, any channel count, 2D and 3D, on any device; no value is read back from the device. MONAI's
    ``RandAffine`` serves one sample at a time. Each axis of ``flip_axes`` is flipped with probability ``flip_prob``; a
    flip alone moves no pixel off the grid. With probability ``prob`` a sample is then rotated, zoomed and shifted
    about its center, all three in one interpolation. Use it on batches in training: metadata is kept as it was, the
    affine matrix does not follow, and there is no inverse.

    Args:
        spatial_dims: number of spatial dimensions of the data, 2 or 3.
        rotate_range: largest angle in radians, to both sides. In 3D a number for all three axes or one for each; an
            angle rotates about its axis, on the voxel grid: where slices are thicker than pixels, rotate in the
            plane alone, as with ``(0, 0, 0.35)`` for slices along the last axis.
        min_zoom, max_zoom: range of the zoom; above 1 things get larger. Its logarithm is uniform.
        shift_range: largest shift along each axis, to both sides, as a share of the axis' length.
        prob: probability for a sample to be rotated, zoomed and shifted.
        flip_prob: probability to flip a sample along an axis, for each of ``flip_axes``.
        flip_axes: spatial axes that may be flipped, without the channel's, from 0. None: all.
        mode: interpolation, ``"bilinear"`` (linear in 3D too) for images, ``"nearest"`` for labels and weights.
        padding_mode: what comes in from outside: ``"border"``, ``"reflection"`` or ``"zeros"``.

    Raises:
        ValueError: when an argument is out of its range or the data is neither a sample nor a batch.

    Example:
        >>> import math
        >>> import torch
        >>> from monai_sscm.transforms import RandBatchAffine
        >>> affine = RandBatchAffine(spatial_dims=2, rotate_range=math.pi / 6).set_random_state(0)
        >>> image, label = torch.rand(4, 1, 32, 32), torch.randint(0, 3, (4, 1, 32, 32))
        >>> moved = affine(image)
        >>> affine(label, randomize=False, mode="nearest").shape == moved.shape  # moved as the image
        True
    """

    def __init__(
        self,
        spatial_dims: int,
        rotate_range: float | Sequence[float] = math.pi / 9,
        min_zoom: float = 0.8,
        max_zoom: float = 1.25,
        shift_range: float = 0.1,
        prob: float = 0.7,
        flip_prob: float = 0.5,
        flip_axes: Sequence[int] | None = None,
        mode: str = "bilinear",
        padding_mode: str = "border",
    ) -> None:
        # whether to move, angles, zoom, shifts, flips
        num_angles = 1 if spatial_dims == 2 else 3
        super().__init__(spatial_dims, prob, num_draws=1 + num_angles + 1 + 2 * spatial_dims)
        if not 0 <= flip_prob <= 1:
            raise ValueError(f"`flip_prob` must lie in [0, 1], got {flip_prob!r}.")
        if not 0 < min_zoom <= max_zoom:
            raise ValueError(f"`min_zoom` must be above 0 and at most `max_zoom`, got {min_zoom=}, {max_zoom=}.")
        angles = ensure_tuple(rotate_range)
        self.rotate_range = ensure_tuple_rep(angles[0] if len(angles) == 1 else angles, num_angles)
        if min(*self.rotate_range, shift_range, 0) < 0:
            raise ValueError(
                f"`rotate_range`, `shift_range` must not be negative, got {rotate_range=}, {shift_range=}."
            )
        self.flip_axes = tuple(range(spatial_dims)) if flip_axes is None else tuple(flip_axes)
        if not set(self.flip_axes) <= set(range(spatial_dims)):
            raise ValueError(f"`flip_axes` must be spatial axes from 0 to {spatial_dims - 1}, got {flip_axes!r}.")
        if padding_mode not in _PADDING_MODES:
            raise ValueError(f"`padding_mode` must be one of {_PADDING_MODES}, got {padding_mode!r}.")
        self.zoom_range = (min_zoom, max_zoom)
        self.shift_range = shift_range
        self.flip_prob = flip_prob
        self.mode = _checked_mode(mode)
        self.padding_mode = padding_mode

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True, mode: str | None = None) -> NdarrayOrTensor:
        """
        Args:
            img: a sample ``(C, *spatial)`` or a batch ``(B, C, *spatial)``. With ``"bilinear"`` integers are converted
                to float32, with ``"nearest"`` every type is kept.
            randomize: whether to draw new random numbers, or to move as in the last call.
            mode: interpolation of this call; None: that of the transform.
        """
        mode = self.mode if mode is None else _checked_mode(mode)
        floating = mode == "bilinear"
        return self._on_batch(img, lambda x: self._affine(self._flip(x), mode), randomize, floating)

    def _flip(self, x: torch.Tensor) -> torch.Tensor:
        flips = self._draws[:, -self.spatial_dims :] < self.flip_prob
        for axis in self.flip_axes:
            if flips[:, axis].any():
                flipped = torch.as_tensor(flips[:, axis]).to(x.device, non_blocking=True)
                x = torch.where(flipped.view(-1, *(1,) * (x.ndim - 1)), x.flip(axis + 2), x)
        return x

    def _affine(self, x: torch.Tensor, mode: str) -> torch.Tensor:
        chosen = np.flatnonzero(self._draws[:, 0] < self.prob)
        if len(chosen) == 0:
            return x.clone()
        index = torch.as_tensor(chosen).to(x.device, non_blocking=True)
        given = x.index_select(0, index)
        given = given if given.dtype in (torch.float32, torch.float64) else given.float()
        theta = torch.as_tensor(self._theta(self._draws[chosen], x.shape[2:]))
        theta = theta.to(x.device, given.dtype, non_blocking=True)
        grid = affine_grid(theta, list(given.shape), align_corners=False)
        moved = grid_sample(given, grid, mode, self.padding_mode, align_corners=False)
        return x.index_copy(0, index, moved.to(x.dtype))

    def _theta(self, draws: np.ndarray, size: Sequence[int]) -> np.ndarray:
        """Where each sample's result looks for its values, as ``torch.nn.functional.affine_grid`` takes it."""
        dims, num_angles = self.spatial_dims, len(self.rotate_range)
        angles = (2 * draws[:, 1 : 1 + num_angles] - 1) * self.rotate_range
        low, high = np.log(self.zoom_range)
        zoom = np.exp(low + (high - low) * draws[:, 1 + num_angles])
        shift = (2 * draws[:, 2 + num_angles : 2 + num_angles + dims] - 1) * self.shift_range

        matrix = np.tile(np.eye(dims), (len(draws), 1, 1))
        for k, (i, j) in enumerate([(0, 1)] if dims == 2 else [(1, 2), (0, 2), (0, 1)]):
            rotation = np.tile(np.eye(dims), (len(draws), 1, 1))
            rotation[:, i, i] = rotation[:, j, j] = np.cos(angles[:, k])
            rotation[:, i, j], rotation[:, j, i] = -np.sin(angles[:, k]), np.sin(angles[:, k])
            matrix = matrix @ rotation
        # torch measures each axis from -1 to 1, and names the last axis first
        extent = np.asarray(size, dtype=float)
        matrix = matrix / zoom[:, None, None] * extent / extent[:, None]
        return np.concatenate([matrix[:, ::-1, ::-1], 2 * shift[:, ::-1, None]], axis=2)


class RandBatchAffined(RandBatchTransformd):
    """
    Dictionary-based version of :py:class:`RandBatchAffine`: all keys are moved alike.

    Args:
        keys: what is moved: image, label, weight; all samples, or all batches of one length.
        spatial_dims: see the array version.
        mode: interpolation, one for all keys or one for each.
        allow_missing_keys: whether to pass over keys that are not there.
        movement: ``prob``, ``rotate_range``, ``min_zoom``, ``max_zoom``, ``shift_range``, ``flip_prob``, ``flip_axes``
            and ``padding_mode``, see the array version.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import RandBatchAffined
        >>> affine = RandBatchAffined(["image", "label"], spatial_dims=3, mode=["bilinear", "nearest"])
        >>> batch = {"image": torch.rand(2, 1, 16, 16, 8), "label": torch.randint(0, 3, (2, 1, 16, 16, 8))}
        >>> {key: tuple(value.shape) for key, value in affine(batch).items()}
        {'image': (2, 1, 16, 16, 8), 'label': (2, 1, 16, 16, 8)}
    """

    def __init__(
        self,
        keys: KeysCollection,
        spatial_dims: int,
        mode: str | Sequence[str] = "bilinear",
        allow_missing_keys: bool = False,
        **movement: Any,
    ) -> None:
        self.transform: RandBatchAffine
        affine = RandBatchAffine(spatial_dims, **movement)
        super().__init__(keys, affine, allow_missing_keys)
        modes = ensure_tuple_rep(mode, len(self.keys))
        self.mode = {key: _checked_mode(m) for key, m in zip(self.keys, modes, strict=True)}

    def _apply(self, key: Hashable, img: NdarrayOrTensor, randomize: bool) -> NdarrayOrTensor:
        return self.transform(img, randomize, self.mode[key])


def _checked_mode(mode: str) -> str:
    if mode not in _MODES:
        raise ValueError(f"`mode` must be one of {_MODES}, got {mode!r}.")
    return mode


RandBatchAffineD = RandBatchAffineDict = RandBatchAffined
