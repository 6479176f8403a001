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

"""Which classes are pasted, with what margin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monai_sscm.transforms import SupervisedClassMix
from tests.helpers.mixing import (
    CONTAINERS,
    KEYS,
    MANY,
    OUT,
    SIZES,
    cases,
    check,
    make_batch,
    make_supmix,
    one_hot,
    plain,
)


@pytest.mark.parametrize(("spatial_dims", "spatial"), SIZES)
@pytest.mark.parametrize("layout", ["index", "one_hot"])
@pytest.mark.parametrize("ignore_index", [None, 0])
def test_the_margin_is_pasted_with_its_true_labels(spatial_dims, spatial, layout, ignore_index):
    batch = make_batch(spatial)
    batch["label"][1] = 0  # nothing to widen
    batch["label"][0] = 0
    batch["label"][(0, 0, *(n // 2 for n in spatial))] = 2
    label = batch["label"]
    if layout == "one_hot":
        batch["label"], batch["pseudo_label"] = one_hot(label, 3), one_hot(batch["pseudo_label"], 3)
    out = make_supmix(spatial_dims, (2,), margin=2, ignore_index=ignore_index)(batch)
    mask = np.zeros((4, 1, *spatial), dtype=bool)
    for i, _, *where in np.argwhere(label.numpy() == 2):
        mask[(i, 0, *(slice(max(w - 2, 0), w + 3) for w in where))] = True
    if ignore_index is not None:
        mask &= label.numpy() != ignore_index
    np.testing.assert_array_equal(out["mixed_mask"].numpy(), mask)
    for key, donor, out_key in zip(KEYS[:2], ("image", "label"), OUT):
        assert torch.equal(out[out_key], torch.where(torch.as_tensor(mask), batch[donor], batch[key]).to(batch[key]))


@pytest.mark.parametrize("ignore_index", [255, -1, 2])
def test_ignored_pixels_are_never_pasted(ignore_index):
    batch = make_batch((16, 16))
    batch["label"][:, :, :4] = ignore_index
    for classes in ("foreground", "random_half"):
        mix = make_supmix(2, classes=classes, ignore_index=ignore_index).set_random_state(0)
        for _ in range(5):
            mask = mix(batch)["mixed_mask"]
            assert not mask[batch["label"] == ignore_index].any()
    with pytest.raises(ValueError, match="ignore_index"):
        make_supmix(2, classes=(1, 2), ignore_index=2)


@pytest.mark.parametrize("num_classes", [2, 3, 4, 5, 8])
def test_random_half_draws_floor_of_half_without_replacement(num_classes):
    label = torch.arange(num_classes).repeat(6, 1, 4, 4)[..., :num_classes]
    label[0] = 1  # a single class: nothing is pasted
    mix = SupervisedClassMix("random_half", num_classes, spatial_dims=2).set_random_state(3)
    image = torch.zeros(6, 1, *label.shape[2:])
    seen = set()
    for _ in range(60):
        _, mask = mix((image,), (image,), label)
        assert not mask[0].any()
        for i in range(1, 6):
            pasted = set(label[i][mask[i]].tolist())
            seen |= pasted
            assert len(pasted) == num_classes // 2
            assert torch.equal(mask[i], torch.isin(label[i], torch.tensor(sorted(pasted))))
    assert seen == set(range(num_classes))  # the background, too, is drawn


def test_random_half_is_uniform():
    label = torch.arange(4).repeat(100, 1, 1, 1)
    mix = SupervisedClassMix("random_half", 4, spatial_dims=2).set_random_state(0)
    masks = torch.cat([mix((label.float(),), (None,), label)[1] for _ in range(20)])
    share = masks.float().mean(0).flatten()
    assert ((share - 0.5).abs() < 4 * 0.5 / 2000**0.5).all()


@MANY
@given(cases(), st.integers(1, 4))
def test_margin(case, margin):
    """With a margin, what is pasted is what was pasted without, and all voxels near it that are not ignored."""
    kwargs = {k: case[k] for k in ("num_classes", "spatial_dims", "ignore_index", "prob")}
    wrap = CONTAINERS[case["container"]]
    receiver = [wrap(case[k]) for k in ("image", "label", "weight")]
    donor = [wrap(case["donor_image"]), wrap(case["donor_label"]), None]
    masks = []
    for m in (0, margin):
        mix = SupervisedClassMix(case["classes"], **kwargs, margin=m).set_random_state(case["seed"])
        mixed, mask = mix(receiver, donor, wrap(case["donor_label"]))
        masks.append(plain(mask))
    ones = torch.ones_like(case["donor_label"], dtype=torch.float32)
    where = check(case, mixed, mask, [case["donor_image"], case["donor_label"], ones], offset=0)
    ignored = case["donor_label"] == (10**6 if case["ignore_index"] is None else case["ignore_index"])
    near = torch.zeros_like(where)
    for i, _, *at in masks[0].nonzero().tolist():
        near[(i, 0, *(slice(max(x - margin, 0), x + margin + 1) for x in at))] = True
    assert torch.equal(where, near & ~ignored[torch.arange(len(where)) % len(ignored)])


@pytest.mark.parametrize(
    "kwargs",
    [
        {"classes": ()},
        {"classes": (3,)},
        {"classes": (-1,)},
        {"classes": (1, 1)},
        {"classes": "all"},
        {"num_classes": 1, "classes": (0,)},
        {"prob": 1.5},
        {"spatial_dims": 4},
        {"margin": -1},
    ],
)
def test_refused_arguments(kwargs):
    with pytest.raises(ValueError):
        SupervisedClassMix(**{"classes": (1,), "num_classes": 3, "spatial_dims": 2, **kwargs})
