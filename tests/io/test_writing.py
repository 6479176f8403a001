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

import csv
from pathlib import Path

import numpy as np
import pytest

from monai_sscm.io.writing import class_colors, write_table, write_whole


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "a.txt"
    write_whole(path, lambda part: part.write_text("first"))

    def disk_full(part: Path) -> None:
        part.write_text("half")
        raise OSError(28, "No space left on device")

    for error in (disk_full, lambda part: part.rename(tmp_path / "nowhere" / "b")):
        with pytest.raises(OSError, match=r"The result '.*a.txt' cannot be written \(No .*\): make room"):
            write_whole(path, error)
        assert path.read_text() == "first" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_tables(tmp_path):
    rows = [{"name": 'a, "b"', "score": 0.5}, {"name": "ü", "score": None}]
    write_table(rows, tmp_path / "table.csv")
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["name", "score"], ['a, "b"', "0.5"], ["ü", ""]]


def test_colors_differ_and_repeat_after_ten():
    colors = class_colors(13)
    assert colors.shape == (12, 3) and 0 <= colors.min() and colors.max() <= 1
    assert len(np.unique(colors[:10], axis=0)) == 10 and (colors[10:] == colors[:2]).all()
