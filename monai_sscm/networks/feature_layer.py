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

"""Which layer of a network the feature discriminator sees."""

from __future__ import annotations

from copy import deepcopy
from typing import NamedTuple

import torch
from monai.networks.layers.simplelayers import SkipConnection
from torch import nn

from .teacher import unwrap

__all__ = ["FeatureLayer", "find_feature_layer"]


class FeatureLayer(NamedTuple):
    """
    A layer for the trainer's ``feature_layer`` and the discriminator's ``in_channels``.

    Args:
        name: its name in ``network.named_modules()``.
        channels: channels of its output.

    Example:
        >>> from monai_sscm.networks import FeatureLayer
        >>> name, channels = FeatureLayer("model.1.submodule", 16)
    """

    name: str
    channels: int


def find_feature_layer(network: nn.Module, image: torch.Tensor) -> FeatureLayer:
    """
    Find the last layer before the network's head: the decoder's finest features, from which the classes are read.

    One batch goes through a copy of the network, in training mode. Of the layers that run once in it, and give one
    tensor of the image's number of dimensions and of other channels than the classes, it is the last, with all its
    parts. Where MONAI's ``UNet`` joins the encoder's features with the decoder's, it is the decoder alone.

    Args:
        network: any network from images to logits, or, with deep supervision, a list of them; one in DDP or
            ``torch.compile`` is unwrapped first. It stays as it is.
        image: images ``(B, C, *spatial)`` of a size that the network takes, such as that of the crops; the values
            do not matter.

    Returns:
        the layer's name and its number of channels.

    Raises:
        ValueError: when the network has no such layer.

    Example:
        >>> import torch
        >>> from monai.networks.nets import UNet
        >>> from monai_sscm.networks import FeatureDiscriminator, find_feature_layer
        >>> network = UNet(spatial_dims=2, in_channels=1, out_channels=2, channels=(4, 8, 16), strides=(2, 2))
        >>> layer = find_feature_layer(network, torch.rand(1, 1, 32, 32))
        >>> layer
        FeatureLayer(name='model.1.submodule', channels=4)
        >>> discriminator = FeatureDiscriminator(spatial_dims=2, in_channels=layer.channels)
    """
    network = unwrap(network)
    copy = deepcopy(network).train()  # as the student is; what running statistics learn here is thrown away
    outputs: dict[str, list[object]] = {name: [] for name, _ in copy.named_modules() if name}
    order: list[str] = []

    def keep(name: str, output: object) -> None:
        outputs[name].append(output)
        order.append(name)

    for name, module in copy.named_modules():
        if name:
            module.register_forward_hook(lambda module, args, output, name=name: keep(name, output))  # type: ignore[misc]
    with torch.no_grad(), torch.random.fork_rng(devices=[image.device] if image.is_cuda else []):
        pred = copy(image.expand(max(2, len(image)), *image.shape[1:]))  # one image is too few for batch normalization
    while not isinstance(pred, torch.Tensor):
        pred = pred[0]
    classes = pred.shape[2] if pred.ndim > image.ndim else pred.shape[1]

    for name in reversed(order):
        output = outputs[name][0]
        if (
            len(outputs[name]) == 1
            and isinstance(output, torch.Tensor)
            and output.ndim == image.ndim
            and output.shape[1] != classes
        ):
            if isinstance(copy.get_submodule(name), SkipConnection):
                # raw features of the encoder, and what came from below
                name = f"{name}.submodule"
                output = outputs[name][0]
                assert isinstance(output, torch.Tensor)
            return FeatureLayer(name, output.shape[1])
    raise ValueError(
        f"{type(network).__name__} has no layer that runs once and gives one tensor of other channels than the "
        f"{classes} classes: name one of its layers as `feature_layer`, or train without a discriminator."
    )
