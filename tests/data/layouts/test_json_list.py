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
from tests.helpers.pictures import touch


def write(root: Path, name: str = "datalist.json", **lists) -> Path:
    (root / name).write_text(json.dumps(lists))
    return root / name


@pytest.fixture
def root(tmp_path) -> Path:
    for name in "abcdef":
        touch(tmp_path, f"im/{name}.nii.gz", f"seg/{name}.nii.gz")
    return tmp_path


def entry(name: str, label: bool = True, **more) -> dict:
    return {"image": f"im/{name}.nii.gz"} | ({"label": f"seg/{name}.nii.gz"} if label else {}) | more


def unlisted(root: Path, *names: str) -> dict[str, str]:
    return {str(root / f"{name}.nii.gz"): "the data list does not name it" for name in names}


def test_entries_with_and_without_masks(root):
    training = [entry("b", group=7), entry("a", unlabeled_classes=[2], labeled_slices=[0, 3], group="x")]
    training += [entry("c", label=False, group="x")]
    testing = [entry("e", label=False, group=9)]
    write(
        root,
        training=training,
        validation=[entry("d", group=8), entry("f", label=False)],
        testing=testing,
    )
    layout = read_layout(root)
    assert layout.kind == "datalist" and layout == read_layout(root / "datalist.json")
    assert {case.name: case.label and Path(case.label).name for case in layout.cases} == {
        "b": "b.nii.gz",
        "a": "a.nii.gz",
        "c": None,
        "d": "d.nii.gz",
        "e": None,
    }
    assert [case.part for case in layout.cases] == ["train", "train", "train", "val", "test"]
    assert [case.group for case in layout.cases] == ["7", "x", "x", "8", "9"]
    assert layout.cases[0].extras == {}
    assert layout.cases[1].extras == {"unlabeled_classes": [2], "labeled_slices": [0, 3]}
    assert layout.passed_over == {
        str(root / "im" / "f.nii.gz"): "without a mask among the validation images",
        **unlisted(root, "seg/c", "seg/e", "seg/f"),
    }
    assert read_layout(root, train_on_test_images=True).cases[-1].part == "train"


def test_fold_0_validates(root):
    training = [entry("a", fold=0), entry("b", fold=1), entry("c", fold=2), entry("d")]
    path = write(root, training=training)
    assert [case.part for case in read_layout(path).cases] == ["val", "train", "train", "train"]
    path = write(root, training=training, validation=[entry("e")])  # where the list itself does not say
    assert [case.part for case in read_layout(path).cases] == ["train"] * 4 + ["val"]
    path = write(root, training=[entry("a", fold=0), entry("b", fold=0)])  # one fold is none
    assert [case.part for case in read_layout(path).cases] == ["train", "train"]
    path = write(root, training=[entry("a", fold=1), entry("b", fold=0), entry("c", fold=0, label=False)])
    assert [case.part for case in read_layout(path).cases] == ["train", "val", "train"]
    training = [entry("a", fold=1, group=1), entry("b", fold=0, group=2), entry("c", fold=0, label=False, group=2)]
    layout = read_layout(write(root, training=training))  # a patient stays on one side
    assert [case.name for case in layout.cases] == ["a", "b"]
    assert layout.passed_over == {
        str(root / "im" / "c.nii.gz"): "without a mask, of a patient who validates",
        **unlisted(
            root, *(f"{folder}/{name}" for folder in ("im", "seg") for name in "cdef" if (folder, name) != ("im", "c"))
        ),
    }


def test_keys_that_are_not_known_are_passed_over_once(root):
    path = write(root, training=[entry("a", modality="MR", image_id=3), entry("b", modality="CT")])
    keys = dict.fromkeys((f"{path}: modality", f"{path}: image_id"), "a key of entries that is not used")
    others = unlisted(root, *(f"{folder}/{name}" for folder in ("im", "seg") for name in "cdef"))
    assert read_layout(path).passed_over == {**keys, **others}


def test_a_list_may_name_the_folder_of_its_files(root):
    (root / "lists").mkdir()
    path = write(root / "lists", training=[entry("a")], dataroot=str(root))
    assert read_layout(path).cases[0].image == str(root / "im" / "a.nii.gz")
    assert read_layout(write(root / "lists", training=[entry("a")], data_root="..")).cases[0].name == "a"
    assert read_layout(write(root, training=[entry("a")], dataroot="/nowhere")).cases[0].name == "a"
    with pytest.raises(FileNotFoundError, match="relative to its folder, or to '.*' that it names"):
        read_layout(write(root / "lists", training=[entry("x")], dataroot=str(root)))


def test_channels_names_and_folders(root):
    touch(root, "p1/t1.nii.gz", "p1/t2.nii.gz", "p2/t1.nii.gz", "p2/t2.nii.gz")
    training = [{"image": [f"{p}/t1.nii.gz", f"{p}/t2.nii.gz"], "label": "seg/a.nii.gz"} for p in ("p1", "p2")]
    training += [{"image": ["im/b.nii.gz"]}]
    layout = read_layout(write(root, training=training, labels={"0": "background", "1": "organ"}))
    assert [case.name for case in layout.cases] == ["p1/t1", "p2/t1", "im/b"]  # t1 alone would be two of them
    assert layout.cases[0].image == [str(root / "p1" / "t1.nii.gz"), str(root / "p1" / "t2.nii.gz")]
    assert layout.cases[2].image == str(root / "im" / "b.nii.gz") and layout.class_names == ["background", "organ"]


def test_the_list_of_a_folder_is_found(root):
    path = write(root, "folds.json", training=[entry("a")])
    (root / "notes.json").write_text("{}")
    assert read_layout(root).root == str(path)
    write(root, "other.json", training=[entry("b")])
    with pytest.raises(
        ValueError, match=r"several data lists, \['folds.json', 'other.json'\]: set `dataset_dir` to one"
    ):
        read_layout(root)
    assert read_layout(root / "other.json").cases[0].name == "b"


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ([entry("x")], r"lists '.*x\.nii\.gz', which is not there: paths in it are relative to its folder"),
        ([entry("a"), entry("a")], r"lists \['.*a\.nii\.gz'\] more than once"),
        ([{"image": 3}], "lists {'image': 3}: it must be"),
        ([{"image": []}], "it must be"),
        ([{"image": "im/a.nii.gz", "label": ["seg/a.nii.gz"]}], "it must be"),
        ([entry("a", unlabeled_classes=2)], "`unlabeled_classes` of .* must be a list of numbers from 0, got 2"),
        ([entry("a", labeled_slices=[-1])], r"`labeled_slices` of .* must be a list of numbers from 0, got \[-1\]"),
        ([entry("a", label=False, labeled_slices=[1])], "has `labeled_slices` and no `label`"),
        (
            [entry("a", group="p1"), entry("b")],
            r"of some images but not of 1, such as \['.*b\.nii\.gz'\]: name it for all",
        ),
        ([entry("a", group="p1"), entry("b", group=" ")], "of some images but not of 1"),
        ([entry("a", group="p1"), entry("b", label=False)], "of some images but not of 1"),
        ([entry("a", group=float("nan")), entry("b", group="p1")], "must be the patient's name or number, got nan"),
        (
            [entry("a", labelled_slices=[1])],
            r"{.*}: there is no `labelled_slices`, did you mean `labeled_slices`",
        ),
        ([entry("a", **{"Unlabelled-Classes": [1]})], "did you mean `unlabeled_classes`"),
        ([entry("a", label=False, labels="seg/a.nii.gz")], r"no `labels`, did you mean `label`\?"),
        ([{"label": "seg/a.nii.gz"}], "is no data list"),
        ({}, "is no data list"),
    ],
)
def test_lists_that_are_none(root, training, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_layout(write(root, training=training))


@pytest.mark.parametrize("name", ["val", "valid", "test", "Validation"])
def test_lists_of_other_names_are_refused(root, name):
    path = write(root, training=[entry("a")], **{name: [entry("b")]})
    with pytest.raises(ValueError, match=f"lists images as '{name}', which there is not: the lists are training, val"):
        read_layout(path)
    path = write(root, training=[entry("a")], **{name: ["im/b.nii.gz"]}, labels={"0": "nothing"}, notes=["mine"])
    told = read_layout(path).passed_over
    assert told[f"{path}: {name}"] == "a list that is none of training, validation, testing"
    assert f"{path}: notes" not in told


@pytest.mark.parametrize("word", ["mask", "seg", "Segmentation", "ground-truth"])
def test_other_words_for_a_label_are_refused(root, word):
    path = write(root, training=[entry("a"), {"image": "im/b.nii.gz", word: "seg/b.nii.gz"}])
    with pytest.raises(ValueError, match=f"there is no `{word}`, did you mean `label`"):
        read_layout(path)
    path = write(root, training=[entry("a", **{word: "of something else"})])
    assert read_layout(path).cases[0].label is not None
