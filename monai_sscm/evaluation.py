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

"""Scores of masks in files against true masks in files."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import nibabel
import numpy as np
import torch
from tqdm import tqdm

from monai_sscm.data.layouts import read_layout
from monai_sscm.data.layouts.beside import read_beside
from monai_sscm.data.layouts.folders import pair_masks
from monai_sscm.io import PictureReader, VolumeReader
from monai_sscm.io.files import CHANNEL_NAME, LABEL_FOLDERS, image_suffix, in_natural_order
from monai_sscm.io.grids import Grid, check_grids, in_axes_of
from monai_sscm.io.writing import read_label_descriptions, write_table
from monai_sscm.metrics import confusion_matrix, dice_per_class, hausdorff_95, iou_per_class, text_table

__all__ = ["MaskScores", "evaluate_masks"]

_RESULT = re.compile(r"(.+)(_seg|\.seg)$")  # as PredictionSaver names masks
# of a data set, the first that is there
_LABEL_FOLDERS = (*LABEL_FOLDERS, "labelsTs", "labelsTr")


@dataclass(frozen=True)
class _Case:
    name: str
    matrix: torch.Tensor  # of as many classes as the case has
    distances: dict[int, float]
    unit: str


@dataclass(frozen=True)
class MaskScores:
    """
    Scores of masks, see :py:func:`evaluate_masks`.

    Args:
        class_names: names of the classes in the order of their indices, background first.
        cases: confusion matrix and distances of every case.
        folder: where the masks are.
        unlabeled: names of predicted masks that have no true one.
    """

    class_names: Sequence[str]
    cases: Sequence[_Case]
    folder: Path
    unlabeled: Sequence[str] = field(default=())

    def rows(self) -> list[dict[str, Any]]:
        """For every case and class but the background: Dice, IoU, HD95 and its unit, and the number of voxels."""
        rows = []
        for case in self.cases:
            matrix = self._padded(case)
            dice, iou = dice_per_class(matrix), iou_per_class(matrix)
            for i, name in enumerate(self.class_names[1:], start=1):
                row = {"case": case.name, "class": name, "dice": float(dice[i]), "iou": float(iou[i])}
                row |= {"hd95": case.distances.get(i, math.nan), "hd95_unit": case.unit}
                rows.append(row | {"true_voxels": int(matrix[i].sum()), "predicted_voxels": int(matrix[:, i].sum())})
        return rows

    def table(self) -> str:
        """
        A line for every class: means over the cases that have it, in the truth or the prediction; scores over the
        pixels of all cases together; and in how many cases it is missed, or predicted where it is not.
        """
        units = {case.unit for case in self.cases}
        unit = units.pop() if len(units) == 1 else "mm or pixels"
        total = torch.stack([self._padded(case) for case in self.cases]).sum(0)
        dice, iou = dice_per_class(total), iou_per_class(total)
        rows = [["class", "cases", "Dice, %", "IoU, %", f"HD95, {unit}"]]
        rows[0] += ["pooled: Dice, %", "IoU, %", "missed in", "invented in"]
        every = self.rows()
        for i, name in enumerate(self.class_names[1:], start=1):
            own = [row for row in every if row["class"] == name]
            true, predicted = (np.array([row[key] > 0 for row in own]) for key in ("true_voxels", "predicted_voxels"))
            means = [_mean([row[key] for row in own]) for key in ("dice", "iou", "hd95")]
            cells = [100 * means[0], 100 * means[1], means[2], 100 * float(dice[i]), 100 * float(iou[i])]
            counts = (true | predicted, true & ~predicted, ~true & predicted)
            cases, missed, invented = (str(int(x.sum())) for x in counts)
            rows.append([name, cases, *(f"{cell:.1f}" for cell in cells), missed, invented])
        text = text_table(rows)
        if self.unlabeled:
            names = ", ".join(self.unlabeled[:5]) + ", ..." * (len(self.unlabeled) > 5)
            text += f"\n{len(self.unlabeled)} without a true mask, not scored: {names}"
        return text

    def write(self, output_dir: str | Path | None = None) -> Path:
        """
        Write the rows as ``metrics.csv``.

        Args:
            output_dir: folder for it. None: that of the masks.

        Returns:
            the file.
        """
        path = Path(output_dir or self.folder) / "metrics.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(self.rows(), path)
        return path

    def _padded(self, case: _Case) -> torch.Tensor:
        missing = len(self.class_names) - len(case.matrix)
        return torch.nn.functional.pad(case.matrix, (0, missing, 0, missing))


def evaluate_masks(
    predictions: str | Path,
    labels: str | Path,
    within: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    ignore_index: int | None = None,
    part: str | None = None,
) -> MaskScores:
    """
    Score masks against true masks: Dice, IoU and the 95 % Hausdorff distance of every class.

    A class that is neither in the truth nor in the prediction of a case has the scores nan; one that is in one of them
    only has Dice and IoU 0 and the distance nan, and such cases are counted. Distances are in mm where the files say
    how large voxels are, else in pixels.

    Args:
        predictions: folder of masks, as ``monai-sscm predict`` writes them (``a_seg.png``, ``a_seg.nii.gz``,
            ``a.seg.nrrd``), or with the plain names of the images; or one mask.
        labels: folder of true masks, of images with masks beside them, or of a data set; or one mask. Each has the name
            of the image, the name with more behind an underscore (``a_mask.png``) or without the number of nnU-Net's
            only channel (``a`` for ``a_0000``), or one that seems to mean it (``21_manual1`` for ``21_training``).
        within: folder of fields of view, named likewise, or one: pixels where it is 0 do not count. None: all count.
        class_names: names of the classes in the order of their indices, background first. None: those in
            ``labels.txt`` beside the predictions, as ``monai-sscm predict`` writes it, else as many as there are.
        ignore_index: value in true masks of pixels that do not count. None: none.
        part: ``"train"``, ``"val"`` or ``"test"``: only this part of the data set ``labels`` is scored, as its
            ``split.json`` or its list says. None: all.

    Raises:
        FileNotFoundError: when a folder has no masks, or a true mask has no prediction or no field of view.
        ValueError: when two masks differ in size or geometry, or one is no mask of class indices (or of 0 and 255).

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from monai_sscm.evaluation import evaluate_masks
        >>> from PIL import Image
        >>> folder = tempfile.mkdtemp()
        >>> for name, columns in (("a_seg.png", 2), ("a.png", 4)):
        ...     mask = np.zeros((8, 8), np.uint8)
        ...     mask[:, :columns] = 1
        ...     Image.fromarray(mask).save(f"{folder}/{name}")
        >>> evaluate_masks(f"{folder}/a_seg.png", f"{folder}/a.png").rows()[0]["iou"]
        0.5
    """
    ours, theirs = _find_masks(Path(predictions), results=True), _find_labels(Path(labels), part, Path(predictions))
    if Path(predictions).is_file() and Path(labels).is_file() and len(theirs) == 1:
        theirs = dict(zip(ours, theirs.values(), strict=True))
    ours = {_image_name(name, theirs, ours): path for name, path in ours.items()}
    pairs = _match(ours, theirs)
    if not pairs:  # predicted from a folder above or below that of the names
        ours, theirs = _without_folders(ours), _without_folders(theirs)
        pairs = _match(ours, theirs)
    missing = [str(path) for name, path in theirs.items() if name not in pairs]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(theirs)} true masks have no prediction in {str(predictions)!r}, such as "
            f"{missing[:5]}: predict these images too, give --part if they are of another part of the data set, or "
            "score a folder without their masks."
        )
    folder = Path(predictions) if Path(predictions).is_dir() else Path(predictions).parent
    class_names = class_names or read_label_descriptions(folder / "labels.txt")
    fields: dict[str, Path] = {}
    if within is not None:
        found = _find_masks(Path(within))
        fields = {ours_name: found[name] for name, ours_name in _match(ours, found).items()}
        if Path(within).is_file() and len(pairs) == 1:
            fields = {next(iter(pairs.values())): Path(within)}
    cases: list[_Case] = []
    binary: Path | None = None
    for name, path in tqdm([(pairs[n], p) for n, p in theirs.items()], "masks", disable=not sys.stderr.isatty()):
        if within is not None and name not in fields:
            raise FileNotFoundError(f"The mask {str(path)!r} has no field of view in {str(within)!r}: add it.")
        case, was_binary = _score(name, ours[name], path, fields.get(name), class_names, ignore_index)
        cases.append(case)
        binary = path if was_binary else binary
    num_classes = max(2, *(len(case.matrix) for case in cases))
    if binary is not None and num_classes > 2 and class_names is None:
        raise ValueError(
            f"The mask {str(binary)!r} has the values 0 and 255, others have {num_classes} classes: save it as class "
            "indices, or give --ignore_index 255 if 255 stands for what does not count."
        )
    names = class_names or ["background", *(f"class {i}" for i in range(1, num_classes))]
    scored = set(pairs.values())
    return MaskScores(names, cases, folder, [name for name in ours if name not in scored])


def _find_labels(path: Path, part: str | None, predictions: Path) -> dict[str, Path]:
    """True masks by their names, of a data set by those of its images."""
    is_list = path.suffix.lower() == ".json"
    layout = None
    if part is not None or is_list:
        layout = read_layout(path)
    elif path.is_dir():
        folders = [path / name for name in _LABEL_FOLDERS if (path / name).is_dir()]
        # predictions may lie in "masks" of the data set
        path = next((folder for folder in folders if folder.resolve() != predictions.resolve()), path)
        layout = read_beside(path)
    if layout is None:
        return _find_masks(path)
    labeled = [case for case in layout.cases if case.label is not None]
    masks = {case.name: Path(str(case.label)) for case in labeled if part in (None, case.part or "train")}
    if not masks:
        raise ValueError(
            f"No labeled image of {str(path)!r} is in the part {part!r}: name them in its split.json, or leave --part "
            "out."
        )
    return masks


def _find_masks(path: Path, results: bool = False) -> dict[str, Path]:
    """Masks by their names, of results without ``_seg``; folders within are part of a name."""
    if path.is_file():
        found, root = [path], path.parent
    elif path.is_dir():
        root = path
        files = (file for file in root.rglob("*") if file.is_file() and not file.name.startswith("."))
        found = in_natural_order(file for file in files if image_suffix(file))
        of_results = [file for file in found if _RESULT.match(_stem(file))]
        found = of_results if results and of_results else found  # there may be overlays and probabilities beside them
    else:
        raise FileNotFoundError(f"There is no mask or folder {str(path)!r}: check its name.")
    if not found:
        raise FileNotFoundError(f"There are no masks in {str(path)!r}: give the folder that they are in.")
    masks: dict[str, Path] = {}
    for file in found:
        match = _RESULT.match(_stem(file)) if results else None
        name = str(file.relative_to(root).parent / (match[1] if match else _stem(file).removesuffix(".seg")))
        if name in masks:
            raise ValueError(f"{str(masks[name])!r} and {str(file)!r} are masks of the same name: keep one of them.")
        masks[name] = file
    return masks


def _stem(path: Path) -> str:
    suffix = image_suffix(path)
    return path.name[: len(path.name) - len(suffix)] + ".seg" * suffix.lower().startswith(".seg")


def _image_name(name: str, theirs: dict[str, Path], ours: dict[str, Path]) -> str:
    """The name of an image of nnU-Net with one channel, ``case_0000``, without its number where the truth has none."""
    match = CHANNEL_NAME.fullmatch(name)
    is_only = match is not None and int(match[2]) == 0 and match[1] in theirs
    return match[1] if match and is_only and name not in theirs and match[1] not in ours else name


def _without_folders(masks: dict[str, Path]) -> dict[str, Path]:
    """The masks by their names alone, where no two have the same."""
    short = {Path(name).name: path for name, path in masks.items()}
    return short if len(short) == len(masks) else masks


def _match(ours: dict[str, Path], theirs: dict[str, Path]) -> dict[str, str]:
    """For each of their names the one of ours that it belongs to, as masks belong to images in a data set."""
    names = {str(path): name for name, path in theirs.items()}
    pairs, _ = pair_masks(dict.fromkeys(ours, ""), {name: path for path, name in names.items()}, {})
    return {names[path]: name for name, path in pairs.items()}


def _score(
    name: str,
    pred_file: Path,
    label_file: Path,
    field_file: Path | None,
    class_names: Sequence[str] | None,
    ignore_index: int | None,
) -> tuple[_Case, bool]:
    """Scores of a case, and whether its true mask was one of 0 and 255."""
    num_classes = None if class_names is None else len(class_names)
    pred, affine = _read(pred_file)
    label = _read_onto(label_file, pred_file, pred, affine)
    counted = np.ones(label.shape, bool) if ignore_index is None else label != ignore_index
    if field_file is not None:
        counted &= _read_onto(field_file, pred_file, pred, affine) != 0
    label, binary = _to_index(label, counted, label_file, num_classes)
    pred, _ = _to_index(pred, np.ones(pred.shape, bool), pred_file, num_classes)
    pred, label = np.where(counted, pred, 0), np.where(counted, label, -1)
    size = num_classes or int(max(pred.max(), label.max(), 1)) + 1
    tensors = torch.from_numpy(label), torch.from_numpy(pred)
    matrix = confusion_matrix(*tensors, size)
    both = [i for i in range(1, size) if matrix[i].sum() and matrix[:, i].sum()]
    spacing = None if affine is None else np.linalg.norm(affine[:3, :3], axis=0)[: pred.ndim].tolist()
    distances = {i: hausdorff_95(tensors[1] == i, tensors[0] == i, spacing) for i in both}
    return _Case(name, matrix, distances, "pixels" if spacing is None else "mm"), binary


def _read_onto(path: Path, pred_file: Path, pred: np.ndarray, affine: np.ndarray | None) -> np.ndarray:
    """A mask that lies on a predicted one, in the axes in which that is stored."""
    mask, own = _read(path)
    if mask.ndim == pred.ndim == 3 and own is not None and affine is not None:
        mask, own = in_axes_of(mask, own, affine)
    check_grids(Grid(repr(str(pred_file)), pred.shape, affine), Grid(repr(str(path)), mask.shape, own))
    return mask


def _read(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """A mask as it is stored, and where it lies in space; None for a picture."""
    pictures = PictureReader()
    if pictures.are_pictures(path) or _is_flat(path):
        array, meta = pictures.get_data(path)
        affine = None if pictures.are_pictures(path) else np.asarray(meta["affine"], float)
        array = np.asarray(array)
        if array.ndim == 3:
            gray = array[..., :1]
            if not bool((array[..., :3] == gray).all()):
                raise ValueError(f"The mask {str(path)!r} is in color: save it with one value a pixel, its class.")
            array = gray[..., 0]
    else:
        reader = VolumeReader(mask=True)
        array, meta = reader.get_data(reader.read(path))
        affine = np.asarray(meta["affine"], float)
    if array.ndim == 3 and array.shape[2] == 1:  # a single slice that is saved as a volume
        array = array[..., 0]
    if array.size == 0:
        raise ValueError(f"The mask {str(path)!r} is empty: save it again.")
    return array.astype(np.uint8) if array.dtype == bool else array, affine


def _is_flat(path: Path) -> bool:
    """Whether a file is a picture in NIfTI."""
    return path.name.lower().endswith((".nii", ".nii.gz")) and cast(Any, nibabel.load(path)).ndim < 3


def _to_index(mask: np.ndarray, counted: np.ndarray, path: Path, num_classes: int | None) -> tuple[np.ndarray, bool]:
    """Class indices, and whether the mask was one of 0 and 255."""
    values = np.unique(mask[counted])
    for top in (255, 65535):  # of 8 and of 16 bits
        if top in values and num_classes in (None, 2) and set(values.tolist()) <= {0, top}:
            return (mask == top).astype(np.int32), True
    highest = 254 if num_classes is None else num_classes - 1
    wrong = [v for v in values.tolist() if not (0 <= v <= highest and v == int(v))]  # NaN too
    if wrong:
        raise ValueError(
            f"The mask {str(path)!r} has the values {wrong[:5]}, but each pixel must be a class index from 0 to "
            f"{highest}: save it so, or, in true masks, give --ignore_index for what does not count."
        )
    return mask.astype(np.int32), False


def _mean(values: Sequence[float]) -> float:
    """Mean of those that are numbers."""
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan
