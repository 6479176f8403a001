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
from torch import nn

from monai_sscm.networks import Ensemble, load_weights, make_ensemble, training_settings


@pytest.mark.parametrize("dims", [2, 3])
def test_the_mean_of_probabilities(dims):
    torch.manual_seed(0)
    layer = nn.Conv2d if dims == 2 else nn.Conv3d
    networks = [layer(1, 4, 1) for _ in range(3)]
    image = 20 * torch.rand(2, 1, *[5] * dims)
    mean = torch.stack([network(image).softmax(1) for network in networks]).mean(0)
    out = Ensemble(networks)(image)
    torch.testing.assert_close(out.softmax(1), mean)
    torch.testing.assert_close(out.exp(), mean)


def test_a_certain_no_stays_finite():
    """Or the mean over windows would be NaN."""

    class Sure(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.tensor([1e4, -1e4]).reshape(1, 2, 1, 1)

    out = Ensemble([Sure(), Sure()])(torch.ones(1, 2, 3, 3))
    assert bool(out.isfinite().all()) and bool((out.argmax(1) == 0).all())


def test_an_ensemble_is_made_and_loaded_from_checkpoints(tmp_path):
    layer = nn.Linear(2, 1)
    paths = []
    for value in (1.0, 2.0):
        state = {"weight": torch.full((1, 2), value), "bias": torch.zeros(1)}
        paths.append(str(tmp_path / f"{value}.pt"))
        torch.save({"teacher": state, "settings": {"zoom": 0.5, "seed": value}}, paths[-1])
    assert make_ensemble(layer, paths[0]) is layer and make_ensemble(layer, paths[:1]) is layer
    load_weights(layer, paths[:1])
    assert layer.weight.tolist() == [[1.0, 1.0]]
    ensemble = make_ensemble(layer, paths)
    load_weights(ensemble, paths)
    assert [network.weight[0, 0].item() for network in ensemble.networks] == [1.0, 2.0]
    settings = training_settings(paths)
    assert (
        settings["zoom"] == 0.5
        and settings.get("size") is None
        and dict.fromkeys(settings)
        == {
            "zoom": None,
            "seed": None,
        }
    )
    with pytest.raises(ValueError, match=r"1.0.pt' and '.*2.0.pt' were trained with seed=1.0 and seed=2.0"):
        settings.get("seed")


def test_an_ensemble_of_nothing_is_refused():
    with pytest.raises(ValueError, match="An ensemble needs a network"):
        Ensemble([])
