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

from monai_sscm.study import markdown_row, markdown_table


def test_a_table_is_its_rows():
    header, rows = ["method", "mIoU"], [["SupMix", 78.3], ["", None]]
    lines = markdown_table(header, rows).splitlines()
    assert lines == [markdown_row(cells) for cells in (header, ["---", "---"], *rows)]
    assert markdown_table(header).splitlines() == lines[:2]


def test_a_bar_in_a_cell_ends_no_column():
    assert markdown_row(["a | b", 1]) == "| a \\| b | 1 |"
