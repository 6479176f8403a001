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

from monai_sscm.data import semi_supervised_datalist
from monai_sscm.data.layouts import read_layout
from tests.helpers.pictures import shown, touch


def write(root: Path) -> None:
    """Six volumes of which the data set labels three, and one of these lacks its mask."""
    touch(root, *(f"imagesTr/la_{i}.nii.gz" for i in (1, 2, 3, 10)), "imagesTr/._la_1.nii.gz", "imagesTs/la_4.nii.gz")
    touch(root, *(f"labelsTr/la_{i}.nii.gz" for i in (1, 2, 10)), "unlabeled_images/u.nii.gz")
    training = [{"image": f"./imagesTr/la_{i}.nii.gz", "label": f"./labelsTr/la_{i}.nii.gz"} for i in (10, 1, 3, 7)]
    description = {
        "labels": {"0": "background", "1": "left atrium"},
        "modality": {"0": "MRI"},
        "training": training,
        "test": ["./imagesTs/la_4.nii.gz"],
    }
    (root / "dataset.json").write_text(json.dumps(description))


def test_with_its_description(tmp_path):
    write(tmp_path)
    layout = read_layout(tmp_path)
    assert layout.kind == "decathlon" and layout.class_names == ["background", "left atrium"]
    assert layout.channel_names == ["MRI"] and layout.guessed == []
    labels = {name: f"labelsTr/{name}.nii.gz" for name in ("la_10", "la_1")}
    # the second is labelled, and the description does not say so
    assert shown(layout) == {**labels, "la_3": None, "la_2": None, "u": None, "la_4": None}
    assert {case.name: case.part for case in layout.cases if case.part} == {"u": "train", "la_4": "test"}
    assert {Path(path).name: why for path, why in layout.passed_over.items()} == {
        "._la_1.nii.gz": "hidden",
        "la_7.nii.gz": "dataset.json lists it, but it is not there",
        "la_3.nii.gz": "dataset.json lists it, but it is not there",  # its mask
        "la_2.nii.gz": "dataset.json does not list it",  # its mask
    }


def test_without(tmp_path):
    write(tmp_path)
    (tmp_path / "dataset.json").unlink()
    layout = read_layout(tmp_path)
    assert layout.kind == "decathlon" and layout.class_names is None and layout.channel_names is None
    labels = {name: f"labelsTr/{name}.nii.gz" for name in ("la_1", "la_2", "la_10")}
    assert shown(layout) == {**labels, "la_3": None, "u": None, "la_4": None}


def test_test_images_are_never_trained_on_unless_asked_for(tmp_path):
    write(tmp_path)
    for number, file in enumerate(tmp_path.rglob("*.nii.gz")):
        file.write_bytes(bytes(number))
    names = {
        use: [Path(i["image"]).name for i in semi_supervised_datalist(tmp_path, train_on_test_images=use)["unlabeled"]]
        for use in (False, True)
    }
    assert names[False] == ["la_3.nii.gz", "la_2.nii.gz", "u.nii.gz"] and names[True] == [*names[False], "la_4.nii.gz"]
    touch(tmp_path, "labelsTs/la_4.nii.gz")
    parts = semi_supervised_datalist(tmp_path, train_on_test_images=True)  # with a mask it is for scores alone
    assert [Path(item["image"]).name for item in parts["test"]] == ["la_4.nii.gz"] and len(parts["unlabeled"]) == 3


def test_a_split(tmp_path):
    write(tmp_path)
    (tmp_path / "split.json").write_text(json.dumps({"train": ["la_1", "la_3"], "test": ["la_10"]}))
    layout = read_layout(tmp_path)
    parts = {case.name: case.part for case in layout.cases}
    assert parts == {"la_1": "train", "la_3": "train", "la_10": "test", "u": "train", "la_4": "test"}


def test_descriptions_that_are_none(tmp_path):
    write(tmp_path)
    for content, message in (
        ("[]", 'must be {"labels"'),
        ("{", "is no JSON"),
        ('{"training": {}}', '"training" in .* must be a list'),
        ('{"training": [{"label": "a"}]}', "lists {'label': 'a'}: it must be"),
        (
            '{"training": [{"image": "a", "labeled_slices": [1]}]}',
            "has `labeled_slices`, which is read from data lists",
        ),
    ):
        (tmp_path / "dataset.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            read_layout(tmp_path)
