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

"""Small batches, networks and trainers for the tests of what trains."""

from __future__ import annotations

import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from torch import nn

from monai_sscm.engines import SemiSupervisedTrainer
from monai_sscm.networks import FeatureDiscriminator
from monai_sscm.transforms import SupervisedClassMixd

KEYS = ("unlabeled_image", "pseudo_label", "pseudo_weight")
OUT = ("mixed_image", "mixed_label", "mixed_weight")


def make_network(spatial_dims: int = 2, norm: str = "instance") -> nn.Module:
    torch.manual_seed(0)
    return UNet(spatial_dims, 1, 2, channels=(4, 8, 16), strides=(2, 2), norm=norm)


def make_batch(seed: int, labeled: int = 2, unlabeled: int = 2, spatial_dims: int = 2, size: int = 16) -> dict:
    g = torch.Generator().manual_seed(seed)
    space = (size,) * spatial_dims
    label = (torch.rand((labeled, 1, *space), generator=g) > 0.7).long()
    return {
        "image": torch.rand((labeled, 1, *space), generator=g) + label,
        "label": label,
        "unlabeled_image": torch.rand((unlabeled, 1, *space), generator=g) * 2,
    }


def make_batches(n: int, **kwargs) -> list[dict]:
    return [make_batch(i, **kwargs) for i in range(n)]


def supmix(spatial_dims: int = 2, **kwargs) -> SupervisedClassMixd:
    return SupervisedClassMixd(
        KEYS,
        ("image", "label", None),
        "label",
        (1,),
        2,
        spatial_dims,
        output_keys=OUT,
        mask_key="mixed_mask",
        **kwargs,
    )


def make_trainer(batches: list[dict], network: nn.Module | None = None, sufd: bool = False, epochs: int = 1, **kwargs):
    network = make_network() if network is None else network
    if sufd:
        torch.manual_seed(1)
        discriminator = FeatureDiscriminator(batches[0]["image"].ndim - 2, in_channels=4, channels=8)
        kwargs = {
            "discriminator": discriminator,
            "discriminator_optimizer": torch.optim.Adam(discriminator.parameters(), 1e-3),
            "feature_layer": "model.1.submodule",
            "adversarial_weight": 0.1,
            **kwargs,
        }
    return SemiSupervisedTrainer(
        **{
            "device": "cpu",
            "max_epochs": epochs,
            "train_data_loader": batches,
            "network": network,
            "optimizer": torch.optim.SGD(network.parameters(), 0.05),
            "loss_function": DiceCELoss(softmax=True, to_onehot_y=True),
            "decollate": False,
            **kwargs,
        }
    )


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], exact: bool = True) -> None:
    assert list(a) == list(b)
    for name in a:
        torch.testing.assert_close(a[name], b[name], **({"rtol": 0, "atol": 0} if exact else {}), msg=name)


def differ(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(a[name], b[name]) for name in a)
