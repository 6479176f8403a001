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

import pytest

from monai_sscm.data.layouts import read_layout
from tests.helpers.pictures import touch


def test_what_is_not_understood_is_one_sentence(tmp_path):
    touch(tmp_path, "pictures/a.png", "annotations/a.xml")
    with pytest.raises(
        FileNotFoundError, match=r"needs the folders 'images' and 'labels', or 'imagesTr'.* data list in"
    ):
        read_layout(tmp_path)
    with pytest.raises(FileNotFoundError, match="There is no folder '.*nowhere'"):
        read_layout(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"a\.png' is a file: set `dataset_dir` to a folder, or to a data list"):
        read_layout(tmp_path / "pictures" / "a.png")
