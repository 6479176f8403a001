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

"""CutMix: the box, its donors and its random numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monai_sscm.transforms import CutMixSeg, CutMixSegD, CutMixSegd, CutMixSegDict
from tests.helpers.mixing import CONTAINERS, KEYS, MANY, OUT, cases, check, make_batch


@pytest.mark.parametrize(("spatial_dims", "spatial"), [(2, (64, 48)), (3, (32, 24, 40)), (2, (1, 7))])
@pytest.mark.parametrize("area", [0.5, (0.02, 0.4), 1.0])
def test_cut_mix_box(spatial_dims, spatial, area):
    image = torch.arange(8.0).view(8, 1, *(1,) * spatial_dims).expand(8, 1, *spatial)
    mix = CutMixSeg(spatial_dims, area).set_random_state(0)
    low, high = (area, area) if isinstance(area, float) else area
    shares = []
    for _ in range(10):
        (mixed,), mask = mix((image,))
        for i in range(8):
            where = mask[i, 0].nonzero()
            begin, end = where.min(0).values, where.max(0).values + 1
            assert len(where) == (end - begin).prod()  # the true pixels fill a box
            assert torch.equal(mixed[i], torch.where(mask[i], image[(i + 1) % 8], image[i]))
            shares.append(len(where) / mask[i, 0].numel())
    if min(spatial) > 1:  # sides are rounded to pixels
        assert low - 0.06 < min(shares) and max(shares) < high + 0.06
        assert np.std(shares) < 0.03 if isinstance(area, float) else np.std(shares) > 0.05


@pytest.mark.parametrize(("spatial_dims", "spatial"), [(2, (90, 60)), (3, (30, 24, 36))])
@pytest.mark.parametrize("max_aspect", [1.0, 2.0, 3.3])
def test_cut_mix_box_is_no_longer_than_it_may_be(spatial_dims, spatial, max_aspect):
    mix = CutMixSeg(spatial_dims, area=4 / 9, max_aspect=max_aspect).set_random_state(0)
    aspects = []
    for mask in torch.cat([mix((torch.zeros(16, 1, *spatial),))[1] for _ in range(6)]):
        where = mask[0].nonzero()
        sides = (where.max(0).values + 1 - where.min(0).values) / torch.tensor(spatial)
        assert sides.prod() == pytest.approx(4 / 9, abs=0.08)
        aspects.append(float(sides.max() / sides.min()))
    # sides are rounded to pixels; no side is longer than the image's
    most = min(max_aspect, 9 / 4)
    assert max(aspects) < most * 1.12
    if max_aspect > 1:
        assert max(aspects) > 1 + 0.6 * (most - 1) and np.mean(aspects) < 0.9 * most


@pytest.mark.parametrize("donors", [4, 3])
def test_cut_mix_from_labelled_donors(donors):
    """BCP: receiver i takes donor i, or i mod their number; a None stands for 1."""
    batch = make_batch((9, 8), donors=donors)
    keys, donor_keys = KEYS, ("image", "label", None)
    mix = CutMixSegd(keys, donor_keys, spatial_dims=2, max_aspect=1.0, output_keys=OUT, mask_key="mask")
    out = mix.set_random_state(0)(batch)
    mask = out["mask"]
    assert 0.3 < mask.float().mean() < 0.7
    for key, donor_key, output_key in zip(keys, donor_keys, OUT, strict=True):
        for i in range(4):
            donor = 1.0 if donor_key is None else batch[donor_key][i % donors].to(batch[key].dtype)
            donor = torch.as_tensor(donor, dtype=batch[key].dtype)
            assert torch.equal(out[output_key][i], torch.where(mask[i], donor, batch[key][i]))
    # a single image can be pasted onto where the donors are others
    assert CutMixSeg(2)((torch.zeros(1, 1, 8, 8),), donor=(torch.ones(1, 1, 8, 8),))[0][0].sum() > 0
    with pytest.raises(ValueError, match="donor key"):
        CutMixSegd(KEYS, ("image",), spatial_dims=2)
    with pytest.raises(ValueError, match="donor or None"):
        CutMixSeg(2)((torch.zeros(2, 1, 8, 8),), donor=(None, None))
    with pytest.raises(ValueError, match="max_aspect"):
        CutMixSeg(2, max_aspect=0.5)


def test_cut_mix_reaches_every_corner():
    mix = CutMixSeg(2, area=(0.05, 0.3)).set_random_state(0)
    reached = torch.cat([mix((torch.zeros(64, 1, 9, 9),))[1] for _ in range(40)]).float().mean(0)[0]
    assert (reached > 0).all()
    assert abs(float(reached[0, 0] - reached[8, 8])) < 0.03


def test_cut_mix_batch_draws_as_samples_do():
    batch_mix, sample_mix = (CutMixSeg(2).set_random_state(1) for _ in range(2))
    _, masks = batch_mix((torch.zeros(5, 1, 12, 12),))
    assert all(torch.equal(masks[i], sample_mix((torch.zeros(1, 12, 12),))[1]) for i in range(5))


@MANY
@given(cases(), st.floats(0.01, 1.0))
def test_cut_mix(case, area):
    wrap = CONTAINERS[case["container"]]
    mix = CutMixSeg(case["spatial_dims"], area, prob=case["prob"]).set_random_state(case["seed"])
    mixed, mask = mix([wrap(case[k]) for k in ("image", "label", "weight")])
    where = check(case, mixed, mask, [case["image"], case["label"], case["weight"]], offset=1)
    for sample in where[:, 0]:
        if sample.any():  # one box without holes
            corners = [(int(i.min()), int(i.max()) + 1) for i in sample.nonzero(as_tuple=True)]
            assert sample[tuple(slice(*c) for c in corners)].all()
            assert int(sample.sum()) == np.prod([b - a for a, b in corners])
        else:
            assert case["prob"] < 1


def test_refused_area():
    with pytest.raises(ValueError, match="area"):
        CutMixSeg(2, area=0.0)


def test_aliases():
    assert CutMixSegD is CutMixSegDict is CutMixSegd
    assert CutMixSeg.__call__.__doc__
