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

"""A table of scores as text."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["text_table"]


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """
    Lay out rows under each other: the first column to the left, the others to the right.

    Args:
        rows: cells, all rows of the same length; the first row is the heading.

    Example:
        >>> from monai_sscm.metrics import text_table
        >>> print(text_table([["class", "Dice"], ["vessel", "71.2"]]))
        class   Dice
        vessel  71.2
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        first, *others = (cell.ljust if i == 0 else cell.rjust for i, cell in enumerate(row))
        lines.append("  ".join([first(widths[0]), *(f(w) for f, w in zip(others, widths[1:], strict=True))]).rstrip())
    return "\n".join(lines)
