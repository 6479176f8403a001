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

"""Volume, number and size of lesions as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from scipy import ndimage

from monai_sscm.io.writing import seen_from_feet, write_table

from .checkpoint import check_writable
from .predictions import class_indices

__all__ = ["FindingsWriter", "findings"]


def findings(mask: np.ndarray, class_names: Sequence[str], voxel_ml: float | None) -> list[dict[str, Any]]:
    """
    Volume, number and size of lesions, for every class but the background.

    Args:
        mask: class indices ``(X, Y, Z)``, slices along the last axis, or ``(X, Y)``.
        class_names: names of the classes in the order of their indices.
        voxel_ml: volume of a voxel in ml. None: not known.

    Returns:
        for each class its name, ``class``; ``voxels``; ``volume_ml``; ``lesions``, the number of connected pieces (a
        shared corner connects); ``largest_ml``, the volume of the largest; and ``slices``, the number of slices in
        which the class is. Volumes are None where ``voxel_ml`` is.

    Example:
        >>> import numpy as np
        >>> from monai_sscm.handlers import findings
        >>> mask = np.zeros((8, 8, 4), np.uint8)
        >>> mask[:2, :2, :2] = mask[5, 5, 3] = 1
        >>> found = findings(mask, ["background", "ground-glass"], voxel_ml=0.5)[0]
        >>> found["voxels"], found["volume_ml"], found["lesions"], found["largest_ml"], found["slices"]
        (9, 4.5, 2, 4.0, 3)
    """
    mask = mask[..., None] if mask.ndim == 2 else mask
    rows = []
    boxes = ndimage.find_objects(mask, max_label=len(class_names) - 1)
    for (index, name), box in zip(list(enumerate(class_names))[1:], boxes, strict=True):
        voxels, lesions, largest, slices = 0, 0, 0, 0
        if box is not None:
            inside = mask[box] == index
            pieces, lesions = _label(inside)
            voxels = int(np.count_nonzero(inside))
            sizes = np.zeros(lesions + 1, dtype=np.int64)
            for part in pieces:  # part by part: numpy counts in numbers of 8 bytes
                sizes += np.bincount(part.ravel(), minlength=lesions + 1)
            largest = int(sizes[1:].max())
            slices = int(inside.any(axis=(0, 1)).sum())
        volumes = (None, None) if voxel_ml is None else (round(voxels * voxel_ml, 4), round(largest * voxel_ml, 4))
        rows.append(
            {
                "class": name,
                "voxels": voxels,
                "volume_ml": volumes[0],
                "lesions": int(lesions),
                "largest_ml": volumes[1],
                "slices": slices,
            }
        )
    return rows


class FindingsWriter:
    """
    Handler of an evaluator: writes ``findings.csv`` with a row for every case and class, see :py:func:`findings`.

    The evaluator decollates its batches. A sample has ``name``, ``image`` with its metadata, and ``pred`` in the axes
    and of the size of the image as it is stored. Volumes are in ml where the metadata has ``geometry``, as from
    :py:class:`monai_sscm.io.VolumeReader`; of pictures they are not known. The file is complete after each case.

    Args:
        output_dir: folder to write to, made if it is missing.
        class_names: names of the classes in the order of their indices.

    Raises:
        OSError: when the folder cannot be written to.
    """

    def __init__(self, output_dir: str | Path, class_names: Sequence[str]) -> None:
        self.output_dir = Path(check_writable(output_dir))
        self.class_names = tuple(class_names)
        self.rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: the evaluator.
        """
        engine.add_event_handler(Events.STARTED, self.rows.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        """
        Args:
            engine: the evaluator.
        """
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            self.add(item["name"], output["image"], output["pred"])

    def add(self, name: str, image: MetaTensor, pred: torch.Tensor) -> None:
        """
        Add the rows of one image.

        Args:
            name: name of the case.
            image: ``(C, *spatial)``, with its metadata.
            pred: logits ``(classes, *spatial)``, or class indices ``(1, *spatial)``, uint8.

        Raises:
            OSError: when the file cannot be written.
        """
        voxel_ml = None
        mask = class_indices(pred)
        if "geometry" in image.meta:
            # not the product of the spacing alone: a volume's axes need not be at right angles
            affine = np.asarray(image.meta["original_affine"], dtype=np.float64)
            voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
            mask = seen_from_feet(mask, affine)
        rows = findings(mask, self.class_names, voxel_ml)
        self.rows += [{"case": name, **row} for row in rows]
        write_table(self.rows, self.output_dir / "findings.csv")


def _label(inside: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the connected pieces, in 16 bits if they suffice: more would take more memory than the volume itself."""
    try:
        return ndimage.label(inside, structure=np.ones((3, 3, 3)), output=np.uint16)
    except RuntimeError:
        return ndimage.label(inside, structure=np.ones((3, 3, 3)))
