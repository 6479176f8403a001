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


"""
What the readers make of every mode, depth and format: a table of results/reader_matrix.md.

    python benchmarks/reader_matrix.py

Each file is written with known values and read as an image and as a mask. Takes some seconds.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.helpers.reader_matrix import KINDS, Kind, outcome


def main() -> None:
    """Print the table, and write it."""
    rows: dict[tuple[str, str, str, str], list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for i, kind in enumerate(KINDS):
            path = Path(folder) / f"{i}.{kind.suffix}"
            expected = kind.write(path)
            found = [_in_words(kind, path, mask, stored) for mask, stored in zip((False, True), expected, strict=True)]
            rows.setdefault((kind.format, kind.mode, *found), []).append(kind.depth)
    lines = ["| format | pixels | depth | as an image | as a mask |", "|---|---|---|---|---|"]
    lines += [f"| {form} | {mode} | {', '.join(d)} | {i} | {m} |" for (form, mode, i, m), d in rows.items()]
    table = "\n".join(lines) + "\n"
    print(table)
    (Path(__file__).parent / "results" / "reader_matrix.md").write_text(table, "utf-8")


def _in_words(kind: Kind, path: Path, mask: bool, expected: object) -> str:
    found = outcome(kind, path, mask)
    if isinstance(found, str):
        if not isinstance(expected, str):
            return f"WRONG: refused: {found}"
        why = found.partition(str(path))[2].removeprefix("'").strip().rstrip(".")
        return f"refused: {why}"
    stored = np.squeeze(np.asarray(expected, float)) if not isinstance(expected, str) else np.empty(0)
    values = np.squeeze(found)
    if values.shape != stored.shape or np.abs(values - stored).max() > kind.tolerance:
        return "WRONG: other values"
    return f"to within {kind.tolerance:g} of 255" if kind.tolerance else "as stored"


if __name__ == "__main__":
    main()
