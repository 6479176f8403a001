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

import io
import struct
import warnings
import zlib

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


@pytest.mark.parametrize("suffix", ["png", "jpg", "jfif", "bmp", "tif", "TIFF", "gif", "webp", "ppm"])
@pytest.mark.parametrize("color", [True, False])
def test_pictures_are_the_right_way_up(tmp_path, suffix, color):
    image = np.zeros((16, 24, 3) if color else (16, 24), np.uint8)
    image[:8, :16] = 200
    if color:
        image[..., 1] //= 2
    jpeg = {"format": "JPEG", "quality": 95, "subsampling": 0}
    options = {"webp": {"lossless": True}, "jpg": jpeg, "jfif": jpeg}
    Image.fromarray(image).save(tmp_path / f"a.{suffix}", **options.get(suffix, {}))
    reader = PictureReader("colors")
    got = LoadImaged("image", reader=reader, ensure_channel_first=True)({"image": str(tmp_path / f"a.{suffix}")})
    color = color or suffix == "webp"  # which has no greys
    assert got["image"].shape == (3 if color else 1, 16, 24)
    expected = np.moveaxis(image, -1, 0) if image.ndim == 3 else np.stack([image] * (3 if color else 1))
    assert np.abs(got["image"].numpy() - expected).max() <= (12 if suffix in ("jpg", "jfif") else 0)


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


def test_masks_as_gif(tmp_path):
    mask = np.zeros((8, 12), np.uint8)
    mask[2:5, 3:9] = 1
    # white first: by the index of the palette it would be the wrong way round
    picture = Image.fromarray(1 - mask, mode="P")
    picture.putpalette([255, 255, 255, 0, 0, 0])
    picture.save(tmp_path / "white_first.gif")
    assert Image.open(tmp_path / "white_first.gif").mode == "P"
    np.testing.assert_array_equal(PictureReader().get_data(tmp_path / "white_first.gif")[0], mask * 255)
    picture.putpalette([0, 0, 0, 255, 0, 0])  # of colors the index is the class
    picture.save(tmp_path / "colors.gif")
    np.testing.assert_array_equal(PictureReader().get_data(tmp_path / "colors.gif")[0], 1 - mask)
    Image.fromarray(mask * 255).save(tmp_path / "grey.gif")
    np.testing.assert_array_equal(PictureReader().get_data(tmp_path / "grey.gif")[0], mask * 255)


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
    for name in ("stack.tif", "film.png", "film.gif", "film.webp"):
        pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:])
        with pytest.raises(ValueError, match=rf"{name}.* 2 pictures in it: save the one that counts alone"):
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


def test_a_picture_of_a_whole_slide_is_read(tmp_path):
    """Pillow takes one of so many pixels for an attack."""
    Image.fromarray(np.zeros((14000, 13500), bool)).save(tmp_path / "slide.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert PictureReader().get_data(tmp_path / "slide.png")[0].shape == (14000, 13500)
    assert Image.MAX_IMAGE_PIXELS == 89478485  # for others it is as it was


def test_more_pixels_than_fit_are_said_to_be_so(tmp_path):
    content = io.BytesIO()
    Image.new("1", (8, 8)).save(content, "PNG")
    header = struct.pack(">IIBBBBB", 40_000, 30_000, 1, 0, 0, 0, 0)
    packed = b"IHDR" + header
    data = bytearray(content.getvalue())
    data[12:33] = packed + struct.pack(">I", zlib.crc32(packed))
    (tmp_path / "huge.png").write_bytes(data)
    with pytest.raises(ValueError, match=r"huge.png' has 40000 x 30000 pixels, more than a thousand million: cut it"):
        PictureReader().get_data(tmp_path / "huge.png")


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd", "a.img", "a.npy", "a.jp2"])
def test_other_files_are_refused_by_name(tmp_path, name):
    """MONAI's own readers would give them other axes."""
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{name}' is no picture: save it as one of .png"):
        LoadImaged("image", reader=PictureReader())({"image": str(tmp_path / name)})


def test_pictures_as_channels(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (2, 8, 12)).astype(np.uint8)
    for i in range(2):
        Image.fromarray(values[i]).save(tmp_path / f"{i}.png")
    files = [str(tmp_path / f"{i}.png") for i in range(2)]
    loaded = LoadImage(reader=PictureReader(), ensure_channel_first=True)(files)
    assert loaded.shape == (2, 8, 12) and (loaded.numpy() == values).all()
    Image.fromarray(values[0].T.copy()).save(files[1])
    with pytest.raises(ValueError, match=r"1.png' has the size \(12, 8\), '.*0.png' has \(8, 12\): channels of one"):
        PictureReader().get_data(files)


@pytest.mark.parametrize("kind", ["RGB24", "complex"])
def test_nifti_of_other_values_is_refused(tmp_path, kind):
    dtype = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]) if kind == "RGB24" else np.complex64
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 1), dtype), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(ValueError, match=r"a.nii' has values of the kind .*: save it with one number for each pixel"):
        PictureReader().get_data(tmp_path / "a.nii")


def test_transparent_masks(tmp_path):
    """The rest of the rule of alpha channels: nothing is drawn, all is opaque."""
    path = tmp_path / "a.png"
    for alpha, color, expected in ((0, 255, 0), (255, 255, 255), (255, 0, 0)):
        Image.new("RGBA", (6, 4), (color, color, color, alpha)).save(path)
        assert (PictureReader().get_data(path)[0] == expected).all()
    Image.new("RGBA", (6, 4), (9, 8, 7, 0)).save(path)
    assert PictureReader("colors").get_data(path)[0][0, 0].tolist() == [9, 8, 7]
