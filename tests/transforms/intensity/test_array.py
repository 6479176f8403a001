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

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from monai_sscm.transforms import (
    RandStrongIntensity,
    RandStrongIntensityD,
    RandStrongIntensityd,
    RandStrongIntensityDict,
)
from tests.helpers.containers import KINDS, assert_same_container, in_container

OFF = {"brightness": 0, "contrast": 0, "gamma": 0, "noise": 0, "blur": 0}
SHAPES = [(2, (3, 20, 15)), (2, (1, 3, 2)), (3, (2, 7, 8, 9))]


@pytest.mark.parametrize(("spatial_dims", "shape"), SHAPES)
def test_batch_equals_its_samples_in_a_row(spatial_dims, shape):
    x = torch.rand(5, *shape)
    before = x.clone()
    batch, one = (RandStrongIntensity(spatial_dims, prob=0.6).set_random_state(3) for _ in range(2))
    out = batch(x)
    assert torch.equal(x, before)
    for i in range(5):
        torch.testing.assert_close(one(x[i]), out[i], rtol=0, atol=1e-6)
    assert not torch.equal(out, x) and torch.isfinite(out).all()


@pytest.mark.parametrize(("spatial_dims", "shape"), SHAPES)
def test_each_step_a_second_way(spatial_dims, shape):
    x = torch.rand(4, *shape, dtype=torch.float64) * 50 - 10
    axes = tuple(range(1, x.ndim))

    def run(**kwargs):
        augment = RandStrongIntensity(spatial_dims, prob=1.0, **{**OFF, **kwargs}).set_random_state(1)
        out = augment(x).numpy()
        return out, [d.reshape(-1, *(1,) * (x.ndim - 1)) for d in augment._draws.T]

    n = x.numpy()
    mean, std = n.mean(axes, keepdims=True), n.std(axes, keepdims=True)
    out, d = run(brightness=0.7)
    np.testing.assert_allclose(out, n + (2 * d[8] - 1) * 0.7 * std)
    out, d = run(contrast=0.4)
    np.testing.assert_allclose(out, (n - mean) * (0.6 + 0.8 * d[7]) + mean)
    out, d = run(gamma=2.0)
    low, high = n.min(axes, keepdims=True), n.max(axes, keepdims=True)
    np.testing.assert_allclose(out, ((n - low) / (high - low)) ** (2 ** (2 * d[6] - 1)) * (high - low) + low)
    out, d = run(blur=0.7)
    for i in range(4):
        y = n[i]
        for axis in range(1, y.ndim):
            y = gaussian_filter1d(y, max(0.7 * d[5][i].item(), 1e-3), axis=axis, mode="nearest", radius=2)
        np.testing.assert_allclose(out[i], y, atol=1e-9)
    out, d = run(noise=0.5)
    if n[0].size > 100:
        noise = ((out - n) / (std * 0.5 * d[9])).reshape(4, -1)
        assert abs(noise.mean()) < 0.1 and (abs(noise.std(axis=1) - 1) < 0.2).all()
        assert abs(np.corrcoef(noise)[0, 1]) < 0.2  # each sample its own


def test_draws_are_per_sample_and_probability_holds():
    x = torch.rand(300, 1, 4, 4)
    out = RandStrongIntensity(2, prob=0.4, **{**OFF, "contrast": 0.5}).set_random_state(0)(x)
    changed = (out != x).flatten(1).any(1).float().mean()
    assert 0.3 < changed < 0.5
    assert torch.equal(RandStrongIntensity(2, prob=0.0)(x), x)
    assert torch.equal(RandStrongIntensity(2, prob=1.0, **OFF)(x), x)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_line_of_one_pixel_survives_the_blur(spatial_dims):
    x = torch.zeros(64, 1, *(17,) * spatial_dims)
    x[:, :, 8] = 1.0
    out = RandStrongIntensity(spatial_dims, prob=1.0, **{**OFF, "blur": 0.7}).set_random_state(0)(x)
    assert out[:, :, 8].min() > 0.5
    torch.testing.assert_close(out.flatten(1).sum(1), x.flatten(1).sum(1))


@pytest.mark.parametrize("scale", [(1.0, 0.0), (1000.0, -500.0), (0.01, 3.0)])
def test_strength_is_relative_to_the_image(scale):
    a, b = scale
    x = torch.rand(4, 2, 16, 16, dtype=torch.float64)
    out = [RandStrongIntensity(2).set_random_state(2)(y) for y in (x, a * x + b)]
    torch.testing.assert_close(a * out[0] + b, out[1], rtol=1e-6, atol=1e-6 * a)


def test_constant_image_stays_finite():
    out = RandStrongIntensity(2, prob=1.0)(torch.zeros(2, 3, 8, 8))
    assert torch.equal(out, torch.zeros_like(out))


@pytest.mark.parametrize("kind", KINDS)
def test_containers(kind):
    given = in_container(torch.rand(2, 1, 8, 8) * 100, kind)
    out = RandStrongIntensity(2).set_random_state(0)(given)
    assert_same_container(out, given)
    assert str(out.dtype).endswith({"half": "float16"}.get(kind, "float32"))


def test_dictionary():
    x = torch.rand(2, 1, 8, 8)
    data = {"a": x, "b": x.clone(), "c": x.clone()}
    out = RandStrongIntensityd(["a", "b"], spatial_dims=2).set_random_state(0)(data)
    assert torch.equal(out["a"], out["b"]) and torch.equal(out["c"], x) and not torch.equal(out["a"], x)
    assert torch.equal(RandStrongIntensityd("a", 2).set_random_state(0)(data)["a"], out["a"])
    with pytest.raises(KeyError):
        RandStrongIntensityd("z", 2)(data)
    assert RandStrongIntensityd("z", 2, allow_missing_keys=True)(data).keys() == data.keys()
    assert RandStrongIntensityD is RandStrongIntensityDict is RandStrongIntensityd


@pytest.mark.parametrize("kwargs", [{"contrast": 1.0}, {"gamma": 0.5}, {"noise": -1}, {"spatial_dims": 1}])
def test_refused(kwargs):
    with pytest.raises(ValueError):
        RandStrongIntensity(**{"spatial_dims": 2, **kwargs})
    with pytest.raises(ValueError, match="spatial_dims=2"):
        RandStrongIntensity(2)(torch.rand(8, 8))
    with pytest.raises(ValueError, match="drawn for 0 samples"):
        RandStrongIntensity(2)(torch.rand(1, 8, 8), randomize=False)
