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

DESCRIPTION = {
    "labels": {"background": 0, "tumor": 1},
    "channel_names": {"0": "T1", "1": "T2"},
    "file_ending": ".nii.gz",
}


def write(root: Path, channels: int) -> None:
    for folder, cases in (("imagesTr", (1, 2, 10)), ("imagesTs", (3,)), ("unlabeled_images", (4,))):
        touch(root, *(f"{folder}/case_{i:03}_{k:04}.nii.gz" for i in cases for k in range(channels)))
    touch(root, "labelsTr/case_001.nii.gz", "labelsTr/case_010.nii.gz")


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("channels", [1, 2])
def test_channels_of_an_image_are_together(tmp_path, described, channels):
    write(tmp_path, channels)
    if described:
        (tmp_path / "dataset.json").write_text(json.dumps(DESCRIPTION))
    layout = read_layout(tmp_path)
    assert layout.kind == "nnunet"
    assert (layout.class_names, layout.channel_names) == (
        (["background", "tumor"], ["T1", "T2"]) if described else (None, None)
    )
    assert shown(layout) == {
        "case_001": "labelsTr/case_001.nii.gz",
        "case_002": None,
        "case_010": "labelsTr/case_010.nii.gz",
        "case_004": None,
        "case_003": None,
    }
    files = [str(tmp_path / "imagesTr" / f"case_001_{k:04}.nii.gz") for k in range(channels)]
    assert layout.cases[0].image == (files if channels > 1 else files[0])
    assert [case.part for case in layout.cases] == [None, None, None, "train", "test"]
    parts = [case.part for case in read_layout(tmp_path, train_on_test_images=True).cases]
    assert parts == [None, None, None, "train", "train"]
    assert layout.passed_over == {}


def test_a_missing_channel_is_an_error(tmp_path):
    write(tmp_path, 2)
    (tmp_path / "imagesTr" / "case_010_0001.nii.gz").unlink()
    with pytest.raises(ValueError, match="'case_001' has 2 channels and 'case_010' has 1: each must have as many"):
        read_layout(tmp_path)


def test_names_with_four_digits_are_no_channels(tmp_path):
    touch(tmp_path, *(f"{folder}/img_{i:04}.png" for folder in ("imagesTr", "labelsTr") for i in range(3)))
    assert read_layout(tmp_path).kind == "decathlon"
