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

"""Rotation, zoom, shift and flips of a batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from monai_sscm.transforms import (
    RandBatchAffine,
    RandBatchAffineD,
    RandBatchAffined,
    RandBatchAffineDict,
)
from tests.helpers.containers import KINDS, assert_same_container, in_container

STILL = {"rotate_range": 0, "min_zoom": 1, "max_zoom": 1, "shift_range": 0, "flip_prob": 0}
SHAPES = [(2, (3, 20, 15)), (2, (1, 3, 2)), (3, (2, 7, 8, 9))]


@pytest.mark.parametrize(("spatial_dims", "shape"), SHAPES)
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_batch_equals_its_samples_in_a_row(spatial_dims, shape, mode):
    x = torch.rand(5, *shape)
    before = x.clone()
    batch, one = (RandBatchAffine(spatial_dims, prob=0.6, mode=mode).set_random_state(3) for _ in range(2))
    out = batch(x)
    assert torch.equal(x, before) and out.shape == x.shape
    for i in range(5):
        torch.testing.assert_close(one(x[i]), out[i], rtol=0, atol=1e-5)
    assert not torch.equal(out, x) and torch.isfinite(out).all()


@pytest.mark.parametrize("shape", [(11, 16), (16, 11), (9, 12, 7)])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_moves_a_second_way(shape, mode):
    """Scipy's, by the matrix in voxels about the center; on doubles, so that no nearest neighbor is a tie."""
    dims, number = len(shape), 6
    x = torch.rand(number, 2, *shape, dtype=torch.float64)
    angle, zoom, shift = 0.9, (0.6, 1.7), 0.2
    affine = RandBatchAffine(dims, angle, *zoom, shift, prob=1.0, flip_prob=0, mode=mode).set_random_state(1)
    out = affine(x).numpy()
    turns = [(0, 1)] if dims == 2 else [(1, 2), (0, 2), (0, 1)]
    center = (np.array(shape) - 1) / 2
    for i, draw in enumerate(affine._draws[:, 1:]):
        matrix = np.eye(dims)
        for (a, b), u in zip(turns, draw):
            turn, phi = np.eye(dims), angle * (2 * u - 1)
            turn[[a, b], [a, b]] = math.cos(phi)
            turn[a, b], turn[b, a] = -math.sin(phi), math.sin(phi)
            matrix = matrix @ turn
        u_zoom, *u_shift = draw[len(turns) : len(turns) + 1 + dims]
        matrix /= zoom[0] * (zoom[1] / zoom[0]) ** u_zoom
        offset = center - matrix @ center + shift * (2 * np.array(u_shift) - 1) * shape
        for channel in range(2):
            order = {"bilinear": 1, "nearest": 0}[mode]
            expected = affine_transform(x[i, channel].numpy(), matrix, offset, order=order, mode="nearest")
            np.testing.assert_allclose(out[i, channel], expected, atol=1e-9)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_flips_alone_are_exact_and_even(spatial_dims):
    x = torch.rand(1, *(3,) * spatial_dims)
    out = RandBatchAffine(spatial_dims, prob=0).set_random_state(0)(x.expand(800, *x.shape))
    axes = range(1, spatial_dims + 1)
    expected = [[a for i, a in enumerate(axes) if n >> i & 1] for n in range(2**spatial_dims)]
    counts = [int((out == x.flip(flips)).flatten(1).all(1).sum()) for flips in expected]
    assert sum(counts) == 800 and min(counts) > 0.6 * 800 / len(counts)
    one = RandBatchAffine(spatial_dims, prob=0, flip_prob=1, flip_axes=[1])(x)
    assert torch.equal(one, x.flip(2))


def test_probability_is_per_sample_and_off_is_off():
    x = torch.rand(400, 1, 8, 8)
    out = RandBatchAffine(2, prob=0.4, flip_prob=0).set_random_state(0)(x)
    changed = (out != x).flatten(1).any(1).float().mean()
    assert 0.3 < changed < 0.5
    unmoved = RandBatchAffine(2, prob=0, flip_prob=0)(x)
    assert torch.equal(unmoved, x) and unmoved.data_ptr() != x.data_ptr()
    torch.testing.assert_close(RandBatchAffine(2, prob=1, **STILL)(x), x)


def test_in_the_plane_alone():
    """A volume that is constant along the plane's axes, or that is rotated about its last axis."""
    profile = torch.rand(4, 1, 1, 1, 6).expand(4, 1, 10, 12, 6)
    affine = RandBatchAffine(3, prob=1, **{**STILL, "rotate_range": (0, 0, 1.0)}).set_random_state(0)
    torch.testing.assert_close(affine(profile), profile)
    x = torch.rand(4, 1, 10, 12, 6)
    moved = affine(x)
    assert not torch.allclose(moved, x)
    plane = RandBatchAffine(2, prob=1)
    plane._draws = np.concatenate([np.zeros((4, 1)), affine._draws[:, 3:4], np.full((4, 5), 0.5)], axis=1)
    plane.rotate_range, plane.zoom_range, plane.flip_prob = (1.0,), (1.0, 1.0), 0
    for z in range(6):
        torch.testing.assert_close(plane(x[..., z], randomize=False), moved[..., z], rtol=0, atol=1e-5)


def test_zoom_enlarges():
    x = torch.zeros(2, 1, 32, 32)
    x[..., 12:20, 12:20] = 1
    large = RandBatchAffine(2, prob=1, **{**STILL, "min_zoom": 2, "max_zoom": 2}, mode="nearest")(x)
    assert torch.equal(large.sum((1, 2, 3)), torch.full((2,), 256.0))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_keys_are_moved_alike(spatial_dims):
    label = torch.randint(0, 3, (6, 1, *(12,) * spatial_dims), dtype=torch.uint8)
    data = {"image": label.float(), "label": label, "weight": label.float() / 2, "other": 1}
    keys = ["image", "label", "weight"]
    affine = RandBatchAffined(keys, spatial_dims, mode=["nearest"] * 3).set_random_state(0)
    out = affine(data)
    assert torch.equal(out["image"], out["label"].float()) and torch.equal(out["weight"] * 2, out["image"])
    assert out["label"].dtype == torch.uint8 and out["other"] == 1
    assert not torch.equal(out["label"], label)
    again = RandBatchAffined(keys, spatial_dims, mode=["bilinear", "nearest", "nearest"]).set_random_state(0)(data)
    # the label is where the image is: next to no pixel of a flat region differs
    smooth = torch.zeros(6, 1, *(32,) * spatial_dims)
    smooth[(..., *(slice(8, 20),) * spatial_dims)] = 1
    both = RandBatchAffined(["image", "label"], spatial_dims, mode=["bilinear", "nearest"]).set_random_state(1)
    moved = both({"image": smooth, "label": smooth.long()})
    assert torch.equal(moved["image"] > 0.999, (moved["image"] > 0.999) & (moved["label"] == 1))
    assert torch.equal(again["label"], out["label"])
    with pytest.raises(KeyError):
        RandBatchAffined(["image", "mask"], spatial_dims)(data)
    assert "mask" not in RandBatchAffined(["image", "mask"], spatial_dims, allow_missing_keys=True)(data)
    assert RandBatchAffineD is RandBatchAffineDict is RandBatchAffined


@pytest.mark.parametrize("kind", [*KINDS, "bool", "int64"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_containers(kind, mode):
    given = in_container(torch.rand(2, 1, 8, 8) * 100, kind)
    out = RandBatchAffine(2, prob=1, mode=mode).set_random_state(0)(given)
    assert_same_container(out, given)
    kept = mode == "nearest" or kind == "half"
    assert str(out.dtype).endswith(
        {"half": "float16"}.get(kind, kind) if kept and kind in ("uint8", "half", "bool", "int64") else "float32"
    )


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_nothing_is_read_back_from_the_device(spatial_dims):
    """On the meta device every look at a value raises."""
    x = torch.empty(4, 1, *(8,) * spatial_dims, device="meta")
    affine = RandBatchAffined(["image", "label"], spatial_dims, mode=["bilinear", "nearest"]).set_random_state(0)
    out = affine({"image": x, "label": x.long()})
    assert out["image"].device.type == out["label"].device.type == "meta"


@pytest.mark.parametrize(
    "kwargs",
    [
        {"spatial_dims": 1},
        {"prob": 1.5},
        {"flip_prob": -1},
        {"min_zoom": 0},
        {"min_zoom": 2, "max_zoom": 1},
        {"rotate_range": -1},
        {"rotate_range": (1, 1)},
        {"shift_range": -0.1},
        {"flip_axes": [2]},
        {"mode": "bicubic"},
        {"padding_mode": "wrap"},
    ],
)
def test_refused(kwargs):
    with pytest.raises(ValueError):
        RandBatchAffine(**{"spatial_dims": 2, **kwargs})
    with pytest.raises(ValueError, match="spatial_dims=2"):
        RandBatchAffine(2)(torch.rand(8, 8))
    with pytest.raises(ValueError, match="drawn for 0 samples"):
        RandBatchAffine(2)(torch.rand(1, 8, 8), randomize=False)
    with pytest.raises(ValueError, match="`mode`"):
        RandBatchAffined("image", 2, mode="cubic")
