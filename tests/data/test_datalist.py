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
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_sscm.data import select_labeled, semi_supervised_datalist
from monai_sscm.data.datalist import masks_by_image


def write(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        # of a different size each: no two of them are the same image
        Image.fromarray(np.zeros((4, 4 + len(list(folder.parent.rglob("*.*")))), np.uint8)).save(folder / name)


def test_own_folder(tmp_path):
    write(tmp_path / "images", ["a.png", "b.jpg", "c.tif", "d.bmp", "e.jpeg"])
    write(tmp_path / "labels", ["a.png", "b_mask.png", "c.png", "d.png", "e_1.png"])
    write(tmp_path / "unlabeled_images", ["x.png", "y 2.png"])
    (tmp_path / "images" / ".DS_Store").touch()
    (tmp_path / "images" / "notes.txt").touch()
    files = semi_supervised_datalist(tmp_path, num_labeled=3)
    assert {k: len(v) for k, v in files.items()} == {"labeled": 3, "unlabeled": 3, "val": 1, "test": 0}
    assert files["val"] == semi_supervised_datalist(tmp_path, num_labeled=1, seed=9)["val"]
    everything = semi_supervised_datalist(tmp_path)
    assert len(everything["labeled"]) == 4 and [Path(i["image"]).name for i in everything["unlabeled"]] == [
        "x.png",
        "y 2.png",
    ]


def test_split_file_and_groups(tmp_path):
    write(tmp_path / "images", [f"{i}.png" for i in range(6)])
    write(tmp_path / "labels", [f"{i}.png" for i in range(6)])
    (tmp_path / "split.json").write_text(json.dumps({"train": [0, 1, 2], "val": ["3"], "test": [4, 5]}))
    files = semi_supervised_datalist(tmp_path, 1)
    assert [Path(i["image"]).stem for i in files["test"]] == ["4", "5"] and len(files["unlabeled"]) == 2
    (tmp_path / "split.json").write_text(json.dumps({"train": [0, 1], "val": [1]}))
    with pytest.raises(ValueError, match="keep each patient on one side"):
        semi_supervised_datalist(tmp_path, 1)
    (tmp_path / "split.json").write_text(json.dumps({"train": [0, 9]}))
    with pytest.raises(FileNotFoundError, match="'9'"):
        semi_supervised_datalist(tmp_path, 1)


def test_a_patient_on_two_sides(tmp_path):
    write(tmp_path / "images", ["p1_a.png", "p1_b.png"])
    write(tmp_path / "labels", ["p1_a.png", "p1_b.png"])
    (tmp_path / "split.json").write_text(json.dumps({"train": ["p1_a"], "test": ["p1_b"]}))
    semi_supervised_datalist(tmp_path)
    with pytest.raises(ValueError, match=r"\['1'\] are in the train part and in the test part"):
        semi_supervised_datalist(tmp_path, group_pattern=r"p(\d+)")


def test_masks_of_images_whose_names_begin_alike(tmp_path):
    write(tmp_path / "images", ["p1.png", "p1_2.png", "p3.png"])
    write(tmp_path / "labels", ["p1_mask.png", "p1_2_mask.png", "p3.png"])
    (tmp_path / "split.json").write_text(json.dumps({"train": ["p1", "p1_2", "p3"]}))
    pairs = {Path(i["image"]).name: Path(i["label"]).name for i in semi_supervised_datalist(tmp_path)["labeled"]}
    assert pairs == {"p1.png": "p1_mask.png", "p1_2.png": "p1_2_mask.png", "p3.png": "p3.png"}
    (tmp_path / "labels" / "p1_mask.png").unlink()
    with pytest.raises(FileNotFoundError, match="'p1' has no mask"):
        semi_supervised_datalist(tmp_path)


def masks_one_by_one(images: list[str], masks: dict[str, Path]) -> dict[str, list[Path]]:
    """The rule for one image, whatever the others: what begins with its name, and with no longer one."""
    found = {}
    for name in images:
        longer = [other for other in images if other.startswith(f"{name}_")]
        found[name] = (
            [masks[name]]
            if name in masks
            else [
                path
                for mask, path in masks.items()
                if mask.startswith(f"{name}_") and not any(mask == o or mask.startswith(f"{o}_") for o in longer)
            ]
        )
    return found


def test_masks_a_second_way():
    random = np.random.RandomState(0)
    for _ in range(200):
        images, masks = (
            sorted({"_".join(random.choice(list("ab"), random.randint(1, 5))) for _ in range(8)}) for _ in range(2)
        )
        paths = {mask: Path(mask) for mask in masks}
        found = masks_by_image(dict.fromkeys(images), paths)
        assert {name: found.get(name, []) for name in images} == masks_one_by_one(images, paths)


def test_many_names_are_listed_fast():
    names = [f"case_{i}_slice_{i % 7}" for i in range(20_000)]
    masks = {f"{name}_mask": Path(f"{name}_mask.png") for name in names}
    start = time.perf_counter()
    found = masks_by_image(dict.fromkeys(names), masks)
    items = [{"image": name} for name in names]
    chosen, rest = select_labeled(items, 10_000, 0, names, preferred=lambda item: item["image"].endswith("3"))
    assert time.perf_counter() - start < 5
    assert all(found[name] == [Path(f"{name}_mask.png")] for name in names)
    assert len(chosen) == len(rest) == 10_000 and all(i["image"].endswith("3") for i in chosen[:5000:2])


def test_every_item_has_its_patient(tmp_path):
    write(tmp_path / "images", ["p1_a.png", "p1_b.png", "p2_a.png", "p3_a.png", "other.png"])
    write(tmp_path / "labels", ["p1_a.png", "p1_b.png", "p2_a.png", "p3_a.png", "other.png"])
    write(tmp_path / "unlabeled_images", ["p1_c.png", "p4_a.png"])
    split = {"train": ["p1_a", "p1_b", "other"], "val": ["p2_a"], "test": ["p3_a"]}
    for together, pattern, groups in (
        ([], None, {}),
        ([], r"p(\d)", {"p1_a": "1", "p1_b": "1", "p1_c": "1", "p2_a": "2", "p3_a": "3", "p4_a": "4"}),
        # the split goes first
        (
            [["other", "p4_a"]],
            r"p(\d)",
            {"p1_a": "1", "p1_b": "1", "p1_c": "1", "p2_a": "2", "p3_a": "3"}
            | dict.fromkeys(["other", "p4_a"], "other and others"),
        ),
    ):
        (tmp_path / "split.json").write_text(json.dumps({**split, "kept_together": together}))
        parts = semi_supervised_datalist(tmp_path, 1, group_pattern=pattern)
        found = {Path(item["image"]).stem: item["group"] for items in parts.values() for item in items}
        assert found == {name: groups.get(name, name) for name in found} and len(found) == 7
        assert {key for item in parts["unlabeled"] for key in item} == {"image", "group"}


def test_unlabeled_images_of_test_patients(tmp_path):
    write(tmp_path / "images", ["a_L.png", "b_L.png", "c_L.png"])
    write(tmp_path / "labels", ["a_L.png", "b_L.png", "c_L.png"])
    write(tmp_path / "unlabeled_images", ["c_R.png"])
    (tmp_path / "split.json").write_text(json.dumps({"train": ["a_L", "b_L"], "test": ["c_L"]}))
    with pytest.raises(ValueError, match=r"\['c'\] are in the train part and in the test part"):
        semi_supervised_datalist(tmp_path, group_pattern="(.)_")
    with pytest.raises(ValueError, match="fits no image name"):
        semi_supervised_datalist(tmp_path, group_pattern=r"patient(\d+)")


def test_one_patient_is_too_few(tmp_path):
    write(tmp_path / "images", ["a.png"])
    write(tmp_path / "labels", ["a.png"])
    with pytest.raises(ValueError, match="left for training"):
        semi_supervised_datalist(tmp_path)


def test_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere.*dataset_dir"):
        semi_supervised_datalist(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="'images' and 'labels'"):
        semi_supervised_datalist(tmp_path)
    write(tmp_path / "images", ["a.png", "b.png", "c.png"])
    (tmp_path / "labels").mkdir()
    with pytest.raises(FileNotFoundError, match="no images in"):
        semi_supervised_datalist(tmp_path)
    write(tmp_path / "labels", ["a.png", "b.png"])
    with pytest.raises(FileNotFoundError, match="'c' has no mask.*unlabeled_images"):
        semi_supervised_datalist(tmp_path)
    write(tmp_path / "labels", ["c_1.png", "c_2.png"])
    with pytest.raises(ValueError, match="'c' has 2 masks"):
        semi_supervised_datalist(tmp_path)
    (tmp_path / "labels" / "c_2.png").unlink()
    for number in (0, 4):
        with pytest.raises(ValueError, match=f"`num_labeled` is {number}"):
            semi_supervised_datalist(tmp_path, num_labeled=number)
    write(tmp_path / "images", ["a.jpg"])
    with pytest.raises(ValueError, match="same name"):
        semi_supervised_datalist(tmp_path)


def test_a_copy_of_an_image_in_two_parts_is_refused(tmp_path):
    write(tmp_path / "images", ["a.png", "b.png", "c.png"])
    write(tmp_path / "labels", ["a.png", "b.png", "c.png"])
    (tmp_path / "split.json").write_text(json.dumps({"train": ["a", "b"], "test": ["c"]}))
    assert len(semi_supervised_datalist(tmp_path, 1)["unlabeled"]) == 1
    shutil.copy(tmp_path / "images" / "a.png", tmp_path / "images" / "b.png")
    assert len(semi_supervised_datalist(tmp_path, 1)["unlabeled"]) == 1  # twice in training does no harm
    shutil.copy(tmp_path / "images" / "c.png", tmp_path / "images" / "b.png")
    with pytest.raises(
        ValueError, match=r"b\.png' in the train part and .*c\.png' in the test part are the same image"
    ):
        semi_supervised_datalist(tmp_path, 1)


def test_an_unlabeled_copy_of_a_test_image_is_refused(tmp_path):
    write(tmp_path / "images", ["a.png", "b.png", "c.png"])
    write(tmp_path / "labels", ["a.png", "b.png", "c.png"])
    (tmp_path / "split.json").write_text(json.dumps({"train": ["a", "b"], "test": ["c"]}))
    (tmp_path / "unlabeled_images").mkdir()
    shutil.copy(tmp_path / "images" / "c.png", tmp_path / "unlabeled_images" / "z.png")
    with pytest.raises(
        ValueError, match=r"c\.png' in the test part and .*z\.png' in the train part are the same image"
    ):
        semi_supervised_datalist(tmp_path, 1)
