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

"""Lists of chest CT in every layout."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from monai_sscm.data.datalist import patients
from monai_sscm.datasets import COVID19_CT_SPLIT, chest_phantom, covid19_ct_datalist, write_chest_phantoms
from tests.helpers.dicom import write_series

SHARED = Path(__file__).parents[3] / "shared" / "data" / "covid19_ct"


def scan(seed: int = 0) -> sitk.Image:
    image = sitk.GetImageFromArray(chest_phantom(48, 6, seed)[0].transpose())
    image.SetSpacing((0.7, 0.7, 5.0))
    return image


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
    assert all(item["group"] == Path(item["image"]).name.split(".")[0] for part in parts.values() for item in part)
    assert all(set(item) == {"image", "group"} for item in parts["unlabeled"])
    assert len({item["group"] for item in parts["unlabeled"]}) == 4
    # at least half of the labelled ones have consolidation: never the one with an empty mask first
    for seed in range(5):
        first = covid19_ct_datalist(tmp_path, 1, seed)["labeled"][0]
        assert Path(first["image"]).name != "phantom_07"
    without = covid19_ct_datalist(tmp_path, num_labeled=2, unlabeled_images=False)
    assert len(without["unlabeled"]) == 3 and all("more" not in item["image"] for item in without["unlabeled"])


def test_unlabeled_slices_of_a_scan_are_a_group(tmp_path):
    for folder in ("images", "labels", "unlabeled_images"):
        (tmp_path / folder).mkdir()
    slices = [chest_phantom(48, 1, seed) for seed in range(8)]
    for i, (image, mask) in enumerate(slices):
        grey = np.clip((image[..., 0] + 1120.0) / 1330 * 255, 0, 255).astype(np.uint8)
        name = f"scan{i // 2}_{i % 2}.png"
        Image.fromarray(grey).save(tmp_path / ("unlabeled_images" if i < 4 else "images") / name)
        if i >= 4:
            Image.fromarray(mask[..., 0]).save(tmp_path / "labels" / name)
    split = {"train": ["scan2_0", "scan2_1"], "val": ["scan3_0"], "test": ["scan3_1"]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    parts = covid19_ct_datalist(tmp_path, 1)
    assert sorted(item["group"] for item in parts["unlabeled"]) == ["scan0", "scan0", "scan1", "scan1", "scan2"]
    assert {item["group"] for part in ("labeled", "val", "test") for item in parts[part]} >= {"scan3_0", "scan3_1"}
    split = {"train": ["scan2_0", "scan2_1"], "val": ["scan3_0", "scan3_1"]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    parts = covid19_ct_datalist(tmp_path, 1, group_pattern="scan(.)")
    assert {item["group"] for items in parts.values() for item in items} == set("0123")


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
    assert len(parts["labeled"]) == 120
    parts = covid19_ct_datalist(tmp_path, val_fraction=0.2)
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
        assert [item["slice"] for item in got[part]] == [item["slice"] for item in expected[part]]
        assert [item.get("group") for item in got[part]] == [item.get("group") for item in expected[part]]
    # 30 slices of 17 patients, as the slices' numbers tell
    of = patients([str(n) for n in COVID19_CT_SPLIT["test"]], None, COVID19_CT_SPLIT)
    assert {str(item["slice"]): item["group"] for item in got["test"]} == of and len(set(of.values())) == 17


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


def test_what_the_stack_does_not_use_is_told(tmp_path, caplog):
    caplog.set_level("INFO")
    slices = np.zeros((8, 8, 6), np.int16)
    slices[2:5, 2:5] = -500
    for name in ("tr_im.nii.gz", "tr_mask.nii.gz", "more.nii.gz", "more_mask.nii.gz"):
        nibabel.save(
            nibabel.Nifti1Image(slices if name == "tr_im.nii.gz" else (slices != 0) * np.int16(1), np.eye(4)),
            tmp_path / name,
        )
    (tmp_path / "notes.pdf").touch()
    (tmp_path / "split.json").write_text(json.dumps({"train": [0, 1, 2], "val": [4]}))
    lists = covid19_ct_datalist(tmp_path)
    assert [len(lists[part]) for part in ("labeled", "unlabeled", "val", "test")] == [3, 1, 1, 0]
    assert "has 3 labeled, 1 unlabeled, 1 validation images. Not used: " in caplog.text
    for expected in (
        "2, the split does not name it (tr_im.nii.gz, slice 3, tr_im.nii.gz, slice 5)",
        "1, a mask by its name (more_mask.nii.gz)",
        "1, no volume of a known format (notes.pdf)",
    ):
        assert expected in caplog.text
