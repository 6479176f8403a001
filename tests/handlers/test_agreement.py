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
from torch import nn

from monai_sscm.handlers import ViewAgreement
from monai_sscm.metrics import mask_agreement
from monai_sscm.networks import make_views


class Indices(nn.Module):
    """As the inferer of slices gives them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x).argmax(1, keepdim=True).to(torch.uint8)


def run(network: nn.Module, image: torch.Tensor, mark_unsure: bool = False, inferer=None) -> SupervisedEvaluator:
    views = ViewAgreement(network, 3, mirror_axes=[1], mark_unsure=mark_unsure)
    evaluator = SupervisedEvaluator(
        torch.device("cpu"),
        [{"image": image}],
        network,
        inferer=inferer or (lambda x, view: view(x)),
        val_handlers=[views],
        decollate=False,
    )
    evaluator.run()
    return evaluator


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("as_indices", [False, True])
def test_agreement_and_unsure_pixels(dims, as_indices):
    torch.manual_seed(0)
    network = (nn.Conv2d if dims == 2 else nn.Conv3d)(1, 3, 3, padding=1)
    image = torch.randn(2, 1, *(7, 9, 5)[:dims])
    inferer = (lambda x, view: Indices(view)(x) if isinstance(view, nn.Module) else view(x)) if as_indices else None
    state = run(network, image, inferer=inferer).state
    with torch.no_grad():
        mask = network(image).argmax(1)
        others = [view(image).argmax(1) for view in make_views(network, mirror_axes=[1]).values()]
    assert len(others) == 3
    for i, found in enumerate(state.agreement):
        assert torch.equal(found, mask_agreement(mask[i], [other[i] for other in others], 3))
    unsure = torch.stack([other != mask for other in others]).any(0)
    assert 0 < unsure.float().mean() < 1
    pred = run(network, image, True, inferer).state.output["pred"]
    marked = pred[:, 0] if as_indices else pred.argmax(1)
    assert torch.equal(marked.long(), torch.where(unsure, 3, mask))
