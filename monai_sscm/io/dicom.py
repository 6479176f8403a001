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

"""DICOM series: which there are in a folder, and one of them as a volume, with no slice missing or out of place."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from pydicom import FileDataset, dcmread
from pydicom.config import disable_value_validation
from pydicom.dataelem import RawDataElement
from pydicom.encaps import get_frame

from .files import check_name

__all__ = ["dicom_series", "is_dicom", "last_line", "read_dicom_header", "read_dicom_series", "silence_itk"]

_JPEG = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.([5-7]\d|80|81)")
_UNDEFINED = 0xFFFFFFFF
_logger = logging.getLogger(__name__)
# of the distance between slices, by which one may be off its place
_TOLERANCE = 0.1


def dicom_series(folder: str | Path) -> dict[str, list[str]]:
    """
    Find the DICOM series in a folder and the folders within it, a series' files wherever they lie.

    A DICOM file is known by its content, whatever its name is. Localizers are passed over, and so are reports and other
    files without an image. A damaged DICOM file is listed with the series of its folder, so that reading them says so
    and no series is short of a slice unnoticed.

    Args:
        folder: the folder.

    Returns:
        the files of every series by a name: of the folder if all its files are of one series, else with the series'
        number in it.

    Example:
        >>> import tempfile
        >>> from monai_sscm.io import dicom_series
        >>> dicom_series(tempfile.mkdtemp())
        {}
    """
    root = Path(folder)
    found: dict[str, list[Path]] = {}
    numbers: dict[str, str] = {}
    placed: set[str] = set()
    damaged: list[Path] = []
    for path in sorted(root.rglob("*")):
        if path.name.startswith(".") or path.name == "DICOMDIR" or not path.is_file() or not is_dicom(path):
            continue
        try:
            header = read_dicom_header(path)
            if "Rows" not in header or "LOCALIZER" in _text(header, "ImageType"):
                continue
            multiframe = _frames(header) > 1
            # several slices in a file are a series of their own, which reading refuses
            uid = str(path) if multiframe else _text(header, "SeriesInstanceUID")
            number = re.sub(r"[^0-9A-Za-z_-]", "_", _text(header, "SeriesNumber"))  # it becomes part of a name
        except (OSError, ValueError):
            damaged.append(path)
            continue
        found.setdefault(uid, []).append(path)
        numbers[uid] = number
        if multiframe or "ImagePositionPatient" in header:
            placed.add(uid)
    # scouts and captured screens have no place, nor has anything else of their series
    found = {uid: paths for uid, paths in found.items() if uid in placed}
    for path in damaged:
        neighbors = [uid for uid, paths in found.items() if any(other.parent == path.parent for other in paths)]
        for uid in neighbors or [f"damaged in {path.parent}"]:
            found.setdefault(uid, []).append(path)
    series: dict[str, list[str]] = {}
    folders = {uid: _common_folder(paths) for uid, paths in found.items()}
    for uid, paths in found.items():
        subfolder = folders[uid].relative_to(root)
        name = str(subfolder) if subfolder.parts else root.resolve().name
        if list(folders.values()).count(folders[uid]) > 1:
            name = str(Path(name) / f"series_{numbers.get(uid) or len(series) + 1}")
        while name in series:
            name += "_"
        series[name] = [str(path) for path in paths]
    return series


def read_dicom_series(paths: Sequence[Path], modality: str | None = None) -> tuple[np.ndarray, sitk.Image]:
    """
    Read a series of slices, a file for each, put in order.

    Args:
        paths: a folder that holds one series, or the files of one in any order.
        modality: the one that the series must be of, such as ``"CT"``. None: any.

    Returns:
        array as stored, ``(X, Y, Z)``, and the image that has its geometry, and its memory: keep it as long.

    Raises:
        OSError: when a file is damaged.
        ValueError: when it is of another modality, has several series or several slices in a file, a slice is missing
            or doubled, slices do not lie straight behind one another, or their size is not known.
    """
    if len(paths) == 1 and paths[0].is_dir():
        series = dicom_series(paths[0])
        if len(series) != 1:
            raise ValueError(
                f"The folder {str(paths[0])!r} holds {len(series)} DICOM series with images, one is needed: keep the "
                "files of one series in it."
            )
        paths = [Path(path) for path in next(iter(series.values()))]
    name = repr(str(paths[0] if len(paths) == 1 else _common_folder(paths)))
    for path in paths:
        check_name(path)
    headers = [read_dicom_header(path) for path in paths]
    stored_modality = _text(headers[0], "Modality")
    if modality and stored_modality not in (modality, ""):
        raise ValueError(f"The DICOM series {name} is {stored_modality} and no {modality}: leave it out.")
    for header in headers:
        _check_file(header)
    for keyword, what in (
        ("SeriesInstanceUID", "series"),
        ("Rows", "sizes"),
        ("Columns", "sizes"),
        ("PixelSpacing", "pixel sizes"),
    ):
        values = {_text(header, keyword) for header in headers}
        if len(values) > 1:
            raise ValueError(f"The files of {name} are of {len(values)} {what}: keep those of one series together.")
    if len(paths) == 1:
        array, image = _read(lambda: sitk.ReadImage(str(paths[0])), name)
        if _text(headers[0], "SliceThickness"):
            thickness = _numbers(headers[0], "SliceThickness", "thickness")[0]
            if not 1e-3 <= thickness <= 1e3:
                raise _improper(headers[0], "SliceThickness", "thickness")
            image.SetSpacing((*image.GetSpacing()[:2], thickness))
        else:
            _logger.warning(f"{name} does not say how thick its slice is: 1 mm is taken, do not rely on volumes.")
        return array, image
    order = _order(headers, name)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(paths[i]) for i in order])
    return _read(reader.Execute, name)


def _order(headers: Sequence[FileDataset], name: str) -> np.ndarray:
    """The order of the slices along their normal; none may be missing, doubled, turned or aside."""
    paths = [header.filename for header in headers]
    cosines = np.array([_numbers(header, "ImageOrientationPatient", "orientation", 6) for header in headers])
    positions = np.array([_numbers(header, "ImagePositionPatient", "position", 3) for header in headers])
    lengths = np.linalg.norm(cosines.reshape(-1, 2, 3), axis=2)
    if np.abs(lengths - 1).max() > 0.01 or np.abs((cosines[:, :3] * cosines[:, 3:]).sum(1)).max() > 0.01:
        raise ValueError(f"The rows and columns of {name} are not perpendicular: export the series again.")
    if np.abs(cosines - cosines[0]).max() > 1e-3:
        raise ValueError(f"The slices of {name} are turned against each other: keep those of one orientation together.")
    normal = np.cross(cosines[0, :3], cosines[0, 3:])
    heights = positions @ normal
    order = np.argsort(heights, kind="stable")
    steps = np.diff(heights[order])
    spacing = float(np.median(steps))
    doubles = np.flatnonzero(steps < max(0.01, _TOLERANCE * spacing))
    if len(doubles):
        first, second = (str(paths[i]) for i in order[doubles[0] : doubles[0] + 2])
        raise ValueError(f"{first!r} and {second!r} are the same slice of a series: remove one.")
    gaps = np.flatnonzero(np.abs(steps - spacing) > _TOLERANCE * spacing)
    if len(gaps):
        first, second = (str(paths[i]) for i in order[gaps[0] : gaps[0] + 2])
        raise ValueError(
            f"A slice is missing between {first!r} and {second!r}: they are {steps[gaps[0]]:.2f} mm apart, where "
            f"others of the series are {spacing:.2f}. Export the series again, with all its slices."
        )
    start = order[0]
    shifts = positions - positions[start] - np.outer(heights - heights[start], normal)
    shift = np.linalg.norm(shifts, axis=1).max()
    if shift > 1:
        raise ValueError(
            f"The slices of {name} do not lie straight behind one another, by up to {shift:.1f} mm, as when the gantry "
            "is tilted: resample the volume to straight slices, for example when converting it to NIfTI."
        )
    return order


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its content, or is meant to be by its name."""
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM" or path.suffix.lower() in (".dcm", ".dicom", ".ima")


@disable_value_validation()  # pydicom would warn of digits more than allowed and the like
def read_dicom_header(path: Path) -> FileDataset:
    """
    Read the tags of a file, up to its pixels.

    Raises:
        OSError: when it is damaged.
    """
    try:
        header = dcmread(path, stop_before_pixels=True, force=True)
        if header.preamble and not header.file_meta:
            raise ValueError("it does not begin as a DICOM file does")
        for element in (*header.file_meta.elements(), *header.elements()):
            # ITK would ask for that much memory
            if isinstance(element, RawDataElement) and element.length not in (len(element.value or b""), _UNDEFINED):
                raise ValueError(
                    f"the element {element.tag} of {element.length} bytes is longer than what is left of the file"
                )
        # a report has no rows; an image that has none is cut off, and so is what does not say which of them it is
        if "Rows" not in header and "Image Storage" in getattr(header.get("SOPClassUID"), "name", "Image Storage"):
            raise ValueError("it has no image")
    except Exception as e:  # a damaged file can fail in any way
        raise _damaged(path, last_line(e)) from e
    return header


@disable_value_validation()
def _check_file(header: FileDataset) -> None:
    """Refuse a file whose tags contradict each other, or its pixels, before ITK makes something of it."""
    if "Rows" not in header:
        raise ValueError(f"The DICOM file {header.filename!r} holds no image: leave it out.")
    if _frames(header) > 1:
        raise ValueError(
            f"The DICOM file {header.filename!r} holds {_frames(header)} slices: convert it to one file for each, "
            "or to NIfTI, with a tool that reads enhanced DICOM."
        )
    rows, columns, bits = (
        _numbers(header, keyword, what)[0]
        for keyword, what in (("Rows", "rows"), ("Columns", "columns"), ("BitsAllocated", "bits"))
    )
    if not _text(header, "PixelSpacing"):
        raise ValueError(f"The DICOM file {header.filename!r} does not say how large its pixels are: export it again.")
    spacing = _numbers(header, "PixelSpacing", "pixel size", 2)
    slope = _numbers(header, "RescaleSlope", "rescale slope")[0] if _text(header, "RescaleSlope") else 1.0
    if _text(header, "RescaleIntercept"):
        _numbers(header, "RescaleIntercept", "rescale intercept")
    if not all(1e-3 <= x <= 1e3 for x in spacing) or slope == 0:
        raise ValueError(
            f"The DICOM file {header.filename!r} has the pixel size {spacing} mm and the rescale slope {slope}: export "
            "it again."
        )
    try:
        pixels = dcmread(str(header.filename), force=True, specific_tags=["PixelData"]).get_item("PixelData")
        if not isinstance(pixels, RawDataElement) or pixels.value is None:
            raise ValueError("it has no image")
        if pixels.length != _UNDEFINED:
            needed = np.ceil(rows * columns * bits * float(header.get("SamplesPerPixel") or 1) / 8)
            # an odd length is filled up to an even one
            if len(pixels.value) not in (needed, needed + needed % 2):
                raise ValueError(f"it has no image of {rows:.0f} x {columns:.0f} pixels of {bits:.0f} bits")
        elif _JPEG.fullmatch(header.file_meta.get("TransferSyntaxUID", "")):
            frame = _jpeg_frame(get_frame(pixels.value, 0, number_of_frames=1))
            if frame is None or frame[0] > bits or frame[1:] != (rows, columns):  # the decoder dies
                raise ValueError("its JPEG image is damaged")
    except Exception as e:  # a damaged file can fail in any way
        raise _damaged(header.filename, last_line(e)) from e


def _jpeg_frame(content: bytes) -> tuple[int, int, int] | None:
    """Bits, rows and columns that a JPEG image announces."""
    at = content.find(b"\xff\xd8") + 2
    while at > 1 and content[at : at + 1] == b"\xff" and at + 9 < len(content):
        if content[at + 1] in (0xC0, 0xC1, 0xC2, 0xC3, 0xF7):
            rows, columns = (int.from_bytes(content[at + i : at + i + 2], "big") for i in (5, 7))
            return content[at + 4], rows, columns
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None


@disable_value_validation()
def _value(header: FileDataset, keyword: str) -> Any:
    """The value of a tag; None where there is none."""
    try:
        return header.get(keyword)
    except Exception as e:  # pydicom fails in many ways where it cannot convert
        raise _damaged(header.filename, last_line(e)) from e


def _text(header: FileDataset, keyword: str) -> str:
    value = _value(header, keyword)
    return "" if value is None else str(value).strip()


def _frames(header: FileDataset) -> int:
    return int(_numbers(header, "NumberOfFrames", "number of frames")[0]) if _text(header, "NumberOfFrames") else 1


def _numbers(header: FileDataset, keyword: str, what: str, count: int = 1) -> list[float]:
    """The finite numbers of a tag, as many as there must be."""
    value = _value(header, keyword)
    try:
        numbers = [float(x) for x in ([value] if count == 1 else value)]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise _improper(header, keyword, what)
    return numbers


def _improper(header: FileDataset, keyword: str, what: str) -> ValueError:
    text = _text(header, keyword)[:60]
    return ValueError(f"The DICOM file {header.filename!r} has no proper {what} ({text!r}): export the series again.")


def _damaged(path: object, reason: str) -> OSError:
    return OSError(f"The DICOM file {str(path)!r} cannot be read, replace it with a good copy ({reason}).")


def _read(read: Callable[[], sitk.Image], name: str) -> tuple[np.ndarray, sitk.Image]:
    try:
        with silence_itk():
            image = read()
    except RuntimeError as e:
        raise OSError(
            f"The DICOM series {name} cannot be read: a file is damaged, or compressed in a way that ITK does not read "
            f"({last_line(e)})."
        ) from e
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(f"The DICOM series {name} is no volume of gray values: leave it out.")
    return sitk.GetArrayViewFromImage(image).transpose(), image


def _common_folder(paths: Sequence[Path]) -> Path:
    """The innermost folder in which all files lie."""
    folder = paths[0].parent
    while not all(folder in path.parents for path in paths):
        folder = folder.parent
    return folder


class silence_itk:
    """Hides ITK's warnings, such as of spacing that it rounds; what matters is checked here."""

    def __enter__(self) -> None:
        self.before = sitk.ProcessObject.GetGlobalWarningDisplay()
        sitk.ProcessObject.SetGlobalWarningDisplay(False)

    def __exit__(self, *error: object) -> None:
        sitk.ProcessObject.SetGlobalWarningDisplay(self.before)


def last_line(error: BaseException) -> str:
    """The last line of what an error says, where ITK has what is of use."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
