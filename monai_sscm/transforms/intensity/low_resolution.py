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
Random low resolution of the samples of a batch, on its device.

Array and dictionary versions; class names that end with 'd' denote dictionary-based transforms.
"""

from __future__ import annotations

import numpy as np
import torch
from monai.config import KeysCollection
from torch.nn.functional import interpolate

from ..batch import RandBatchTransform, RandBatchTransformd

__all__ = [
    "RandBatchLowResolution",
    "RandBatchLowResolutionD",
    "RandBatchLowResolutionDict",
    "RandBatchLowResolutiond",
]


class RandBatchLowResolution(RandBatchTransform):
    """
    With probability ``prob``, scale a sample of a batch down with nearest neighbors and up again linearly.

    MONAI's ``RandSimulateLowResolution`` for batches: one call serves a batch, any channel count, 2D and 3D, on any
    device; no value is read back from the device. A factor is drawn for every sample and holds for all axes.

    Args:
        spatial_dims: number of spatial dimensions of the data, 2 or 3.
        prob: probability for a sample.
        min_zoom: smallest factor, above 0; factors are drawn from [min_zoom, 1].

    Raises:
        ValueError: when an argument is out of its range or the data is neither a sample nor a batch.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import RandBatchLowResolution
        >>> RandBatchLowResolution(spatial_dims=2).set_random_state(0)(torch.rand(4, 1, 32, 32)).shape
        torch.Size([4, 1, 32, 32])
    """

    def __init__(self, spatial_dims: int, prob: float = 0.25, min_zoom: float = 0.5) -> None:
        super().__init__(spatial_dims, prob, num_draws=2)  # whether, and the factor
        if not 0 < min_zoom <= 1:
            raise ValueError(f"`min_zoom` must lie in (0, 1], got {min_zoom!r}.")
        self.min_zoom = min_zoom

    def _transform(self, x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        size = np.array(x.shape[2:])
        linear = "bilinear" if self.spatial_dims == 2 else "trilinear"
        # one after the other: every sample has a size of its own
        for i in np.flatnonzero(self._draws[:, 0] < self.prob):
            factor = self.min_zoom + (1 - self.min_zoom) * self._draws[i, 1]
            small = np.maximum(np.rint(size * factor), 1).astype(int).tolist()
            low = interpolate(x[i : i + 1], small, mode="nearest-exact")
            x[i : i + 1] = interpolate(low, size.tolist(), mode=linear, align_corners=False)
        return x


class RandBatchLowResolutiond(RandBatchTransformd):
    """
    Dictionary-based version of :py:class:`RandBatchLowResolution`. All keys get the same draw.

    Args:
        keys: images, samples or batches.
        spatial_dims, prob, min_zoom: see the array version.
        allow_missing_keys: whether to pass over keys that are not there.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import RandBatchLowResolutiond
        >>> low = RandBatchLowResolutiond("image", spatial_dims=3, prob=1.0)
        >>> low({"image": torch.rand(2, 1, 16, 16, 8)})["image"].shape
        torch.Size([2, 1, 16, 16, 8])
    """

    def __init__(
        self,
        keys: KeysCollection,
        spatial_dims: int,
        prob: float = 0.25,
        min_zoom: float = 0.5,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, RandBatchLowResolution(spatial_dims, prob, min_zoom), allow_missing_keys)


RandBatchLowResolutionD = RandBatchLowResolutionDict = RandBatchLowResolutiond
