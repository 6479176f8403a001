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
import shutil
from pathlib import Path

import pytest

from monai_sscm.data import describe_changes, listed_images, semi_supervised_datalist
from tests.data.test_datalist import write


@pytest.fixture
def root(tmp_path) -> Path:
    for folder in ("images", "labels"):
        write(tmp_path / "data" / folder, [f"{i}.png" for i in range(6)])
    write(tmp_path / "data" / "unlabeled_images", ["x.png"])
    (tmp_path / "data" / "split.json").write_text(json.dumps({"train": [0, 1, 2, 3], "val": [4], "test": [5]}))
    return tmp_path / "data"


def listed(root: Path, num_labeled: int | None = 2) -> dict:
    return listed_images(semi_supervised_datalist(root, num_labeled), root)


def test_a_data_set_that_is_moved_is_the_same(root, monkeypatch):
    before = listed(root)
    assert {part: len(items) for part, items in before.items()} == {"labeled": 2, "unlabeled": 3, "val": 1}
    moved = root.rename(root.with_name("moved"))
    assert describe_changes(before, listed(moved)) is None
    monkeypatch.chdir(moved.parent)
    assert describe_changes(before, listed(Path("moved"))) is None
    assert describe_changes(json.loads(json.dumps(before)), listed(moved)) is None
    # a data list names files relative to itself
    entries = [{"image": f"images/{i}.png", "label": f"labels/{i}.png"} for i in range(3)]
    (moved / "list.json").write_text(json.dumps({"training": entries}))
    names = listed(moved / "list.json")
    assert set(names["labeled"]) | set(names["unlabeled"]) == {f"images/{i}.png" for i in range(3)}


def add(root: Path) -> None:
    write(root / "unlabeled_images", ["y.png"])


def remove(root: Path) -> None:
    (root / "unlabeled_images" / "x.png").unlink()


def take_a_mask(root: Path) -> None:
    (root / "labels" / "3.png").unlink()


def change_a_mask(root: Path) -> None:
    shutil.copyfile(root / "images" / "3.png", root / "labels" / "0.png")
    with open(root / "labels" / "0.png", "ab") as file:
        file.write(b"more")


def other_validation(root: Path) -> None:
    (root / "split.json").write_text(json.dumps({"train": [0, 1, 2, 3], "val": [5]}))


def other_order(root: Path) -> None:
    (root / "split.json").write_text(json.dumps({"train": [3, 2, 1, 0], "val": [4]}))


def keep_together(root: Path) -> None:
    split = {"train": [0, 1, 2, 3], "val": [4], "kept_together": [["0", "1", "2"]]}
    (root / "split.json").write_text(json.dumps(split))


@pytest.mark.parametrize(
    ("change", "num_labeled", "expected"),
    [
        (add, 2, "unlabeled images: 1 added (unlabeled_images/y.png)"),
        (remove, 2, "unlabeled images: 1 removed (unlabeled_images/x.png)"),
        (take_a_mask, None, "labeled images: 1 removed (images/3.png); unlabeled images: 1 added (images/3.png)"),
        (change_a_mask, 4, "labeled images: images/0.png was of "),
        (
            other_validation,
            4,
            "validation images: 1 added (images/5.png), 1 removed (images/4.png)",
        ),
        (other_order, 2, "unlabeled images: in another order"),
        (keep_together, 4, "labeled images: images/"),
    ],
)
def test_what_has_changed_is_told(root, change, num_labeled, expected):
    before = listed(root, num_labeled)
    change(root)
    found = describe_changes(before, listed(root, num_labeled))
    assert found is not None and found.startswith(expected)


def test_test_images_are_no_matter_of_a_training(root):
    before = listed(root)
    (root / "split.json").write_text(json.dumps({"train": [0, 1, 2, 3], "val": [4]}))
    assert describe_changes(before, listed(root)) is None


def test_a_line_says_what_is_used_and_what_is_not(root, caplog):
    caplog.set_level("INFO")
    (root / "images" / "6.webm").touch()
    write(root / "images", ["7.png", "8.png"])
    write(root / "labels", ["other.png"])
    (root / "split.json").write_text(json.dumps({"train": [0, 1, 2, 8], "val": [4]}))
    for _ in range(2):
        semi_supervised_datalist(root, 2)
    lines = [record.getMessage() for record in caplog.records if record.name == "monai_sscm.data.listing"]
    assert len(lines) == 1  # once
    assert lines[0].startswith(f"{str(root)!r} has 2 labeled, 3 unlabeled, 1 validation images. Without a mask: 1 (8).")
    for expected in (
        "1, no image of a known format (6.webm)",
        "1, no image has its name (other.png)",
        "3, the split does not name it (3.png, 5.png, 7.png)",
    ):
        assert expected in lines[0]


def test_masks_of_another_spelling_are_told(tmp_path, caplog):
    caplog.set_level("INFO")
    write(tmp_path, ["a.png", "a_mask.png", "b.png", "b-outline.png"])
    files = semi_supervised_datalist(tmp_path)
    assert len(files["labeled"]) == 1 and len(files["unlabeled"]) == 2
    assert "Without a mask: 2 (b-outline, b)." in caplog.text


def test_test_images_without_masks_are_told(tmp_path, caplog):
    caplog.set_level("INFO")
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        write(tmp_path / folder, ["a.png", "b.png"] if folder != "imagesTs" else ["c.png"])
    semi_supervised_datalist(tmp_path)
    assert "has 2 labeled images. Not used: 1, test images without masks (c)." in caplog.text


def test_what_a_data_list_does_not_name_is_told(root, caplog):
    caplog.set_level("INFO")
    entries = [{"image": f"images/{i}.png", "label": f"labels/{i}.png"} for i in range(4)]
    (root / "datalist.json").write_text(json.dumps({"training": entries}))
    (root / "images" / ".hidden.png").touch()
    semi_supervised_datalist(root)
    for expected in (
        "4, the data list does not name it (4.png, 5.png, 4.png, ...)",
        "1, hidden (.hidden.png)",
        "1, the data list says which part an image is of (split.json)",
    ):
        assert expected in caplog.text
    assert "x.png" not in caplog.text  # of another folder


def test_what_dataset_json_does_not_list_is_told(tmp_path, caplog):
    caplog.set_level("INFO")
    for folder in ("imagesTr", "labelsTr"):
        write(tmp_path / folder, ["a.png", "b.png"])
    entries = [{"image": "imagesTr/a.png", "label": "labelsTr/a.png"}, {"image": "imagesTr/c.png"}]
    entries += [{"image": "imagesTr/b.png", "label": "labelsTr/of_b.png"}]
    (tmp_path / "dataset.json").write_text(json.dumps({"training": entries}))
    files = semi_supervised_datalist(tmp_path)
    assert len(files["labeled"]) == len(files["unlabeled"]) == 1
    assert "Not used: 2, dataset.json lists it, but it is not there (c.png, of_b.png); " in caplog.text
    assert "1, dataset.json does not list it (b.png)" in caplog.text


def test_links_beside_images_are_told(tmp_path, caplog):
    caplog.set_level("INFO")
    write(tmp_path / "data", ["a.png", "a_mask.png"])
    write(tmp_path / "elsewhere", ["b.png"])
    (tmp_path / "data" / "more").symlink_to(tmp_path / "elsewhere")
    semi_supervised_datalist(tmp_path / "data")
    assert "Not used: 1, a link to a folder (more)." in caplog.text
    (tmp_path / "data" / "c.png").symlink_to(tmp_path / "nothing.png")
    with pytest.raises(FileNotFoundError, match="c.png' is a link to a file that is not there"):
        semi_supervised_datalist(tmp_path / "data")


def test_other_contents_of_a_file_of_the_same_size_are_told(root):
    before = listed(root, 4)
    for path in (root / "labels" / "2.png", root / "images" / "4.png", root / "unlabeled_images" / "x.png"):
        content = bytearray(path.read_bytes())
        content[-1] ^= 255
        path.write_bytes(content)
    assert describe_changes(before, listed(root, 4)) == (
        "labeled images: 1 with other contents of the mask (images/2.png); "
        "unlabeled images: 1 with other contents of the image (unlabeled_images/x.png); "
        "validation images: 1 with other contents of the image (images/4.png)"
    )
    # version 0.9 did not look into files
    old = {part: {n: re.sub(r" \([0-9a-f]+\)", "", d) for n, d in names.items()} for part, names in before.items()}
    assert describe_changes(old, listed(root, 4)) is None
