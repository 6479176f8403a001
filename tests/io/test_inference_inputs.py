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

import json
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
from monai.transforms import LoadImaged
from PIL import Image

from monai_sscm.io import PictureReader, ReadableImages, VolumeReader, inference_datalist, stored_spacing
from tests.helpers.dicom import write_series
from tests.helpers.volumes import oblique_volume


def picture(path: Path, mode: str = "L", size: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (size, 8)).save(path)


def test_names_of_inputs(tmp_path):
    for uid, folder in enumerate(("p1", "p2")):
        write_series(oblique_volume(), tmp_path / folder / "CT", uid=str(uid + 1))
    (tmp_path / "p1" / "x_seg.nii.gz").touch()
    (tmp_path / "p1" / "x.seg.nrrd").touch()
    assert [item["name"] for item in inference_datalist(tmp_path, scans=True)] == ["p1/CT", "p2/CT"]
    with pytest.raises(ValueError, match="'.*p1/CT' and '.*p2/CT' would have the same name: rename one"):
        inference_datalist([tmp_path / "p1" / "CT", tmp_path / "p2" / "CT"], scans=True)
    (tmp_path / "a.mhd").touch()
    assert "a" in [item["name"] for item in inference_datalist(tmp_path, scans=True)]


def test_files_that_are_channels_of_one_image(tmp_path):
    """As nnU-Net names them; in folders within too, and in a list."""
    for name in ("p1/case_0001", "p1/case_0000", "p1/slice_0002", "b"):
        picture(tmp_path / f"{name}.png", "RGB" if "slice" in name else "L")
    items = inference_datalist(tmp_path, channels=2)
    case = [str(tmp_path / "p1" / f"case_{i:04}.png") for i in range(2)]
    assert [(item["name"], item["image"]) for item in items] == [
        ("b", str(tmp_path / "b.png")),
        ("p1/case", case),
        ("p1/slice_0002", str(tmp_path / "p1" / "slice_0002.png")),  # in color: an image by itself
    ]
    assert inference_datalist(case[::-1], channels=2) == [{"image": case, "name": "case"}]
    # a network of one channel sees each by itself
    assert [item["name"] for item in inference_datalist(case)] == ["case_0000", "case_0001"]
    with pytest.raises(ValueError, match="would have the same name"):
        picture(tmp_path / "case_0000.png")
        picture(tmp_path / "case_0001.png")
        inference_datalist([*case, *tmp_path.glob("case_*.png")], channels=2)


def test_channels_in_one_file(tmp_path):
    for i, shape in enumerate([(5, 5, 4, 2), (5, 5, 4, 2), (5, 5, 4)]):
        nibabel.save(nibabel.Nifti1Image(np.ones(shape, np.float32), np.eye(4)), tmp_path / f"case_{i:04}.nii.gz")
    paths = [tmp_path / f"case_{i:04}.nii.gz" for i in range(2)]
    names = [item["name"] for item in inference_datalist(paths, scans=True, channels=2)]
    assert names == ["case_0000", "case_0001"]
    with pytest.raises(ValueError, match=r"'case' in .* has the channels \['case_0002.nii.gz'\]"):
        inference_datalist(tmp_path, scans=True, channels=2)


def test_an_image_without_the_file_of_a_channel(tmp_path):
    for name in ("a_0000", "a_0001", "b_0001"):
        picture(tmp_path / f"{name}.png")
    message = r"The image 'b' in .* has the channels \['b_0001.png'\], but the network takes 2, b_0000 to b_0001: add"
    with pytest.raises(ValueError, match=message):
        inference_datalist(tmp_path, channels=2)
    # a series of gray pictures for a network that takes colors
    for i in range(2, 12):
        picture(tmp_path / f"b_{i:04}.png")
    items = inference_datalist(tmp_path, channels=2)
    assert [item["name"] for item in items] == ["a", *(f"b_{i:04}" for i in range(1, 12))]


def test_channels_that_cannot_be_read_are_named(tmp_path):
    """Each image by a file of its own, though all lie in one folder."""
    for case in "ab":
        for i in range(2):
            picture(tmp_path / f"{case}_{i:04}.png", size=8 + i)
    images = ReadableImages(
        inference_datalist(tmp_path, channels=2), LoadImaged("image", reader=PictureReader, ensure_channel_first=True)
    )
    assert not list(images)
    assert list(images.unreadable) == [str(tmp_path / f"{case}_0000.png") for case in "ab"]
    assert "a_0001.png' has the size (8, 9), '" in next(iter(images.unreadable.values()))


@pytest.mark.parametrize(
    ("files", "wanted", "left_out"),
    [
        (["images/a", "images/b", "labels/a", "FOV/a"], ["images/a", "images/b"], "2 files .*: FOV/, labels/."),
        (["imagesTr/a", "imagesTs/b", "labelsTr/a"], ["imagesTr/a", "imagesTs/b"], "1 file .* is left out: labelsTr/."),
        (["a", "a_mask", "a_seg", "b_mask"], ["a", "b_mask"], "2 files .*: a_mask.png, a_seg.png."),
        (["p/21", "p/21_manual1", "q/21_mask"], ["p/21", "q/21_mask"], "1 file .*: p/21_manual1.png."),
        (["labels/a", "labels/b"], ["labels/a", "labels/b"], None),  # no images beside them
    ],
)
def test_masks_in_a_folder_are_left_out(tmp_path, caplog, files, wanted, left_out):
    for file in files:
        picture(tmp_path / f"{file}.png")
    assert [item["name"] for item in inference_datalist(tmp_path)] == wanted
    assert [bool(re.search(left_out, record.getMessage())) for record in caplog.records] == [True] * bool(left_out)
    picture(tmp_path / "a_mask.png")
    assert len(inference_datalist(tmp_path / "a_mask.png")) == 1  # by itself it is what was asked for


def test_files_and_folders_together(tmp_path):
    for name in ("a", "new1/a", "new1/p/b", "new2/a"):
        picture(tmp_path / f"{name}.png")
    paths = [tmp_path / name for name in ("a.png", "new1", "new2")]
    names = ["a", "new1/a", "new1/p/b", "new2/a"]
    for scans in (False, True):
        assert [item["name"] for item in inference_datalist(paths, scans=scans)] == names
    (tmp_path / "empty").mkdir()
    images = ReadableImages(inference_datalist([paths[0], tmp_path / "empty"]), lambda item: item)
    assert len(list(images)) == 1
    assert "is a folder without images" in images.unreadable[str(tmp_path / "empty")]


@pytest.mark.parametrize(
    ("trained", "warned"),
    [([1, 1, 1], True), ([3, 3, 25], True), ([3, 3], False), ([2, 2, 6], False), (None, False)],
)
def test_voxels_far_from_those_of_training_are_named(tmp_path, caplog, trained, warned):
    nibabel.save(nibabel.Nifti1Image(np.arange(100.0).reshape(5, 5, 4), np.diag([3, 3, 10, 1])), tmp_path / "a.nii.gz")
    load = LoadImaged("image", reader=VolumeReader, ensure_channel_first=True)
    images = ReadableImages(inference_datalist(tmp_path), load, scans=True, spacing=trained)
    assert len(list(images)) == 1, images.unreadable
    shape = " x ".join(map(str, trained or []))
    wanted = f"a.nii.gz' has voxels of 3 x 3 x 10 mm, the network was trained at {shape} mm: its mask may be"
    assert [wanted in record.getMessage() for record in caplog.records] == [True] * warned


def test_the_spacing_that_a_bundle_was_planned_for(tmp_path):
    assert stored_spacing(tmp_path) is None
    (tmp_path / "configs").mkdir()
    about = {"network_data_format": {"inputs": {"image": {"spacing": [1, 2.5]}}}}
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps(about))
    assert stored_spacing(tmp_path) == [1.0, 2.5]


def test_what_is_not_segmented_is_told(tmp_path, caplog):
    caplog.set_level("INFO")
    for name in ("a.png", "b.webm", ".c.png", "notes.txt", "scan.mha", "out/a_seg.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [item["name"] for item in inference_datalist(tmp_path, tmp_path / "out")] == ["a"]
    told = [record.getMessage() for record in caplog.records if "Not segmented" in record.getMessage()]
    assert len(told) == 1
    for expected in (
        "1 hidden (.c.png)",
        "2 no images of a known format (b.webm, notes.txt)",
        "1 of a kind that this network does not take (scan.mha)",
    ):
        assert expected in told[0]
    assert "a_seg" not in told[0]
