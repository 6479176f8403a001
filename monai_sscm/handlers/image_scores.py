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

"""Scores of every image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.utils import ImageMetaKey
from PIL import Image
from torch import distributed

from monai_sscm.io.files import image_name
from monai_sscm.io.writing import write_table
from monai_sscm.metrics import confusion_matrix, dice_per_class, iou_per_class

from .checkpoint import check_writable
from .overlay import overlay, shown_images, upright

__all__ = ["ImageScores", "images_to_score"]


def images_to_score(datalist: Mapping[str, Sequence[dict[str, Any]]], part: str) -> Sequence[dict[str, Any]]:
    """
    The images of a part of a data set.

    Args:
        datalist: lists by ``labeled``, ``unlabeled``, ``val`` and ``test``.
        part: ``"val"`` or ``"test"``.

    Raises:
        ValueError: when there are none.

    Example:
        >>> from monai_sscm.handlers import images_to_score
        >>> images_to_score({"val": [], "test": [{"image": "a.png", "label": "a_mask.png"}]}, "test")
        [{'image': 'a.png', 'label': 'a_mask.png'}]
    """
    if not datalist[part]:
        others = [name for name in ("val", "test") if datalist[name]]
        instead = f"set `part` to {others[0]!r}, or " if others else ""
        raise ValueError(
            f"The data set has no {part} images to score: {instead}score a folder of masks by `monai-sscm predict` "
            "and `monai-sscm evaluate`."
        )
    return datalist[part]


class ImageScores:
    """
    Handler of an evaluator: writes ``images.csv`` with a row for every image: its name, IoU and Dice of every class,
    and its confusion matrix, ``<class>_as_<class>``, the number of pixels of the first predicted as the second.

    Confusion matrices add up: the sum over some images gives their scores as a data set. A class that is neither in
    the truth nor predicted has the score nan.

    Args:
        save_dir: folder to write to, made if it is missing.
        class_names: names of the classes in the order of their indices.
        overlays: whether to write ``<image>.jpg``, see :py:func:`monai_sscm.handlers.overlay`: the image, and the image
            under the truth and under the prediction; at most 1,200 pixels wide. The image is ``shown`` of the batch,
            such as the image before normalization, where there is one.

    Raises:
        OSError: when the folder cannot be written to.
    """

    def __init__(self, save_dir: str | Path, class_names: Sequence[str], overlays: bool = False) -> None:
        self.save_dir = Path(check_writable(save_dir))
        self.class_names = tuple(class_names)
        self.overlays = overlays
        self._rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: an evaluator, whose batches are decollated; its output has ``image`` with its metadata, ``label``
                and ``pred``, logits or class indices, on one grid.
        """
        engine.add_event_handler(Events.STARTED, self._rows.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def __call__(self, engine: Any) -> None:
        """
        Args:
            engine: the evaluator.
        """
        for output, shown in zip(engine.state.output, shown_images(engine), strict=True):
            image = output["image"]
            index = image.meta.get("slice")  # of a stack, see TakeSlice
            name = image_name(image.meta[ImageMetaKey.FILENAME_OR_OBJ], None if index is None else int(index))
            label = torch.as_tensor(output["label"][0]).long()
            pred = torch.as_tensor(output["pred"])
            pred = (pred[0] if len(pred) == 1 else pred.argmax(0)).long()
            matrix = confusion_matrix(label, pred, len(self.class_names)).cpu()
            row: dict[str, Any] = {"image": name}
            for score, function in (("iou", iou_per_class), ("dice", dice_per_class)):
                row |= {f"{score}_{c}": float(x) for c, x in zip(self.class_names, function(matrix), strict=True)}
            for true, counts in zip(self.class_names, matrix.tolist(), strict=True):
                row |= {f"{true}_as_{c}": n for c, n in zip(self.class_names, counts, strict=True)}
            self._rows.append(row)
            if self.overlays:
                drawing = overlay(*upright(image if shown is None else shown, label[None], pred[None]))
                picture = Image.fromarray((drawing * 255).byte().permute(1, 2, 0).contiguous().numpy())
                picture.thumbnail((1200, 1200))
                picture.save(self.save_dir / f"{name}.jpg", quality=85)

    def _write(self) -> None:
        rows = self._rows
        if distributed.is_available() and distributed.is_initialized():
            of_ranks: list[list[dict[str, Any]]] = [[]] * distributed.get_world_size()
            distributed.all_gather_object(of_ranks, rows)
            # fewer images than processes are scored by each
            rows = list({row["image"]: row for part in of_ranks for row in part}.values())
            if distributed.get_rank() > 0:
                return
        if not rows:
            return
        write_table(rows, self.save_dir / "images.csv")
