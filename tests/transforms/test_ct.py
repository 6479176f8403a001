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
from monai.data import MetaTensor
from monai.transforms import CropForegroundd

from monai_sscm.datasets import chest_phantom
from monai_sscm.transforms import (
    EXPORT_WINDOW,
    TakeSlice,
    TakeSliced,
    ToHounsfield,
    ToHounsfieldd,
    export_window,
    in_lung_box,
    lung_box,
)


def export(scan: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    low, high = window
    return np.clip((scan - low) / (high - low) * 255, 0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("container", [np.asarray, torch.as_tensor, MetaTensor])
def test_hounsfield_units_and_exports_come_to_one_range(container):
    scan = chest_phantom(64, 4, 0)[0][None]
    window = (-1200.0, 300.0)
    same = ToHounsfield()(container(scan))
    assert same.shape == scan.shape and (np.asarray(same) == scan).all()
    back = ToHounsfield()(container(export(scan, window)), export_window=window)
    assert type(back) is type(container(scan)) and str(back.dtype).endswith("int16")
    # to half a grey level, but for what the export cut off
    assert np.abs(np.asarray(back) - np.clip(scan, *window)).max() <= 0.5 * 1500 / 255 + 1
    low, high = EXPORT_WINDOW
    assert np.asarray(ToHounsfield()(container(np.array([[[0, 255]]], np.uint8)))).tolist() == [[[low, high]]]


@pytest.mark.parametrize("values", [(0, 4095), (-50, 200), (-99, 255)])
def test_other_ranges_are_refused(values):
    with pytest.raises(ValueError, match="neither Hounsfield units, where air is near -1000, nor an 8-bit export"):
        ToHounsfield()(torch.tensor([[list(values)]]))
    with pytest.raises(ValueError, match="`export_window` must be two Hounsfield units"):
        ToHounsfield()(torch.tensor([[[0, 255]]]), export_window=(200, -1000))


@pytest.mark.parametrize("window", [(-1120, 210), (-1000, 1600), (-1300, 100)])
def test_the_window_of_an_export_is_found(window):
    scan = chest_phantom(96, 8, 1)[0]
    scan = scan[lung_box(scan)]
    found = export_window([export(scan[..., k], window) for k in range(scan.shape[-1])])
    # the phantom's lungs and soft tissue are near, not at, what the rule takes them for
    assert abs(found[0] - window[0]) < 100 and abs(found[1] - window[1]) < 0.12 * (window[1] - window[0])
    assert export_window([np.full((9, 9), 7, np.uint8)]) == EXPORT_WINDOW


def test_dictionary_versions_use_up_what_they_need():
    d = ToHounsfieldd("image")({"image": torch.tensor([[[0, 255]]]), "export_window": (-900, 100), "name": "a"})
    assert d["image"].tolist() == [[[-900, 100]]] and set(d) == {"image", "name"}
    stack = torch.arange(8).reshape(1, 2, 1, 4)
    d = TakeSliced(["image", "label"], allow_missing_keys=True)({"image": stack, "slice": 2})
    assert d["image"].tolist() == [[[[2]], [[6]]]] and set(d) == {"image"}
    assert d["image"].untyped_storage().nbytes() == 2 * 8  # a slice does not hold on to its stack
    assert TakeSlice()(stack.numpy(), 2).tolist() == [[[[2]], [[6]]]]
    affine = torch.tensor([[0, 0, 2.0, 7], [1, 0, 0, 8], [0, 3, 0, 9], [0, 0, 0, 1]], dtype=torch.float64)
    piece = TakeSlice()(MetaTensor(stack, affine=affine), 2)
    assert piece.meta["slice"] == 2 and piece.affine[:3, 3].tolist() == [7 + 2 * 2, 8, 9]
    assert torch.equal(piece.affine[:, :3], affine[:, :3]) and affine[0, 3] == 7
    assert TakeSliced("image")({"image": stack})["image"] is stack
    with pytest.raises(ValueError, match="has 4 slices, there is no slice 4"):
        TakeSlice()(stack, 4)
    with pytest.raises(KeyError):
        TakeSliced(["image", "label"])({"image": stack, "slice": 0})


@pytest.mark.parametrize("size", [48, 128, 300])
def test_box_around_the_lungs(size):
    scan, _ = chest_phantom(size, 10, 2)
    x, y, z = lung_box(scan, margin=0)
    # by hand: air that is not outside the body, whose outline is an ellipse of fat
    inside = np.zeros(scan.shape, dtype=bool)
    for k in range(10):
        tissue = scan[..., k] > -500
        rows, columns = np.flatnonzero(tissue.any(1)), np.flatnonzero(tissue.any(0))
        body = np.hypot(
            (np.arange(size)[:, None] - rows.mean()) / (np.ptp(rows) / 2),
            (np.arange(size)[None] - columns.mean()) / (np.ptp(columns) / 2),
        )
        inside[..., k] = (body < 0.9) & (scan[..., k] < -700)
    for axis, part in enumerate((x, y, z)):
        there = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        assert abs(part.start - there[0]) <= 0.03 * size and abs(part.stop - 1 - there[-1]) <= 0.03 * size
    wide = lung_box(scan, margin=0.1)
    assert wide[0].start == max(0, x.start - round(0.1 * size)) and wide[2] == z


def test_what_was_cropped_or_has_no_lungs_stays_whole():
    scan, _ = chest_phantom(96, 6, 3)
    x, y, _ = lung_box(scan)
    cropped = scan[x.start + 12 : x.stop, y]  # a lung is cut open
    assert lung_box(cropped) == tuple(slice(0, n) for n in cropped.shape)
    assert lung_box(np.full((20, 30, 4), -1000)) == (slice(0, 20), slice(0, 30), slice(0, 4))
    assert lung_box(np.full((20, 30, 1), 40)) == (slice(0, 20), slice(0, 30), slice(0, 1))


def test_the_box_crops_image_and_label_alike():
    scan, mask = (torch.as_tensor(a)[None] for a in chest_phantom(96, 6, 4))
    crop = CropForegroundd(["image", "label"], source_key="image", select_fn=in_lung_box)
    d = crop({"image": MetaTensor(scan), "label": MetaTensor(mask)})
    x, y, z = lung_box(scan[0].numpy())
    assert torch.equal(d["image"].as_tensor(), scan[:, x, y, z]) and torch.equal(
        d["label"].as_tensor(), mask[:, x, y, z]
    )
    assert (d["label"] > 0).sum() == (mask > 0).sum()  # no lesion is lost
