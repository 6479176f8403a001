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

"""Images as they come from files, to what a network takes."""

from __future__ import annotations

import torch
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import Transform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_tensor

from ..label.array import file_of

__all__ = ["EnsureImageChannels"]


class EnsureImageChannels(Transform):
    """
    Give an image the channels and dimensions that the network takes, and check it.

    A grey image is repeated in every channel, and dimensions of length 1 beyond ``spatial_dims`` are removed, as of a
    single slice saved as a volume. Everything else is refused with the file's name, and so are NaN and infinite
    intensities.

    Args:
        num_channels: channels that the network takes.
        spatial_dims: 2 or 3.

    Returns:
        image ``(num_channels, *spatial)`` of the same container type, float32.

    Raises:
        ValueError: when the channels or dimensions do not fit, or an intensity is NaN or infinite.

    Example:
        >>> import torch
        >>> from monai_sscm.transforms import EnsureImageChannels
        >>> EnsureImageChannels(num_channels=3, spatial_dims=2)(torch.rand(1, 20, 30)).shape
        torch.Size([3, 20, 30])
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, num_channels: int, spatial_dims: int) -> None:
        self.num_channels = num_channels
        self.spatial_dims = spatial_dims

    def __call__(self, image: NdarrayOrTensor) -> NdarrayOrTensor:
        """
        Args:
            image: channel-first image.
        """
        name = f"The image {file_of(image)!r}"
        x = convert_to_tensor(image, dtype=torch.float32, track_meta=False)
        while x.ndim > self.spatial_dims + 1 and x.shape[-1] == 1:
            x = x[..., 0]
        if x.ndim != self.spatial_dims + 1:
            raise ValueError(
                f"{name} has the size {tuple(x.shape[1:])}, but the network takes images of {self.spatial_dims} "
                "dimensions: give it such images, or use a network for others."
            )
        wrong = int((~x.isfinite()).sum())
        if wrong:
            raise ValueError(
                f"{name} has {wrong} NaN or infinite intensities: replace them, for example by the lowest intensity, "
                "or leave the image out."
            )
        if len(x) == 1:
            x = x.expand(self.num_channels, *x.shape[1:])
        if len(x) != self.num_channels:
            raise ValueError(
                f"{name} has {len(x)} channels, but the network takes {self.num_channels}: save it with as many, or "
                f"set `in_channels` to {len(x)} for training."
            )
        out: NdarrayOrTensor = convert_to_dst_type(x.contiguous(), dst=image, dtype=torch.float32)[0]
        return out
