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
from monai.data import MetaTensor
from monai.inferers import SimpleInferer, SlidingWindowInferer
from torch import nn
from torch.nn.functional import interpolate

from monai_sscm.datasets import chest_phantom
from monai_sscm.inferers import SlabInferer
from monai_sscm.transforms import LUNG_WINDOW, lung_box


class Threshold(nn.Module):
    """Three classes by density, the logits a smooth function of it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Size] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.shape)
        assert 0 <= float(x.min()) and float(x.max()) <= 1
        return torch.cat([-((x - level) ** 2) for level in (0.1, 0.45, 0.9)], dim=1)


@pytest.mark.parametrize("slab", [1, 3, 4, 100])
def test_slabs_make_no_difference(slab):
    scan = torch.as_tensor(chest_phantom(96, 7, 0)[0])[None, None]
    network = Threshold()
    mask = SlabInferer(SimpleInferer(), size=(64, 48), slab=slab, crop=lung_box, window=LUNG_WINDOW)(scan, network)
    assert mask.shape == scan.shape and mask.dtype == torch.uint8
    assert max(shape[0] for shape in network.seen) <= slab and all(shape[1:] == (1, 64, 48) for shape in network.seen)

    # all slices at once, by hand
    box = lung_box(scan[0, 0].numpy())
    low, high = LUNG_WINDOW
    inside = ((scan[0, 0][box].float() - low) / (high - low)).clamp(0, 1).permute(2, 0, 1)[:, None]
    logits = Threshold()(interpolate(inside, (64, 48), mode="bilinear"))
    expected = torch.zeros_like(mask)
    answer = interpolate(logits, inside.shape[2:], mode="bilinear").argmax(1)
    expected[0, 0][box] = answer.permute(1, 2, 0).to(torch.uint8)
    assert torch.equal(mask, expected) and set(mask.unique().tolist()) == {0, 1, 2}
    # outside the lungs nothing is found, though there is tissue
    outside = torch.ones_like(mask, dtype=torch.bool)
    outside[0, 0][box] = False
    assert not mask[outside].any() and (scan[outside] > -100).any()


def test_logits_give_the_same_mask():
    scan = MetaTensor(torch.as_tensor(chest_phantom(64, 5, 1)[0])[None, None])
    inferer = SlidingWindowInferer(roi_size=(32, 32), overlap=0.5, mode="gaussian")
    settings = {"size": (48, 48), "slab": 2, "crop": lung_box, "window": LUNG_WINDOW}
    mask = SlabInferer(inferer, **settings)(scan, Threshold())
    logits = SlabInferer(inferer, **settings, keep_logits=True)(scan, Threshold())
    assert logits.shape == (1, 3, 64, 64, 5) and torch.equal(logits.argmax(1, keepdim=True).to(torch.uint8), mask)
    assert torch.allclose(logits.softmax(1).sum(1), torch.ones(()))


def test_without_crop_and_window_the_network_sees_all_as_it_is():
    volume = torch.rand(2, 1, 12, 10, 5)
    expected = Threshold()(volume[:, 0].permute(0, 3, 1, 2).reshape(10, 1, 12, 10)).argmax(1)
    mask = SlabInferer(SimpleInferer(), size=(12, 10), slab=2)(volume, Threshold())
    assert torch.equal(mask[:, 0], expected.reshape(2, 5, 12, 10).permute(0, 2, 3, 1).to(torch.uint8))
    # a window and a box of any kind
    scaled = SlabInferer(
        SimpleInferer(),
        size=(12, 10),
        crop=lambda array: (slice(0, 12), slice(0, 10), slice(1, array.shape[2])),
        window=(-3, 5),
    )(volume * 8 - 3, Threshold())
    assert not scaled[..., 0].any() and torch.equal(scaled[..., 1:], mask[..., 1:])


def test_wrong_arguments():
    with pytest.raises(ValueError, match="`window` must be two intensities, the lower one first"):
        SlabInferer(SimpleInferer(), size=(8, 8), window=(1, 1))
    with pytest.raises(ValueError, match="`slab` must be at least 1"):
        SlabInferer(SimpleInferer(), size=(8, 8), slab=0)
    with pytest.raises(ValueError, match="`size` must be a height and a width"):
        SlabInferer(SimpleInferer(), size=(8,))
    with pytest.raises(ValueError, match=r"must have the shape \(B, 1, X, Y, Z\), got \(1, 1, 8, 8\)"):
        SlabInferer(SimpleInferer(), size=(8, 8))(torch.zeros(1, 1, 8, 8), Threshold())
