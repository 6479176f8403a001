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

"""Low resolution of the samples of a batch."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import interpolate

from monai_sscm.transforms import (
    RandBatchLowResolution,
    RandBatchLowResolutionD,
    RandBatchLowResolutiond,
    RandBatchLowResolutionDict,
)
from tests.helpers.containers import KINDS, assert_same_container, in_container

SHAPES = [(2, (3, 20, 15)), (2, (1, 3, 2)), (3, (2, 7, 8, 9))]


@pytest.mark.parametrize(("spatial_dims", "shape"), SHAPES)
def test_batch_equals_its_samples_in_a_row(spatial_dims, shape):
    x = torch.rand(6, *shape)
    before = x.clone()
    batch, one = (RandBatchLowResolution(spatial_dims, prob=0.6, min_zoom=0.3).set_random_state(3) for _ in range(2))
    out = batch(x)
    assert torch.equal(x, before) and not torch.equal(out, x)
    for i in range(6):
        assert torch.equal(one(x[i]), out[i])


@pytest.mark.parametrize(("shape", "linear"), [((16, 20), "bilinear"), ((8, 12, 4), "trilinear")])
def test_half_resolution_a_second_way(shape, linear):
    x = torch.rand(3, 2, *shape)
    low = RandBatchLowResolution(len(shape), prob=1, min_zoom=0.5).set_random_state(0)
    low(x)
    low._draws[:, 1] = 0  # the smallest factor
    # nearest-exact takes the pixel behind the middle of each pair
    expected = interpolate(x[(..., *(slice(1, None, 2),) * len(shape))], shape, mode=linear, align_corners=False)
    torch.testing.assert_close(low(x, randomize=False), expected)


def test_probability_and_off():
    x = torch.rand(400, 1, 8, 8)
    changed = (RandBatchLowResolution(2, prob=0.3, min_zoom=0.5).set_random_state(0)(x) != x).flatten(1).any(1)
    assert 0.15 < changed.float().mean() < 0.4  # factors near 1 leave the size as it is
    assert torch.equal(RandBatchLowResolution(2, prob=0)(x), x)
    torch.testing.assert_close(RandBatchLowResolution(2, prob=1, min_zoom=1)(x), x)


@pytest.mark.parametrize("kind", KINDS)
def test_containers(kind):
    given = in_container(torch.rand(2, 1, 8, 8) * 100, kind)
    out = RandBatchLowResolution(2, prob=1).set_random_state(0)(given)
    assert_same_container(out, given)
    assert str(out.dtype).endswith({"half": "float16"}.get(kind, "float32"))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_nothing_is_read_back_from_the_device(spatial_dims):
    x = torch.empty(4, 1, *(8,) * spatial_dims, device="meta")
    assert RandBatchLowResolution(spatial_dims, prob=1)(x).device.type == "meta"


def test_dictionary():
    x = torch.rand(2, 1, 8, 8)
    data = {"a": x, "b": x.clone(), "c": x.clone()}
    out = RandBatchLowResolutiond(["a", "b"], spatial_dims=2, prob=1).set_random_state(0)(data)
    assert torch.equal(out["a"], out["b"]) and torch.equal(out["c"], x) and not torch.equal(out["a"], x)
    with pytest.raises(KeyError):
        RandBatchLowResolutiond("z", 2)(data)
    assert RandBatchLowResolutiond("z", 2, allow_missing_keys=True)(data).keys() == data.keys()
    assert RandBatchLowResolutionD is RandBatchLowResolutionDict is RandBatchLowResolutiond


@pytest.mark.parametrize("kwargs", [{"spatial_dims": 1}, {"prob": 2}, {"min_zoom": 0}, {"min_zoom": 1.5}])
def test_refused(kwargs):
    with pytest.raises(ValueError):
        RandBatchLowResolution(**{"spatial_dims": 2, **kwargs})
    with pytest.raises(ValueError, match="spatial_dims=2"):
        RandBatchLowResolution(2)(torch.rand(8, 8))
    with pytest.raises(ValueError, match="drawn for 0 samples"):
        RandBatchLowResolution(2)(torch.rand(1, 8, 8), randomize=False)
