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
from nibabel.spatialimages import SpatialImage

from .dicom import is_dicom, last_line, read_dicom_series, silence_itk
from .files import check_name
from .nifti2 import Nifti2Header, is_nifti_2
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

_Header = sitk.ImageFileReader | Nifti2Header


class VolumeReader(ImageReader):
    """
    Reads a volume as an array ``(X, Y, Z)`` in the axes in which it is stored; a picture is a volume of one slice,
    whose rows are X. :py:class:`monai.transforms.Orientationd` brings volumes into common axes.

    Reads NIfTI, MHA and NRRD files; a DICOM series, given as a folder, one file, or the files in any order, compressed
    as far as ITK reads it; and pictures by :py:class:`monai_sscm.io.PictureReader`. Several
    volume files, or pictures, are channels of one image, ``(X, Y, Z, C)``, and so is the fourth axis of a NIfTI file.
    Stored values are kept, with the rescale slope and intercept of the file applied. The metadata has MONAI's
    ``affine`` (to the right, to the front and up, "RAS"), ``original_affine`` and ``spatial_shape``; of volumes, but
    not of pictures, also ``geometry``: ``spacing`` (mm), ``origin`` and ``direction`` as ITK gives them, from which a
    mask of the volume's own geometry is made. A picture is taken for an axial slice: its rows go to the patient's left
    and its columns to the back ("LPS"), 1 mm apart.

    Args:
        mask: whether masks are read: then palette pictures give their indices, and values are not looked at.
        keep_last: whether to keep the last file's array, for files that are asked for slice after slice.
        modality: the modality that a DICOM series must have, such as ``"CT"``; masks may have any. None: any.

    Raises:
        FileNotFoundError, OSError: when a file is missing or damaged.
        ValueError: when it is no volume: colors, NaN, one value everywhere, no or uneven spacing, slices missing or
            doubled, several series where one is expected; of another modality; or when channels differ in size or
            place.

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
        if not all(is_volume_file(path) or self.pictures.are_pictures(path) for path in img):
            parts = [self._volume(img)]
        else:
            parts = [self._picture(path) if self.pictures.are_pictures(path) else self._volume([path]) for path in img]
        loaded = parts[0] if len(parts) == 1 else _as_channels(img, parts)
        if not self.mask:
            _check_values(loaded[0], _name(img))
        if self.keep_last:
            self._last = (key, loaded)
        return loaded[0], dict(loaded[1])

    def _picture(self, path: Path) -> tuple[np.ndarray, dict]:
        array, about = self.pictures.get_data(path)
        if array.ndim == 3 and not self.mask:
            if bool((array != array[..., :1]).any()):
                raise ValueError(
                    f"The image {_name([path])} is in color and no slice of a volume: save it in gray, or leave it out."
                )
            array = array[..., 0]
        # colors of a mask: the classes' transform says what is wrong
        channel = -1.0 if array.ndim == 3 else float("nan")
        meta = _metadata(np.diag([-1.0, -1.0, 1.0, 1.0]), (*array.shape[:2], 1), channel)
        return array[:, :, None], {**meta, "format": about["format"]}

    def _volume(self, paths: Sequence[Path]) -> tuple[np.ndarray, dict]:
        image: sitk.Image | _Header
        if _is_series(paths):
            array, image = read_dicom_series(paths, None if self.mask else self.modality)
        else:
            array, image = _read_volume(paths[0], self.mask)
        axes = image.GetDimension()
        spacing, origin = (np.array(f())[:3] for f in (image.GetSpacing, image.GetOrigin))
        matrix = np.array(image.GetDirection()).reshape(axes, axes)[:3, :3]
        if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 0.1:
            raise ValueError(
                f"The volume {_name(paths)} has no proper orientation ({matrix.tolist()}): export it again."
            )
        # from voxels to millimetres in MONAI's and NIfTI's axes, where ITK's first two are turned round
        affine = np.eye(4)
        affine[:3, :3] = _right_angles(matrix) * spacing
        affine[:3, 3] = origin
        affine[:2] *= -1
        meta = _metadata(affine, array.shape[:3], -1.0 if array.ndim == 4 else float("nan"))
        meta["geometry"] = {"spacing": spacing, "origin": origin, "direction": matrix.ravel()}
        if array.dtype in (np.int32, np.int64) and array.min() >= -(2**15) and array.max() < 2**15:
            array = array.astype(np.int16)  # as ITK reads DICOM with an intercept; a volume is large
        # a copy, and the only one: ITK's image goes when this returns
        return np.array(array, order="C"), meta


def _right_angles(matrix: np.ndarray) -> np.ndarray:
    """A rotation that headers round to single precision, exactly: Spacing begins its grid elsewhere where it is not."""
    left, _, right = np.linalg.svd(matrix)
    return left @ right if np.abs(left @ right - matrix).max() < 1e-4 else matrix


def _metadata(affine: np.ndarray, shape: Sequence[int], channel: float) -> dict:
    return {
        MetaKeys.AFFINE: affine,
        MetaKeys.ORIGINAL_AFFINE: affine.copy(),
        MetaKeys.SPATIAL_SHAPE: np.array(shape),
        MetaKeys.SPACE: SpaceKeys.RAS,
        MetaKeys.ORIGINAL_CHANNEL_DIM: channel,
    }


def _as_channels(paths: Sequence[Path], parts: Sequence[tuple[np.ndarray, dict]]) -> tuple[np.ndarray, dict]:
    """One image of several, each a channel of it."""
    (first, meta), *others = parts
    for path, (array, other) in zip(paths[1:], others, strict=True):
        if array.shape != first.shape:
            raise ValueError(
                f"{str(path)!r} has the size {array.shape}, {str(paths[0])!r} has {first.shape}: channels of one image "
                "must be of one size."
            )
        # headers are rounded, and by some tools to single precision
        distance = np.abs(other[MetaKeys.AFFINE] - meta[MetaKeys.AFFINE]).max()
        if distance > 0.01:
            raise ValueError(
                f"{str(path)!r} does not lie where {str(paths[0])!r} does, their affines differ by up to "
                f"{distance:.3g} mm: resample channels of one image onto one of them."
            )
    if first.ndim > 3:
        raise ValueError(
            f"{str(paths[0])!r} has several channels itself: save the channels of one image in one file each."
        )
    return np.stack([array for array, _ in parts], axis=-1), {**meta, MetaKeys.ORIGINAL_CHANNEL_DIM: -1.0}


def is_volume_file(path: Path) -> bool:
    """Whether a file is a whole volume by its name, and so one channel among several."""
    return path.name.lower().endswith(SCAN_SUFFIXES)


def is_scan(path: Path) -> bool:
    """Whether a file is a volume by its name, or DICOM by its content."""
    return is_volume_file(path) or (path.is_file() and is_dicom(path))


def _is_series(paths: Sequence[Path]) -> bool:
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise FileNotFoundError(f"There is no volume {str(missing[0])!r}: check its name.")
    return len(paths) > 1 or paths[0].is_dir() or not is_volume_file(paths[0])


def _read_volume(path: Path, mask: bool) -> tuple[np.ndarray, sitk.Image | _Header]:
    """A volume as it is stored, and what has its geometry and memory; it has three dimensions, or channels behind."""
    try:
        header = _read_header(path)
    except RuntimeError as e:
        raise OSError(_unreadable(path, e)) from e
    is_nifti = path.name.lower().endswith((".nii", ".nii.gz"))
    if header.GetDimension() != 3 and not (header.GetDimension() == 4 and is_nifti and not mask):
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
    if is_nifti:
        _check_forms(path)
    try:
        _check_length(path, header)
        if is_nifti:
            # of a file that is cut off, ITK would give what is in memory by chance
            array = np.asarray(cast(SpatialImage, nibabel.load(path)).dataobj)
            array = array.astype(np.float32 if array.dtype.kind == "f" else array.dtype.newbyteorder("="), copy=False)
            return array.reshape(header.GetSize()), header
        with silence_itk():
            image = sitk.ReadImage(str(path))
    except Exception as e:  # a damaged file can fail in any way
        raise OSError(_unreadable(path, e)) from e
    return sitk.GetArrayViewFromImage(image).transpose(), image


def _check_forms(path: Path) -> None:
    """Refuse a NIfTI file that says twice, and differently, how it lies: programs differ in which of them counts."""
    try:
        header: Any = nibabel.load(path).header
        forms = [form for form, code in (header.get_qform(coded=True), header.get_sform(coded=True)) if code]
    except Exception:  # a damaged file can fail in any way; reading it says how
        return
    if len(forms) < 2 or not all(np.isfinite(form).all() for form in forms):
        return
    axes = ["".join(str(axis) for axis in nibabel.aff2axcodes(form)) for form in forms]
    sizes = [np.linalg.norm(form[:3, :3], axis=0) for form in forms]
    if axes[0] != axes[1] or np.abs(sizes[0] / sizes[1].clip(1e-9) - 1).max() > 0.05:
        shown = [f"axes to {a}, {' x '.join(f'{x:.3g}' for x in size)} mm" for a, size in zip(axes, sizes, strict=True)]
        raise ValueError(
            f"The volume {str(path)!r} says twice how it lies, and differently (qform: {shown[0]}; sform: {shown[1]}): "
            "save it again with the one that is right."
        )


def _read_header(path: Path) -> _Header:
    check_name(path)
    try:
        if is_nifti_2(path):
            return Nifti2Header(cast(nibabel.Nifti2Image, nibabel.load(path)))
    except Exception as e:  # a damaged file can fail in any way
        raise RuntimeError(last_line(e)) from e
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


def _stored_spacing(path: Path, header: _Header) -> list[float]:
    """The spacing as it is in the file; where it is missing or zero, readers put 1."""
    spacing = [float(x) for x in header.GetSpacing()[:3]]
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


def _check_length(path: Path, header: _Header) -> None:
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
