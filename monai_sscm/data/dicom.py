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

import numpy as np
import SimpleITK as sitk

__all__ = ["dicom_series", "in_short", "is_dicom", "quiet", "read_dicom_series", "read_header"]

_SERIES, _NUMBER, _KIND, _MODALITY = "0020|000e", "0020|0011", "0008|0008", "0008|0060"
_POSITION, _ORIENTATION, _ROWS, _COLUMNS = "0020|0032", "0020|0037", "0028|0010", "0028|0011"
_PIXEL_SPACING, _THICKNESS = "0028|0030", "0018|0050"
_INTERCEPT, _SLOPE, _BITS, _SAMPLES = "0028|1052", "0028|1053", "0028|0100", "0028|0002"
_IMPLICIT, _BIG_ENDIAN, _DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
_UNCOMPRESSED = (_IMPLICIT, "1.2.840.10008.1.2.1", _BIG_ENDIAN)
_PIXELS = (0x7FE0, 0x0010)
_LONG_KINDS = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_SHORT_KINDS = (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH")
_SHORT_KINDS += (b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US")
_JPEG = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.([5-7]\d|80|81)")
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
        >>> from monai_sscm.data import dicom_series
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
            header = read_header(path)
        except (RuntimeError, ValueError):  # the latter of a name that ITK cannot be told
            damaged.append(path)
            continue
        several = header.GetDimension() > 2 and header.GetSize()[2] > 1
        if "LOCALIZER" in _tag(header, _KIND) or not _tag(header, _ROWS):
            continue
        # several slices in a file are a series of their own, which reading refuses
        uid = str(path) if several else _tag(header, _SERIES)
        found.setdefault(uid, []).append(path)
        numbers[uid] = re.sub(r"[^0-9A-Za-z_-]", "_", _tag(header, _NUMBER))  # it becomes part of a name
        if several or header.HasMetaDataKey(_POSITION):
            placed.add(uid)
    # scouts and captured screens have no place, nor has anything else of their series
    found = {uid: paths for uid, paths in found.items() if uid in placed}
    for path in damaged:
        near = [uid for uid, paths in found.items() if any(other.parent == path.parent for other in paths)]
        for uid in near or [f"damaged in {path.parent}"]:
            found.setdefault(uid, []).append(path)
    series: dict[str, list[str]] = {}
    folders = {uid: _common_folder(paths) for uid, paths in found.items()}
    for uid, paths in found.items():
        inside = folders[uid].relative_to(root)
        name = str(inside) if inside.parts else root.resolve().name
        if list(folders.values()).count(folders[uid]) > 1:
            name = str(Path(name) / f"series_{numbers.get(uid) or len(series) + 1}")
        while name in series:
            name += "_"
        series[name] = [str(path) for path in paths]
    return series


def read_dicom_series(paths: Sequence[Path], mask: bool = False) -> tuple[np.ndarray, sitk.Image]:
    """
    Read a series of slices, a file for each, put in order.

    Args:
        paths: a folder that holds one series, or the files of one in any order.
        mask: whether it is a mask, which need not be CT.

    Returns:
        array as stored, ``(X, Y, Z)``, and the image that has its geometry, and its memory: keep it as long.

    Raises:
        OSError: when a file is damaged.
        ValueError: when it is no CT, has several series or several slices in a file, a slice is missing or doubled,
            slices do not lie straight behind one another, or their size is not known.
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
    headers = []
    for path in paths:
        try:
            headers.append(read_header(path))
        except RuntimeError as e:
            raise OSError(
                f"The DICOM file {str(path)!r} cannot be read, replace it with a good copy ({in_short(e)})."
            ) from e
    modality = _tag(headers[0], _MODALITY)
    if not mask and modality not in ("CT", ""):
        raise ValueError(f"The DICOM series {name} is {modality} and no CT: leave it out.")
    for path, header in zip(paths, headers, strict=True):
        if header.GetDimension() > 2 and header.GetSize()[2] > 1:
            raise ValueError(
                f"The DICOM file {str(path)!r} holds {header.GetSize()[2]} slices: convert it to one file for each, or "
                "to NIfTI, with a tool that reads enhanced DICOM."
            )
        _check_file(path, header)
    for tag, what in ((_SERIES, "series"), (_ROWS, "sizes"), (_COLUMNS, "sizes"), (_PIXEL_SPACING, "pixel sizes")):
        different = {_tag(header, tag) for header in headers}
        if len(different) > 1:
            raise ValueError(f"The files of {name} are of {len(different)} {what}: keep those of one series together.")
    if len(paths) == 1:
        array, image = _read(lambda: sitk.ReadImage(str(paths[0])), name)
        if _tag(headers[0], _THICKNESS):
            image.SetSpacing((*image.GetSpacing()[:2], _checked(paths[0], headers[0], _THICKNESS, "thickness", 1)[0]))
        else:
            _logger.warning(f"{name} does not say how thick its slice is: 1 mm is taken, do not rely on volumes.")
        return array, image
    order = _order(paths, headers, name)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(paths[i]) for i in order])
    return _read(reader.Execute, name)


def _order(paths: Sequence[Path], headers: Sequence[sitk.ImageFileReader], name: str) -> np.ndarray:
    """The order of the slices along their normal; none may be missing, doubled, turned or aside."""
    pairs = list(zip(paths, headers, strict=True))
    cosines = np.array([_checked(path, header, _ORIENTATION, "orientation", 6) for path, header in pairs])
    positions = np.array([_checked(path, header, _POSITION, "position", 3) for path, header in pairs])
    lengths = np.linalg.norm(cosines.reshape(-1, 2, 3), axis=2)
    if np.abs(lengths - 1).max() > 0.01 or np.abs((cosines[:, :3] * cosines[:, 3:]).sum(1)).max() > 0.01:
        raise ValueError(f"The rows and columns of {name} are not perpendicular: export the series again.")
    if np.abs(cosines - cosines[0]).max() > 1e-3:
        raise ValueError(f"The slices of {name} are turned against each other: keep those of one orientation together.")
    normal = np.cross(cosines[0, :3], cosines[0, 3:])
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    steps = np.diff(along[order])
    usual = float(np.median(steps))
    doubled = np.flatnonzero(steps < max(0.01, _TOLERANCE * usual))
    if len(doubled):
        one, other = (str(paths[i]) for i in order[doubled[0] : doubled[0] + 2])
        raise ValueError(f"{one!r} and {other!r} are the same slice of a series: remove one.")
    apart = np.flatnonzero(np.abs(steps - usual) > _TOLERANCE * usual)
    if len(apart):
        one, other = (str(paths[i]) for i in order[apart[0] : apart[0] + 2])
        raise ValueError(
            f"A slice is missing between {one!r} and {other!r}: they are {steps[apart[0]]:.2f} mm apart, where others "
            f"of the series are {usual:.2f}. Export the series again, with all its slices."
        )
    first = order[0]
    aside = np.linalg.norm(positions - positions[first] - np.outer(along - along[first], normal), axis=1).max()
    if aside > 1:
        raise ValueError(
            f"The slices of {name} do not lie straight behind one another, by up to {aside:.1f} mm, as when the gantry "
            "is tilted: resample the scan to straight slices, for example when converting it to NIfTI."
        )
    return order


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its content, or is meant to be by its name."""
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM" or path.suffix.lower() in (".dcm", ".dicom", ".ima")


def read_header(path: Path) -> sitk.ImageFileReader:
    """
    Size, geometry and tags of a file.

    Raises:
        RuntimeError: ITK's, when it cannot be read.
        ValueError: when its name cannot be passed on to ITK.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as e:
        raise ValueError(f"The name of {str(path)!a} has characters of no known encoding: rename it.") from e
    if path.suffix.lower() in (".mha", ".mhd"):
        with open(path, "rb") as file:
            dimensions = re.search(rb"NDims\s*=\s*(\d+)", file.read(4096), re.IGNORECASE)
        if dimensions and int(dimensions[1]) > 10:  # ITK dies
            raise RuntimeError(f"it says that it has {int(dimensions[1])} dimensions")
    elif is_dicom(path):
        _check_elements(path.read_bytes(), _transfer_syntax(path))
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with quiet():
        reader.ReadImageInformation()
    return reader


def _check_elements(content: bytes, syntax: str) -> int | None:
    """
    Refuse a file in which an element is longer than what is left of the file, or is followed by none: ITK would take
    what comes for a length, and ask for that much memory.

    Sequences and their items are walked into, so each element is met once, after the other; see DICOM PS3.5, section 7.

    Returns:
        the bytes of the last image, as its element says; None where it does not.
    """
    if content[128:132] != b"DICM" or syntax == _DEFLATED:
        return None
    at, order, fragments, image = 132, "little", False, None
    while at + 8 <= len(content):
        in_meta = content[at : at + 2] == b"\x02\x00"
        order = "big" if syntax == _BIG_ENDIAN and not in_meta else "little"
        group, element = (int.from_bytes(content[at + i : at + i + 2], order) for i in (0, 2))
        kind, size = content[at + 4 : at + 6], 4
        if group == 0xFFFE:  # an item or the end of one
            start = at + 4
        elif syntax == _IMPLICIT and not in_meta:
            kind, start = b"", at + 4
        elif kind in _LONG_KINDS:
            start = at + 8
        elif kind in _SHORT_KINDS:
            start, size = at + 6, 2
        elif not any(content[at:]):
            break  # filled up
        else:
            raise RuntimeError(f"there is no element at byte {at}, where there should be one")
        length = int.from_bytes(content[start : start + size], order)  # type: ignore[arg-type]
        endless = length == 0xFFFFFFFF
        if not endless and start + size + length > len(content):
            raise RuntimeError(
                f"the element {group:04x},{element:04x} of {length} bytes is longer than what is left of the file"
            )
        if endless and kind == b"UN":
            return None  # within, elements have another form
        if (group, element) == _PIXELS:
            image = None if endless else length
        # the images within a compressed one are items, too
        fragments = ((group, element) == _PIXELS and endless) or (fragments and element == 0xE000)
        into = endless or kind == b"SQ" or (group == 0xFFFE and not fragments)
        at = start + size + (0 if into else length)
    return image


def _check_file(path: Path, header: sitk.ImageFileReader) -> None:
    """Refuse a file whose tags contradict each other, or its length, before ITK makes something of it."""
    if not _tag(header, _PIXEL_SPACING):
        raise ValueError(f"The DICOM file {str(path)!r} does not say how large its pixels are: export it again.")
    spacing = _checked(path, header, _PIXEL_SPACING, "pixel size", 2)
    slope = _checked(path, header, _SLOPE, "rescale slope", 1) if _tag(header, _SLOPE) else [1.0]
    if _tag(header, _INTERCEPT):
        _checked(path, header, _INTERCEPT, "rescale intercept", 1)
    if not all(1e-3 <= x <= 1e3 for x in spacing) or slope[0] == 0:
        raise ValueError(
            f"The DICOM file {str(path)!r} has pixels of {spacing} mm and the slope {slope[0]}: export it again."
        )
    rows, columns, bits = (
        _checked(path, header, t, w, 1)[0] for t, w in ((_ROWS, "rows"), (_COLUMNS, "columns"), (_BITS, "bits"))
    )
    damage = ""
    syntax = _transfer_syntax(path)
    if syntax in _UNCOMPRESSED:
        stored = _check_elements(path.read_bytes(), syntax)
        needed = np.ceil(rows * columns * bits * float(_tag(header, _SAMPLES) or 1) / 8)
        # an odd length is filled up to an even one
        good = needed < path.stat().st_size if stored is None else stored in (needed, needed + needed % 2)
        if not good:
            damage = f"it has no image of {rows:.0f} x {columns:.0f} pixels of {bits:.0f} bits"
    elif _JPEG.fullmatch(syntax):
        frame = _jpeg_frame(path.read_bytes())
        if frame is None or frame[0] > bits or frame[1:] != (rows, columns):  # the decoder dies
            damage = "its JPEG image is damaged"
    if damage:
        raise OSError(f"The DICOM file {str(path)!r} cannot be read, replace it with a good copy ({damage}).")


def _transfer_syntax(path: Path) -> str:
    """How a DICOM file says that its image is stored, which ITK keeps to itself; empty where it does not."""
    with open(path, "rb") as file:
        start = file.read(4096)
    at = start.find(b"\x02\x00\x10\x00UI")
    length = int.from_bytes(start[at + 6 : at + 8], "little")
    return start[at + 8 : at + 8 + length].decode("ascii", "replace").strip("\0 ") if at >= 0 else ""


def _jpeg_frame(content: bytes) -> tuple[int, int, int] | None:
    """Bits, rows and columns that the JPEG image within a DICOM file announces."""
    at = content.find(b"\xff\xd8", content.rfind(b"\xe0\x7f\x10\x00")) + 2
    while at > 1 and content[at : at + 1] == b"\xff" and at + 9 < len(content):
        if content[at + 1] in (0xC0, 0xC1, 0xC2, 0xC3, 0xF7):
            return content[at + 4], *(int.from_bytes(content[at + i : at + i + 2], "big") for i in (5, 7))
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None


def _checked(path: Path, header: sitk.ImageFileReader, tag: str, what: str, number: int) -> list[float]:
    """The finite numbers of a tag, as many as there must be."""
    try:
        values = [float(x) for x in _tag(header, tag).split("\\")]
    except ValueError:
        values = []
    if len(values) != number or not np.isfinite(values).all() or (tag == _THICKNESS and not 1e-3 <= values[0] <= 1e3):
        raise ValueError(
            f"The DICOM file {str(path)!r} has no proper {what} ({_tag(header, tag)[:60]!r}): export the series again."
        )
    return values


def _read(read: Callable[[], sitk.Image], name: str) -> tuple[np.ndarray, sitk.Image]:
    try:
        with quiet():
            image = read()
    except RuntimeError as e:
        raise OSError(
            f"The DICOM series {name} cannot be read: a file is damaged, or compressed in a way that ITK does not read "
            f"({in_short(e)})."
        ) from e
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(f"The DICOM series {name} is no volume of grey values: leave it out.")
    return sitk.GetArrayViewFromImage(image).transpose(), image


def _common_folder(paths: Sequence[Path]) -> Path:
    """The innermost folder in which all files lie."""
    folder = paths[0].parent
    while not all(folder in path.parents for path in paths):
        folder = folder.parent
    return folder


def _tag(header: sitk.ImageFileReader, tag: str) -> str:
    return header.GetMetaData(tag).strip() if header.HasMetaDataKey(tag) else ""


class quiet:
    """ITK's warnings, such as of spacing that it rounds, go nowhere; what matters is checked here."""

    def __enter__(self) -> None:
        self.before = sitk.ProcessObject.GetGlobalWarningDisplay()
        sitk.ProcessObject.SetGlobalWarningDisplay(False)

    def __exit__(self, *error: object) -> None:
        sitk.ProcessObject.SetGlobalWarningDisplay(self.before)


def in_short(error: BaseException) -> str:
    """The last line of what ITK says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
