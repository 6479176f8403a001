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
Dictionary-based image transforms, see :py:mod:`monai_sscm.transforms.image.array`.

Class names end with 'd' to denote dictionary-based transforms.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform
from monai.utils import ensure_tuple_rep

from .array import BlackenBorder, EnsureImageChannels, KeepFieldOfView, ZoomToSide

__all__ = [
    "BlackenBorderD",
    "BlackenBorderDict",
    "BlackenBorderd",
    "EnsureImageChannelsD",
    "EnsureImageChannelsDict",
    "EnsureImageChannelsd",
    "KeepFieldOfViewD",
    "KeepFieldOfViewDict",
    "KeepFieldOfViewd",
    "ZoomToSideD",
    "ZoomToSideDict",
    "ZoomToSided",
]


class EnsureImageChannelsd(MapTransform):
    """
    Dictionary-based version of :py:class:`monai_sscm.transforms.EnsureImageChannels`.

    Args:
        keys: images to convert.
        num_channels, spatial_dims, repeat_gray, dtype: see the array version.
        allow_missing_keys: whether to pass over keys that are not there.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import EnsureImageChannelsd
        >>> EnsureImageChannelsd("image", num_channels=3, spatial_dims=2)({"image": torch.rand(1, 8, 8)})["image"].shape
        torch.Size([3, 8, 8])
    """

    backend = EnsureImageChannels.backend

    def __init__(
        self,
        keys: KeysCollection,
        num_channels: int,
        spatial_dims: int,
        repeat_gray: bool = True,
        dtype: torch.dtype | None = torch.float32,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.ensure_channels = EnsureImageChannels(num_channels, spatial_dims, repeat_gray, dtype)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """
        Args:
            data: images by key.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.ensure_channels(d[key])
        return d


class BlackenBorderd(MapTransform):
    """
    Dictionary-based version of :py:class:`monai_sscm.transforms.BlackenBorder`.

    Args:
        keys: photographs with their own intensities.
        allow_missing_keys: whether to pass over photographs that are not there.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import BlackenBorderd
        >>> photograph = torch.full((3, 100, 120), 80)
        >>> photograph[:, :20] = 12
        >>> BlackenBorderd("image")({"image": photograph})["image"].min()
        tensor(0)
    """

    backend = BlackenBorder.backend

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.blacken = BlackenBorder()

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.blacken(d[key])
        return d


class KeepFieldOfViewd(MapTransform):
    """
    Dictionary-based version of :py:class:`monai_sscm.transforms.KeepFieldOfView`, to come after a network.

    Args:
        keys: predictions.
        image_key: the photograph with its own intensities.
        margin: see the array version.
        allow_missing_keys: whether to pass over predictions that are not there.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import KeepFieldOfViewd
        >>> item = {"pred": torch.ones(1, 50, 60, dtype=torch.uint8), "shown": torch.full((3, 50, 60), 80)}
        >>> item["shown"][..., 40:] = 0
        >>> int(KeepFieldOfViewd("pred", "shown")(item)["pred"].sum())
        2000
    """

    backend = KeepFieldOfView.backend

    def __init__(
        self, keys: KeysCollection, image_key: Hashable, margin: float = 0, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key
        self.keep = KeepFieldOfView(margin)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.keep(d[key], d[self.image_key])
        return d


class ZoomToSided(MapTransform):
    """
    Dictionary-based version of :py:class:`monai_sscm.transforms.ZoomToSide`.

    Args:
        keys: images and masks of one size.
        zoom, shortest_side: see the array version.
        nearest: for each key, whether it is a mask.
        allow_missing_keys: whether to pass over keys that are not there.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import ZoomToSided
        >>> item = {"image": torch.rand(3, 40, 60), "label": torch.zeros(1, 40, 60, dtype=torch.uint8)}
        >>> out = ZoomToSided(["image", "label"], zoom=0.5, nearest=[False, True])(item)
        >>> out["image"].shape, out["label"].shape
        (torch.Size([3, 20, 30]), torch.Size([1, 20, 30]))
    """

    backend = ZoomToSide.backend

    def __init__(
        self,
        keys: KeysCollection,
        zoom: float,
        shortest_side: int | None = None,
        nearest: bool | Sequence[bool] = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.zooms = [ZoomToSide(zoom, shortest_side, mask) for mask in ensure_tuple_rep(nearest, len(self.keys))]

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        for key, zoom in self.key_iterator(d, self.zooms):
            d[key] = zoom(d[key])
        return d


BlackenBorderD = BlackenBorderDict = BlackenBorderd
EnsureImageChannelsD = EnsureImageChannelsDict = EnsureImageChannelsd
KeepFieldOfViewD = KeepFieldOfViewDict = KeepFieldOfViewd
ZoomToSideD = ZoomToSideDict = ZoomToSided
