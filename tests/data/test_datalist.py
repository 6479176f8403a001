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

from monai_sscm.data import datalist, select_labeled, semi_supervised_datalist


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
    files = semi_supervised_datalist(tmp_path, num_labeled=3, val_fraction=0.2)
    assert {k: len(v) for k, v in files.items()} == {"labeled": 3, "unlabeled": 3, "val": 1, "test": 0}
    assert files["val"] == semi_supervised_datalist(tmp_path, num_labeled=1, seed=9, val_fraction=0.2)["val"]
    everything = semi_supervised_datalist(tmp_path)
    assert len(everything["labeled"]) == 5 and everything["val"] == []
    assert [Path(i["image"]).name for i in everything["unlabeled"]] == ["x.png", "y 2.png"]


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
    assert [Path(i["image"]).name for i in semi_supervised_datalist(tmp_path)["unlabeled"]] == ["p1.png"]


def test_many_names_are_chosen_from_fast():
    names = [f"case_{i}_slice_{i % 7}" for i in range(20_000)]
    items = [{"image": name} for name in names]
    start = time.perf_counter()
    chosen, rest = select_labeled(items, 10_000, 0, names, preferred=lambda item: item["image"].endswith("3"))
    assert time.perf_counter() - start < 5
    assert len(chosen) == len(rest) == 10_000 and all(i["image"].endswith("3") for i in chosen[:5000:2])


def test_every_item_has_its_patient(tmp_path):
    write(tmp_path / "images", ["p1_a.png", "p1_b.png", "p2_a.png", "p3_a.png", "other.png"])
    write(tmp_path / "labels", ["p1_a.png", "p1_b.png", "p2_a.png", "p3_a.png", "other.png"])
    write(tmp_path / "unlabeled_images", ["p1_c.png", "p4_a.png"])
    split = {"train": ["p1_a", "p1_b", "other"], "val": ["p2_a"], "test": ["p3_a"]}
    for together, pattern, groups in (
        ([], None, {}),
        ([], r"p?(\d|other)", {"p1_a": "1", "p1_b": "1", "p1_c": "1", "p2_a": "2", "p3_a": "3", "p4_a": "4"}),
        # the split goes first, and the pattern need not fit what it names
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
    with pytest.raises(ValueError, match="fits 0 of 4 image names"):
        semi_supervised_datalist(tmp_path, group_pattern=r"patient(\d+)")


@pytest.mark.parametrize(
    ("pattern", "unfit"),
    [("(p[0-9]+)_", ["P02_b", "scan7"]), ("(p[0-9]+_)?", ["P02_b", "scan7"]), ("(?i)(p[0-9]+)_", ["scan7"])],
)
def test_a_pattern_that_does_not_fit_all_names_is_refused(tmp_path, pattern, unfit):
    """With a group that may be left out, too: an image of nobody would be one patient with all others of nobody."""
    names = ["p01_a.png", "P02_b.png", "p02_a.png", "scan7.png"]
    write(tmp_path / "images", names)
    write(tmp_path / "labels", names)
    with pytest.raises(ValueError) as error:
        semi_supervised_datalist(tmp_path, group_pattern=pattern)
    assert f"fits {4 - len(unfit)} of 4 image names, but not {unfit}: it is matched at the start" in str(error.value)


def test_a_patient_in_capitals_is_the_same(tmp_path):
    write(tmp_path / "images", ["p02_a.png", "P02_b.png"])
    write(tmp_path / "labels", ["p02_a.png", "P02_b.png"])
    (tmp_path / "split.json").write_text(json.dumps({"train": ["p02_a"], "val": ["P02_b"]}))
    assert len(semi_supervised_datalist(tmp_path)["val"]) == 1
    with pytest.raises(ValueError, match=r"\['P02'\] are in the train part and in the val part: .*P02_b"):
        semi_supervised_datalist(tmp_path, group_pattern="([pP][0-9]+)_")


def test_images_kept_together_bring_the_others_of_their_patients(tmp_path):
    write(tmp_path / "images", [f"p{i}_{k}.png" for i in range(4) for k in "ab"])
    write(tmp_path / "labels", [f"p{i}_{k}.png" for i in range(4) for k in "ab"])
    split = {"train": ["p0_a", "p1_a"], "val": ["p2_a"], "test": ["p1_b"]}
    (tmp_path / "split.json").write_text(json.dumps({**split, "kept_together": [["p0_a", "p1_a"]]}))
    semi_supervised_datalist(tmp_path)
    with pytest.raises(ValueError, match=r"\['p0_a and others'\] are in the train part and in the test part"):
        semi_supervised_datalist(tmp_path, group_pattern="(p.)_")


def test_one_name_in_two_folders_is_told_by_its_cause(tmp_path):
    write(tmp_path / "images", ["6.png", "7.png"])
    write(tmp_path / "labels", ["6.png", "7.png"])
    write(tmp_path / "unlabeled_images", ["7.png"])
    assert len(semi_supervised_datalist(tmp_path)["unlabeled"]) == 1
    (tmp_path / "split.json").write_text(json.dumps({"train": [6], "val": [7]}))
    with pytest.raises(ValueError, match=r"unlabeled_images/7.png' and '.*images/7.png'. Images of one name count as"):
        semi_supervised_datalist(tmp_path)


def test_validation_is_held_out_by_patient_if_asked_for(tmp_path):
    names = [f"p{i}_{eye}.png" for i in range(10) for eye in "LR"]
    write(tmp_path / "images", names)
    write(tmp_path / "labels", [name for name in names if name != "p3_R.png"])
    for fraction, patients in ((0.2, 2), (0.5, 5), (0.01, 1)):
        files = semi_supervised_datalist(tmp_path, group_pattern="(p.)_", val_fraction=fraction)
        val = {item["group"] for item in files["val"]}
        assert len(val) == patients
        assert not val & {item["group"] for item in files["labeled"] + files["unlabeled"]}
        kept = len(files["labeled"]) + len(files["unlabeled"]) + len(files["val"])
        assert kept == 20 - ("p3" in val)  # an image without mask of a patient who validates is left out
    # a fifth is that of version 0.8, and it is chosen among the patients with masks alone
    old = np.random.RandomState(0).permutation([f"p{i}" for i in range(10)])[:2]
    files = semi_supervised_datalist(tmp_path, group_pattern="(p.)_", val_fraction=0.2)
    assert {item["group"] for item in files["val"]} == set(old)
    (tmp_path / "split.json").write_text(json.dumps({"train": ["p0_L", "p1_L"], "val": ["p2_L"]}))
    assert len(semi_supervised_datalist(tmp_path, val_fraction=0.5)["val"]) == 1  # the data set says who validates
    (tmp_path / "split.json").write_text(json.dumps({"train": ["p0_L", "p1_L"], "test": ["p2_L"]}))
    files = semi_supervised_datalist(tmp_path, val_fraction=0.5)
    assert [len(files[part]) for part in ("labeled", "val", "test")] == [1, 1, 1]
    for fraction in (-0.1, 1.0):
        with pytest.raises(ValueError, match="`val_fraction` must be from 0 to 1"):
            semi_supervised_datalist(tmp_path, val_fraction=fraction)


def test_images_without_masks_are_unlabeled(tmp_path):
    write(tmp_path / "images", ["a.png", "b.png", "c.png"])
    write(tmp_path / "labels", ["b.png"])
    files = semi_supervised_datalist(tmp_path)
    assert [Path(i["image"]).stem for i in files["labeled"]] == ["b"]
    assert [Path(i["image"]).stem for i in files["unlabeled"]] == ["a", "c"]
    with pytest.raises(ValueError, match="with a mask is left for training"):
        semi_supervised_datalist(tmp_path, val_fraction=0.5)
    (tmp_path / "split.json").write_text(json.dumps({"train": ["a", "b"], "val": ["c"]}))
    with pytest.raises(FileNotFoundError, match="'c' of the val part has no mask"):
        semi_supervised_datalist(tmp_path)


def test_partly_labeled_images_are_labeled(tmp_path):
    write(tmp_path, ["a.png", "b.png", "c.png", "d.png"])
    entries = [
        {"image": "a.png", "label": "b.png", "unlabeled_classes": [2], "group": "p"},
        {"image": "c.png", "label": "b.png", "group": "c"},
        {"image": "d.png", "group": "d"},
    ]
    (tmp_path / "datalist.json").write_text(json.dumps({"training": entries}))
    files = semi_supervised_datalist(tmp_path / "datalist.json")
    a, c, d = (str(tmp_path / f"{name}.png") for name in "acd")
    b = str(tmp_path / "b.png")
    assert sorted(files["labeled"], key=lambda item: item["image"]) == [
        {"image": a, "label": b, "group": "p", "unlabeled_classes": [2]},
        {"image": c, "label": b, "group": "c"},
    ]
    assert files["unlabeled"] == [{"image": d, "group": "d"}]
    # one that gives up its mask says nothing of it
    assert all(len(semi_supervised_datalist(tmp_path, 1, seed)["unlabeled"]) == 2 for seed in range(3))
    assert {key for item in semi_supervised_datalist(tmp_path, 1)["unlabeled"] for key in item} == {"image", "group"}


def test_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere.*dataset_dir"):
        semi_supervised_datalist(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="No masks are found .*'images' and 'labels'"):
        semi_supervised_datalist(tmp_path)
    write(tmp_path / "images", ["a.png", "b.png", "c.png"])
    (tmp_path / "labels").mkdir()
    with pytest.raises(FileNotFoundError, match="None of the 3 images in .* has a mask: check their names"):
        semi_supervised_datalist(tmp_path)
    write(tmp_path / "labels", ["a.png", "b.png"])
    write(tmp_path / "labels", ["c_1.png", "c_2.png"])
    with pytest.raises(ValueError, match="'c' has 2 masks"):
        semi_supervised_datalist(tmp_path)
    (tmp_path / "labels" / "c_2.png").unlink()
    assert len(semi_supervised_datalist(tmp_path, num_labeled=0)["unlabeled"]) == 3  # none need have a mask
    for number in (-1, 4):
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


def test_copies_are_looked_for_among_many_files_of_one_size(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for i in range(30):
        (tmp_path / "images" / f"{i}.bmp").write_bytes(b"header" * 1000 + str(i).encode().rjust(8) + bytes(6000))
        (tmp_path / "labels" / f"{i}.bmp").touch()
    (tmp_path / "split.json").write_text(json.dumps({"train": list(range(28)), "val": [28], "test": [29]}))
    read = []
    monkeypatch.setattr(datalist, "_digest", lambda image: read.append(image) or bytes(1))
    semi_supervised_datalist(tmp_path)
    assert read == []
    shutil.copy(tmp_path / "images" / "5.bmp", tmp_path / "images" / "29.bmp")
    with pytest.raises(ValueError, match=r"5\.bmp' in the train part and .*29\.bmp' in the test part"):
        semi_supervised_datalist(tmp_path)
    assert len(read) == 2
