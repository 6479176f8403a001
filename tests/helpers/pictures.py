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

"""Small pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_pictures(folder: Path, *names: str) -> None:
    """Write pictures of a different size each: no two of them are the same image."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(np.zeros((4, 4 + len(list(folder.parent.rglob("*.*")))), np.uint8)).save(folder / name)


def touch(root: Path, *names: str) -> None:
    """Write empty files, and the folders that they are in."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def shown(layout) -> dict[str, str | None]:
    """The masks of a layout's cases by their names, relative to its root."""
    return {case.name: case.label and str(Path(case.label).relative_to(layout.root)) for case in layout.cases}
