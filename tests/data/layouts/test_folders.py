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
from pathlib import Path

import pytest

from monai_sscm.data.layouts import read_layout
from tests.helpers.pictures import shown, touch


def test_images_with_and_without_masks(tmp_path):
    touch(tmp_path, "images/a.jpg", "images/b.png", "images/c.gif", "images/notes.txt", "images/.DS_Store")
    touch(tmp_path, "labels/a_mask.png", "labels/c.png", "labels/z.png", "unlabeled_images/u.webp", "README.md")
    layout = read_layout(tmp_path)
    assert layout.kind == "folders" and layout.root == str(tmp_path) and layout.guessed == []
    assert shown(layout) == {"a": "labels/a_mask.png", "b": None, "c": "labels/c.png", "u": None}
    assert [case.part for case in layout.cases] == [None, None, None, "train"]
    assert {str(Path(path).relative_to(tmp_path)): why for path, why in layout.passed_over.items()} == {
        "images/notes.txt": "no image of a known format",
        "images/.DS_Store": "hidden",
        "labels/z.png": "no image has its name",
        "README.md": "not part of this layout",
    }


def test_folders_of_drive(tmp_path):
    touch(tmp_path, "images/21_training.tif", "images/22_training.tif", "1st_manual/21_manual1.gif")
    touch(tmp_path, "mask/21_training_mask.gif", "mask/22_training_mask.gif")
    layout = read_layout(tmp_path)
    assert shown(layout) == {"21_training": "1st_manual/21_manual1.gif", "22_training": None}
    assert layout.guessed == [
        (str(tmp_path / "images" / "21_training.tif"), str(tmp_path / "1st_manual" / "21_manual1.gif"))
    ]
    assert layout.passed_over == {str(tmp_path / "mask"): "perhaps the field of view, no masks to learn from"}


def test_folders_are_images_if_asked_for(tmp_path):
    touch(tmp_path, "images/a/1.dcm", "images/b.nii.gz", "labels/a.nii.gz")
    assert shown(read_layout(tmp_path, folders=True)) == {"a": "labels/a.nii.gz", "b": None}
    layout = read_layout(tmp_path)
    assert shown(layout) == {"b": None}
    assert layout.passed_over[str(tmp_path / "images" / "a")] == "a folder within"


def test_a_split_file(tmp_path):
    touch(tmp_path, *(f"images/{name}.png" for name in "abcd"), *(f"labels/{name}.png" for name in "abd"))
    touch(tmp_path, "unlabeled_images/u.png")
    split = {"train": ["b", "c"], "val": ["a"], "kept_together": [["b", "u"]]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    layout = read_layout(tmp_path)
    assert [(case.name, case.part, case.group) for case in layout.cases] == [
        ("b", "train", "b and others"),
        ("c", "train", None),
        ("a", "val", None),
        ("u", "train", "b and others"),
    ]
    assert layout.passed_over == {str(tmp_path / "images" / "d.png"): "the split does not name it"}
    (tmp_path / "split.json").write_text(json.dumps({"train": ["a"], "test": ["c"]}))
    with pytest.raises(FileNotFoundError, match="'c' of the test part has no mask: add it, or take"):
        read_layout(tmp_path)


def test_parts_that_there_are_not_are_refused(tmp_path):
    touch(tmp_path, "images/a.png", "labels/a.png", "images/b.png", "labels/b.png")
    (tmp_path / "split.json").write_text('{"train": ["a"], "validation": ["b"], "notes": "mine"}')
    with pytest.raises(ValueError, match="split.json' has the part 'validation', which there is not: the parts are tr"):
        read_layout(tmp_path)
