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

"""Where the decoders of MONAI's networks take their encoder's features."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from monai.networks.nets import AttentionUnet, BasicUNet, DynUNet, SegResNet, UNet
from torch import nn

from monai_sscm.networks import FeatureDropout, encoder_layers

NETWORKS: dict[str, tuple[Callable[[int], nn.Module], int]] = {
    "UNet": (lambda dims: UNet(dims, 1, 2, channels=(4, 8, 8, 16, 16), strides=(2, 2, 2, 2), num_res_units=1), 5),
    "UNet without residuals": (lambda dims: UNet(dims, 1, 2, channels=(4, 8), strides=(2,)), 2),
    "SegResNet": (
        lambda dims: SegResNet(dims, init_filters=8, in_channels=1, blocks_down=(1, 2, 1), blocks_up=(1, 1)),
        3,
    ),
    "DynUNet": (lambda dims: DynUNet(dims, 1, 2, [3] * 4, [1, 2, 2, 2], [2, 2, 2], filters=[4, 8, 8, 8]), 4),
    "DynUNet with deep supervision": (
        lambda dims: DynUNet(
            dims, 1, 2, [3] * 4, [1, 2, 2, 2], [2, 2, 2], filters=[4, 8, 8, 8], deep_supervision=True, res_block=True
        ),
        4,
    ),
    "BasicUNet": (lambda dims: BasicUNet(dims, 1, 2, features=(4, 4, 8, 8, 8, 4)), 5),
    "AttentionUnet": (lambda dims: AttentionUnet(dims, 1, 2, channels=(4, 8, 8), strides=(2, 2)), 3),
}


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_reaches_the_decoder(name, spatial_dims):
    """Dropping the channels of any one layer changes the prediction of the perturbed rows, and of no other."""
    torch.manual_seed(0)
    make, number = NETWORKS[name]
    network = make(spatial_dims).eval()
    image = torch.rand(4, 1, *(32,) * spatial_dims)
    layers = encoder_layers(network)
    assert len(layers) == number == len(set(layers))
    with torch.no_grad():
        whole = network(image)
        for perturb in [FeatureDropout()] + [FeatureDropout([layer], prob=0.9) for layer in layers]:
            with perturb(network, slice(1, 3)):
                perturbed = network(image)
            torch.testing.assert_close(perturbed[[0, 3]], whole[[0, 3]], rtol=0, atol=0)
            for row in (1, 2):
                assert not torch.allclose(perturbed[row], whole[row], atol=1e-4), perturb.layers
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_names_of_a_u_net():
    """In the order in which UniMatch's channels were always drawn."""
    network = UNet(2, 3, 2, channels=(4, 8, 16, 32, 64), strides=(2, 2, 2, 2), num_res_units=2)
    inner = ["", ".submodule.1", ".submodule.1.submodule.1", ".submodule.1.submodule.1.submodule.1"]
    assert encoder_layers(network) == [*("model.1" + name for name in inner), f"model.1{inner[-1]}.submodule"]
    assert encoder_layers(nn.DataParallel(network)) == encoder_layers(network)


def test_a_network_of_another_kind_must_name_its_layers():
    with pytest.raises(ValueError, match="decoder of Conv2d takes .*: name the layers"):
        encoder_layers(nn.Conv2d(1, 1, 1))
