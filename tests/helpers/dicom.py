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

"""DICOM series for tests."""

from __future__ import annotations

import locale
import random
from pathlib import Path

import SimpleITK as sitk


def write_file(image: sitk.Image, path: Path, compressor: str = "") -> None:
    """Write a DICOM file, with the tags that the image has."""
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetUseCompression(bool(compressor))
    writer.SetCompressor(compressor)
    writer.SetFileName(str(path))
    # ITK leaves the process with an encoding that knows ASCII alone when it has written DICOM
    before = locale.setlocale(locale.LC_CTYPE)
    writer.Execute(image)
    locale.setlocale(locale.LC_CTYPE, before)


def write_series(
    image: sitk.Image,
    folder: Path,
    uid: str = "1",
    number: int = 1,
    modality: str = "CT",
    intercept: int = 0,
    aside: float = 0.0,
    compressor: str = "",
) -> list[Path]:
    """
    Write a volume as a DICOM series, a file for every slice, with names in an order that says nothing.

    ``aside`` mm is how far each slice is shifted along its rows, as by a tilted gantry. ``compressor`` is one by ITK's
    name for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    d = image.GetDirection()
    names = list(range(image.GetDepth()))
    random.Random(0).shuffle(names)
    paths = []

    def start(k: int) -> tuple[float, ...]:
        return k * aside / image.GetSpacing()[0], 0.0, float(k)

    for k in range(image.GetDepth()):
        piece = image[:, :, k]
        for tag, value in {
            "0008|0060": modality,
            "0020|000d": "1.2.826.0.1.3680043.2.1125.99",
            "0020|000e": f"1.2.826.0.1.3680043.2.1125.{uid}",
            "0008|0018": f"1.2.826.0.1.3680043.2.1125.{uid}.{k + 1}",
            "0020|0011": str(number),
            "0020|0013": str(k + 1),
            "0020|0032": "\\".join(repr(x) for x in image.TransformContinuousIndexToPhysicalPoint(start(k))),
            "0020|0037": "\\".join(repr(d[i]) for i in (0, 3, 6, 1, 4, 7)),
            "0028|1052": str(intercept),
            "0028|1053": "1",
        }.items():
            piece.SetMetaData(tag, value)
        path = folder / f"IM{names[k]:04d}.dcm"
        write_file(piece, path, compressor)
        paths.append(path)
    return paths
