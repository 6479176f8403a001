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

"""Masks of CT scans that open over the scan, and what was found in figures."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import ImageMetaKey
from nibabel.orientations import apply_orientation, io_orientation, ornt_transform
from scipy import ndimage

from monai_sscm.transforms import LUNG_WINDOW

from .predictions import PredictionSaver, class_colours

__all__ = ["ScanSaver", "findings"]

_COLUMNS = ("case", "class", "voxels", "volume_ml", "lesions", "largest_ml", "slices")


def findings(mask: np.ndarray, class_names: Sequence[str], voxel_ml: float | None) -> list[dict[str, Any]]:
    """
    What a mask says in figures, for every class but the background.

    Args:
        mask: class indices ``(X, Y, Z)``, axial slices along the last axis.
        class_names: names of the classes in the order of their indices.
        voxel_ml: volume of a voxel in ml; None where it is not known.

    Returns:
        for each class its ``class`` name, ``voxels``, ``volume_ml``, ``lesions`` (what is connected, if only by a
        corner, is one), ``largest_ml``, the largest lesion, and ``slices`` in which it is. Volumes are None where a
        voxel's is not known.

    Example:
        >>> import numpy as np
        >>> from monai_sscm.handlers import findings
        >>> mask = np.zeros((8, 8, 4), np.uint8)
        >>> mask[:2, :2, :2] = mask[5, 5, 3] = 1
        >>> found = findings(mask, ["background", "ground-glass"], voxel_ml=0.5)[0]
        >>> found["voxels"], found["volume_ml"], found["lesions"], found["largest_ml"], found["slices"]
        (9, 4.5, 2, 4.0, 3)
    """
    rows = []
    boxes = ndimage.find_objects(mask, max_label=len(class_names) - 1)
    for (index, name), box in zip(list(enumerate(class_names))[1:], boxes, strict=True):
        voxels, lesions, largest, slices = 0, 0, 0, 0
        if box is not None:
            here = mask[box] == index
            pieces, lesions = _label(here)
            voxels = int(np.count_nonzero(here))
            # part by part: numpy counts in numbers of 8 bytes
            sizes = sum(np.bincount(part.ravel(), minlength=lesions + 1) for part in pieces)
            largest = int(sizes[1:].max())
            slices = int(here.any(axis=(0, 1)).sum())
        volumes = (None, None) if voxel_ml is None else (round(voxels * voxel_ml, 4), round(largest * voxel_ml, 4))
        values = (name, voxels, volumes[0], int(lesions), volumes[1], slices)
        rows.append(dict(zip(_COLUMNS[1:], values, strict=True)))
    return rows


class ScanSaver(PredictionSaver):
    """
    Handler of an evaluator: writes the mask of every CT scan, with the scan's own size, spacing, origin and direction,
    so that it opens as an overlay in 3D Slicer or ITK-SNAP.

    - NIfTI scans get ``<name>_seg.nii.gz``; others, DICOM series too, ``<name>.seg.nrrd``, in which 3D Slicer finds
      names and colours of the classes; pictures get ``<name>_seg.png`` as from
      :py:class:`monai_sscm.handlers.PredictionSaver`. ``labels.txt`` names the classes for ITK-SNAP.
    - ``findings.csv`` has a row for every case and class, see :py:func:`findings`; a scan's volumes are in ml, of
      pictures they are not known.
    - On request, the probabilities, ``<name>_prob_<class>.nii.gz`` or ``.nrrd``, and ``<name>_overlay.png``, the slice
      with most lesions under its mask, seen from the feet with the front on top, as radiologists do.

    No file is there half-written. Samples are as for ``PredictionSaver``, with an ``image`` read by
    :py:class:`monai_sscm.data.CTReader` and in Hounsfield units.

    Args:
        output_dir: folder to write to, made if it is not there.
        class_names: names of the classes in the order of their indices.
        probabilities: whether to write probabilities.
        overlays: whether to write overlays.
        window: Hounsfield units that are black and white in overlays.

    Raises:
        OSError: when the folder cannot be written to.
    """

    def __init__(
        self,
        output_dir: str | Path,
        class_names: Sequence[str],
        probabilities: bool = False,
        overlays: bool = False,
        window: Sequence[float] = LUNG_WINDOW,
    ) -> None:
        super().__init__(output_dir, class_names, probabilities, overlays)
        self.low, self.high = window
        self.rows: list[dict[str, Any]] = []

    def save(self, name: str, image: MetaTensor, pred: torch.Tensor, shown: torch.Tensor) -> None:
        """
        Write the files of one scan.

        Args:
            name: name of the files, without suffix; may have folders in it.
            image: ``(1, X, Y, Z)``, with its metadata.
            pred: class indices ``(1, X, Y, Z)``, uint8, or logits ``(classes, X, Y, Z)``.
            shown: the image once more.
        """
        geometry = image.meta.get("geometry")
        if geometry is None:
            mask, _ = self._mask(pred)
            window = (image[..., 0].as_tensor().float().clamp(self.low, self.high) - self.low) / (self.high - self.low)
            super().save(name, image[..., 0], pred[..., 0], window)
            self._add_findings(name, mask, None)
            return
        mask, prob = self._mask(pred)
        stem = self._stem(name)
        source = str(image.meta[ImageMetaKey.FILENAME_OR_OBJ])
        affines = [np.asarray(image.meta[key], dtype=np.float64) for key in ("affine", "original_affine")]
        native = ornt_transform(*(io_orientation(affine) for affine in affines))
        maps = dict(zip(self.class_names, prob, strict=True)) if self.probabilities else {}
        if source.lower().endswith((".nii", ".nii.gz")):
            header = nibabel.load(source).header
            self._write_volume(apply_orientation(mask, native), header, f"{stem}_seg.nii.gz")
            for class_name, p in maps.items():
                self._write_volume(apply_orientation(p, native), header, f"{stem}_prob_{class_name}.nii.gz")
        else:
            self._write_segments(apply_orientation(mask, native), geometry, f"{stem}.seg.nrrd")
            for class_name, p in maps.items():
                self._write_nrrd(apply_orientation(p, native), _nrrd_header(geometry), f"{stem}_prob_{class_name}.nrrd")
        if self.overlays:
            most = int((mask > 0).sum(axis=(0, 1)).argmax())
            picture = image[0, ..., most].as_tensor().cpu().float().clamp(self.low, self.high).T[None]
            self._write_overlay(picture, np.ascontiguousarray(mask[..., most].T), f"{stem}_overlay.png")
        self._write_labels()
        # not the product of the spacing alone: axes of a scan need not be at right angles
        self._add_findings(name, mask, abs(float(np.linalg.det(affines[1][:3, :3]))) / 1000)

    def _write_volume(self, array: np.ndarray, header: nibabel.Nifti1Header, path: str) -> None:
        """A NIfTI file in the very place of another."""
        own = type(header)()
        own.set_data_shape(array.shape)
        own.set_data_dtype(array.dtype)
        for field in ("pixdim", "qform_code", "sform_code", "srow_x", "srow_y", "srow_z", "xyzt_units"):
            own[field] = header[field]
        for field in ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"):
            own[field] = header[field]
        image = nibabel.Nifti1Image(array, None, own)
        # nibabel goes by the suffix
        self._write(Path(path), ".part.nii.gz", lambda part: nibabel.save(image, part))

    def _write_segments(self, mask: np.ndarray, geometry: Any, path: str) -> None:
        header = _nrrd_header(geometry)
        for i, (name, colour) in enumerate(
            zip(self.class_names[1:], class_colours(len(self.class_names)), strict=True)
        ):
            header |= {
                f"Segment{i}_ID": f"Segment_{i + 1}",
                f"Segment{i}_Name": name,
                f"Segment{i}_LabelValue": str(i + 1),
                f"Segment{i}_Layer": "0",
                f"Segment{i}_Color": " ".join(f"{x:.3f}" for x in colour),
                f"Segment{i}_Extent": " ".join(f"0 {n - 1}" for n in mask.shape),
            }
        header |= {
            "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
            "Segmentation_MasterRepresentation": "Binary labelmap",
        }
        self._write_nrrd(mask, header, path)

    def _write_nrrd(self, array: np.ndarray, header: dict[str, Any], path: str) -> None:
        self._write(Path(path), ".part.nrrd", lambda part: nrrd.write(str(part), array, header, compression_level=6))

    def _write_labels(self) -> None:
        """The classes as ITK-SNAP's label descriptions: index, colour, opacity, visibility, name."""
        path = self.output_dir / "labels.txt"
        if path not in self.written:
            lines = ['0 0 0 0 0 0 0 "background"']
            for i, (name, colour) in enumerate(
                zip(self.class_names[1:], class_colours(len(self.class_names)), strict=True)
            ):
                lines.append(f'{i + 1} {" ".join(str(round(255 * x)) for x in colour)} 1 1 1 "{name}"')
            self._write(path, ".part", lambda part: part.write_text("\n".join(lines) + "\n", "utf-8"))

    def _add_findings(self, name: str, mask: np.ndarray, voxel_ml: float | None) -> None:
        self.rows += [{"case": name, **row} for row in findings(mask, self.class_names, voxel_ml)]

        def write(part: Path) -> None:
            with open(part, "w", newline="", encoding="utf-8") as file:
                table = csv.DictWriter(file, _COLUMNS)
                table.writeheader()
                table.writerows(self.rows)

        self._write(self.output_dir / "findings.csv", ".part", write)


def _label(there: np.ndarray) -> tuple[np.ndarray, int]:
    """Connected pieces, in as small numbers as will do: of a large scan they would take more memory than the scan."""
    try:
        return ndimage.label(there, structure=np.ones((3, 3, 3)), output=np.uint16)
    except RuntimeError:
        return ndimage.label(there, structure=np.ones((3, 3, 3)))


def _nrrd_header(geometry: Any) -> dict[str, Any]:
    spacing, origin, direction = (
        np.asarray(geometry[k], dtype=np.float64).ravel() for k in ("spacing", "origin", "direction")
    )
    return {
        "space": "left-posterior-superior",
        "kinds": ["domain"] * 3,
        # a row for every axis of the array
        "space directions": (direction.reshape(3, 3) * spacing).T,
        "space origin": origin,
        "encoding": "gzip",
    }
