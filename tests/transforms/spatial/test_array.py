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

"""Flips and quarter turns."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandFlip, RandFlipd, RandRotate90

from monai_sscm.transforms import RandSymmetry, RandSymmetryD, RandSymmetryd, RandSymmetryDict


def key(image) -> tuple:
    return tuple(np.asarray(image).ravel().tolist())


@pytest.mark.parametrize(("shape", "turn", "number"), [((3, 3), True, 8), ((3, 3), False, 4), ((2, 3), True, 4)])
def test_it_is_monai_s_flips_and_turns(shape, turn, number):
    """The same set of outcomes, evenly drawn."""
    image = torch.arange(float(np.prod(shape))).view(1, *shape)
    turns = turn and shape[0] == shape[1]
    monai = Compose([RandFlip(0.5, 0), RandFlip(0.5, 1), RandRotate90(0.75 if turns else 0.0)]).set_random_state(0)
    ours = RandSymmetry(turn=turn).set_random_state(0)
    expected = {key(monai(image)) for _ in range(200)}
    counts = Counter(key(ours(image)) for _ in range(100 * number))
    assert set(counts) == expected and len(expected) == number
    assert min(counts.values()) > 60 and max(counts.values()) < 140


@pytest.mark.parametrize(
    ("axes", "turn", "shape", "number"),
    [
        ((), False, (3, 3, 3), 1),
        ((2,), False, (3, 3, 3), 2),
        ((0, 1, 2), False, (3, 4, 5), 8),
        ((0, 1, 2), True, (3, 3, 5), 16),
        ((0, 1, 2), True, (3, 4, 4), 8),  # turns are in the first two axes
        ((), True, (3, 3, 3), 4),
        ((0,), True, (3, 3), 8),
        ((), True, (3, 3), 4),
    ],
)
def test_axes_that_may_be_mirrored_and_turns(axes, turn, shape, number):
    """All flips and turns are there, evenly, in 2D and 3D; without a mirror, images are never mirrored."""
    image = torch.arange(float(np.prod(shape))).view(1, *shape)
    ours = RandSymmetry(axes, turn).set_random_state(0)
    counts = Counter(key(ours(image)) for _ in range(100 * number))
    assert len(counts) == number and min(counts.values()) > 60
    expected = {key(image)}
    for axis in axes:
        expected |= {key(torch.as_tensor(x).view(1, *shape).flip(axis + 1)) for x in expected}
    if turn and shape[0] == shape[1]:
        expected = {key(torch.as_tensor(x).view(1, *shape).rot90(k, (1, 2))) for x in expected for k in range(4)}
    assert set(counts) == expected


def test_metadata_follows_and_values_are_those_without():
    array = np.random.default_rng(0).random((1, 4, 4)).astype(np.float32)
    affine = torch.diag(torch.tensor([2.0, 3.0, 1.0, 1.0], dtype=torch.float64))
    plain, tracked = (RandSymmetry().set_random_state(1) for _ in range(2))
    for _ in range(16):
        expected, out = plain(array), tracked(MetaTensor(torch.as_tensor(array), affine=affine))
        assert isinstance(out, MetaTensor)
        assert torch.equal(torch.as_tensor(expected), out.as_tensor())
        # the pixel that was at a place in space is still there
        where = (out.affine @ torch.tensor([1.0, 2.0, 0.0, 1.0], dtype=torch.float64))[:2]
        i, j = (round(float(x)) for x in where / torch.tensor([2.0, 3.0]))
        assert float(out[0, 1, 2]) == float(array[0, i, j])


def test_keys_are_flipped_alike_and_seeds_repeat():
    label = torch.randint(0, 3, (1, 5, 5), dtype=torch.uint8)
    data = {"image": label.float(), "label": label, "other": 1}
    a, b = (RandSymmetryd(["image", "label"]).set_random_state(3) for _ in range(2))
    for _ in range(10):
        out = a(data)
        assert torch.equal(out["image"], out["label"].float()) and out["label"].dtype == torch.uint8
        assert torch.equal(out["image"], b(data)["image"]) and out["other"] == 1
    with pytest.raises(KeyError):
        RandSymmetryd(["image", "mask"])(data)
    assert "mask" not in RandSymmetryd(["image", "mask"], allow_missing_keys=True)(data)
    assert RandSymmetryD is RandSymmetryDict is RandSymmetryd
    with pytest.raises(ValueError, match="`mirror_axes` must be different axes"):
        RandSymmetry((0, 0))


@pytest.mark.parametrize("shape", [(4, 4), (4, 5), (4, 4, 3)])
def test_inverse(shape):
    """Also between other transforms, whose records are theirs."""
    values = {"image": torch.rand(1, *shape), "label": torch.rand(1, *shape)}
    symmetry = RandSymmetryd(["image", "label"], (0, 1, 2)[: len(shape)])
    transform = Compose([RandFlipd(["image", "label"], 0.5, 1), symmetry, RandFlipd(["image", "label"], 0.5, 0)])
    transform.set_random_state(0)
    moved = 0
    for _ in range(16):
        out = transform({key: MetaTensor(x, affine=torch.eye(4).double()) for key, x in values.items()})
        moved += not np.array_equal(out["image"], values["image"])
        back = transform.inverse(out)
        for key, x in values.items():
            assert torch.equal(back[key].as_tensor(), x) and not back[key].applied_operations
            torch.testing.assert_close(back[key].affine, torch.eye(4).double())
    assert moved > 8
    image = MetaTensor(values["image"])
    assert all(len(symmetry({"image": image, "label": image})["image"].applied_operations) == 1 for _ in range(9))
    assert not image.applied_operations
