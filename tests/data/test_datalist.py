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
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_sscm.data import CHASE_DB1_SPLIT, chase_db1_datalist, select_labeled, semi_supervised_datalist


def write(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        # of a different size each: no two of them are the same image
        Image.fromarray(np.zeros((4, 4 + len(list(folder.parent.rglob("*.*")))), np.uint8)).save(folder / name)


def make_chase(root: Path) -> Path:
    names = [name for part in CHASE_DB1_SPLIT.values() for name in part]
    write(root / "images", [f"{name}.jpg" for name in names])
    write(root / "labels", [f"{name}_1stHO.png" for name in names])
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
        assert all(set(item) == {"image"} for item in files["unlabeled"])
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


def test_own_folder(tmp_path):
    write(tmp_path / "images", ["a.png", "b.jpg", "c.tif", "d.bmp", "e.jpeg"])
    write(tmp_path / "labels", ["a.png", "b_mask.png", "c.png", "d.png", "e_1.png"])
    write(tmp_path / "unlabeled_images", ["x.png", "y 2.png"])
    (tmp_path / "images" / ".DS_Store").touch()
    (tmp_path / "images" / "notes.txt").touch()
    files = semi_supervised_datalist(tmp_path, num_labeled=3)
    assert {k: len(v) for k, v in files.items()} == {"labeled": 3, "unlabeled": 3, "val": 1, "test": 0}
    assert files["val"] == semi_supervised_datalist(tmp_path, num_labeled=1, seed=9)["val"]
    assert chase_db1_datalist(tmp_path, 3)["val"] == files["val"]
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


def test_unlabeled_images_of_test_patients(tmp_path):
    write(tmp_path / "images", ["a_L.png", "b_L.png", "c_L.png"])
    write(tmp_path / "labels", ["a_L.png", "b_L.png", "c_L.png"])
    write(tmp_path / "unlabeled_images", ["c_R.png"])
    (tmp_path / "split.json").write_text(json.dumps({"train": ["a_L", "b_L"], "test": ["c_L"]}))
    with pytest.raises(ValueError, match=r"\['c'\] are in the train part and in the test part"):
        semi_supervised_datalist(tmp_path, group_pattern="(.)_")
    with pytest.raises(ValueError, match="fits no image name"):
        semi_supervised_datalist(tmp_path, group_pattern=r"patient(\d+)")


def test_chase_with_an_image_missing_keeps_its_split(tmp_path):
    root = make_chase(tmp_path)
    (root / "images" / "Image_05L.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="Image_05L"):
        chase_db1_datalist(root, 2)


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
