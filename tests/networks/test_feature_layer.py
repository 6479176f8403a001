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

"""The layer for the discriminator, in MONAI's networks, and training with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from monai.networks import nets
from torch import nn

from monai_sscm.engines import View
from monai_sscm.losses import LabeledDiceCELoss, WeightedCELoss, WeightedDeepSupervisionLoss
from monai_sscm.networks import FeatureDiscriminator, FeatureTap, find_feature_layer
from tests.helpers.training import assert_same, make_batches, make_trainer, supmix, weights

TABLE = Path(__file__).parents[2] / "docs" / "how-to" / "networks.md"
#: how each is built with 1 input channel and 2 classes, small; its layer and channels; the smallest size; 3D too
NETWORKS = {
    "UNet": (lambda d: nets.UNet(d, 1, 2, (4, 8, 16), (2, 2), num_res_units=1), "model.1.submodule", 4, 16),
    "AttentionUnet": (lambda d: nets.AttentionUnet(d, 1, 2, (4, 8, 16), (2, 2)), "model.1", 4, 16),
    "BasicUNet": (lambda d: nets.BasicUNet(d, 1, 2, (4, 4, 8, 8, 8, 6)), "upcat_1", 6, 32),
    "BasicUNetPlusPlus": (lambda d: nets.BasicUNetPlusPlus(d, 1, 2, (4, 4, 8, 8, 8, 6)), "upcat_0_4", 6, 32),
    "DynUNet": (lambda d: nets.DynUNet(d, 1, 2, [3] * 3, [1, 2, 2], [2, 2], [4, 8, 8]), "skip_layers", 4, 16),
    "SegResNet": (lambda d: nets.SegResNet(d, 8, 1, 2, blocks_down=(1, 1), blocks_up=(1,)), "act_mod", 8, 16),
    "SegResNetDS": (lambda d: nets.SegResNetDS(d, 8, 1, 2, blocks_down=(1, 1, 1)), "up_layers.1.blocks", 8, 16),
    "SwinUNETR": (lambda d: nets.SwinUNETR(1, 2, feature_size=12, spatial_dims=d), "decoder1", 12, 64),
    "UNETR": (
        lambda d: nets.UNETR(1, 2, (16,) * d, 4, hidden_size=12, mlp_dim=12, num_heads=2, spatial_dims=d),
        "decoder2",
        4,
        16,
    ),
    "VNet": (lambda d: nets.VNet(d, 1, 2), "up_tr32", 32, 16),
    "FlexibleUNet": (
        lambda d: nets.FlexibleUNet(1, 2, "resnet10", decoder_channels=(16, 8, 8, 8, 4), spatial_dims=d),
        "decoder",
        4,
        32,
    ),
    "MedNeXt": (
        lambda d: nets.MedNeXt(d, 4, 1, 2, blocks_down=(1,) * 4, blocks_bottleneck=1, blocks_up=(1,) * 4),
        "dec_stages.3",
        4,
        32,
    ),
}
#: too many weights for a quick training in 3D
LARGE = {"VNet", "FlexibleUNet", "SwinUNETR"}


def build(name: str, spatial_dims: int) -> tuple[nn.Module, torch.Tensor]:
    if name in ("SwinUNETR", "UNETR"):
        pytest.importorskip("einops")
    make, _, _, size = NETWORKS[name]
    torch.manual_seed(0)
    return make(spatial_dims), torch.rand(1, 1, *(size,) * spatial_dims)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_found_and_runs_once(name, spatial_dims):
    if spatial_dims == 3 and name in LARGE:
        pytest.skip("takes long")
    network, image = build(name, spatial_dims)
    before, state, mode = weights(network), torch.get_rng_state(), network.training
    layer = find_feature_layer(network, image)
    assert layer == NETWORKS[name][1:3]
    # the network stays as it is, and so do the random numbers
    assert_same(before, network.state_dict())
    assert network.training == mode and torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks for module in network.modules())
    # the layer as the trainer reads it; what it says decides the logits
    with FeatureTap(network.eval(), layer.name) as tap, torch.no_grad():
        network(image)
        features = tap.read()
    assert features.ndim == image.ndim and features.shape[1] == layer.channels


@pytest.mark.parametrize("name", ["DynUNet", "SegResNetDS", "AttentionUnet", "UNETR"])
def test_training_with_a_discriminator_at_it(name):
    network, image = build(name, 2)
    layer = find_feature_layer(network, image)
    discriminator = FeatureDiscriminator(2, layer.channels, channels=4)
    trainer = make_trainer(
        make_batches(2, size=image.shape[-1]),
        network,
        views=[View(mix=supmix(), loss=WeightedCELoss())],
        discriminator=discriminator,
        discriminator_optimizer=torch.optim.SGD(discriminator.parameters(), 0.1),
        feature_layer=layer.name,
    )
    before = weights(network)
    trainer.run()
    assert trainer.state.optimizer_steps == 2 and "adversarial_loss" in trainer.state.output
    # the gradient of the features' loss reaches what is below the layer
    assert any(not torch.equal(x, before[k]) for k, x in network.state_dict().items())


def with_heads(kind: str, spatial_dims: int) -> tuple[nn.Module, nn.Module]:
    """A network with deep supervision, and one of its heads."""
    torch.manual_seed(0)
    if kind == "DynUNet":
        args = ([3] * 4, [1, 2, 2, 2], [2, 2, 2], [4, 8, 8, 8])
        dynunet = nets.DynUNet(spatial_dims, 1, 2, *args, deep_supervision=True, deep_supr_num=2)
        return dynunet, dynunet.deep_supervision_heads[1]
    segresnet = nets.SegResNetDS(spatial_dims, 8, 1, 2, blocks_down=(1, 1, 1), dsdepth=2)
    return segresnet, segresnet.up_layers[0].head


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("kind", ["DynUNet", "SegResNetDS"])
def test_deep_supervision_learns_from_every_head(kind, spatial_dims):
    network, head = with_heads(kind, spatial_dims)
    before = [x.clone() for x in head.parameters()]
    trainer = make_trainer(
        make_batches(1, spatial_dims=spatial_dims),
        network,
        loss_function=WeightedDeepSupervisionLoss(LabeledDiceCELoss()),
        views=[View(mix=supmix(spatial_dims), loss=WeightedDeepSupervisionLoss(WeightedCELoss()))],
    )
    trainer.run()
    preds = trainer.state.output["pred"]
    assert isinstance(preds, list) and len(preds) == {"DynUNet": 3, "SegResNetDS": 2}[kind]
    assert preds[0].shape == (2, 2, *(16,) * spatial_dims)
    assert all(not torch.equal(x, y) for x, y in zip(head.parameters(), before, strict=True))


@pytest.mark.parametrize("kind", ["DynUNet", "SegResNetDS"])
def test_the_loss_of_one_prediction_says_what_to_pass(kind):
    trainer = make_trainer(make_batches(1), with_heads(kind, 2)[0], loss_function=LabeledDiceCELoss())
    with pytest.raises(ValueError, match="gives . predictions, with deep supervision: put the loss"):
        trainer.run()


def test_a_network_without_one_is_told():
    with pytest.raises(ValueError, match="Conv2d has no layer that runs once .* than the 2 classes: name one"):
        find_feature_layer(nn.Conv2d(1, 2, 1), torch.rand(1, 1, 8, 8))


def test_the_page_has_the_table_of_what_is_found():
    rows = re.findall(r"^\| `(\w+)` \| `([\w.]+)` \|", TABLE.read_text("utf-8"), re.MULTILINE)
    assert dict(rows) == {name: layer for name, (_, layer, _, _) in NETWORKS.items()}
