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

"""Chest CT, in every form it arrives in, through the shipped configuration and the shipped weights."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from monai.bundle import ConfigWorkflow
from PIL import Image

from monai_sscm.datasets import chest_phantom
from monai_sscm.errors import root_cause
from tests.helpers.dicom import write_series

BUNDLE = Path(__file__).parents[2] / "bundles" / "covid19_ct_segmentation"
CONFIG = BUNDLE / "configs" / "inference.yaml"
REAL = Path(__file__).parents[3] / "shared" / "data" / "covid19_ct" / "images"


def segment(input: Path | list[Path], output_dir: Path, **values) -> ConfigWorkflow:
    source = [str(p) for p in input] if isinstance(input, list) else str(input)
    values = {"input": source, "output_dir": str(output_dir), "bundle_root": str(BUNDLE), **values}
    run = ConfigWorkflow(str(CONFIG), workflow_type="infer", logging_file=False, **values)
    run.initialize()
    run.run()
    return run


def scan() -> sitk.Image:
    """Real slices where they are at hand, as a volume that lies obliquely in space; else a phantom."""
    if REAL.is_dir():
        slices = []
        for number in (4, 9, 27, 52, 59, 77):
            x = np.asarray(Image.open(REAL / f"{number}.jpg").convert("L").resize((210, 180)), dtype=np.float64)
            # in Hounsfield units, and inside a body in air
            body = np.full((260, 280), -1000.0)
            body[35:225, 30:250] = 20
            body[40:220, 35:245] = x / 255 * 1330 - 1120
            slices.append(body)
        array = np.stack(slices, axis=-1).round().astype(np.int16)
    else:
        array = chest_phantom(200, 6, 0)[0]
    image = sitk.GetImageFromArray(array.transpose())
    image.SetSpacing((0.7, 0.7, 5.0))
    image.SetOrigin((-123.456789, 98.7654321, -311.1))
    a, b = 0.2, 0.15
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    image.SetDirection((tilt @ turn).ravel().tolist())
    return image


@pytest.fixture(scope="module")
def segmented(tmp_path_factory) -> tuple[Path, Path]:
    """One scan in five forms and a picture, in nested folders, and what came of it."""
    root = tmp_path_factory.mktemp("scans")
    image, given, results = scan(), root / "in", root / "out"
    for folder in ("p1", "p2"):
        (given / folder).mkdir(parents=True)
    sitk.WriteImage(image, str(given / "p1" / "a.nii.gz"))
    sitk.WriteImage(image, str(given / "p1" / "b.mha"))
    sitk.WriteImage(image, str(given / "p2" / "c scan.nrrd"))
    write_series(image, given / "p2" / "disc" / "dicom")
    sitk.WriteImage(sitk.DICOMOrient(image, "RAI"), str(given / "turned.nii.gz"))
    grey = (sitk.GetArrayFromImage(image)[0].astype(np.float64) + 1120) / 1330 * 255
    Image.fromarray(np.clip(grey, 0, 255).round().astype(np.uint8).T).save(given / "slice.png")
    segment(given, results).finalize()
    return given, results


def test_equal_masks_from_every_form(segmented):
    _, results = segmented
    masks = {
        name: sitk.GetArrayFromImage(sitk.ReadImage(str(results / name)))
        for name in ("p1/a_seg.nii.gz", "p1/b_seg.mha", "p2/c scan.seg.nrrd", "p2/disc/dicom.seg.nrrd")
    }
    first = masks["p1/b_seg.mha"]
    assert first.dtype == np.uint8 and {1, 2} <= set(np.unique(first)) <= {0, 1, 2}
    for name, mask in masks.items():
        assert (mask == first).all(), name
    turned = sitk.DICOMOrient(sitk.ReadImage(str(results / "turned_seg.nii.gz")), "LPS")
    assert (sitk.GetArrayFromImage(turned) == first).all()


@pytest.mark.parametrize(
    ("scan_name", "mask_name"),
    [
        ("p1/a.nii.gz", "p1/a_seg.nii.gz"),
        ("p1/b.mha", "p1/b_seg.mha"),
        ("p2/c scan.nrrd", "p2/c scan.seg.nrrd"),
        ("p2/disc/dicom", "p2/disc/dicom.seg.nrrd"),
        ("turned.nii.gz", "turned_seg.nii.gz"),
    ],
)
def test_the_mask_lies_where_the_scan_does(segmented, scan_name, mask_name):
    given, results = segmented
    path = given / scan_name
    if path.is_dir():
        image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path)))
    else:
        image = sitk.ReadImage(str(path))
    mask = sitk.ReadImage(str(results / mask_name))
    assert mask.GetPixelID() == sitk.sitkUInt8 and mask.GetSize() == image.GetSize()
    # to ITK's own tolerance, so that it takes both for one space
    for ours, theirs in (
        (mask.GetSpacing(), image.GetSpacing()),
        (mask.GetOrigin(), image.GetOrigin()),
        (mask.GetDirection(), image.GetDirection()),
    ):
        assert np.allclose(ours, theirs, rtol=0, atol=1e-9)
    sitk.LabelStatisticsImageFilter().Execute(image, mask)  # refuses images that do not lie in one space


def test_findings_are_what_an_independent_count_gives(segmented):
    _, results = segmented
    with open(results / "findings.csv") as file:
        rows = {(row["case"], row["class"]): row for row in csv.DictReader(file)}
    assert len(rows) == 6 * 2
    mask = sitk.ReadImage(str(results / "p1" / "b_seg.mha"))
    connected = sitk.ConnectedComponentImageFilter()
    connected.FullyConnectedOn()
    statistics = sitk.LabelShapeStatisticsImageFilter()
    for index, name in ((1, "ground-glass"), (2, "consolidation")):
        statistics.Execute(connected.Execute(mask == index))
        sizes = [statistics.GetPhysicalSize(k) / 1000 for k in statistics.GetLabels()]
        array = sitk.GetArrayFromImage(mask) == index
        for case in ("p1/a", "p1/b", "p2/c scan", "p2/disc/dicom", "turned"):
            row = rows[case, name]
            assert float(row["volume_ml"]) == pytest.approx(sum(sizes), abs=2e-4)
            assert float(row["largest_ml"]) == pytest.approx(max(sizes), abs=2e-4)
            assert int(row["lesions"]) == len(sizes) and int(row["voxels"]) == array.sum()
            assert int(row["slices"]) == array.any(axis=(1, 2)).sum()
        assert rows["slice", name]["volume_ml"] == rows["slice", name]["largest_ml"] == ""  # a pixel has no known size


def test_names_of_the_classes(segmented):
    _, results = segmented
    header = nrrd.read_header(str(results / "p2" / "c scan.seg.nrrd"))
    for i, name in enumerate(("ground-glass", "consolidation")):
        assert header[f"Segment{i}_Name"] == name and header[f"Segment{i}_LabelValue"] == str(i + 1)
    lines = (results / "labels.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "2"]
    assert lines[1].endswith('1 1 1 "ground-glass"') and lines[2].endswith('1 1 1 "consolidation"')


def test_overlay_is_the_most_affected_slice_as_radiologists_see_it(segmented):
    given, results = segmented
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(results / "p1" / "b_seg.mha")))
    scan = sitk.GetArrayFromImage(sitk.ReadImage(str(given / "p1" / "b.mha")))
    most = (mask > 0).sum(axis=(1, 2)).argmax()
    picture = np.asarray(Image.open(results / "p1" / "b_overlay.png")).astype(int)
    # rows from front to back, columns from the patient's right to the left: as ITK's arrays lie
    assert picture.shape == (*mask.shape[1:], 3)
    grey = (np.clip(scan[most].astype(float), -1000, 200) + 1000) / 1200 * 255
    outside = mask[most] == 0
    assert np.abs(picture[outside] - grey[outside][:, None]).max() <= 1.5
    assert (np.ptp(picture, axis=-1)[~outside] > 10).mean() > 0.9  # coloured
    turned = np.asarray(Image.open(results / "turned_overlay.png")).astype(int)
    assert (turned == picture).all()


def test_a_slice_as_a_picture(segmented):
    given, results = segmented
    mask = np.asarray(Image.open(results / "slice_seg.png"))
    volume = nibabel.load(results / "p1" / "a_seg.nii.gz").get_fdata()
    assert mask.shape == volume.shape[:2] == np.asarray(Image.open(given / "slice.png")).shape
    # the volume's first slice, but for 8 bits and a box of its own
    assert (mask == volume[..., 0]).mean() > 0.9
    assert np.asarray(Image.open(results / "slice_overlay.png")).shape == (*mask.shape, 3)


def test_probabilities(tmp_path, segmented):
    given, results = segmented
    segment(
        [given / "p1" / "a.nii.gz", given / "p1" / "b.mha", given / "slice.png"], tmp_path, save_probabilities="true"
    )
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(results / "p1" / "b_seg.mha")))
    for name, suffix in (("a", "nii.gz"), ("b", "mha")):
        classes = ("background", "ground-glass", "consolidation")
        prob = [sitk.ReadImage(str(tmp_path / f"{name}_prob_{c}.{suffix}")) for c in classes]
        arrays = np.stack([sitk.GetArrayFromImage(p) for p in prob])
        assert np.allclose(arrays.sum(0), 1, atol=1e-5) and (arrays.argmax(0) == mask).all()
        assert np.allclose(prob[0].GetOrigin(), sitk.ReadImage(str(given / "p1" / "b.mha")).GetOrigin(), atol=1e-4)
    assert (tmp_path / "slice_prob_consolidation.png").is_file()


def test_the_command_skips_what_is_no_scan_and_says_so(tmp_path, segmented):
    given, _ = segmented
    folder = tmp_path / "scans of today"
    folder.mkdir()
    shutil.copy(given / "p1" / "b.mha", folder)
    for name, make in {
        "1.nii.gz": lambda p: p.write_bytes((given / "p1" / "a.nii.gz").read_bytes()[:4000]),
        "2.nii.gz": lambda p: nibabel.save(
            nibabel.Nifti1Image(np.eye(4, dtype=np.int16)[None, None] + np.zeros((4, 4, 4, 4), np.int16), np.eye(4)), p
        ),
        "3.jpg": lambda p: Image.fromarray(np.random.RandomState(0).randint(0, 99, (9, 9, 3)).astype(np.uint8)).save(p),
        "4.nii.gz": lambda p: nibabel.save(
            nibabel.Nifti1Image(np.arange(64).reshape(4, 4, 4).astype(np.int16) * 60, np.eye(4)), p
        ),
        "5.mha": lambda p: p.touch(),
    }.items():
        make(folder / name)
    write_series(scan(), folder / "gap")[3].unlink()
    write_series(scan(), folder / "mr", uid="9", modality="MR")
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(CONFIG)]
    command += ["--input", str(folder), "--output_dir", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr[-3000:]
    last = done.stderr[done.stderr.index("7 of 8 images were left out:") :].splitlines()
    for name, why in (
        ("1.nii.gz", "cannot be read, replace it with a good copy"),
        ("2.nii.gz", "has 4 channels, but the network takes 1"),
        ("3.jpg", "is in color and no slice of a volume"),
        ("4.nii.gz", "has values from 0 to 3780, which are neither Hounsfield units"),
        ("5.mha", "cannot be read"),
        ("gap", "A slice is missing between"),
        ("mr", "is MR and no CT"),
    ):
        assert any(name in line and why in line for line in last), (name, last)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "b_overlay.png",
        "b_seg.mha",
        "findings.csv",
        "labels.txt",
    ]


@pytest.mark.parametrize("value", ["empty", "text"])
def test_a_folder_without_ct(tmp_path, value):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.txt").write_text("no image")
    with pytest.raises(Exception) as caught:
        segment(tmp_path / value, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="There are no images in .*: set `input` to .* volumes or DICOM series"):
        raise root_cause(caught.value)


def test_a_list_of_folders_and_one_file_of_a_series(tmp_path):
    image = scan()[:, :, :2]
    write_series(image, tmp_path / "one", uid="1")
    files = write_series(image, tmp_path / "two", uid="2")
    segment([tmp_path / "one", files[0]], tmp_path / "out", save_overlays="false")
    sizes = {p.name: nrrd.read_header(str(p))["sizes"].tolist() for p in (tmp_path / "out").glob("*.nrrd")}
    assert sizes == {"one.seg.nrrd": list(image.GetSize()), f"{files[0].stem}.seg.nrrd": [*image.GetSize()[:2], 1]}


def test_a_folder_that_cannot_be_written_to(tmp_path):
    sitk.WriteImage(scan(), str(tmp_path / "a.mha"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Exception) as caught:
        segment(tmp_path / "a.mha", tmp_path / "file" / "out")
    with pytest.raises(OSError, match="cannot be written to .*: set `output_dir` to one that can"):
        raise root_cause(caught.value)
