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

"""Chest CT in all its forms: what is read, what is refused, and how it is listed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from monai.transforms import LoadImage
from PIL import Image

from monai_sscm.data import (
    COVID19_CT_SPLIT,
    CTReader,
    chest_phantom,
    covid19_ct_datalist,
    dicom_series,
    inference_datalist,
    write_chest_phantoms,
)
from monai_sscm.data.datalist import patients
from monai_sscm.errors import reason
from tests.dicom import write_file, write_series

FILES = ("a.nii.gz", "b.nii", "c.mha", "d.nrrd")
SHARED = Path(__file__).parents[3] / "shared" / "data" / "covid19_ct"


def scan(seed: int = 0, slices: int = 6) -> sitk.Image:
    """A phantom that lies obliquely in space."""
    image = sitk.GetImageFromArray(chest_phantom(48, slices, seed)[0].transpose())
    image.SetSpacing((0.7, 0.7, 5.0))
    image.SetOrigin((-123.4567, 98.7654, -311.1))
    a, b = 0.2, 0.1
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    image.SetDirection((tilt @ turn).ravel().tolist())
    return image


def load(path: Path | list[Path], **kwargs):
    names = [str(p) for p in path] if isinstance(path, list) else str(path)
    try:
        return LoadImage(reader=CTReader(**kwargs), dtype=None, ensure_channel_first=True)(names)
    except Exception as error:
        raise reason(error) from None


@pytest.mark.parametrize("form", ["a.nii.gz", "b.nii", "c.mha", "d.nrrd", "series", "files"])
def test_every_form_gives_the_same_scan(tmp_path, form):
    image = scan()
    array = sitk.GetArrayFromImage(image).transpose()
    if form in ("series", "files"):
        files = write_series(image, tmp_path / "series")
        # in any order, as a list or as their folder
        path = sorted(files, reverse=True) if form == "files" else tmp_path / "series"
    else:
        path = tmp_path / form
        sitk.WriteImage(image, str(path))
    loaded = load(path)
    assert loaded.shape == (1, 48, 48, 6) and (loaded[0].numpy() == array).all()
    # where the voxel (3, 4, 5) lies: ITK's point with the first two coordinates turned round
    point = np.array(image.TransformIndexToPhysicalPoint((3, 4, 5))) * (-1, -1, 1)
    assert np.allclose((loaded.affine.numpy() @ [3, 4, 5, 1])[:3], point, atol=1e-4)
    assert np.allclose(loaded.meta["geometry"]["spacing"], (0.7, 0.7, 5.0))


@pytest.mark.parametrize("code", ["RAS", "LPI", "PIR", "SAL"])
def test_axial_slices_lie_along_the_last_axis_however_stored(tmp_path, code):
    upright = sitk.Image(scan())
    upright.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, 1))
    sitk.WriteImage(sitk.DICOMOrient(upright, code), str(tmp_path / "a.nii.gz"))
    loaded = load(tmp_path / "a.nii.gz")
    assert (loaded[0].numpy() == sitk.GetArrayFromImage(upright).transpose()).all()
    assert "".join(nibabel.aff2axcodes(loaded.meta["original_affine"])) == code
    assert "".join(nibabel.aff2axcodes(loaded.affine.numpy())) == "LPS"


def test_a_picture_is_a_scan_of_one_slice(tmp_path):
    grey = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "colour_but_grey.png")
    for name in ("grey.png", "colour_but_grey.png"):
        loaded = load(tmp_path / name)
        assert loaded.shape == (1, 20, 30, 1) and (loaded[0, ..., 0].numpy() == grey).all()
        assert "geometry" not in loaded.meta
    palette = Image.fromarray(np.array([[0, 1], [2, 0]], np.uint8), mode="P")
    palette.putpalette([0, 0, 0, 9, 9, 9, 200, 0, 0])
    palette.save(tmp_path / "mask.png")
    assert load(tmp_path / "mask.png", mask=True)[0, ..., 0].tolist() == [[0, 1], [2, 0]]


def test_rescale_slope_and_intercept_are_applied(tmp_path):
    # what a scanner writes: no value below 0, and the intercept that makes Hounsfield units of them
    files = write_series(scan(), tmp_path, intercept=-1024)
    stored = np.frombuffer(files[2].read_bytes()[-48 * 48 * 2 :], np.int16).reshape(48, 48)
    assert stored.min() >= 0 and (stored - 1024 == sitk.GetArrayFromImage(scan())[2]).all()
    loaded = load(tmp_path)
    assert (loaded[0].numpy() == sitk.GetArrayFromImage(scan()).transpose()).all()
    assert loaded.element_size() == 2  # a scan is large


@pytest.mark.parametrize(("compressor", "syntax"), [("JPEG2000", b".4.90"), ("JPEG", b".4.70")])
def test_compressed_dicom(tmp_path, compressor, syntax):
    files = write_series(scan(), tmp_path, compressor=compressor)
    assert b"1.2.840.10008.1.2" + syntax in files[0].read_bytes()
    assert sum(path.stat().st_size for path in files) < 48 * 48 * 2 * 6
    assert (load(tmp_path)[0].numpy() == sitk.GetArrayFromImage(scan()).transpose()).all()


def test_several_series_nested_and_mixed(tmp_path):
    for number, folder in ((1, "p1/CT"), (2, "p1/CT"), (7, "p2")):
        files = write_series(scan(number), tmp_path / folder / f"part_{number}", uid=str(number), number=number)
        if folder == "p1/CT":
            for i, path in enumerate(files):
                target = tmp_path / folder / f"disc_{i % 2}" / f"{number}_{path.name}"
                target.parent.mkdir(exist_ok=True)
                shutil.move(path, target)
    (tmp_path / "p2" / "part_7" / "notes.txt").write_text("no image")
    (tmp_path / "p2" / "DICOMDIR").write_bytes(b"\0" * 200)
    series = dicom_series(tmp_path)
    assert {name: len(files) for name, files in series.items()} == {
        "p1/CT/series_1": 6,
        "p1/CT/series_2": 6,
        "p2/part_7": 6,
    }
    got = load([Path(p) for p in series["p1/CT/series_2"]])
    assert (got[0].numpy() == sitk.GetArrayFromImage(scan(2)).transpose()).all()


def test_dicom_files_are_known_by_their_content(tmp_path):
    """Named by numbers, as archives do, beside a localizer and what is no DICOM."""
    for i, path in enumerate(write_series(scan(), tmp_path / "study")):
        path.rename(path.with_name(f"1.2.840.113.{i + 1}"))
    scout = sitk.Image((48, 48), sitk.sitkInt16)
    for key, value in {"0008|0060": "CT", "0008|0008": "ORIGINAL\\PRIMARY\\LOCALIZER"}.items():
        scout.SetMetaData(key, value)
    write_file(scout, tmp_path / "study" / "scout.dcm")
    (tmp_path / "study" / "notes.1").write_text("no image")
    series = dicom_series(tmp_path)
    assert {name: sorted(Path(p).name for p in files) for name, files in series.items()} == {
        "study": [f"1.2.840.113.{i + 1}" for i in range(6)]
    }
    assert load(tmp_path / "study").shape == (1, 48, 48, 6)


def test_names_of_inputs(tmp_path):
    for uid, folder in enumerate(("p1", "p2")):
        write_series(scan(), tmp_path / folder / "CT", uid=str(uid + 1))
    (tmp_path / "p1" / "x_seg.nii.gz").touch()
    (tmp_path / "p1" / "x.seg.nrrd").touch()
    assert [item["name"] for item in inference_datalist(tmp_path, scans=True)] == ["p1/CT", "p2/CT"]
    with pytest.raises(ValueError, match="'.*p1/CT' and '.*p2/CT' would have the same name: rename one"):
        inference_datalist([tmp_path / "p1" / "CT", tmp_path / "p2" / "CT"], scans=True)
    (tmp_path / "a.mhd").touch()
    assert "a" in [item["name"] for item in inference_datalist(tmp_path, scans=True)]


@pytest.mark.parametrize("dtype", [">i2", ">f4", ">f8", "<f8", "<u2"])
def test_nifti_of_every_kind_of_number(tmp_path, dtype):
    array = chest_phantom(32, 3, 0)[0].clip(0 if "u" in dtype else None)
    nibabel.save(nibabel.Nifti1Image(array.astype(dtype), np.diag([-1, -1, 2, 1])), tmp_path / "a.nii.gz")
    loaded = load(tmp_path / "a.nii.gz")
    assert (loaded[0].numpy() == array).all() and loaded.element_size() <= 4


def a_nifti(array: np.ndarray, folder: Path, spacing: tuple[float, ...] = (1, 1, 5)) -> Path:
    image = nibabel.Nifti1Image(array, np.diag([*spacing[:3], 1]))
    nibabel.save(image, folder / "a.nii.gz")
    return folder / "a.nii.gz"


def four_dimensions(folder: Path) -> Path:
    return a_nifti(np.zeros((4, 4, 4, 2), np.int16), folder)


def nan(folder: Path) -> Path:
    array = np.full((4, 4, 4), -1000.0, np.float32)
    array[1, 2, 3] = np.nan
    return a_nifti(array, folder)


def empty(folder: Path) -> Path:
    return a_nifti(np.full((4, 4, 4), -1000, np.int16), folder)


def spacing_of_zero(folder: Path) -> Path:
    sitk.WriteImage(scan(), str(folder / "b.nii"))
    content = bytearray((folder / "b.nii").read_bytes())
    content[88:92] = bytes(4)  # pixdim[3] of the header
    (folder / "b.nii").write_bytes(content)
    return folder / "b.nii"


def spacing_of_zero_mha(folder: Path) -> Path:
    sitk.WriteImage(scan(), str(folder / "a.mha"), useCompression=False)
    content = (folder / "a.mha").read_bytes()
    start = content.index(b"ElementSpacing")
    end = content.index(b"\n", start)
    (folder / "a.mha").write_bytes(content[:start] + b"ElementSpacing = 0.7 0.7 0" + content[end:])
    return folder / "a.mha"


def colour_jpeg(folder: Path) -> Path:
    Image.fromarray(np.random.RandomState(0).randint(0, 255, (9, 9, 3)).astype(np.uint8)).save(folder / "a.jpg")
    return folder / "a.jpg"


def colour_volume(folder: Path) -> Path:
    sitk.WriteImage(sitk.Compose([sitk.Image((4, 4, 4), sitk.sitkUInt8)] * 3), str(folder / "a.mha"))
    return folder / "a.mha"


def cut_off(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        sitk.WriteImage(scan(), str(path), True)
        path.write_bytes(path.read_bytes()[:-3000])
        return path

    make.__name__ = f"cut_off_{name}"
    return make


def not_there(folder: Path) -> Path:
    return folder / "a.mha"


def no_series(folder: Path) -> Path:
    (folder / "readme").write_text("nothing here")
    return folder


def slice_missing(folder: Path) -> Path:
    write_series(scan(), folder)[2].unlink()
    return folder


def slice_doubled(folder: Path) -> Path:
    files = write_series(scan(), folder)
    shutil.copy(files[2], folder / "copy.dcm")
    return folder


def two_series(folder: Path) -> Path:
    write_series(scan(0), folder / "a", uid="1")
    write_series(scan(1), folder / "b", uid="2")
    return folder


def mixed_files(folder: Path) -> list[Path]:
    return write_series(scan(0), folder / "a", uid="1") + write_series(scan(1), folder / "b", uid="2")


def last_slice_damaged(folder: Path) -> Path:
    """As when a copy was interrupted: nothing that is left looks as if a slice were missing."""
    files = write_series(scan(), folder)
    files[-1].write_bytes(files[-1].read_bytes()[:200])
    return folder


def last_slice_empty(folder: Path) -> Path:
    write_series(scan(), folder)[-1].write_bytes(b"")
    return folder


def slice_without_position(folder: Path) -> Path:
    files = write_series(scan(), folder)
    content = files[-1].read_bytes()
    start = content.index(b"\x20\x00\x32\x00")
    length = int.from_bytes(content[start + 4 : start + 8], "little")
    files[-1].write_bytes(content[:start] + content[start + 8 + length :])
    return folder


def gantry_tilt(folder: Path) -> Path:
    write_series(scan(), folder, aside=0.5)
    return folder


def without_spacing(folder: Path) -> Path:
    sitk.WriteImage(scan(), str(folder / "a.mha"), useCompression=False)
    content = (folder / "a.mha").read_bytes()
    (folder / "a.mha").write_bytes(content.replace(b"ElementSpacing", b"Comment_______"))
    return folder / "a.mha"


def several_slices_in_a_file(folder: Path) -> Path:
    image = sitk.Cast(scan(), sitk.sitkInt16)
    for key, value in {"0008|0060": "CT", "0028|0030": "0.7\\0.7"}.items():
        image.SetMetaData(key, value)
    write_file(image, folder / "a.dcm")
    return folder / "a.dcm"


def magnetic_resonance(folder: Path) -> Path:
    write_series(scan(), folder, modality="MR")
    return folder


def damaged_dicom(folder: Path) -> list[Path]:
    files = write_series(scan(), folder)
    files[1].write_bytes(files[1].read_bytes()[:200])
    return files


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (four_dimensions, ValueError, r"The scan '.*a.nii.gz' has 4 dimensions: save one volume"),
        (nan, ValueError, r"The scan '.*a.nii.gz' has 1 NaN or infinite values: replace them"),
        (empty, ValueError, r"The scan '.*a.nii.gz' is empty, all its values are -1000: export it again"),
        (spacing_of_zero, ValueError, r"The scan '.*b.nii' has the spacing .* mm: write the real one"),
        (spacing_of_zero_mha, (ValueError, OSError), r"The scan '.*a.mha' .*(spacing|Zero-valued)"),
        (colour_jpeg, ValueError, r"The image '.*a.jpg' is in colour and no CT slice"),
        (colour_volume, ValueError, r"The scan '.*a.mha' has 3 values in a voxel"),
        *((cut_off(n), OSError, rf"The scan '.*{n}' cannot be read, replace it with a good copy") for n in FILES),
        (not_there, FileNotFoundError, r"There is no scan '.*a.mha': check its name"),
        (no_series, ValueError, r"holds 0 DICOM series with images, one is needed"),
        (slice_missing, ValueError, r"A slice is missing between '.*dcm' and '.*dcm': they are 10.00 mm apart"),
        (slice_doubled, ValueError, r"are the same slice of a series: remove one"),
        (two_series, ValueError, r"holds 2 DICOM series with images, one is needed"),
        (mixed_files, ValueError, r"are of 2 series: keep those of one series together"),
        (last_slice_damaged, OSError, r"The DICOM file '.*dcm' cannot be read, replace it"),
        (last_slice_empty, OSError, r"The DICOM file '.*dcm' cannot be read, replace it"),
        (slice_without_position, ValueError, r"The DICOM file '.*' has no proper position"),
        (gantry_tilt, ValueError, r"do not lie straight behind one another, by up to 2.5 mm, as when the gantry"),
        (without_spacing, ValueError, r"The scan '.*a.mha' has the spacing \[0.0\] mm: write the real one"),
        (several_slices_in_a_file, ValueError, r"The DICOM file '.*a.dcm' holds 6 slices: convert it to one file"),
        (magnetic_resonance, ValueError, r"is MR and no CT: leave it out"),
        (damaged_dicom, OSError, r"The DICOM file '.*dcm' cannot be read, replace it"),
    ],
    ids=lambda x: x.__name__ if callable(x) else None,
)
def test_bad_scans(tmp_path, make: Callable, error, message):
    with pytest.raises(error, match=message):
        load(make(tmp_path))


# --- lists -----------------------------------------------------------------------------------------------------


def test_a_folder_of_scans(tmp_path):
    write_chest_phantoms(tmp_path, num_train=4, num_val=1, num_test=1, size=48, num_slices=4)
    write_series(scan(5), tmp_path / "images" / "phantom_07")
    sitk.WriteImage(sitk.Image((48, 48, 6), sitk.sitkUInt8), str(tmp_path / "labels" / "phantom_07.nrrd"))
    write_series(scan(6), tmp_path / "unlabeled_images" / "more", uid="6")
    split = json.loads((tmp_path / "split.json").read_text())
    split["train"].append("phantom_07")
    (tmp_path / "split.json").write_text(json.dumps(split))
    parts = covid19_ct_datalist(tmp_path, num_labeled=2)
    assert {part: len(items) for part, items in parts.items()} == {"labeled": 2, "unlabeled": 4, "val": 1, "test": 1}
    assert all(set(item) == {"image", "group"} for item in parts["unlabeled"])
    assert len({item["group"] for item in parts["unlabeled"]}) == 4
    # at least half of the labelled ones have consolidation: never the one with an empty mask first
    for seed in range(5):
        first = covid19_ct_datalist(tmp_path, 1, seed)["labeled"][0]
        assert Path(first["image"]).name != "phantom_07"
    without = covid19_ct_datalist(tmp_path, num_labeled=2, unlabeled_images=False)
    assert len(without["unlabeled"]) == 3 and all("more" not in item["image"] for item in without["unlabeled"])


def test_patients_on_two_sides_are_refused(tmp_path):
    write_chest_phantoms(tmp_path, num_train=2, num_val=1, num_test=1, size=48, num_slices=2)
    with pytest.raises(ValueError, match="in the train part and in the val part: keep each patient on one side"):
        covid19_ct_datalist(tmp_path, group_pattern="(phantom)_")
    split = json.loads((tmp_path / "split.json").read_text())
    split["kept_together"] = [["phantom_01", "phantom_04"]]
    (tmp_path / "split.json").write_text(json.dumps(split))
    with pytest.raises(ValueError, match="'phantom_01 and others'.* in the train part and in the test part"):
        covid19_ct_datalist(tmp_path)
    (tmp_path / "split.json").write_text("{")
    with pytest.raises(ValueError, match=r"split.json' is no JSON"):
        covid19_ct_datalist(tmp_path)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"train": ["phantom_01"], "kept_together": ["phantom_01", "phantom_04"]}, "must be a list of lists"),
        ({"train": ["phantom_01"], "kept_together": [["phantom_01", "p4"]]}, r"keeps \['p4'\] together"),
        ({"train": ["phantom_01", "phantom_01"]}, r"names \['phantom_01'\] more than once"),
        ({"val": None}, 'must be {"train":'),
        ([1], 'must be {"train":'),
    ],
)
def test_splits_that_are_none(tmp_path, split, message):
    write_chest_phantoms(tmp_path, num_train=2, num_val=1, num_test=1, size=48, num_slices=2)
    (tmp_path / "split.json").write_text(json.dumps(split))
    with pytest.raises(ValueError, match=message):
        covid19_ct_datalist(tmp_path)


def test_patterns_that_are_none(tmp_path):
    write_chest_phantoms(tmp_path, num_train=2, num_val=1, num_test=1, size=48, num_slices=2)
    with pytest.raises(ValueError, match="has no group: put what is the patient into parentheses"):
        covid19_ct_datalist(tmp_path, group_pattern="phantom")
    with pytest.raises(ValueError, match="is no regular expression"):
        covid19_ct_datalist(tmp_path, group_pattern="(phantom")


def test_own_scans_with_numbers_for_names_are_not_the_released_slices(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        for number in range(120):
            (tmp_path / folder / f"{number}.mha").write_bytes(bytes([number]))
    parts = covid19_ct_datalist(tmp_path)
    assert sum(len(items) for items in parts.values()) == 120 and len(parts["val"]) == 24


def test_scans_of_one_patient_are_one_group(tmp_path):
    write_chest_phantoms(tmp_path, num_train=4, num_val=1, num_test=0, size=48, num_slices=2)
    split = json.loads((tmp_path / "split.json").read_text())
    split["kept_together"] = [["phantom_01", "phantom_02", "phantom_03", "phantom_04"]]
    (tmp_path / "split.json").write_text(json.dumps(split))
    assert len({item["group"] for item in covid19_ct_datalist(tmp_path, 1)["unlabeled"]}) == 1


def test_slices_of_a_stack_that_is_stored_from_head_to_feet(stack):
    expected = covid19_ct_datalist(stack, 8)
    for name in ("tr_im.nii.gz", "tr_mask.nii.gz"):
        image = sitk.ReadImage(str(stack / name))
        image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
        sitk.WriteImage(image, str(stack / name))
    got = covid19_ct_datalist(stack, 8)
    for part in ("labeled", "val", "test"):
        assert [item["slice"] for item in got[part]] == [99 - item["slice"] for item in expected[part]]
        assert [item.get("group") for item in got[part]] == [item.get("group") for item in expected[part]]
    # 30 slices of 17 patients, as the slices' numbers tell
    of = patients([str(n) for n in COVID19_CT_SPLIT["test"]], None, COVID19_CT_SPLIT)
    assert {str(99 - item["slice"]): item["group"] for item in got["test"]} == of and len(set(of.values())) == 17


@pytest.fixture
def stack(tmp_path) -> Path:
    """The release: a stack of 100 slices with masks, and volumes without beside it."""
    slices = [chest_phantom(32, 1, seed) for seed in range(100)]
    for name, index in (("tr_im.nii.gz", 0), ("tr_mask.nii.gz", 1)):
        array = np.concatenate([s[index] for s in slices], axis=-1)
        sitk.WriteImage(sitk.GetImageFromArray(array.transpose()), str(tmp_path / name))
    for name in ("val_im.nii.gz", "1.nii.gz", "rp_mask.nii.gz"):
        sitk.WriteImage(scan(), str(tmp_path / name))
    return tmp_path


def test_the_released_stack(stack):
    parts = covid19_ct_datalist(stack, num_labeled=8, seed=1)
    assert {part: len(items) for part, items in parts.items()} == {"labeled": 8, "unlabeled": 50, "val": 12, "test": 30}
    assert sorted(item["slice"] for item in parts["val"]) == COVID19_CT_SPLIT["val"]
    assert {Path(i["image"]).name for i in parts["unlabeled"]} == {"tr_im.nii.gz", "val_im.nii.gz", "1.nii.gz"}
    assert not any("label" in item for item in parts["unlabeled"])
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(stack / "tr_mask.nii.gz")))
    assert sum(bool((mask[item["slice"]] == 2).any()) for item in parts["labeled"]) >= 4
    (stack / "split.json").write_text(json.dumps({"train": [1, 2], "val": [100]}))
    with pytest.raises(
        ValueError, match=r"names the slices \['100'\], '.*tr_im.nii.gz' has 100 slices, counted from 0"
    ):
        covid19_ct_datalist(stack)
    (stack / "tr_mask.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match="There is no '.*tr_mask.nii.gz': it belongs beside"):
        covid19_ct_datalist(stack)


def test_a_stack_and_its_mask_of_different_sizes(stack):
    sitk.WriteImage(sitk.Image((32, 32, 99), sitk.sitkUInt8), str(stack / "tr_mask.nii.gz"))
    with pytest.raises(ValueError, match=r"tr_mask.nii.gz' has the size \(32, 32, 99\), .* has \(32, 32, 100\)"):
        covid19_ct_datalist(stack)


needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="the real slices are not here")


@needs_data
def test_the_real_slices():
    groups = {n: i for i, group in enumerate(COVID19_CT_SPLIT["kept_together"]) for n in group}
    lists = {n: covid19_ct_datalist(SHARED, n, 0) for n in (4, 8, 16)}
    for n, parts in lists.items():
        assert {p: len(i) for p, i in parts.items()} == {
            "labeled": n,
            "unlabeled": 56 - n + 1600,
            "val": 12,
            "test": 30,
        }
        assert lists[16]["labeled"][:n] == parts["labeled"]
        numbers = [int(Path(item["image"]).stem) for item in parts["labeled"]]
        assert len({groups.get(number, -number) for number in numbers}) == n  # from different groups
        masks = [np.asarray(Image.open(item["label"])) for item in parts["labeled"]]
        assert sum(bool((mask == 2).any()) for mask in masks) >= n / 2
    numbers = [int(Path(item["image"]).stem) for item in lists[8]["labeled"]]
    assert numbers == [52, 77, 9, 27, 94, 89, 59, 99]  # fixed
    assert len(covid19_ct_datalist(SHARED, 8, unlabeled_images=False)["unlabeled"]) == 48
    windows = {item["group"]: item["export_window"] for item in lists[8]["unlabeled"] if "export_window" in item}
    assert len(windows) == 20
    # one source shows bone, to 1,500 HU and more, the other ends near 200
    for name, (low, high) in windows.items():
        assert -1400 < low < -950 and ((high > 1400) if "coronacases" in name else (high < 300)), name


@needs_data
def test_split_is_that_of_the_data():
    assert json.loads((SHARED / "split.json").read_text()) == COVID19_CT_SPLIT
