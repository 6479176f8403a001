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

from collections.abc import Hashable, Mapping

from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import MapTransform

from .array import EnsureImageChannels

__all__ = ["EnsureImageChannelsD", "EnsureImageChannelsDict", "EnsureImageChannelsd"]


class EnsureImageChannelsd(MapTransform):
    """
    Dictionary-based version of :py:class:`monai_sscm.transforms.EnsureImageChannels`.

    Args:
        keys: images to convert.
        num_channels, spatial_dims: see the array version.
        allow_missing_keys: whether to pass over keys that are not there.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import EnsureImageChannelsd
        >>> EnsureImageChannelsd("image", num_channels=3, spatial_dims=2)({"image": torch.rand(1, 8, 8)})["image"].shape
        torch.Size([3, 8, 8])
    """

    backend = EnsureImageChannels.backend

    def __init__(
        self, keys: KeysCollection, num_channels: int, spatial_dims: int, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.ensure_channels = EnsureImageChannels(num_channels, spatial_dims)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """
        Args:
            data: images by key.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.ensure_channels(d[key])
        return d


EnsureImageChannelsD = EnsureImageChannelsDict = EnsureImageChannelsd
