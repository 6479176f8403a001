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

"""Pseudo-labels, confidences and weights."""

from __future__ import annotations

import pytest
import torch

from monai_sscm.engines import PseudoLabeler, View
from monai_sscm.losses import WeightedCELoss
from tests.helpers.training import make_batches, make_trainer


def test_pixel_weighting():
    labeler = PseudoLabeler(threshold=0.6, weighting="pixel")
    trainer = make_trainer(make_batches(1), views=[View(loss=WeightedCELoss())], pseudo_labeler=labeler)
    trainer.run()
    pseudo = trainer.state.pseudo
    assert torch.equal(pseudo["pseudo_weight"], (pseudo["pseudo_confidence"] >= 0.6).float())


@pytest.mark.parametrize("spatial", [(6, 5), (4, 3, 5)])
@pytest.mark.parametrize("weighting", ["image", "pixel"])
def test_pixel_by_pixel(spatial, weighting):
    logits = torch.randn(3, 4, *spatial, generator=torch.Generator().manual_seed(0), requires_grad=True)
    pseudo = PseudoLabeler(threshold=0.5, weighting=weighting)(logits)
    assert not any(value.requires_grad for value in pseudo.values())
    for i in range(3):
        prob = logits[i].detach().double().exp() / logits[i].detach().double().exp().sum(0)
        confidence, label = prob.max(0)
        weight = (confidence >= 0.5).float()
        weight = torch.full(spatial, float(weight.mean())) if weighting == "image" else weight
        torch.testing.assert_close(pseudo["pseudo_prob"][i].double(), prob)
        torch.testing.assert_close(pseudo["pseudo_confidence"][i, 0].double(), confidence)
        assert torch.equal(pseudo["pseudo_label"][i, 0], label)
        torch.testing.assert_close(pseudo["pseudo_weight"][i, 0], weight)


def test_another_pseudo_labeler_in_its_place():
    """What it returns is what the views learn from."""

    def everything_is_foreground(logits: torch.Tensor) -> dict[str, torch.Tensor]:
        pseudo = PseudoLabeler()(logits)
        return {**pseudo, "pseudo_label": torch.ones_like(pseudo["pseudo_label"])}

    views = [View(loss=WeightedCELoss())]
    trainer = make_trainer(make_batches(1), views=views, pseudo_labeler=everything_is_foreground)
    trainer.run()
    assert (trainer.state.views[0]["target"] == 1).all()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [({"weighting": "class"}, "weighting"), ({"threshold": 95}, "threshold"), ({"threshold": -0.1}, "threshold")],
)
def test_refused_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        PseudoLabeler(**kwargs)
    with pytest.raises(ValueError, match="out_channels"):
        PseudoLabeler()(torch.zeros(1, 1, 4, 4))
