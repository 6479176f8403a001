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

"""Reads volumes in whatever form they arrive: NIfTI, MHA and NRRD files, DICOM series, slices as pictures."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import nibabel
import numpy as np
import SimpleITK as sitk
from monai.config import PathLike
from monai.data import ImageReader
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple
from nibabel.openers import Opener
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from nibabel.spatialimages import SpatialImage

from .dicom import is_dicom, last_line, read_dicom_series, silence_itk
from .files import check_name
from .pictures import PictureReader

__all__ = ["SCAN_SUFFIXES", "VolumeReader", "is_scan"]

#: files that hold a volume, with its geometry
SCAN_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd")
# how a header says how large a voxel is
_SPACING_WORDS = {
    ".nrrd": (b"space directions", b"spacings"),
    ".mha": (b"elementspacing", b"elementsize"),
    ".mhd": (b"elementspacing", b"elementsize"),
}
# where data begin that are in the same file as their header, and how it says that they are compressed
_DATA_START = {
    ".mha": re.compile(rb"ElementDataFile *= *LOCAL *\r?\n", re.IGNORECASE),
    ".mhd": re.compile(rb"ElementDataFile *= *LOCAL *\r?\n", re.IGNORECASE),
    ".nrrd": re.compile(rb"\r?\n\r?\n"),
}
_LISTED = re.compile(rb"ElementDataFile *= *(LIST|\S*%)", re.IGNORECASE)
_DATA_FILE = re.compile(rb"^(?:ElementDataFile *=|data ?file:) *(\S[^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_DETACHED = re.compile(rb"data ?file:", re.IGNORECASE)
_COMPRESSED = re.compile(rb"CompressedData *= *True|encoding: *(gzip|gz)", re.IGNORECASE)
_BYTES = {
    getattr(sitk, f"sitk{kind}"): size
    for size, kinds in {1: ("UInt8", "Int8"), 2: ("UInt16", "Int16"), 4: ("UInt32", "Int32", "Float32")}.items()
    for kind in kinds
} | {sitk.sitkFloat64: 8, sitk.sitkInt64: 8, sitk.sitkUInt64: 8}


class VolumeReader(ImageReader):
    """
    Reads a volume as an array ``(X, Y, Z)`` of axial slices along the last axis, X to the patient's left, Y to the back
    and Z to the head ("LPS"), whatever way it is stored. A picture is a volume of one slice: its rows are X.

    Reads NIfTI, MHA and NRRD files; a DICOM series, given as a folder, one file, or the files in any order, compressed
    as far as ITK reads it; and PNG, JPEG, BMP and TIFF pictures by :py:class:`monai_sscm.io.PictureReader`. Stored
    values are kept, with the rescale slope and intercept of the file applied. The metadata has MONAI's ``affine``,
    ``original_affine`` and ``spatial_shape``; of volumes, but not of pictures, also ``geometry``: ``spacing`` (mm),
    ``origin`` and ``direction`` as ITK gives them, from which a mask of the volume's own geometry is made.

    Args:
        mask: whether masks are read: then palette pictures give their indices, and values are not looked at.
        keep_last: whether to keep the last file's array, for files that are asked for slice after slice.
        modality: the modality that a DICOM series must have, such as ``"CT"``; masks may have any. None: any.

    Raises:
        FileNotFoundError, OSError: when a file is missing or damaged.
        ValueError: when it is no volume: four dimensions, colors, NaN, one value everywhere, no or uneven spacing,
            slices missing or doubled, or several series where one is expected; or of another modality.

    Example:
        >>> import os, tempfile
        >>> import SimpleITK as sitk
        >>> from monai.transforms import LoadImage
        >>> from monai_sscm.io import VolumeReader
        >>> path = os.path.join(tempfile.mkdtemp(), "volume.mha")
        >>> sitk.WriteImage(sitk.GaussianSource(sitk.sitkInt16, size=(20, 30, 5)), path)
        >>> LoadImage(reader=VolumeReader(), ensure_channel_first=True)(path).shape
        torch.Size([1, 20, 30, 5])
    """

    def __init__(self, mask: bool = False, keep_last: bool = False, modality: str | None = None) -> None:
        self.mask = mask
        self.keep_last = keep_last
        self.modality = modality
        self.pictures = PictureReader(palette="indices" if mask else "colors")
        self._last: tuple[Any, tuple[np.ndarray, dict]] | None = None

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Whether the file or folder may be a volume or a picture."""
        paths = [Path(str(name)) for name in ensure_tuple(filename)]
        return all(path.is_dir() or is_scan(path) or self.pictures.are_pictures(path) for path in paths)

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> Any:
        """Name a volume; :py:meth:`get_data` opens it, so that its errors reach the user."""
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
        loaded = self._picture(img) if self.pictures.are_pictures(img) else self._volume(img)
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
                    f"The image {_name(paths)} is in color and no slice of a volume: save it in gray, or leave it out."
                )
            array = array if self.mask else array[..., 0]
        if array.ndim == 3:  # colors of a mask: the classes' transform says what is wrong
            shape, channel = array.shape[:2], -1.0
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

    def _volume(self, paths: Sequence[Path]) -> tuple[np.ndarray, dict]:
        image: sitk.Image | sitk.ImageFileReader
        if _is_series(paths):
            array, image = read_dicom_series(paths, None if self.mask else self.modality)
        else:
            array, image = _read_volume(paths[0])
        spacing, origin, direction = (np.array(f()) for f in (image.GetSpacing, image.GetOrigin, image.GetDirection))
        if not np.isfinite(direction).all() or abs(np.linalg.det(direction.reshape(3, 3))) < 0.1:
            raise ValueError(
                f"The volume {_name(paths)} has no proper orientation ({direction.tolist()}): export it again."
            )
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
            array = array.astype(np.int16)  # as ITK reads DICOM with an intercept; a volume is large
        # a copy, and the only one: ITK's image goes when this returns
        return np.array(apply_orientation(array, to_lps), order="C"), meta


def is_scan(path: Path) -> bool:
    """Whether a file is a volume by its name, or DICOM by its content."""
    return path.name.lower().endswith(SCAN_SUFFIXES) or (path.is_file() and is_dicom(path))


def _is_series(paths: Sequence[Path]) -> bool:
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise FileNotFoundError(f"There is no volume {str(missing[0])!r}: check its name.")
    return len(paths) > 1 or paths[0].is_dir() or not paths[0].name.lower().endswith(SCAN_SUFFIXES)


def _read_volume(path: Path) -> tuple[np.ndarray, sitk.Image | sitk.ImageFileReader]:
    """A volume as it is stored, and what has its geometry and memory; what has not three dimensions is refused."""
    try:
        header = _read_header(path)
    except RuntimeError as e:
        raise OSError(_unreadable(path, e)) from e
    if header.GetDimension() != 3:
        raise ValueError(
            f"The volume {str(path)!r} has {header.GetDimension()} dimensions: save one volume of three in a file."
        )
    if header.GetNumberOfComponents() != 1:
        raise ValueError(
            f"The volume {str(path)!r} has {header.GetNumberOfComponents()} values in a voxel, like colors: save one."
        )
    try:
        spacing = _stored_spacing(path, header)
    except Exception as e:  # a damaged file can fail in any way
        raise OSError(_unreadable(path, e)) from e
    if not all(1e-3 <= x <= 1e3 for x in spacing):
        raise ValueError(
            f"The volume {str(path)!r} has the spacing {spacing[-3:]} mm: write the real one, as volumes depend on it."
        )
    try:
        _check_length(path, header)
        if path.name.lower().endswith((".nii", ".nii.gz")):
            # of a file that is cut off, ITK would give what is in memory by chance
            array = np.asarray(cast(SpatialImage, nibabel.load(path)).dataobj)
            array = array.astype(np.float32 if array.dtype.kind == "f" else array.dtype.newbyteorder("="), copy=False)
            return array.reshape(header.GetSize()), header
        with silence_itk():
            image = sitk.ReadImage(str(path))
    except Exception as e:  # a damaged file can fail in any way
        raise OSError(_unreadable(path, e)) from e
    return sitk.GetArrayViewFromImage(image).transpose(), image


def _read_header(path: Path) -> sitk.ImageFileReader:
    check_name(path)
    if path.suffix.lower() in (".mha", ".mhd"):
        with open(path, "rb") as file:
            dimensions = re.search(rb"NDims\s*=\s*(\d+)", file.read(4096), re.IGNORECASE)
        if dimensions and int(dimensions[1]) > 10:  # ITK dies
            raise RuntimeError(f"it says that it has {int(dimensions[1])} dimensions")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with silence_itk():
        reader.ReadImageInformation()
    return reader


def _unreadable(path: Path, error: Exception) -> str:
    return (
        f"The volume {str(path)!r} cannot be read, replace it with a good copy, or save it again in a usual form "
        f"({last_line(error)})."
    )


def _stored_spacing(path: Path, header: sitk.ImageFileReader) -> list[float]:
    """The spacing as it is in the file; where it is missing or zero, readers put 1."""
    spacing = [float(x) for x in header.GetSpacing()]
    suffix = path.suffix.lower()
    if suffix in (".nii", ".gz"):
        kind: Any = type(nibabel.load(path).header)
        with Opener(str(path)) as file:
            stored = kind.from_fileobj(file, check=False)["pixdim"][1:4]
        spacing = [*spacing, *(float(x) for x in stored[: 2 if header.GetSize()[2] == 1 else 3])]
    else:
        with open(path, "rb") as file:
            start = file.read(4096).lower()
        if not any(word in start for word in _SPACING_WORDS[suffix]):
            spacing = [0.0]
    return spacing


def _check_length(path: Path, header: sitk.ImageFileReader) -> None:
    """
    Refuse data that are not as long as the header says, or whose checksum differs: readers would fill up, leave out, or
    ask for more memory than there is.
    """
    expected = int(np.prod(header.GetSize(), dtype=np.float64)) * _BYTES.get(header.GetPixelID(), 1)
    suffix = path.suffix.lower()
    with open(path, "rb") as file:
        start = file.read(2**16)
    found = _DATA_START[suffix].search(start) if suffix in _DATA_START else None
    if suffix in _DATA_START and _LISTED.search(start):
        raise ValueError("its slices are in files of their own")
    if suffix in _DATA_START and (found is None or _DETACHED.search(start[: found.end()])):
        name = _DATA_FILE.search(start)
        values = path.parent / os.fsdecode(name[1].strip()) if name else path
        if _COMPRESSED.search(start) and values.is_file():  # a list of files is no file; ITK says what is missing
            _unpack(values, 0, expected)
        return
    # nothing is packed more densely than a thousand to one
    if expected > 1100 * path.stat().st_size:
        raise ValueError(f"its header announces {expected} bytes, the file has {path.stat().st_size}")
    if suffix == ".gz":
        with gzip.open(path) as packed:
            while packed.read(2**20):
                pass  # to its end, where the checksum is
    if found is not None and _COMPRESSED.search(start[: found.end()]):
        _unpack(path, found.end(), expected)


def _unpack(path: Path, start: int, expected: int) -> None:
    """Refuse compressed data that are damaged, or of another length."""
    with open(path, "rb") as file:
        file.seek(start)
        unpack = zlib.decompressobj(wbits=47)  # the wrapping of zlib or of gzip
        length = 0
        # no more than is expected is taken into memory at once, whatever it says
        while length <= expected and (chunk := unpack.unconsumed_tail or file.read(2**20)) and not unpack.eof:
            length += len(unpack.decompress(chunk, 2**24))
    if length != expected or not unpack.eof:
        raise ValueError(f"its header announces {expected} bytes, {str(path)!r} holds {length}")


def _check_values(array: np.ndarray, name: str) -> None:
    if array.size == 0:
        raise ValueError(f"The volume {name} is empty, its size is {array.shape}: export it again, or leave it out.")
    if array.dtype.kind == "f":
        wrong = sum(int((~np.isfinite(array[..., k])).sum()) for k in range(array.shape[-1]))
        if wrong:
            raise ValueError(
                f"The volume {name} has {wrong} NaN or infinite values: replace them, for example by the value of the "
                "background, or leave it out."
            )
    lowest, highest = float(array.min()), float(array.max())
    if lowest == highest:
        raise ValueError(
            f"The volume {name} is empty, all its values are {lowest:g}: export it again, or leave it out."
        )


def _name(paths: Sequence[Path]) -> str:
    return repr(str(paths[0] if len(paths) == 1 else paths[0].parent))
