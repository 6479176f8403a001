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

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import SegResNet, UNet
from torch import nn

from monai_sscm.networks import FeatureDropout, FeatureTap


def make_unet(spatial_dims: int) -> nn.Module:
    return UNet(spatial_dims, 1, 2, channels=(4, 8, 16), strides=(2, 2), num_res_units=1)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("layer", ["model.0", "model.1.submodule", "model.1.submodule.0", "model.2"])
def test_reads_what_the_layer_gives(spatial_dims, layer):
    network = make_unet(spatial_dims).eval()
    x = torch.rand(2, 1, *(16,) * spatial_dims)
    given = []
    handle = network.get_submodule(layer).register_forward_hook(lambda module, args, out: given.append(out))
    network(x)
    handle.remove()
    with FeatureTap(network, layer) as tap:
        network(x)
        features = tap.read()
        assert torch.equal(features, given[0]) and features.requires_grad
        assert torch.equal(tap.forward_until(x), given[0])
    assert not any(m._forward_hooks for m in network.modules())


def test_later_layers_are_not_computed():
    late = []
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1))
    network[2].register_forward_hook(lambda *args: late.append(1))
    with FeatureTap(network, "1") as tap:
        features = tap.forward_until(torch.rand(1, 1, 4, 4))
        assert not late
        features.sum().backward()
        assert network[0].weight.grad is not None and network[2].weight.grad is None
        network(torch.rand(1, 1, 4, 4))  # whole passes work afterwards
        assert late and tap.read().shape == (1, 2, 4, 4)


def test_hook_is_removed_after_an_error():
    network = make_unet(2)
    with pytest.raises(RuntimeError, match="boom"), FeatureTap(network, "model.0"):
        raise RuntimeError("boom")
    assert not any(m._forward_hooks for m in network.modules())
    torch.jit.script(nn.Sequential(nn.Conv2d(1, 1, 1)))


def test_unknown_layer_lists_those_there_are():
    with pytest.raises(ValueError, match=r"no layer 'decoder'.*model\.1\.submodule"):
        FeatureTap(make_unet(2), "decoder")


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)
        self.pair = Pair()
        self.unused = nn.Conv2d(1, 1, 1)

    def forward(self, x):
        return self.pair(self.conv(self.conv(x)))[0]


class Pair(nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize(("layer", "message"), [("conv", "ran 2 times"), ("pair", "a tuple"), ("unused", "0 times")])
def test_layers_that_cannot_be_tapped(layer, message):
    network = Twice()
    with FeatureTap(network, layer) as tap:
        network(torch.rand(1, 1, 4, 4))
        with pytest.raises(RuntimeError, match=message):
            tap.read()


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_channels_are_dropped_in_the_rows_alone(spatial_dims):
    """Of a skip connection the encoder's half; the share that is dropped, and the scale of what is left."""
    network = make_unet(spatial_dims)
    layers = ["model.1", "model.1.submodule.1.submodule"]  # a skip connection, and the bottom
    modules = dict(network.named_modules())
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in layers}
    inputs: list[torch.Tensor] = []
    image = torch.rand(12, 1, *(16,) * spatial_dims)
    torch.manual_seed(0)
    with torch.no_grad(), FeatureDropout(layers, prob=0.5)(network, slice(4, 12)):
        # after the perturbation, which came first
        hooks = [modules[n].register_forward_hook(lambda m, a, o, n=n: seen[n].append(o)) for n in layers]
        hooks.append(modules["model.1"].register_forward_pre_hook(lambda m, a: inputs.append(a[0])))
        network(image)
        for hook in hooks:
            hook.remove()
    assert not any(module._forward_hooks for module in modules.values())
    skip, width = seen["model.1"][0], inputs[0].shape[1]
    ratio = (skip[:, :width] / inputs[0]).flatten(2)
    assert torch.equal(skip[:4, :width], inputs[0][:4])  # rows of other views
    kept = ratio[4:].amax(-1) > 1.5
    assert 0.2 < kept.float().mean() < 0.8
    torch.testing.assert_close(ratio[4:][kept], torch.full_like(ratio[4:][kept], 2.0))
    assert (skip[4:, :width][~kept] == 0).all()
    assert (skip[4:, width:].flatten(2).abs().sum(-1) > 0).all()  # what comes from below is whole
    bottom = (seen[layers[1]][0].flatten(2) == 0).all(-1)
    assert not bottom[:4].any() and 0.2 < bottom[4:].float().mean() < 0.8


def test_dropout_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="prob"):
        FeatureDropout(["model.1"], prob=1.0)
    with pytest.raises(ValueError, match="has no layer 'decoder'"), FeatureDropout(["decoder"])(make_unet(2), slice(1)):
        pass


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_encoder_goes_on_with_features_as_they_were(spatial_dims):
    """Each layer is fed by the one before; the decoder alone sees them perturbed."""
    torch.manual_seed(0)
    network = SegResNet(spatial_dims, init_filters=8, in_channels=1, blocks_down=(1, 1, 1), blocks_up=(1, 1)).eval()
    image = torch.rand(4, 1, *(16,) * spatial_dims)
    inputs: dict[str, list[torch.Tensor]] = {"down_layers.1": [], "down_layers.2": [], "up_samples.0": []}
    with torch.no_grad():
        for passed in range(2):
            # the second pass is perturbed
            with FeatureDropout(prob=0.5)(network, slice(2, 4) if passed else slice(0, 0)):
                hooks = [
                    network.get_submodule(name).register_forward_pre_hook(lambda m, args, x=x: x.append(args[0]))
                    for name, x in inputs.items()
                ]
                network(image)
                for hook in hooks:
                    hook.remove()
    for name in ("down_layers.1", "down_layers.2"):
        assert torch.equal(*inputs[name])
    whole, perturbed = inputs["up_samples.0"]
    assert torch.equal(whole[:2], perturbed[:2]) and not torch.allclose(whole[2:], perturbed[2:])


def test_layers_are_found_once():
    perturb, network = FeatureDropout(), make_unet(2)
    assert perturb.layers is None
    with perturb(network, slice(1)):
        pass
    assert perturb.layers == ("model.1", "model.1.submodule.1", "model.1.submodule.1.submodule")
    with pytest.raises(ValueError, match="name the layers"), FeatureDropout()(nn.Conv2d(1, 1, 1), slice(1)):
        pass
