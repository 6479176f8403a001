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
from monai.engines import SupervisedEvaluator
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet

from monai_sscm.handlers import ImageFeatures, ViewAgreement
from monai_sscm.networks import Ensemble, FeatureTap


@pytest.mark.parametrize("dims", [2, 3])
def test_mean_and_spread_over_all_windows(dims):
    torch.manual_seed(0)
    size = (16,) * dims
    network = UNet(dims, 1, 2, channels=(4, 8), strides=(2,)).eval()
    images = [{"image": torch.rand(1, 1, 32, *size[1:]), "name": [name]} for name in "ab"]
    features = ImageFeatures(Ensemble([network]))
    # views run the network again, which must not count
    handlers = [features, ViewAgreement(network, 2)]
    inferer = SlidingWindowInferer(size, overlap=0)
    SupervisedEvaluator(torch.device("cpu"), images, network, inferer=inferer, val_handlers=handlers).run()
    for item in images:
        with torch.no_grad(), FeatureTap(network, "model.1.submodule") as tap:
            windows = torch.cat([tap.forward_until(part) for part in item["image"].split(16, dim=2)])
        channels = windows.transpose(0, 1).flatten(1).double()
        expected = torch.cat([channels.mean(1), channels.std(1, unbiased=False)])
        assert torch.allclose(features.by_name[item["name"][0]], expected, atol=1e-6)
    assert not network._forward_hooks and not any(module._forward_hooks for module in network.modules())
