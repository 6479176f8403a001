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

"""Writing of masks, probabilities and tables: each file appears under its name only when it is whole."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import SimpleITK as sitk
from matplotlib.colors import to_rgba_array
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from PIL import Image

from .dicom import last_line

__all__ = [
    "class_colors",
    "read_label_descriptions",
    "seen_from_feet",
    "write_index_picture",
    "write_label_descriptions",
    "write_mha",
    "write_nifti",
    "write_nrrd",
    "write_picture",
    "write_segmentation",
    "write_table",
    "write_whole",
]

# they stand out from gray scans and from red photographs alike
_COLORS = to_rgba_array(
    ["#00c5ff", "#ffb000", "#4cd964", "#ff5fa2", "#a97bff", "#ff7043", "#c6e03a", "#00bfa5", "#8fa8ff", "#d7a36b"]
)[:, :3]


def write_whole(path: str | Path, write: Callable[[Path], Any], suffix: str = "") -> None:
    """
    Write a file beside its place, and move it there when it is whole.

    Args:
        path: the file.
        write: function that writes a file of the name that it is called with.
        suffix: suffix that this name needs.

    Raises:
        OSError: when the file cannot be written; then nothing of it is left.

    Example:
        >>> import os, tempfile
        >>> from monai_sscm.io.writing import write_whole
        >>> path = os.path.join(tempfile.mkdtemp(), "notes.txt")
        >>> write_whole(path, lambda part: part.write_text("all or nothing"))
        >>> open(path).read()
        'all or nothing'
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.part{suffix}")
    try:
        write(part)
        os.replace(part, path)
    except OSError as e:
        raise OSError(
            f"The result {str(path)!r} cannot be written ({e.strerror or e}): make room, shorten the image's name, or "
            "set another folder for the results."
        ) from e
    finally:
        if part.name in os.listdir(part.parent):
            part.unlink()


def class_colors(num_classes: int) -> np.ndarray:
    """
    Red, green and blue, in [0, 1], of every class but the background.

    Args:
        num_classes: number of classes with the background.

    Returns:
        ``(num_classes - 1, 3)``.
    """
    return _COLORS[np.arange(num_classes - 1) % len(_COLORS)]


def write_picture(picture: np.ndarray | Image.Image, path: str | Path) -> None:
    """
    Write a PNG file.

    Args:
        picture: the picture, or its pixels, ``(H, W)`` or ``(H, W, 3)``, uint8, or ``(H, W)``, uint16.
        path: the file.
    """
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    write_whole(path, lambda part: image.save(part, format="PNG"))


def write_index_picture(mask: np.ndarray, num_classes: int, path: str | Path) -> None:
    """
    Write a mask as a PNG file whose pixels are class indices, with a palette that makes them visible.

    Args:
        mask: class indices ``(H, W)``, uint8.
        num_classes: number of classes; two are shown in black and white, more in :py:func:`class_colors`.
        path: the file.
    """
    colors = np.ones((1, 3)) if num_classes == 2 else class_colors(num_classes)
    picture = Image.fromarray(mask)
    picture.putpalette([0, 0, 0, *(colors * 255).round().astype(int).ravel().tolist()])
    write_picture(picture, path)


def seen_from_feet(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """
    Bring a volume's axes to where a picture of it has them: to the patient's left, to the back, to the head.

    Args:
        array: ``(X, Y, Z)``; more axes may follow.
        affine: from voxels to millimetres, to the right, to the front and up, as MONAI and NIfTI have it.

    Example:
        >>> import numpy as np
        >>> from monai_sscm.io.writing import seen_from_feet
        >>> to_the_right = np.arange(3).reshape(3, 1, 1)
        >>> seen_from_feet(to_the_right, np.eye(4)).ravel()
        array([2, 1, 0])
    """
    turn = ornt_transform(io_orientation(np.asarray(affine, dtype=np.float64)), axcodes2ornt(("L", "P", "S")))
    return apply_orientation(array, turn)


def write_nifti(array: np.ndarray, source: str | Path, path: str | Path) -> None:
    """
    Write a NIfTI file that lies where another one does.

    Args:
        array: voxels in the axes of the other file; more may follow behind its three.
        source: the other file.
        path: the file, ``.nii`` or ``.nii.gz``.
    """
    header: Any = nibabel.load(source).header
    copy = type(header)()
    copy.set_data_shape(array.shape)
    copy.set_data_dtype(array.dtype)
    # copied, not computed from the affine matrix: programs compare them to the last digit
    for field in ("pixdim", "qform_code", "sform_code", "srow_x", "srow_y", "srow_z", "xyzt_units"):
        copy[field] = header[field]
    for field in ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"):
        copy[field] = header[field]
    kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    image = kind(array, None, copy)
    # nibabel goes by the suffix
    write_whole(path, lambda part: nibabel.save(image, part), ".nii.gz" if str(path).endswith(".gz") else ".nii")


def write_mha(array: np.ndarray, geometry: Mapping[str, Any], path: str | Path) -> None:
    """
    Write an MHA file.

    Args:
        array: voxels ``(X, Y, Z)``.
        geometry: ``spacing`` in mm, ``origin`` and ``direction`` as ITK gives them.
        path: the file.
    """
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose()))
    for set_value, name in (
        (image.SetSpacing, "spacing"),
        (image.SetOrigin, "origin"),
        (image.SetDirection, "direction"),
    ):
        set_value(np.asarray(geometry[name], dtype=np.float64).ravel().tolist())

    def write(part: Path) -> None:
        try:
            sitk.WriteImage(image, str(part), True)
        except RuntimeError as e:  # ITK's own, of a full disk too
            raise OSError(last_line(e)) from e

    write_whole(path, write, ".mha")


def write_nrrd(
    array: np.ndarray, geometry: Mapping[str, Any], path: str | Path, fields: Mapping[str, str] | None = None
) -> None:
    """
    Write an NRRD file.

    Args:
        array: voxels ``(X, Y, Z)``.
        geometry: ``spacing`` in mm, ``origin`` and ``direction`` as ITK gives them.
        path: the file.
        fields: further fields of the header.
    """
    spacing, origin, direction = (
        np.asarray(geometry[k], dtype=np.float64).ravel() for k in ("spacing", "origin", "direction")
    )
    header = {
        "space": "left-posterior-superior",
        "kinds": ["domain"] * 3,
        # a row for every axis of the array
        "space directions": (direction.reshape(3, 3) * spacing).T,
        "space origin": origin,
        "encoding": "gzip",
        **(fields or {}),
    }
    write_whole(path, lambda part: nrrd.write(str(part), array, header, compression_level=6), ".nrrd")


def write_segmentation(
    mask: np.ndarray, geometry: Mapping[str, Any], class_names: Sequence[str], path: str | Path
) -> None:
    """
    Write a mask as an NRRD file in which 3D Slicer finds the names and colors of the classes.

    Args:
        mask: class indices ``(X, Y, Z)``, uint8.
        geometry: as for :py:func:`write_nrrd`.
        class_names: names of the classes in the order of their indices, background first.
        path: the file, ``.seg.nrrd``.
    """
    fields: dict[str, str] = {}
    for i, (name, color) in enumerate(zip(class_names[1:], class_colors(len(class_names)), strict=True)):
        fields |= {
            f"Segment{i}_ID": f"Segment_{i + 1}",
            f"Segment{i}_Name": name,
            f"Segment{i}_LabelValue": str(i + 1),
            f"Segment{i}_Layer": "0",
            f"Segment{i}_Color": " ".join(f"{x:.3f}" for x in color),
            f"Segment{i}_Extent": " ".join(f"0 {n - 1}" for n in mask.shape),
        }
    fields |= {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_MasterRepresentation": "Binary labelmap",
    }
    write_nrrd(mask, geometry, path, fields)


def write_label_descriptions(class_names: Sequence[str], path: str | Path) -> None:
    """
    Write the classes as label descriptions of ITK-SNAP: index, color, opacity, visibility, name.

    Args:
        class_names: names of the classes in the order of their indices, background first.
        path: the file.
    """
    lines = ['0 0 0 0 0 0 0 "background"']
    for i, (name, color) in enumerate(zip(class_names[1:], class_colors(len(class_names)), strict=True)):
        lines.append(f'{i + 1} {" ".join(str(round(255 * x)) for x in color)} 1 1 1 "{name}"')
    write_whole(path, lambda part: part.write_text("\n".join(lines) + "\n", "utf-8"))


def read_label_descriptions(path: str | Path) -> list[str] | None:
    """
    Read names of classes from label descriptions of ITK-SNAP.

    Args:
        path: the file.

    Returns:
        the names in the order of their indices; None where there is no such file, or it is of another kind.

    Example:
        >>> import os, tempfile
        >>> from monai_sscm.io.writing import read_label_descriptions, write_label_descriptions
        >>> path = os.path.join(tempfile.mkdtemp(), "labels.txt")
        >>> write_label_descriptions(["background", "main vein"], path)
        >>> read_label_descriptions(path)
        ['background', 'main vein']
    """
    if not Path(path).is_file():
        return None
    lines = Path(path).read_text("utf-8", errors="replace").splitlines()
    found = [re.fullmatch(r'\s*(\d+)(?:\s+[\d.]+){6}\s+"(.*)"\s*', line) for line in lines if not line.startswith("#")]
    names = [match[2] for i, match in enumerate(found) if match and int(match[1]) == i]
    return names if len(names) == len(found) >= 2 else None


def write_table(rows: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """
    Write a CSV file.

    Args:
        rows: at least one, all with the same keys, which become the columns.
        path: the file.
    """

    def write(part: Path) -> None:
        with open(part, "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)

    write_whole(path, write)
