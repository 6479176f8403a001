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

"""Volumes in all their forms: what is read, and what is refused."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from monai.transforms import Orientation
from PIL import Image

from monai_sscm.datasets import chest_phantom
from monai_sscm.io import VolumeReader
from tests.helpers.damage import assert_good_or_told, read_scan, scan
from tests.helpers.dicom import write_series
from tests.helpers.volumes import load_volume, oblique_volume

ORIENT = Orientation("LPS", labels=(("L", "R"), ("P", "A"), ("I", "S")))  # as in the bundles' configurations
FILES = ("a.nii.gz", "b.nii", "c.mha", "d.nrrd")


@pytest.mark.parametrize("form", ["a.nii.gz", "b.nii", "c.mha", "d.nrrd", "series", "files"])
def test_every_form_gives_the_same_scan(tmp_path, form):
    image = oblique_volume()
    array = sitk.GetArrayFromImage(image).transpose()
    if form in ("series", "files"):
        files = write_series(image, tmp_path / "series")
        # in any order, as a list or as their folder
        path = sorted(files, reverse=True) if form == "files" else tmp_path / "series"
    else:
        path = tmp_path / form
        sitk.WriteImage(image, str(path))
    loaded = load_volume(path)
    assert loaded.shape == (1, 48, 48, 6) and (loaded[0].numpy() == array).all()
    # where the voxel (3, 4, 5) lies: ITK's point with the first two coordinates turned round
    point = np.array(image.TransformIndexToPhysicalPoint((3, 4, 5))) * (-1, -1, 1)
    assert np.allclose((loaded.affine.numpy() @ [3, 4, 5, 1])[:3], point, atol=1e-4)
    assert np.allclose(loaded.meta["geometry"]["spacing"], (0.7, 0.7, 5.0))


@pytest.mark.parametrize("code", ["RAS", "LPI", "PIR", "SAL"])
def test_axes_are_as_stored_and_monai_turns_them(tmp_path, code):
    """Orientationd with the bundles' arguments brings X to the left, Y to the back and Z to the head."""
    upright = sitk.Image(oblique_volume())
    upright.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, 1))
    stored = sitk.DICOMOrient(upright, code)
    sitk.WriteImage(stored, str(tmp_path / "a.nii.gz"))
    loaded = load_volume(tmp_path / "a.nii.gz")
    assert (loaded[0].numpy() == sitk.GetArrayFromImage(stored).transpose()).all()
    assert "".join(nibabel.aff2axcodes(loaded.affine.numpy())) == code
    assert np.array_equal(loaded.affine.numpy(), loaded.meta["original_affine"])
    turned = ORIENT(loaded)
    assert (turned[0].numpy() == sitk.GetArrayFromImage(upright).transpose()).all()
    back = ORIENT.inverse(turned)
    assert torch.equal(back.as_tensor(), loaded.as_tensor())
    assert np.allclose(back.affine, loaded.affine)
    picture = MetaTensor(torch.rand(1, 5, 6, 1), affine=torch.diag(torch.tensor([-1.0, -1, 1, 1])))
    assert torch.equal(ORIENT(picture).as_tensor(), picture.as_tensor())


def test_several_files_are_channels(tmp_path):
    volume = oblique_volume()
    for i, name in enumerate(("case_0000.nii.gz", "case_0001.mha")):
        sitk.WriteImage(sitk.Cast(volume, sitk.sitkInt16) + i, str(tmp_path / name))
    files = [tmp_path / "case_0000.nii.gz", tmp_path / "case_0001.mha"]
    loaded = load_volume(files)
    assert loaded.shape == (2, 48, 48, 6) and bool((loaded[1] == loaded[0] + 1).all())
    assert loaded.meta["filename_or_obj"] == str(files[0]) and list(loaded.meta["spatial_shape"]) == [48, 48, 6]
    moved = sitk.Image(volume)
    moved.SetOrigin((0, 0, 0))
    sitk.WriteImage(moved, str(tmp_path / "moved.mha"))
    with pytest.raises(ValueError, match=r"'.*moved.mha' does not lie where '.*case_0000.nii.gz' does.* 311 mm"):
        load_volume([files[0], tmp_path / "moved.mha"])
    sitk.WriteImage(volume[:40], str(tmp_path / "small.mha"))
    with pytest.raises(ValueError, match=r"'.*small.mha' has the size \(40, 48, 6\), .* has \(48, 48, 6\)"):
        load_volume([files[0], tmp_path / "small.mha"])


def test_the_fourth_axis_of_nifti_is_channels(tmp_path):
    array = np.random.default_rng(0).integers(0, 99, (7, 6, 5, 4)).astype(np.int16)
    path = a_nifti(array, tmp_path)
    loaded = load_volume(path)
    assert loaded.shape == (4, 7, 6, 5) and (loaded.numpy() == np.moveaxis(array, -1, 0)).all()
    assert list(loaded.meta["spatial_shape"]) == [7, 6, 5] and loaded.affine.diagonal().tolist() == [1, 1, 5, 1]
    with pytest.raises(ValueError, match=r"'.*a.nii.gz' has 4 dimensions: save one volume"):
        load_volume(path, mask=True)


def test_a_picture_is_a_scan_of_one_slice(tmp_path):
    gray = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30).astype(np.uint8)
    Image.fromarray(gray).save(tmp_path / "gray.png")
    Image.fromarray(np.stack([gray] * 3, -1)).save(tmp_path / "color_but_gray.png")
    for name in ("gray.png", "color_but_gray.png"):
        loaded = load_volume(tmp_path / name)
        assert loaded.shape == (1, 20, 30, 1) and (loaded[0, ..., 0].numpy() == gray).all()
        assert "geometry" not in loaded.meta
    palette = Image.fromarray(np.array([[0, 1], [2, 0]], np.uint8), mode="P")
    palette.putpalette([0, 0, 0, 9, 9, 9, 200, 0, 0])
    palette.save(tmp_path / "mask.png")
    assert load_volume(tmp_path / "mask.png", mask=True)[0, ..., 0].tolist() == [[0, 1], [2, 0]]


@pytest.mark.parametrize("dtype", [">i2", ">f4", ">f8", "<f8", "<u2"])
def test_nifti_of_every_kind_of_number(tmp_path, dtype):
    array = chest_phantom(32, 3, 0)[0].clip(0 if "u" in dtype else None)
    nibabel.save(nibabel.Nifti1Image(array.astype(dtype), np.diag([-1, -1, 2, 1])), tmp_path / "a.nii.gz")
    loaded = load_volume(tmp_path / "a.nii.gz")
    assert (loaded[0].numpy() == array).all() and loaded.element_size() <= 4


def a_nifti(array: np.ndarray, folder: Path, spacing: tuple[float, ...] = (1, 1, 5)) -> Path:
    image = nibabel.Nifti1Image(array, np.diag([*spacing[:3], 1]))
    nibabel.save(image, folder / "a.nii.gz")
    return folder / "a.nii.gz"


def five_dimensions(folder: Path) -> Path:
    return a_nifti(np.zeros((4, 4, 4, 2, 2), np.int16), folder)


def nan(folder: Path) -> Path:
    array = np.full((4, 4, 4), -1000.0, np.float32)
    array[1, 2, 3] = np.nan
    return a_nifti(array, folder)


def empty(folder: Path) -> Path:
    return a_nifti(np.full((4, 4, 4), -1000, np.int16), folder)


def spacing_of_zero(folder: Path) -> Path:
    sitk.WriteImage(oblique_volume(), str(folder / "b.nii"))
    content = bytearray((folder / "b.nii").read_bytes())
    content[88:92] = bytes(4)  # pixdim[3] of the header
    (folder / "b.nii").write_bytes(content)
    return folder / "b.nii"


def spacing_of_zero_mha(folder: Path) -> Path:
    sitk.WriteImage(oblique_volume(), str(folder / "a.mha"), useCompression=False)
    content = (folder / "a.mha").read_bytes()
    start = content.index(b"ElementSpacing")
    end = content.index(b"\n", start)
    (folder / "a.mha").write_bytes(content[:start] + b"ElementSpacing = 0.7 0.7 0" + content[end:])
    return folder / "a.mha"


def color_jpeg(folder: Path) -> Path:
    Image.fromarray(np.random.RandomState(0).randint(0, 255, (9, 9, 3)).astype(np.uint8)).save(folder / "a.jpg")
    return folder / "a.jpg"


def color_volume(folder: Path) -> Path:
    sitk.WriteImage(sitk.Compose([sitk.Image((4, 4, 4), sitk.sitkUInt8)] * 3), str(folder / "a.mha"))
    return folder / "a.mha"


def cut_off(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        sitk.WriteImage(oblique_volume(), str(path), True)
        path.write_bytes(path.read_bytes()[:-3000])
        return path

    make.__name__ = f"cut_off_{name}"
    return make


def not_there(folder: Path) -> Path:
    return folder / "a.mha"


def without_spacing(folder: Path) -> Path:
    sitk.WriteImage(oblique_volume(), str(folder / "a.mha"), useCompression=False)
    content = (folder / "a.mha").read_bytes()
    (folder / "a.mha").write_bytes(content.replace(b"ElementSpacing", b"Comment_______"))
    return folder / "a.mha"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (five_dimensions, ValueError, r"The volume '.*a.nii.gz' has 5 dimensions: save one volume"),
        (nan, ValueError, r"The volume '.*a.nii.gz' has 1 NaN or infinite values: replace them"),
        (empty, ValueError, r"The volume '.*a.nii.gz' is empty, all its values are -1000: export it again"),
        (spacing_of_zero, ValueError, r"The volume '.*b.nii' has the spacing .* mm: write the real one"),
        (spacing_of_zero_mha, (ValueError, OSError), r"The volume '.*a.mha' .*(spacing|Zero-valued)"),
        (color_jpeg, ValueError, r"The image '.*a.jpg' is in color and no slice of a volume"),
        (color_volume, ValueError, r"The volume '.*a.mha' has 3 values in a voxel"),
        *((cut_off(n), OSError, rf"The volume '.*{n}' cannot be read, replace it with a good copy") for n in FILES),
        (not_there, FileNotFoundError, r"There is no volume '.*a.mha': check its name"),
        (without_spacing, ValueError, r"The volume '.*a.mha' has the spacing \[0.0\] mm: write the real one"),
    ],
    ids=lambda x: x.__name__ if callable(x) else None,
)
def test_bad_volumes(tmp_path, make: Callable, error, message):
    with pytest.raises(error, match=message):
        load_volume(make(tmp_path), modality="CT")


def test_slices_in_files_of_their_own_are_refused(tmp_path):
    header = "ObjectType = Image\nNDims = 3\nDimSize = 4 4 2\nElementSpacing = 1 1 1\nElementType = MET_SHORT\n"
    (tmp_path / "list.mhd").write_text(header + "ElementDataFile = LIST\n")
    assert assert_good_or_told(read_scan, tmp_path / "list.mhd", np.empty(0), altered=False)


def test_values_in_a_file_beside_the_header(tmp_path):
    values = np.random.default_rng(0).integers(-1000, 400, (4, 100, 100)).astype(np.int16)
    (tmp_path / "values.raw").write_bytes(values.tobytes())
    fields = ["NRRD0004", "type: short", "dimension: 3", "space: left-posterior-superior", "sizes: 100 100 4"]
    fields += ["space directions: (1,0,0) (0,1,0) (0,0,5)", "kinds: domain domain domain", "endian: little"]
    fields += ["encoding: raw", "space origin: (0,0,0)", "data file: values.raw"]
    (tmp_path / "scan.nrrd").write_text("\n".join([*fields, "", ""]))
    image = sitk.GetImageFromArray(values)
    sitk.WriteImage(image, str(tmp_path / "scan.mhd"))
    for name in ("scan.nrrd", "scan.mhd"):
        assert np.array_equal(read_scan(tmp_path / name)[0], values.transpose())


@pytest.mark.parametrize("name", ["scan.mhd", "scan.nrrd"])
def test_compressed_values_in_a_file_beside_the_header(tmp_path, name):
    values = np.random.default_rng(0).integers(-1000, 400, (4, 100, 100)).astype(np.int16)
    image = sitk.GetImageFromArray(values)
    sitk.WriteImage(image, str(tmp_path / "scan.mhd"), True)
    packed = tmp_path / "scan.zraw"
    if name == "scan.nrrd":
        fields = ["NRRD0004", "type: short", "dimension: 3", "sizes: 100 100 4", "spacings: 1 1 1", "endian: little"]
        (tmp_path / name).write_text("\n".join([*fields, "encoding: gzip", "data file: values.gz", "", ""]))
        packed = tmp_path / "values.gz"
        packed.write_bytes(gzip.compress(values.tobytes()))
    assert np.array_equal(read_scan(tmp_path / name)[0], values.transpose())
    whole = packed.read_bytes()
    for damaged in (whole[:-1], whole[: len(whole) // 2], b"", whole[:99] + bytes([whole[99] ^ 8]) + whole[100:]):
        packed.write_bytes(damaged)
        assert assert_good_or_told(read_scan, tmp_path / name, values.transpose()[None], altered=False)
    packed.write_bytes(zlib.compress(bytes(2**20)))  # more than the header says
    assert assert_good_or_told(read_scan, tmp_path / name, values.transpose()[None], altered=False)
    packed.unlink()
    assert assert_good_or_told(read_scan, tmp_path / name, values.transpose()[None], altered=False)


@pytest.mark.parametrize("spacing", [1e20, 1e-30])
@pytest.mark.parametrize("name", ["a.nii", "a.mha", "a.nrrd"])
def test_voxels_of_no_size(tmp_path, name, spacing):
    image = scan()
    image.SetSpacing((0.7, 0.7, spacing))
    sitk.WriteImage(image, str(tmp_path / name))
    assert assert_good_or_told(read_scan, tmp_path / name, np.empty(0), altered=False)


def test_nifti_2_lies_where_nifti_1_does(tmp_path):
    """ITK reads the first alone."""
    sitk.WriteImage(oblique_volume(), str(tmp_path / "a.nii.gz"))
    first = nibabel.load(tmp_path / "a.nii.gz")
    nibabel.save(nibabel.Nifti2Image(np.asarray(first.dataobj), first.affine), tmp_path / "b.nii.gz")
    one, two = load_volume(tmp_path / "a.nii.gz"), load_volume(tmp_path / "b.nii.gz")
    assert torch.equal(one.as_tensor(), two.as_tensor()) and np.allclose(one.affine, two.affine, atol=1e-4)
    for key in ("spacing", "origin", "direction"):
        assert np.allclose(one.meta["geometry"][key], two.meta["geometry"][key], atol=1e-4), key
    whole = (tmp_path / "b.nii.gz").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OSError, match="b.nii.gz' cannot be read, replace it with a good copy"):
        load_volume(tmp_path / "b.nii.gz")


@pytest.mark.parametrize(
    ("qform", "sform", "refused"),
    [
        ([-1, -1, 2], [-1, -1, 2], False),
        ([-1, -1, 2], [-1.01, -1, 2], False),  # rounded by some tool
        ([-1, -1, 2], [1, -1, 2], True),
        ([-1, -1, 2], [-1, -1, -2], True),
        ([-1, -1, 2], [-3, -3, 6], True),
    ],
)
@pytest.mark.parametrize("codes", [(1, 1), (0, 1), (1, 0)])
def test_nifti_that_contradicts_itself(tmp_path, qform, sform, refused, codes):
    """Where both forms are given and say different things, programs take either."""
    image = nibabel.Nifti1Image(np.arange(60, dtype=np.uint8).reshape(5, 4, 3), None)
    image.set_qform(np.diag([*qform, 1.0]), codes[0])
    image.set_sform(np.diag([*sform, 1.0]), codes[1])
    path = tmp_path / "a.nii.gz"
    nibabel.save(image, path)
    reader = VolumeReader()
    if refused and all(codes):
        with pytest.raises(ValueError, match="says twice how it lies, and differently .qform: axes to LPS, 1 x"):
            reader.get_data(reader.read(path))
    else:
        array, _ = reader.get_data(reader.read(path))
        assert array.shape == (5, 4, 3)
