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


"""Reads chest CT in whatever form it arrives: volumes, DICOM series, slices as pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk
from monai.config import PathLike
from monai.data import ImageReader
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple
from nibabel.openers import Opener
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from .reader import PictureReader

__all__ = ["SCAN_SUFFIXES", "CTReader", "dicom_series"]

#: files that hold a volume, with its geometry
SCAN_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd")
_DICOM = ("", ".dcm", ".dicom", ".ima")
_SERIES, _NUMBER, _MODALITY = "0020|000e", "0020|0011", "0008|0060"
_POSITION, _ORIENTATION, _ROWS, _COLUMNS = "0020|0032", "0020|0037", "0028|0010", "0028|0011"
# of the distance between slices, by which one may be off its place
_TOLERANCE = 0.1


class CTReader(ImageReader):
    """
    Reads a scan as an array ``(X, Y, Z)`` of axial slices along the last axis, X to the patient's left, Y to the back
    and Z to the head ("LPS"), whatever way it is stored. A picture is a scan of one slice: its rows are X.

    Reads NIfTI, MHA and NRRD files; a DICOM series, given as a folder, one file, or the files in any order, compressed
    as far as ITK reads it; and PNG, JPEG, BMP and TIFF pictures by :py:class:`monai_sscm.data.PictureReader`. Stored
    values are kept, with the rescale slope and intercept of the file applied. The metadata has MONAI's ``affine``,
    ``original_affine`` and ``spatial_shape``, and of scans, but not of pictures, ``geometry``: ``spacing`` (mm),
    ``origin`` and ``direction`` as ITK gives them, from which a mask of the scan's own geometry is made.

    Args:
        mask: whether masks are read: then palette pictures give their indices, and values are not looked at.
        keep_last: whether to keep the last file's array, for files that are asked for slice after slice.

    Raises:
        FileNotFoundError, OSError: when a file is missing or damaged.
        ValueError: when it is no scan: four dimensions, colours, NaN, one value everywhere, no or uneven spacing,
            slices missing or doubled, or several series where one is expected.

    Example:
        >>> import os, tempfile
        >>> import SimpleITK as sitk
        >>> from monai.transforms import LoadImage
        >>> from monai_sscm.data import CTReader
        >>> path = os.path.join(tempfile.mkdtemp(), "scan.mha")
        >>> sitk.WriteImage(sitk.GaussianSource(sitk.sitkInt16, size=(20, 30, 5)), path)
        >>> LoadImage(reader=CTReader(), ensure_channel_first=True)(path).shape
        torch.Size([1, 20, 30, 5])
    """

    def __init__(self, mask: bool = False, keep_last: bool = False) -> None:
        self.mask = mask
        self.keep_last = keep_last
        self.pictures = PictureReader(palette="indices" if mask else "colours")
        self._last: tuple[Any, tuple[np.ndarray, dict]] | None = None

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Whether the file or folder may be a scan or a picture."""
        paths = [Path(str(name)) for name in ensure_tuple(filename)]
        return all(path.is_dir() or is_scan(path) or self.pictures.verify_suffix(path) for path in paths)

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> Any:
        """Name a scan; :py:meth:`get_data` opens it, so that its errors reach the user."""
        return [Path(str(name)) for name in ensure_tuple(data)]

    def get_data(self, img: Sequence[Path]) -> tuple[np.ndarray, dict]:
        """
        Read what :py:meth:`read` named.

        Returns:
            array and metadata.
        """
        key = tuple(img)
        if self._last is not None and self._last[0] == key:
            array, meta = self._last[1]
            return array, dict(meta)
        loaded = self._picture(img) if self.pictures.verify_suffix(img) else self._scan(img)
        if not self.mask:
            _check_values(loaded[0], _name(img))
        if self.keep_last:
            self._last = (key, loaded)
        return loaded[0], dict(loaded[1])

    def _picture(self, paths: Sequence[Path]) -> tuple[np.ndarray, dict]:
        array = np.array(self.pictures.get_data(paths)[0])
        if array.ndim == 3:
            if not self.mask and bool((array != array[..., :1]).any()):
                raise ValueError(
                    f"The image {_name(paths)} is in colour and no CT slice: save it in grey, or leave it out."
                )
            array = array if self.mask else array[..., 0]
        if array.ndim == 3:  # colours of a mask: the classes' transform says what is wrong
            shape, channel = array.shape[:2], -1
            array = array[:, :, None]
        else:
            shape, channel = array.shape, float("nan")
            array = array[..., None]
        meta = {
            MetaKeys.AFFINE: np.eye(4),
            MetaKeys.ORIGINAL_AFFINE: np.eye(4),
            MetaKeys.SPATIAL_SHAPE: np.array([*shape, 1]),
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.ORIGINAL_CHANNEL_DIM: channel,
        }
        return array, meta

    def _scan(self, paths: Sequence[Path]) -> tuple[np.ndarray, dict]:
        array, header = _read_series(paths) if _is_series(paths) else _read_volume(paths[0])
        spacing, origin, direction = (np.array(f()) for f in (header.GetSpacing, header.GetOrigin, header.GetDirection))
        if not np.isfinite(direction).all() or abs(np.linalg.det(direction.reshape(3, 3))) < 0.1:
            raise ValueError(f"The scan {_name(paths)} has no proper orientation ({direction}): export it again.")
        # from voxels to millimetres in MONAI's and NIfTI's axes, where ITK's first two are turned round
        affine = np.eye(4)
        affine[:3, :3] = direction.reshape(3, 3) * spacing
        affine[:3, 3] = origin
        affine[:2] *= -1
        stored = io_orientation(affine)
        to_lps = ornt_transform(stored, axcodes2ornt(("L", "P", "S")))
        meta = {
            MetaKeys.AFFINE: affine @ inv_ornt_aff(to_lps, array.shape),
            MetaKeys.ORIGINAL_AFFINE: affine,
            MetaKeys.SPATIAL_SHAPE: np.array(array.shape),
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),
            "geometry": {"spacing": spacing, "origin": origin, "direction": direction},
        }
        if array.dtype in (np.int32, np.int64) and array.min() >= -(2**15) and array.max() < 2**15:
            array = array.astype(np.int16)  # as ITK reads DICOM with an intercept; a scan is large
        return apply_orientation(array, to_lps), meta


def is_scan(path: Path) -> bool:
    """Whether a file's name is that of a volume or of a DICOM file."""
    return path.name.lower().endswith(SCAN_SUFFIXES) or path.suffix.lower() in _DICOM


def _is_series(paths: Sequence[Path]) -> bool:
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise FileNotFoundError(f"There is no scan {str(missing[0])!r}: check its name.")
    return len(paths) > 1 or paths[0].is_dir() or not paths[0].name.lower().endswith(SCAN_SUFFIXES)


def _read_volume(path: Path) -> tuple[np.ndarray, sitk.ImageFileReader]:
    """A volume as it is stored, and its geometry; what is no three-dimensional scan is refused."""
    unreadable = f"The scan {str(path)!r} cannot be read, replace it with a good copy"
    header = _header(path)
    if header is None:
        raise OSError(f"{unreadable}.")
    if header.GetDimension() != 3:
        raise ValueError(
            f"The scan {str(path)!r} has {header.GetDimension()} dimensions: save one volume of three in a file."
        )
    if header.GetNumberOfComponents() != 1:
        raise ValueError(
            f"The scan {str(path)!r} has {header.GetNumberOfComponents()} values in a voxel, like colours; CT has one."
        )
    _check_spacing(path, header)
    try:
        if path.name.lower().endswith((".nii", ".nii.gz")):
            # of a file that is cut off, ITK would give what is in memory by chance
            array = np.asarray(nibabel.load(path).dataobj)
            return (array.astype(np.float32) if array.dtype == np.float64 else array).reshape(header.GetSize()), header
        with _quiet():
            image = sitk.ReadImage(str(path))
    except Exception as e:  # a damaged file can fail in any way
        raise OSError(f"{unreadable} ({_in_short(e)}).") from e
    return sitk.GetArrayFromImage(image).transpose(), header


def dicom_series(folder: str | Path) -> dict[str, list[str]]:
    """
    Find the DICOM series in a folder and the folders within it, a series' files wherever they lie.

    Args:
        folder: the folder. Files that are no DICOM images are passed over.

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
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in _DICOM and path.is_file() and _is_dicom(path):
            header = _header(path)
            if header is None or not header.HasMetaDataKey(_POSITION):
                continue  # a DICOMDIR, a report, a scout without a place
            uid = _tag(header, _SERIES)
            found.setdefault(uid, []).append(path)
            numbers[uid] = _tag(header, _NUMBER)
    series: dict[str, list[str]] = {}
    folders = {uid: _common_folder(paths) for uid, paths in found.items()}
    for uid, paths in found.items():
        inside = folders[uid].relative_to(root)
        name = str(inside) if inside.parts else root.resolve().name
        if list(folders.values()).count(folders[uid]) > 1:
            name = str(Path(name) / f"series_{numbers[uid] or len(series) + 1}")
        while name in series:
            name += "_"
        series[name] = [str(path) for path in paths]
    return series


def _common_folder(paths: Sequence[Path]) -> Path:
    """The innermost folder in which all files lie."""
    folder = paths[0].parent
    while not all(folder in path.parents for path in paths):
        folder = folder.parent
    return folder


def _is_dicom(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def _read_series(paths: Sequence[Path]) -> tuple[np.ndarray, sitk.Image]:
    """A DICOM series as it is stored, and its geometry; slices are put in order, and none may be missing or doubled."""
    name = _name(paths)
    if len(paths) == 1 and paths[0].is_dir():
        series = dicom_series(paths[0])
        if len(series) != 1:
            raise ValueError(
                f"The folder {name} holds {len(series)} DICOM series with images, one is needed: keep the files of one "
                "series in it."
            )
        paths = [Path(path) for path in next(iter(series.values()))]
    headers = []
    for path in paths:
        header = _header(path)
        if header is None:
            raise OSError(f"The DICOM file {str(path)!r} cannot be read, replace it with a good copy.")
        headers.append(header)
    for tag, what in ((_SERIES, "series"), (_ORIENTATION, "orientations"), (_ROWS, "sizes"), (_COLUMNS, "sizes")):
        different = {_tag(header, tag) for header in headers}
        if len(different) > 1:
            raise ValueError(f"The files of {name} are of {len(different)} {what}: keep those of one series together.")
    modality = _tag(headers[0], _MODALITY)
    if modality not in ("CT", "SEG", ""):
        raise ValueError(f"The DICOM series {name} is {modality} and no CT: leave it out.")
    if len(paths) == 1:
        return _checked_read(lambda: sitk.ReadImage(str(paths[0])), name)
    try:
        cosines = np.array([float(x) for x in _tag(headers[0], _ORIENTATION).split("\\")])
        positions = np.array([[float(x) for x in _tag(h, _POSITION).split("\\")] for h in headers])
        along = positions @ np.cross(cosines[:3], cosines[3:])
    except ValueError as e:
        raise ValueError(
            f"The DICOM files of {name} do not say where their slices lie: export the series again."
        ) from e
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
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(paths[i]) for i in order])
    return _checked_read(reader.Execute, name)


def _checked_read(read: Callable[[], sitk.Image], name: str) -> tuple[np.ndarray, sitk.Image]:
    try:
        with _quiet():
            image = read()
    except RuntimeError as e:
        raise OSError(
            f"The DICOM series {name} cannot be read: a file is damaged, or compressed in a way that ITK does not read "
            f"({_in_short(e)})."
        ) from e
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(f"The DICOM series {name} is no volume of grey values: leave it out.")
    return sitk.GetArrayFromImage(image).transpose(), image


def _header(path: Path) -> sitk.ImageFileReader | None:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with _quiet():
            reader.ReadImageInformation()
    except RuntimeError:
        return None
    return reader


def _tag(header: sitk.ImageFileReader, tag: str) -> str:
    return header.GetMetaData(tag).strip() if header.HasMetaDataKey(tag) else ""


class _quiet:
    """ITK's warnings, such as of spacing that it rounds, go nowhere; what matters is checked here."""

    def __enter__(self) -> None:
        self.before = sitk.ProcessObject.GetGlobalWarningDisplay()
        sitk.ProcessObject.SetGlobalWarningDisplay(False)

    def __exit__(self, *error: Any) -> None:
        sitk.ProcessObject.SetGlobalWarningDisplay(self.before)


def _check_spacing(path: Path, header: sitk.ImageFileReader) -> None:
    spacing = list(header.GetSpacing())
    if path.name.lower().endswith((".nii", ".nii.gz")):
        # readers put 1 where the header says 0
        with Opener(path) as file:
            stored = type(nibabel.load(path).header).from_fileobj(file, check=False)["pixdim"][1:4]
        spacing = [*spacing, *(float(x) for x in stored[: 2 if header.GetSize()[2] == 1 else 3])]
    if not all(np.isfinite(x) and x > 0 for x in spacing):
        raise ValueError(
            f"The scan {str(path)!r} has the spacing {spacing[-3:]} mm: write the real one, as volumes depend on it."
        )


def _check_values(array: np.ndarray, name: str) -> None:
    if array.size == 0:
        raise ValueError(f"The scan {name} is empty, its size is {array.shape}: export it again, or leave it out.")
    if array.dtype.kind == "f":
        wrong = sum(int((~np.isfinite(array[..., k])).sum()) for k in range(array.shape[-1]))
        if wrong:
            raise ValueError(
                f"The scan {name} has {wrong} NaN or infinite values: replace them, for example by -1000, the value of "
                "air, or leave it out."
            )
    lowest, highest = float(array.min()), float(array.max())
    if lowest == highest:
        raise ValueError(f"The scan {name} is empty, all its values are {lowest:g}: export it again, or leave it out.")


def _name(paths: Sequence[Path]) -> str:
    return repr(str(paths[0] if len(paths) == 1 else paths[0].parent))


def _in_short(error: BaseException) -> str:
    """The last line of what ITK says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
