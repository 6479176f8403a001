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
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_sscm.data import select_labeled, semi_supervised_datalist
from monai_sscm.datasets import CHASE_DB1_SPLIT, chase_db1, chase_db1_datalist, download, prepare_chase_db1

NAMES = [name for part in CHASE_DB1_SPLIT.values() for name in part]
FILES = [f"{name}{end}" for name in NAMES for end in (".jpg", "_1stHO.png", "_2ndHO.png")]


# --- lists ----------------------------------------------------------------------------------------------------


def make_chase(root: Path) -> Path:
    """Pictures of the published names, of a different size each: no two of them are the same image."""
    for folder, end in (("images", ".jpg"), ("labels", "_1stHO.png")):
        (root / folder).mkdir()
        for i, name in enumerate(NAMES):
            Image.fromarray(np.zeros((4, 4 + i), np.uint8)).save(root / folder / f"{name}{end}")
    return root


def children(items: list[dict]) -> list[str]:
    return [Path(item["image"]).name[6:8] for item in items]


def test_chase_split_is_by_child():
    assert {part: len(names) for part, names in CHASE_DB1_SPLIT.items()} == {"train": 16, "val": 4, "test": 8}
    by_part = [{name[6:8] for name in names} for names in CHASE_DB1_SPLIT.values()]
    assert not by_part[0] & by_part[1] and not by_part[0] & by_part[2] and not by_part[1] & by_part[2]


@pytest.mark.parametrize("seed", range(5))
def test_chase_lists(tmp_path, seed):
    root = make_chase(tmp_path)
    lists = {n: chase_db1_datalist(root, n, seed) for n in (1, 2, 4, 8, 16, None)}
    for n, files in lists.items():
        n = n or 16
        assert {part: len(items) for part, items in files.items()} == {
            "labeled": n,
            "unlabeled": 16 - n,
            "val": 4,
            "test": 8,
        }
        assert len(set(children(files["labeled"]))) == min(n, 8)  # from as many children as there are
        assert all(set(item) == {"image", "group"} for item in files["unlabeled"])
        assert all(item["group"] == Path(item["image"]).name[6:8] for items in files.values() for item in items)
        for item in files["labeled"] + files["val"] + files["test"]:
            assert Path(item["label"]).name == Path(item["image"]).stem + "_1stHO.png"
        assert not {i["image"] for i in files["labeled"]} & {i["image"] for i in files["unlabeled"]}
        # nested, and the same when asked again
        assert lists[16]["labeled"][:n] == files["labeled"] == chase_db1_datalist(root, n, seed)["labeled"]


def test_lists_are_fixed():
    items = [{"image": name} for name in CHASE_DB1_SPLIT["train"]]
    groups = [item["image"][6:8] for item in items]
    chosen = [[i["image"] for i in select_labeled(items, 2, seed, groups)[0]] for seed in range(3)]
    assert chosen == [["Image_07L", "Image_03R"], ["Image_08L", "Image_03L"], ["Image_05R", "Image_02L"]]


def test_chase_with_an_image_missing_keeps_its_split(tmp_path):
    root = make_chase(tmp_path)
    (root / "images" / "Image_05L.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="Image_05L"):
        chase_db1_datalist(root, 2)


def test_other_photographs_are_listed_as_any_folder(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        for i in range(6):
            Image.fromarray(np.zeros((4, 4 + i), np.uint8)).save(tmp_path / folder / f"p{i // 2}_{i % 2}.png")
    assert chase_db1_datalist(tmp_path, 3) == semi_supervised_datalist(tmp_path, 3)
    assert chase_db1_datalist(tmp_path, 3, 1, "(p.)_") == semi_supervised_datalist(tmp_path, 3, 1, "(p.)_")


# --- preparation ----------------------------------------------------------------------------------------------


@pytest.fixture
def published(tmp_path, monkeypatch) -> Path:
    """A zip with files of the published names, and checksums that fit them."""
    digests = []
    with zipfile.ZipFile(tmp_path / "CHASEDB1.zip", "w") as archive:
        for name in FILES:
            archive.writestr(name, f"content of {name}")
            digests.append(f"{hashlib.sha256(f'content of {name}'.encode()).hexdigest()}  {name}\n")
    (tmp_path / "digests").write_text("".join(digests))
    monkeypatch.setattr(chase_db1, "_SHA256", tmp_path / "digests")
    return tmp_path / "CHASEDB1.zip"


def assert_laid_out(folder: Path) -> None:
    assert sorted(os.listdir(folder)) == ["images", "labels", "labels_2nd_observer"]
    assert len(list(folder.rglob("*.*"))) == 84
    assert (folder / "labels" / "Image_01L_1stHO.png").read_text() == "content of Image_01L_1stHO.png"
    assert {part: len(items) for part, items in chase_db1_datalist(folder, 2).items()} == {
        "labeled": 2,
        "unlabeled": 14,
        "val": 4,
        "test": 8,
    }


def test_from_a_server(published, url, tmp_path):
    assert prepare_chase_db1(tmp_path / "data" / "chase", url=f"{url}/CHASEDB1.zip") == str(tmp_path / "data" / "chase")
    assert_laid_out(tmp_path / "data" / "chase")
    assert os.listdir(tmp_path / "data") == ["chase"]  # nothing else is left


def test_from_a_zip_and_from_a_folder(published, tmp_path):
    assert_laid_out(Path(prepare_chase_db1(tmp_path / "a", published)))
    shutil.unpack_archive(published, tmp_path / "unpacked" / "deep" / "down")
    (tmp_path / "unpacked" / "notes.txt").touch()
    assert_laid_out(Path(prepare_chase_db1(tmp_path / "b", tmp_path / "unpacked")))
    assert_laid_out(Path(prepare_chase_db1(tmp_path / "c", tmp_path / "a")))  # its own layout is a source too


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.zip", "cannot be downloaded .*404.* give it with --from"),
        ("lying.zip", "was cut off after 9 of 100000"),
        ("stalling.zip", r"cannot be downloaded .*timed out.* give it with --from"),
        ("endless.zip", r"cannot be downloaded \(more than 1000000 bytes came\)"),
    ],
)
def test_downloads_that_fail(published, url, tmp_path, monkeypatch, path, message):
    monkeypatch.setattr(download, "_TIMEOUT", 0.5)
    monkeypatch.setattr(download, "_MAX_BYTES", 1_000_000)
    with pytest.raises(OSError, match=message):
        prepare_chase_db1(tmp_path / "data" / "chase", url=f"{url}/{path}")
    assert os.listdir(tmp_path / "data") == []


def test_a_server_that_sends_another_zip(published, url, tmp_path):
    with zipfile.ZipFile(published.parent / "other.zip", "w") as archive:
        for name in FILES:
            archive.writestr(name, "something else")
    with pytest.raises(ValueError, match=r"is not the published file \(its SHA-256 differs\)"):
        prepare_chase_db1(tmp_path / "data" / "chase", url=f"{url}/other.zip")
    assert os.listdir(tmp_path / "data") == []


def test_addresses_of_other_kinds_are_refused(published, tmp_path):
    with pytest.raises(ValueError, match="must begin with https:// or http://"):
        prepare_chase_db1(tmp_path / "chase", url=published.as_uri())


def test_a_file_that_would_unpack_to_far_too_much_is_left_alone(published, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_MAX_BYTES", 10_000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in FILES:
            archive.writestr(name, bytes(20_000))
    with pytest.raises(ValueError, match="lacks 84 of the 84 files"):
        prepare_chase_db1(tmp_path / "a", tmp_path / "bomb.zip")


def test_a_server_that_is_not_there(published, tmp_path):
    with pytest.raises(OSError, match="cannot be downloaded"):
        prepare_chase_db1(tmp_path / "chase", url="http://127.0.0.1:9/CHASEDB1.zip")


def test_a_changed_a_missing_and_a_broken_file(published, tmp_path):
    shutil.unpack_archive(published, tmp_path / "unpacked")
    (tmp_path / "unpacked" / "Image_03R.jpg").write_text("another picture")
    with pytest.raises(ValueError, match=r"'Image_03R.jpg' of .* is not the published file \(its SHA-256 differs\)"):
        prepare_chase_db1(tmp_path / "a", tmp_path / "unpacked")
    (tmp_path / "unpacked" / "Image_03R.jpg").unlink()
    with pytest.raises(ValueError, match="lacks 1 of the 84 files of CHASE_DB1, such as 'Image_03R.jpg'"):
        prepare_chase_db1(tmp_path / "a", tmp_path / "unpacked")
    whole = bytearray(published.read_bytes())
    whole[whole.index(b"content of Image_05L.jpg")] ^= 1
    (tmp_path / "flipped.zip").write_bytes(whole)
    with pytest.raises(ValueError, match=r"'Image_05L.jpg' of .*flipped.zip' is not the published file"):
        prepare_chase_db1(tmp_path / "a", tmp_path / "flipped.zip")
    whole = bytearray(published.read_bytes())
    for at, value in ((10, 99), (8, 1)):  # a kind of compression that nobody knows; or it says that it is encrypted
        altered = bytearray(whole)
        begin = -1
        while (begin := altered.find(b"PK\x01\x02", begin + 1)) >= 0:
            altered[begin + at] = value
        (tmp_path / "altered.zip").write_bytes(altered)
        with pytest.raises(ValueError, match=r"of .*altered.zip' is not the published file"):
            prepare_chase_db1(tmp_path / "a", tmp_path / "altered.zip")
    published.write_bytes(published.read_bytes()[:3000])
    with pytest.raises(ValueError, match="is no zip file, or was cut off"):
        prepare_chase_db1(tmp_path / "a", published)
    with pytest.raises(FileNotFoundError, match="There is no .*nothing.zip'"):
        prepare_chase_db1(tmp_path / "a", tmp_path / "nothing.zip")
    assert not (tmp_path / "a").exists()


def test_entries_that_would_leave_the_folder_stay_inside(published, tmp_path):
    with zipfile.ZipFile(published, "a") as archive:
        archive.writestr("../../evil.txt", "outside")
        archive.writestr("/abs.txt", "outside")
    before = {p.name for p in tmp_path.parent.iterdir()}
    assert_laid_out(Path(prepare_chase_db1(tmp_path / "deep" / "a", published)))
    assert {p.name for p in tmp_path.parent.iterdir()} == before and not list(tmp_path.rglob("evil.txt"))


def test_a_folder_that_holds_something_is_left_alone(published, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.txt").touch()
    with pytest.raises(ValueError, match="that is not empty"):
        prepare_chase_db1(tmp_path / "a", published)
    assert os.listdir(tmp_path / "a") == ["mine.txt"]


def test_the_published_checksums_are_whole():
    lines = chase_db1._SHA256.read_text().splitlines()
    assert sorted(line.split()[1] for line in lines) == sorted(FILES)
    assert all(len(line.split()[0]) == 64 for line in lines)
