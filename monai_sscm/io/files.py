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

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "CHANNEL_NAME",
    "FIELD_FOLDERS",
    "IMAGE_SUFFIXES",
    "LABEL_FOLDERS",
    "NAME_SEPARATOR",
    "PICTURE_FORMATS",
    "PICTURE_SUFFIXES",
    "check_name",
    "image_name",
    "image_suffix",
    "in_natural_order",
    "mask_stem",
    "natural_key",
    "plain_name",
]

#: suffixes of pictures by their format
PICTURE_FORMATS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jfif"),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "WebP": (".webp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
#: of pictures
PICTURE_SUFFIXES = tuple(suffix for suffixes in PICTURE_FORMATS.values() for suffix in suffixes)
#: of pictures and volumes; .seg.nrrd is 3D Slicer's for masks
IMAGE_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".seg.nrrd", ".nrrd", *PICTURE_SUFFIXES)
#: a name that ends in the number of a channel, ``case_0000``, as nnU-Net has it
CHANNEL_NAME = re.compile(r"(.+)_(\d{4})")
#: names of the folder of masks beside ``images/``; DRIVE calls it 1st_manual, HRF manual1
LABEL_FOLDERS = ("labels", "masks", "1st_manual", "manual1")
#: of fields of view, as DRIVE has them
FIELD_FOLDERS = ("mask", "FOV")
#: pattern of what stands between the words of a name
NAME_SEPARATOR = r"[ _.\-]"
_MASK_WORDS = (
    "masks?|msk|segs?|segmentations?|segmented|labels?|lbl|gt|ground[ _-]?truth|annotations?|annot|manual|1stHO|2ndHO"
)
_MASK = re.compile(
    rf"(?P<stem>.+?){NAME_SEPARATOR}+(?:{_MASK_WORDS}){NAME_SEPARATOR}?\d?\d?"
    rf"|(?:{_MASK_WORDS}){NAME_SEPARATOR}+(?P<stem_2>.+)",
    re.IGNORECASE,
)


def image_suffix(path: str | Path) -> str:
    """The suffix that says that a file is an image, as it is written; empty if there is none."""
    name = os.path.basename(path)
    lower = name.lower()
    length = next((len(suffix) for suffix in IMAGE_SUFFIXES if lower.endswith(suffix)), 0)
    return name[len(name) - length :]


def plain_name(name: str) -> str:
    """A name with its letters and their accents in one piece: some systems take them apart, and they look alike."""
    return unicodedata.normalize("NFC", name)


def image_name(path: str | Path, index: int | None = None) -> str:
    """The name of an image without suffix, and of a slice of a stack with its index."""
    name = os.path.basename(path).removesuffix(image_suffix(path))
    return name if index is None else f"{name}_{index}"


def mask_stem(name: str) -> str | None:
    """
    What a name says that it is the mask of, such as ``a`` of ``a_mask``; None where it says nothing of a mask.

    Example:
        >>> from monai_sscm.io.files import mask_stem
        >>> mask_stem("21_manual1"), mask_stem("ISIC_01_Segmentation"), mask_stem("mask-7"), mask_stem("case_7")
        ('21', 'ISIC_01', '7', None)
    """
    match = _MASK.fullmatch(name)
    return match and (match["stem"] or match["stem_2"])


def natural_key(name: str) -> list[int | str]:
    """What to sort names by, so that 2 comes before 10."""
    return [int(text) if text.isdecimal() else text for text in re.split(r"(\d+)", name)]


def in_natural_order(paths: Iterable[Path]) -> list[Path]:
    """Paths sorted so that 2 comes before 10."""
    return sorted(paths, key=lambda path: natural_key(str(path)))


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
