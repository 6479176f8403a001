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
from monai.transforms import NormalizeIntensity
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


class Seen(nn.Module):
    """A network that keeps what it saw."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x)
        return self.network(x)


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
    with pytest.raises(ValueError, match="`spacing` must be two numbers above 0"):
        SlabInferer(SimpleInferer(), spacing=(1, 0))
    with pytest.raises(ValueError, match="`size` and `spacing` both say how large"):
        SlabInferer(SimpleInferer(), size=(8, 8), spacing=(1, 1))
    with pytest.raises(ValueError, match="`window` and `standardize` both scale"):
        SlabInferer(SimpleInferer(), window=(0, 1), standardize=True)
    with pytest.raises(ValueError, match="`size` must be a height and a width"):
        SlabInferer(SimpleInferer(), size=(8,))
    with pytest.raises(ValueError, match=r"must have the shape \(B, C, X, Y, Z\), got \(1, 1, 8, 8\)"):
        SlabInferer(SimpleInferer(), size=(8, 8))(torch.zeros(1, 1, 8, 8), Threshold())


def test_channels_are_standardized_and_slices_seen_at_a_spacing():
    """As the training sees them: by MONAI's NormalizeIntensity, and Spacing in the plane."""
    generator = torch.Generator().manual_seed(0)
    volume = torch.rand((2, 20, 30, 5), generator=generator) * torch.tensor([3.0, 500.0])[:, None, None, None] + 7
    volume[1, 3:9, 4:20] += 900
    affine = torch.diag(torch.tensor([-0.8, -1.2, 9.0, 1.0], dtype=torch.float64))
    inputs = MetaTensor(volume[None].repeat(2, 1, 1, 1, 1), affine=affine)
    network = Seen(nn.Conv2d(2, 3, 1))
    inferer = SlabInferer(SimpleInferer(), spacing=(1.6, 1.2), slab=2, standardize=True, keep_logits=True)
    logits = inferer(inputs, network)
    assert isinstance(logits, MetaTensor) and logits.shape == (2, 3, 20, 30, 5) and torch.equal(logits.affine, affine)
    normal = torch.as_tensor(NormalizeIntensity(channel_wise=True)(volume))
    seen = torch.cat(network.seen[:3]).permute(1, 2, 3, 0)
    assert seen.shape == (2, 10, 30, 5)  # twice as far apart along the first axis, as stored along the second
    expected = (normal[:, ::2] + normal[:, 1::2]) / 2
    torch.testing.assert_close(seen, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="must be MetaTensors, whose affine says how large voxels are"):
        inferer(inputs.as_tensor(), network)


def test_a_channel_of_one_value_stays_finite():
    volume = torch.ones(1, 1, 4, 4, 2)
    network = Seen(nn.Conv2d(1, 2, 1))
    SlabInferer(SimpleInferer(), standardize=True)(volume, network)
    assert torch.equal(network.seen[0], torch.zeros(2, 1, 4, 4))
