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

import pytest

from monai_sscm.data.contents import content_marks

SIZE = 200_000


@pytest.mark.parametrize("place", [0, 9, SIZE // 2 + 5, SIZE - 1])
def test_a_byte_that_changes_at_the_ends_or_in_the_middle(tmp_path, place):
    path = tmp_path / "a.png"
    path.write_bytes(os.urandom(SIZE))
    before = content_marks([str(path)])
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert content_marks([str(path)]) != before
    content[place] ^= 1
    path.write_bytes(content)
    assert content_marks([path]) == before == content_marks(iter([str(path)]), [])


def test_any_byte_of_a_mask_counts(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(os.urandom(SIZE))
    for place in (20_000, 60_000, 150_000):
        before = content_marks([], [str(path)])
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)
        assert content_marks([], [str(path)]) != before


def test_folders_empty_files_and_files_that_are_not_there(tmp_path):
    (tmp_path / "series").mkdir()
    for i in range(10):
        (tmp_path / "series" / f"{i}.dcm").write_bytes(bytes([i]) * 50)
    empty = tmp_path / "empty"
    empty.touch()
    paths = [str(tmp_path / "series"), str(empty), str(tmp_path / "none")]
    before = content_marks(paths)
    assert before[paths[2]] == "" and len(before[paths[0]]) == 8 and before[paths[0]] != before[paths[1]]
    (tmp_path / "series" / "4.dcm").write_bytes(b"longer" * 50)
    assert content_marks(paths)[paths[0]] != before[paths[0]]
