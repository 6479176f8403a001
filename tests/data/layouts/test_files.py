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
import time
import unicodedata

import numpy as np
import pytest

from monai_sscm.data.layouts import read_layout
from monai_sscm.data.layouts.files import list_images, masks_by_image, pair_by_guess
from monai_sscm.io.files import mask_stem
from tests.helpers.pictures import touch


def masks_one_by_one(images: list[str], masks: dict[str, str]) -> dict[str, list[str]]:
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
        paths = {mask: mask for mask in masks}
        found = masks_by_image(dict.fromkeys(images), paths)
        assert {name: found.get(name, []) for name in images} == masks_one_by_one(images, paths)


def test_many_names_are_paired_fast():
    names = [f"case_{i}_slice_{i % 7}" for i in range(20_000)]
    masks = {f"{name}_mask": f"{name}_mask.png" for name in names}
    start = time.perf_counter()
    by_rule, guessed = masks_by_image(dict.fromkeys(names), masks), pair_by_guess(names, masks)
    assert time.perf_counter() - start < 5
    assert by_rule == guessed == {name: [f"{name}_mask.png"] for name in names}


@pytest.mark.parametrize(
    ("mask", "stem"),
    [
        *(
            (f"a{end}", "a")
            for end in ("_mask", "-mask", "_masks", ".seg", "_Segmentation", "_gt", " label", "_mask_1")
        ),
        ("21_manual1", "21"),
        ("Image_01L_1stHO", "Image_01L"),
        ("mask_7", "7"),
        ("benign (4)_mask", "benign (4)"),
        *((name, None) for name in ("a", "case_001", "21_training", "masked", "a_seg_left", "gtx_1", "smask")),
    ],
)
def test_what_a_name_says_that_it_is_the_mask_of(mask, stem):
    assert mask_stem(mask) == stem


def test_guesses():
    masks = {name: f"{name}.png" for name in ("21_manual1", "7_mask", "mask_8", "b_seg", "none_mask")}
    found = pair_by_guess(["21_training", "7_image", "img_8", "b"], masks)
    assert found == {
        "21_training": ["21_manual1.png"],
        "7_image": ["7_mask.png"],
        "img_8": ["mask_8.png"],
        "b": ["b_seg.png"],
    }
    with pytest.raises(ValueError, match=r"'21_manual1.png' may be the mask of any of \['21_training', '21_test'\]"):
        pair_by_guess(["21_training", "21_test"], masks)


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "within").mkdir()
    for name in ("10.png", "9.PNG", "Thumbs.db", "._9.png", "notes.pdf"):
        (tmp_path / name).touch()
    passed_over: dict[str, str] = {}
    assert list(list_images(tmp_path, passed_over=passed_over)) == ["9", "10"]
    assert {path[len(str(tmp_path)) + 1 :]: why for path, why in passed_over.items()} == {
        "._9.png": "hidden",
        "Thumbs.db": "no image of a known format",
        "notes.pdf": "no image of a known format",
        "within": "a folder within",
    }
    assert list(list_images(tmp_path, folders=True)) == ["9", "10", "within"]
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(FileNotFoundError, match=r"link\.png' is a link to a file that is not there"):
        list_images(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        list_images(tmp_path / "nowhere")


def test_accents_that_are_apart_are_the_same_letters(tmp_path):
    """Some systems write é as one character, some as two; names that look alike belong together."""
    together, apart = (unicodedata.normalize(form, "café 1") for form in ("NFC", "NFD"))
    assert together != apart
    touch(tmp_path, f"images/{together}.png", f"labels/{apart}.png", f"images/{apart}2.png", f"labels/{together}2.png")
    (tmp_path / "split.json").write_text(json.dumps({"train": [apart], "val": [f"{together}2"]}))
    cases = read_layout(tmp_path).cases
    assert [(case.name, case.part, case.label is not None) for case in cases] == [
        (together, "train", True),
        (f"{together}2", "val", True),
    ]
    touch(tmp_path, f"images/{apart}.png")
    with pytest.raises(ValueError, match="have the same name: keep one of them"):
        read_layout(tmp_path)
