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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
from matplotlib import colormaps
from nibabel.orientations import apply_orientation, io_orientation, ornt_transform
from PIL import Image

__all__ = [
    "class_colors",
    "in_stored_axes",
    "write_index_picture",
    "write_label_descriptions",
    "write_nifti",
    "write_nrrd",
    "write_picture",
    "write_segmentation",
    "write_table",
    "write_whole",
]


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
    return np.asarray(colormaps["tab10"](np.arange(num_classes - 1) % 10))[:, :3]


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


def in_stored_axes(array: np.ndarray, meta: Mapping[str, Any]) -> np.ndarray:
    """
    Bring an array from an image's axes in memory back to those in its file.

    Args:
        array: ``(X, Y, Z)``, of the image's size; or of fewer dimensions, which are never turned.
        meta: metadata of the image as MONAI keeps it: ``affine``, ``original_affine`` and ``spatial_shape``.

    Returns:
        array of the shape ``spatial_shape``.

    Example:
        >>> import numpy as np
        >>> from monai_sscm.io.writing import in_stored_axes
        >>> turned = np.diag([-1.0, 1.0, 1.0, 1.0])
        >>> meta = {"affine": np.eye(4), "original_affine": turned, "spatial_shape": (3, 1, 1)}
        >>> in_stored_axes(np.array([1, 2, 3]).reshape(3, 1, 1), meta).ravel()
        array([3, 2, 1])
    """
    if array.ndim == 3:
        affines = [np.asarray(meta[key], dtype=np.float64) for key in ("affine", "original_affine")]
        array = apply_orientation(array, ornt_transform(*(io_orientation(affine) for affine in affines)))
    return array.reshape([int(n) for n in np.asarray(meta["spatial_shape"]).ravel()])


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
