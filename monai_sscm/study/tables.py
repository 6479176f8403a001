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

"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["markdown_row", "markdown_table"]


def markdown_table(header: Sequence[object], rows: Iterable[Sequence[object]] = ()) -> str:
    """
    Write a table in Markdown.

    Args:
        header: titles of the columns.
        rows: a sequence of cells for each row.

    Returns:
        the lines, without a line break at the end.

    Example:
        >>> from monai_sscm.study import markdown_table
        >>> print(markdown_table(["method", "mIoU"], [["supervised", 76.1], ["SupMix", 78.3]]))
        | method | mIoU |
        | --- | --- |
        | supervised | 76.1 |
        | SupMix | 78.3 |
    """
    return "\n".join(map(markdown_row, [header, ["---"] * len(header), *rows]))


def markdown_row(cells: Iterable[object]) -> str:
    """
    Write one row of a table in Markdown, such as one that is printed as soon as it is known.

    Args:
        cells: its cells.

    Example:
        >>> from monai_sscm.study import markdown_row
        >>> markdown_row(["a | b", 1])
        '| a \\\\| b | 1 |'
    """
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"
