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

"""Predictions as files that open in what the images were made with."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.utils import ImageMetaKey, convert_to_tensor

from monai_sscm.io.writing import (
    seen_from_feet,
    write_index_picture,
    write_label_descriptions,
    write_mha,
    write_nifti,
    write_nrrd,
    write_picture,
    write_segmentation,
)

from .checkpoint import check_writable
from .overlay import overlay

_logger = logging.getLogger(__name__)
# what stands beside the mask of an image, <name>_seg
_COMPANION = re.compile(r"(.+)_(?:overlay\.png|prob(?:_.+)?(?<![_.]seg)\.(?:png|nii\.gz|mha|nrrd))")
# what is said of the masks of a folder, and how it begins
_TABLES = {"metrics.csv": "case,class,dice,", "quality.csv": "rank,case,agreement"}

__all__ = ["PredictionSaver", "class_indices", "class_probabilities", "draw_prediction", "stored_mask"]


def class_probabilities(pred: torch.Tensor) -> np.ndarray:
    """
    Probabilities of the classes of one image.

    Args:
        pred: logits ``(classes, *spatial)``.

    Returns:
        array of the same shape, float32.
    """
    return torch.as_tensor(pred).detach().float().softmax(0).cpu().numpy()


def class_indices(pred: torch.Tensor) -> np.ndarray:
    """
    Mask of one image.

    Args:
        pred: logits ``(classes, *spatial)``, or class indices ``(1, *spatial)``, uint8.

    Returns:
        class indices ``(*spatial)``, uint8.

    Example:
        >>> import torch
        >>> from monai_sscm.handlers.predictions import class_indices
        >>> class_indices(torch.tensor([[[0.0, 2.0]], [[1.0, 1.0]]]))
        array([[1, 0]], dtype=uint8)
    """
    if pred.dtype == torch.uint8:
        return torch.as_tensor(pred)[0].detach().cpu().numpy()
    # as of the probabilities that are written: after rounding, some may be equal
    return class_probabilities(pred).argmax(0).astype(np.uint8)


def stored_mask(image: MetaTensor, pred: torch.Tensor, mask: np.ndarray | None = None) -> np.ndarray:
    """
    The mask of an image, of the axes that the stored image has.

    Args:
        image: ``(C, *spatial)``, with its metadata.
        pred: logits or class indices, as for :py:func:`class_indices`.
        mask: its class indices. None: they are computed.

    Raises:
        ValueError: when the prediction is not on the grid of the stored image.
    """
    mask = class_indices(pred) if mask is None else mask
    stored = [int(n) for n in np.asarray(image.meta.get("spatial_shape", mask.shape)).ravel()]
    moved = 0.0
    if isinstance(pred, MetaTensor) and "original_affine" in image.meta:
        moved = float(np.abs(pred.affine.cpu().numpy() - np.asarray(image.meta["original_affine"])).max())
    # a dimension of length 1 may be there or not; affines are rounded
    if [n for n in mask.shape if n > 1] != [n for n in stored if n > 1] or moved > 0.01:
        source = str(image.meta[ImageMetaKey.FILENAME_OR_OBJ])
        raise ValueError(
            f"The prediction of {source!r} has the size {list(mask.shape)} and is not on the grid of the stored "
            f"image, of the size {stored}: bring it back by Invertd in the postprocessing."
        )
    return mask.reshape(stored)


def draw_prediction(
    image: MetaTensor, mask: np.ndarray, shown: torch.Tensor | None = None, window: Sequence[float] | None = None
) -> np.ndarray:
    """
    Draw an image under its mask; of a volume, the slice with most of the mask, which is seen from the feet with the
    front on top where its place in space is known.

    Args:
        image: ``(C, *spatial)`` on the stored grid, with its metadata.
        mask: class indices ``(*spatial)``.
        shown: what is drawn, of the image's size. None: the image.
        window: intensities that are black and white. None: the lowest and the highest.

    Returns:
        ``(H, W, 3)``, uint8.
    """
    affine = image.meta["original_affine"] if "geometry" in image.meta else None
    pixels: np.ndarray = convert_to_tensor(image if shown is None else shown, track_meta=False).cpu().numpy()
    pixels = np.moveaxis(pixels.reshape(len(pixels), *mask.shape), 0, -1)
    if affine is not None:  # views, all of them: a volume is large
        pixels, mask = seen_from_feet(pixels, affine), seen_from_feet(mask, affine)
    if mask.ndim == 3:
        index = int((mask > 0).sum(axis=(0, 1)).argmax())
        pixels, mask = pixels[:, :, index], mask[:, :, index]
    if affine is not None:
        pixels, mask = pixels.swapaxes(0, 1), mask.T  # rows go to the back
    picture = torch.as_tensor(np.ascontiguousarray(pixels)).movedim(-1, 0).float()
    if window is not None:
        picture = picture.clamp(*window)
    drawn = overlay(picture, torch.as_tensor(np.ascontiguousarray(mask))[None])[..., picture.shape[2] :]
    return (drawn * 255).byte().permute(1, 2, 0).contiguous().numpy()


class PredictionSaver:
    """
    Handler of an evaluator: writes the mask of every image, of the image's size, orientation and place in space.

    - Pictures (PNG, JPEG, TIFF, ...) get ``<name>_seg.png``, whose pixels are class indices, with a palette that makes
      them visible.
    - NIfTI images get ``<name>_seg.nii.gz`` with the image's geometry.
    - MHA and MHD volumes get ``<name>_seg.mha``.
    - Other volumes, NRRD and DICOM series, get ``<name>.seg.nrrd``, in which 3D Slicer finds the names and colors of
      the classes.

    What an earlier run left beside a mask that is written anew, such as an overlay, is removed, and so are its scores,
    ``metrics.csv`` and ``quality.csv``; the log says so.

    ``labels.txt`` names the classes for ITK-SNAP and ``monai-sscm evaluate``. No file is ever half-written.

    On request also the probabilities: ``<name>_prob_<class>``, as ``.png`` (16 bit, 65535 stands for 1), ``.nii.gz``,
    ``.mha`` or ``.nrrd``; of NIfTI images without a ``geometry``, ``<name>_prob.nii.gz`` with the classes along the
    last axis. And overlays, ``<name>_overlay.png``: the image under its mask; of a volume, the slice with most of the
    mask.

    The evaluator decollates its batches. A sample has ``name``, see :py:func:`monai_sscm.io.inference_datalist`;
    ``image`` with the metadata of its reader; ``pred``, in the axes and of the size of the image as it is stored, to
    which MONAI's ``Invertd`` brings it; and optionally ``shown``, which overlays show instead of ``image``, such as the
    image before normalization. What overlays show is on the stored grid too. A volume
    that is not NIfTI needs the metadata ``geometry`` of :py:class:`monai_sscm.io.VolumeReader`. Overlays of volumes
    with a ``geometry`` are seen from the feet with the front on top, as radiologists do.

    Args:
        output_dir: folder to write to, made if it is missing.
        class_names: names of the classes in the order of their indices.
        probabilities: whether to write probabilities.
        overlays: whether to write overlays.
        window: intensities that are black and white in overlays. None: the lowest and the highest.

    Raises:
        OSError: when the folder cannot be written to.
    """

    def __init__(
        self,
        output_dir: str | Path,
        class_names: Sequence[str],
        probabilities: bool = False,
        overlays: bool = False,
        window: Sequence[float] | None = None,
    ) -> None:
        self.output_dir = Path(check_writable(output_dir))
        self.class_names = tuple(class_names)
        self.probabilities = probabilities
        self.overlays = overlays
        self.window = window
        self._labels_written = False
        self._earlier: dict[Path, dict[str, list[Path]]] = {}
        self._removed: list[Path] = []

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: the evaluator.
        """
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._tell)

    def __call__(self, engine: Any) -> None:
        """
        Args:
            engine: the evaluator.
        """
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            self.save(item["name"], output["image"], output["pred"], item.get("shown"))

    def save(self, name: str, image: MetaTensor, pred: torch.Tensor, shown: torch.Tensor | None = None) -> None:
        """
        Write the files of one image.

        Args:
            name: name of the files, without suffix; may have folders in it.
            image: ``(C, *spatial)``, with its metadata.
            pred: logits ``(classes, *spatial)``, or class indices ``(1, *spatial)``, uint8, where no probabilities are
                asked for.
            shown: what an overlay shows, of the image's size. None: the image.

        Raises:
            OSError: when a file cannot be written.
            ValueError: when the image is a volume whose place in space is not known, or the prediction is not of the
                size of the image as it is stored.
        """
        maps: dict[str, np.ndarray] = {}
        if self.probabilities:
            prob = class_probabilities(pred)
            mask, maps = prob.argmax(0).astype(np.uint8), dict(zip(self.class_names, prob, strict=True))
        else:
            mask = class_indices(pred)
        source = str(image.meta[ImageMetaKey.FILENAME_OR_OBJ])
        mask = stored_mask(image, pred, mask)
        maps = {class_name: prob.reshape(mask.shape) for class_name, prob in maps.items()}
        stem = self.output_dir / name
        stem.parent.mkdir(parents=True, exist_ok=True)
        self._remove_earlier(stem)
        if source.lower().endswith((".nii", ".nii.gz")):
            self._save_nifti(stem, source, image.meta, mask, maps)
        elif "geometry" in image.meta:
            self._save_volume(stem, source, image.meta["geometry"], mask, maps)
        elif mask.ndim == 2 or mask.shape[2:] == (1,):
            self._save_pictures(stem, mask, maps)
        else:
            raise ValueError(
                f"{source!r} is a volume whose place in space is not known: read it by a reader of monai_sscm.io, or "
                "save it as NIfTI."
            )
        if not self._labels_written:
            write_label_descriptions(self.class_names, self.output_dir / "labels.txt")
            self._labels_written = True
        if self.overlays:
            write_picture(draw_prediction(image, mask, shown, self.window), f"{stem}_overlay.png")

    def _remove_earlier(self, stem: Path) -> None:
        """Remove what another run left beside the mask of an image, and the scores of its masks."""
        if stem.parent not in self._earlier:
            by_name = self._earlier.setdefault(stem.parent, {})
            for path in sorted(stem.parent.iterdir()):
                if match := _COMPANION.fullmatch(path.name):
                    by_name.setdefault(match[1], []).append(path)
        paths = self._earlier[stem.parent].pop(stem.name, [])
        for scores in (self.output_dir / name for name in _TABLES):
            if not self._labels_written and scores.is_file():
                with scores.open(encoding="utf-8", errors="replace") as file:
                    paths += [scores] * file.readline().startswith(_TABLES[scores.name])
        for path in paths:
            path.unlink(missing_ok=True)
        self._removed += paths

    def _tell(self) -> None:
        gone = [str(path.relative_to(self.output_dir)) for path in self._removed if not path.exists()]
        self._removed = []
        if gone:
            _logger.warning(
                f"Removed from {str(self.output_dir)!r} what an earlier run left beside these masks: "
                f"{', '.join(gone[:5])}{', ...' * (len(gone) > 5)}."
            )

    def _save_pictures(self, stem: Path, mask: np.ndarray, maps: dict[str, np.ndarray]) -> None:
        size = mask.shape[:2]
        write_index_picture(mask.reshape(size), len(self.class_names), f"{stem}_seg.png")
        for class_name, prob in maps.items():
            write_picture((prob.reshape(size) * 65535).round().astype(np.uint16), f"{stem}_prob_{class_name}.png")

    def _save_nifti(
        self, stem: Path, source: str, meta: dict[str, Any], mask: np.ndarray, maps: dict[str, np.ndarray]
    ) -> None:
        write_nifti(mask, source, f"{stem}_seg.nii.gz")
        if "geometry" in meta:
            for class_name, prob in maps.items():
                write_nifti(prob, source, f"{stem}_prob_{class_name}.nii.gz")
        elif maps:
            # classes are along the fourth axis, of pictures too
            arrays = [prob.reshape(*prob.shape, *[1] * (3 - prob.ndim)) for prob in maps.values()]
            write_nifti(np.stack(arrays, axis=-1), source, f"{stem}_prob.nii.gz")

    def _save_volume(
        self, stem: Path, source: str, geometry: dict[str, Any], mask: np.ndarray, maps: dict[str, np.ndarray]
    ) -> None:
        is_mha = source.lower().endswith((".mha", ".mhd"))
        if is_mha:
            write_mha(mask, geometry, f"{stem}_seg.mha")
        else:
            write_segmentation(mask, geometry, self.class_names, f"{stem}.seg.nrrd")
        for class_name, prob in maps.items():
            if is_mha:
                write_mha(prob, geometry, f"{stem}_prob_{class_name}.mha")
            else:
                write_nrrd(prob, geometry, f"{stem}_prob_{class_name}.nrrd")
