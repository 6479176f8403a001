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


"""Names of image files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["IMAGE_SUFFIXES", "PICTURE_SUFFIXES", "check_name", "image_name", "image_suffix", "in_natural_order"]

# .seg.nrrd is 3D Slicer's for masks
#: of pictures
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
#: of pictures and volumes
IMAGE_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".seg.nrrd", ".nrrd", *PICTURE_SUFFIXES)


def image_suffix(path: Path) -> str:
    """The suffix that says that a file is an image, as it is written; empty if there is none."""
    length = next((len(s) for s in IMAGE_SUFFIXES if path.name.lower().endswith(s)), 0)
    return path.name[len(path.name) - length :]


def image_name(path: str | Path, index: int | None = None) -> str:
    """The name of an image without suffix, and of a slice of a stack with its index."""
    name = Path(path).name.removesuffix(image_suffix(Path(path)))
    return name if index is None else f"{name}_{index}"


def in_natural_order(paths: Iterable[Path]) -> list[Path]:
    """Paths sorted so that 2 comes before 10."""
    return sorted(paths, key=lambda path: [int(t) if t.isdecimal() else t for t in re.split(r"(\d+)", str(path))])


def check_name(path: Path) -> None:
    """
    Refuse a file whose name ITK cannot be told.

    Raises:
        ValueError: then.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as e:
        raise ValueError(f"The name of {str(path)!a} has characters of no known encoding: rename it.") from e
