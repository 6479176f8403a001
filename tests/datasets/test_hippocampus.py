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

import hashlib
import io
import os
import tarfile
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest

from monai_sscm.data import semi_supervised_datalist
from monai_sscm.data.layouts import read_layout
from monai_sscm.datasets import hippocampus, hippocampus_part, prepare_hippocampus

CASES = [f"hippocampus_{number:03}" for number in range(1, 21)]


def write_volume(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.full((4, 5, size), size, np.uint8), np.eye(4)), path)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A Decathlon folder as published, with volumes of a size each."""
    root = tmp_path / "source" / "Task04_Hippocampus"
    for i, case in enumerate(CASES):
        write_volume(root / "imagesTr" / f"{case}.nii.gz", 3 + i)
        write_volume(root / "labelsTr" / f"{case}.nii.gz", 3 + i)
    write_volume(root / "imagesTs" / "hippocampus_267.nii.gz", 99)
    (root / "imagesTr" / "._hippocampus_001.nii.gz").touch()
    (root / "dataset.json").write_text("{}")
    return root


@pytest.fixture
def published(folder, tmp_path, monkeypatch) -> Path:
    """The folder as a tar file, and a checksum that fits it."""
    with tarfile.open(tmp_path / "Task04_Hippocampus.tar", "w") as archive:
        archive.add(folder, "Task04_Hippocampus")
        for name in ("../../evil.nii.gz", "/imagesTr/../hippocampus_999.nii.gz", "notes/hippocampus_998.nii.gz"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
        link = tarfile.TarInfo("Task04_Hippocampus/imagesTr/hippocampus_997.nii.gz")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    content = (tmp_path / "Task04_Hippocampus.tar").read_bytes()
    monkeypatch.setattr(hippocampus, "_MD5", hashlib.md5(content).hexdigest())
    return tmp_path / "Task04_Hippocampus.tar"


def assert_laid_out(root: Path, source: Path, cases: list[str] = CASES) -> None:
    assert sorted(os.listdir(root)) == ["dataset.json", "imagesTr", "imagesTs", "labelsTr", "split.json"]
    for name in (*(f"imagesTr/{case}.nii.gz" for case in cases), "imagesTs/hippocampus_267.nii.gz"):
        assert (root / name).read_bytes() == (source / name).read_bytes()
    assert len(os.listdir(root / "imagesTr")) == len(os.listdir(root / "labelsTr")) == len(cases)
    layout = read_layout(root)
    assert layout.kind == "decathlon" and layout.class_names == ["background", "anterior", "posterior"]
    assert layout.passed_over == {} and layout.channel_names == ["MRI"]
    parts = semi_supervised_datalist(root, num_labeled=2)
    found = {Path(i["image"]).name[:-7]: part for part, items in parts.items() for i in items}
    assert {case: {"labeled": "train", "unlabeled": "train"}.get(part, part) for case, part in found.items()} == {
        case: hippocampus_part(case) for case in cases
    }
    assert len(semi_supervised_datalist(root, 2, train_on_test_images=True)["unlabeled"]) == len(parts["unlabeled"]) + 1


def test_from_a_server(published, folder, url, tmp_path):
    assert prepare_hippocampus(tmp_path / "data" / "h", url=f"{url}/{published.name}") == str(tmp_path / "data" / "h")
    assert_laid_out(tmp_path / "data" / "h", folder)
    assert os.listdir(tmp_path / "data") == ["h"]  # nothing else is left
    assert not list(tmp_path.rglob("evil*")) and not list(tmp_path.rglob("hippocampus_99*"))


def test_from_a_tar_file_and_from_folders(published, folder, tmp_path):
    assert_laid_out(Path(prepare_hippocampus(tmp_path / "a", published)), folder)
    assert_laid_out(Path(prepare_hippocampus(tmp_path / "b", folder)), folder)
    assert_laid_out(Path(prepare_hippocampus(tmp_path / "c", folder.parent)), folder)
    assert_laid_out(Path(prepare_hippocampus(tmp_path / "d", tmp_path / "a")), folder)  # its own layout is a source too
    for name in ("imagesTr", "labelsTr"):
        (folder / name / f"{CASES[0]}.nii.gz").unlink()
    assert_laid_out(Path(prepare_hippocampus(tmp_path / "e", folder)), folder, CASES[1:])  # parts stay as they are


def test_parts_of_the_cases():
    counts = Counter(hippocampus_part(f"hippocampus_{number:03}") for number in range(1000))
    assert abs(counts["train"] - 600) < 50 and abs(counts["val"] - 150) < 40 and abs(counts["test"] - 250) < 50
    fixed = ["test", "train", "test", "train", "train", "val"]
    assert [hippocampus_part(case) for case in CASES[:6]] == fixed


def test_sources_that_are_refused(published, folder, url, tmp_path):
    def refused(kind: type, message: str, **kwargs) -> None:
        with pytest.raises(kind, match=message):
            prepare_hippocampus(tmp_path / "data" / "h", **kwargs)
        assert os.listdir(tmp_path / "data") == []

    refused(OSError, "cannot be downloaded .*404.* give it with --from", url=f"{url}/nowhere.tar")
    refused(FileNotFoundError, "give the data set's tar file, or the folder", source=tmp_path / "nothing.tar")
    (tmp_path / "empty").mkdir()
    refused(ValueError, "has no 'imagesTr' with files such as", source=tmp_path / "empty")
    published.write_bytes(published.read_bytes()[:-1])
    refused(ValueError, r"is not the published file \(its MD5 differs\)", source=published)
    write_volume(folder / "labelsTr" / "hippocampus_003.nii.gz", 2)
    refused(
        ValueError, r"'hippocampus_003.nii.gz' of .* has the size \(4, 5, 5\), and its mask \(4, 5, 2\)", source=folder
    )
    path = folder / "imagesTr" / "hippocampus_002.nii.gz"
    path.write_bytes(path.read_bytes()[:-9])
    refused(ValueError, "'imagesTr/hippocampus_002.nii.gz' of .* is damaged", source=folder)
    path.unlink()
    refused(ValueError, "'hippocampus_002.nii.gz' of .* is in 'imagesTr' or 'labelsTr' alone", source=folder)


def test_a_folder_that_holds_something_is_left_alone(folder, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.txt").touch()
    with pytest.raises(ValueError, match="that is not empty"):
        prepare_hippocampus(tmp_path / "a", folder)
    assert os.listdir(tmp_path / "a") == ["mine.txt"]
