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

import os
from pathlib import Path

import pytest

from monai_sscm.io.files import check_name, image_name, image_suffix, in_natural_order


def test_names_and_suffixes():
    for name, suffix in {"a.b.nii.gz": ".nii.gz", "a.b.SEG.NRRD": ".SEG.NRRD", "a.b.png": ".png", "a.b": ""}.items():
        assert image_suffix(Path("folder.png") / name) == suffix
        assert image_name(f"folder.png/{name}") == "a.b"
    assert image_name("stack.nii.gz", index=3) == "stack_3"


def test_numbers_are_in_their_own_order():
    names = ["b1", "a10.png", "a2.png", "a2b3", "a2b20"]
    assert [str(path) for path in in_natural_order(map(Path, names))] == ["a2.png", "a2b3", "a2b20", "a10.png", "b1"]


def test_names_that_itk_cannot_be_told_are_refused():
    check_name(Path("Übung – 肺.nii"))
    with pytest.raises(ValueError, match="has characters of no known encoding: rename it"):
        check_name(Path(os.fsdecode(b"\xff.nii")))
