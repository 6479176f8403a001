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

import nibabel
import numpy as np
import pytest
from monai.transforms import Compose, LoadImaged
from PIL import Image

from monai_sscm.data import semi_supervised_datalist, vessel_phantom, write_vessel_phantoms
from monai_sscm.transforms import MaskToIndexd

READER = "monai_sscm.data.PictureReader"


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "TIFF"])
@pytest.mark.parametrize("colour", [True, False])
def test_pictures_are_the_right_way_up(tmp_path, suffix, colour):
    image = np.zeros((16, 24, 3) if colour else (16, 24), np.uint8)
    image[:8, :16] = 200
    Image.fromarray(image).save(tmp_path / f"a.{suffix}")
    got = LoadImaged("image", reader=READER, ensure_channel_first=True)({"image": str(tmp_path / f"a.{suffix}")})[
        "image"
    ]
    assert got.shape == (3 if colour else 1, 16, 24)
    expected = np.moveaxis(image, -1, 0) if colour else image[None]
    assert np.abs(got.numpy() - expected).max() <= (12 if suffix == "jpg" else 0)


def test_nifti_is_left_to_monai(tmp_path):
    data = np.random.default_rng(0).random((5, 6, 7)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(data, np.diag([2, 3, 4, 1])), tmp_path / "a.nii.gz")
    got = LoadImaged("image", reader=READER, ensure_channel_first=True)({"image": str(tmp_path / "a.nii.gz")})["image"]
    np.testing.assert_allclose(got[0].numpy(), data)
    np.testing.assert_allclose(np.abs(np.diag(got.affine)), [2, 3, 4, 1])


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "nifti"])
def test_masks_of_every_kind_become_class_indices(tmp_path, mode):
    mask = np.zeros((8, 12), np.uint8)
    mask[2:5, 3:9] = 1
    path = tmp_path / ("a.nii.gz" if mode == "nifti" else "a.png")
    if mode == "nifti":
        nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), path)
    elif mode == "P":
        picture = Image.fromarray(mask, mode="P")
        picture.putpalette([0, 0, 0, 255, 0, 0])
        picture.save(path)
    else:
        Image.fromarray(mask * 255).convert(mode).save(path)
    load = Compose(
        [LoadImaged("label", reader=READER, ensure_channel_first=True), MaskToIndexd("label", num_classes=2)]
    )
    got = load({"label": str(path)})["label"]
    np.testing.assert_array_equal(np.asarray(got).reshape(8, 12), mask)


def test_phantoms():
    image, mask = vessel_phantom(96, seed=3)
    again, _ = vessel_phantom(96, seed=3)
    np.testing.assert_array_equal(image, again)
    assert not np.array_equal(image, vessel_phantom(96, seed=4)[0])
    assert image.dtype == mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 1}
    # vessels are darker than what lies around them, in green most
    assert image[..., 1][mask == 1].mean() < image[..., 1][(mask == 0) & (image.sum(-1) > 0)].mean() - 5
    with pytest.raises(ValueError, match="size"):
        vessel_phantom(8)


def test_phantom_data_set(tmp_path):
    write_vessel_phantoms(tmp_path, num_train=4, num_val=1, num_test=1, size=32)
    files = semi_supervised_datalist(tmp_path, num_labeled=1)
    assert {k: len(v) for k, v in files.items()} == {"labeled": 1, "unlabeled": 3, "val": 1, "test": 1}
    mask = np.asarray(Image.open(files["labeled"][0]["label"]))
    assert mask.shape == (32, 32) and set(np.unique(mask)) == {0, 255}
