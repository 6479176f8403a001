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

from pathlib import Path

import pytest

from monai_sscm.data.layouts import read_layout
from tests.helpers.pictures import shown, touch


def test_one_folder(tmp_path):
    touch(tmp_path, "a.png", "a_mask.png", "b.jpg", "b-seg.png", "c.png", "21_training.tif", "21_manual1.gif")
    touch(tmp_path, "lost_mask.png", "Thumbs.db", "._a.png", "protocol.docx")
    layout = read_layout(tmp_path)
    assert layout.kind == "beside"
    assert shown(layout) == {"21_training": "21_manual1.gif", "a": "a_mask.png", "b": "b-seg.png", "c": None}
    assert [(Path(image).name, Path(mask).name) for image, mask in layout.guessed] == [
        ("21_training.tif", "21_manual1.gif"),
        ("a.png", "a_mask.png"),
        ("b.jpg", "b-seg.png"),
    ]
    assert {Path(path).name: why for path, why in layout.passed_over.items()} == {
        "._a.png": "hidden",
        "Thumbs.db": "no image of a known format",
        "lost_mask.png": "a mask by its name, without an image",
        "protocol.docx": "no image of a known format",
    }


def test_folders_within(tmp_path):
    for patient in (1, 2, 10):
        touch(tmp_path, f"p{patient}/scan.nii.gz", f"p{patient}/scan_label.nii.gz")
    touch(tmp_path, "more/x.nii.gz", ".cache/y.nii.gz")
    layout = read_layout(tmp_path)
    masks = {f"p{patient}/scan": f"p{patient}/scan_label.nii.gz" for patient in (1, 2, 10)}
    assert list(shown(layout).items()) == [("more/x", None), *masks.items()]
    assert layout.passed_over == {str(tmp_path / ".cache"): "hidden"}


def test_two_masks_of_an_image(tmp_path):
    touch(tmp_path, "a.png", "a_mask.png", "a_mask_1.png")
    with pytest.raises(ValueError, match=r"'a' has 2 masks, \['a_mask.png', 'a_mask_1.png'\]: keep one"):
        read_layout(tmp_path)
