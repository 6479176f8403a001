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

"""Where the decoder of a network takes its encoder's features."""

from __future__ import annotations

from monai.networks.layers.simplelayers import SkipConnection
from monai.networks.nets import AttentionUnet, BasicUNet, DynUNet, SegResNet, UNet
from monai.networks.nets.attentionunet import AttentionBlock, AttentionLayer
from torch import nn

from .teacher import unwrap

__all__ = ["encoder_layers"]


def encoder_layers(network: nn.Module) -> list[str]:
    """
    Names of the layers whose outputs are the encoder's features as the decoder takes them, from the finest to the
    coarsest.

    For MONAI's ``UNet``, ``SegResNet``, ``DynUNet``, ``BasicUNet`` and ``AttentionUnet``; a network in DDP or
    ``torch.compile`` is unwrapped first.

    Args:
        network: the network.

    Raises:
        ValueError: when the network is of another kind.

    Example:
        >>> from monai.networks.nets import SegResNet, UNet
        >>> from monai_sscm.networks import encoder_layers
        >>> encoder_layers(UNet(spatial_dims=2, in_channels=1, out_channels=2, channels=(4, 8, 16), strides=(2, 2)))
        ['model.1', 'model.1.submodule.1', 'model.1.submodule.1.submodule']
        >>> encoder_layers(SegResNet(spatial_dims=2, blocks_down=(1, 1, 1), blocks_up=(1, 1)))
        ['down_layers.0', 'down_layers.1', 'down_layers.2']
    """
    network = unwrap(network)
    if isinstance(network, UNet):
        # a skip connection joins the encoder's features with what comes from below; the last one holds the bottom
        skips = _names(network, SkipConnection)
        return [*skips, f"{skips[-1]}.submodule"]
    if isinstance(network, AttentionUnet):
        # likewise, but the encoder's features come through an attention block
        bottom = _names(network, AttentionLayer)[-1] + ".submodule"
        return [*_names(network, AttentionBlock), bottom]
    if isinstance(network, SegResNet):
        return [f"down_layers.{i}" for i in range(len(network.down_layers))]
    if isinstance(network, DynUNet):
        return ["input_block", *(f"downsamples.{i}" for i in range(len(network.downsamples))), "bottleneck"]
    if isinstance(network, BasicUNet):
        return ["conv_0", "down_1", "down_2", "down_3", "down_4"]
    raise ValueError(
        f"It is not known where the decoder of {type(network).__name__} takes the encoder's features: name the layers, "
        "as in network.named_modules()."
    )


def _names(network: nn.Module, kind: type[nn.Module]) -> list[str]:
    return [name for name, module in network.named_modules() if isinstance(module, kind)]
