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

"""The discriminator of labelled and unlabelled images, on feature maps."""

from __future__ import annotations

import torch
from monai.networks.nets import PatchDiscriminator
from torch import nn

__all__ = ["FeatureDiscriminator"]


class FeatureDiscriminator(nn.Module):
    """
    Tells from a feature map whether the image was labelled: one logit for each patch, positive for labelled.

    A small :py:class:`monai.networks.nets.PatchDiscriminator` without normalization layers, so that one image does not
    change what is said of another. Works from 2 pixels upwards, 2D and 3D. All patches of an image share the image's
    target: what is asked is where the image comes from, never what the patch shows.

    Sup-Unsup Feature Discriminator: Mano, Saito, Hotta, VISAPP 2025. The paper's layers are not public; these are ours.

    Args:
        spatial_dims: number of spatial dimensions of the feature map, 2 or 3.
        in_channels: channels of the feature map.
        channels: channels of the first convolution.
        num_layers: number of convolutions between the first and the last; all but the last of them halve the size.

    Example:
        >>> import torch
        >>> from monai_sscm.networks import FeatureDiscriminator
        >>> FeatureDiscriminator(spatial_dims=2, in_channels=16)(torch.rand(4, 16, 32, 32)).shape
        torch.Size([4, 1, 16, 16])
    """

    def __init__(self, spatial_dims: int, in_channels: int, channels: int = 32, num_layers: int = 1) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.layers = PatchDiscriminator(
            spatial_dims=spatial_dims,
            channels=channels,
            in_channels=in_channels,
            num_layers_d=num_layers,
            kernel_size=3,
            padding=1,
            last_conv_kernel_size=1,
            norm=None,  # type: ignore[arg-type]
            bias=True,
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """
        Args:
            features: feature map ``(B, C, *spatial)``.

        Returns:
            logits ``(B, 1, *patches)``.

        Raises:
            ValueError: when the number of channels is another.
        """
        if features.shape[1] != self.in_channels:
            raise ValueError(
                f"The discriminator takes feature maps with {self.in_channels} channels, the tapped layer gives "
                f"{features.shape[1]} (shape {tuple(features.shape)}): "
                f"set its `in_channels` (`feature_channels` of a bundle) to {features.shape[1]}."
            )
        logits: torch.Tensor = self.layers(features)[-1]
        return logits
