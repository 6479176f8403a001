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
from monai.transforms import Compose, LoadImage, LoadImaged
from PIL import Image, ImageCms

from monai_sscm.errors import raised_here, root_cause
from monai_sscm.io import PictureReader
from monai_sscm.transforms import MaskToIndexd
from tests.helpers.damage import read_picture, within_seconds

READER = "monai_sscm.io.PictureReader"


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "TIFF"])
@pytest.mark.parametrize("color", [True, False])
def test_pictures_are_the_right_way_up(tmp_path, suffix, color):
    image = np.zeros((16, 24, 3) if color else (16, 24), np.uint8)
    image[:8, :16] = 200
    Image.fromarray(image).save(tmp_path / f"a.{suffix}")
    got = LoadImaged("image", reader=READER, ensure_channel_first=True)({"image": str(tmp_path / f"a.{suffix}")})[
        "image"
    ]
    assert got.shape == (3 if color else 1, 16, 24)
    expected = np.moveaxis(image, -1, 0) if color else image[None]
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


def test_colors_of_every_kind(tmp_path):
    colors = np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    picture = Image.fromarray(colors)
    loader = LoadImage(reader=PictureReader("colors"), ensure_channel_first=True)
    for mode, tolerance in (("RGBA", 0), ("CMYK", 0), ("P", 60), ("LAB", 4)):
        path = tmp_path / f"{mode}.tif"
        if mode == "LAB":
            lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
            ImageCms.applyTransform(picture, lab).save(path)
        else:
            (picture.quantize(256) if mode == "P" else picture.convert(mode)).save(path)
        assert Image.open(path).mode == mode
        got = loader(path)
        assert got.shape == (3, 8, 12), mode
        if mode != "LAB":  # Pillow converts LAB in its own manner
            assert np.abs(got.numpy() - np.moveaxis(colors, -1, 0)).max() <= tolerance, mode
    picture.convert("LA").save(tmp_path / "gray.png")
    assert (loader(tmp_path / "gray.png")[0].numpy() == np.asarray(picture.convert("L"))).all()
    with pytest.raises(ValueError, match="'indices' or 'colors', got 'RGB'"):
        PictureReader("RGB")


def test_several_pictures_in_a_file_are_refused(tmp_path):
    pictures = [Image.fromarray(np.full((8, 12), value, np.uint8)) for value in (10, 20)]
    for name in ("stack.tif", "film.png"):
        pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:])
        with pytest.raises(OSError, match=rf"{name}.* 2 pictures in it: save the one that counts alone"):
            PictureReader().get_data(tmp_path / name)
    pictures[0].save(tmp_path / "camera.jpg", format="MPO", save_all=True, append_images=pictures[1:])
    assert PictureReader().get_data(tmp_path / "camera.jpg")[0].shape == (8, 12)


def test_nifti_photographs_that_are_cut_off(tmp_path):
    """As the photographs' bundle reads them, by MONAI's own reader behind ours."""
    path = tmp_path / "photograph.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.random.default_rng(0).random((20, 24, 1)).astype(np.float32), np.eye(4)), path)
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:length])
        with pytest.raises(Exception) as error:
            within_seconds(lambda: read_picture(path))
        assert raised_here(root_cause(error.value)) and "photograph.nii.gz" in str(root_cause(error.value))
