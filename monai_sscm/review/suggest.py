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


"""What to label next: the unlabeled images of a training that would help most."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from monai_sscm.data.listing import first_file
from monai_sscm.io.files import image_suffix
from monai_sscm.io.writing import write_picture, write_table

from .choice import choose
from .run import MASK_ENDINGS, TrainingRun, find_mask, read_run

__all__ = ["Suggestion", "contact_sheet", "copy_for_annotation", "suggest"]

_logger = logging.getLogger(__name__)
_THUMBNAIL, _COLUMNS = 240, 5


@dataclass(frozen=True)
class Suggestion:
    """
    An image that should be labeled.

    Args:
        item: the image, as :py:meth:`TrainingRun.images` gives it.
        agreement: of the network's views upon its mask; nan where no class was found.
        distance: how unlike the labeled images, and those suggested before, it is; 1 as the mean unlabeled image is.
        score: what it was chosen by.
    """

    item: Mapping[str, Any]
    agreement: float
    distance: float
    score: float


def suggest(
    folder: str | Path,
    number: int = 5,
    among: int = 300,
    copy_to: str | Path | None = None,
    values: Mapping[str, Any] | None = None,
    datalist: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> list[Suggestion]:
    """
    Find the unlabeled images of a training that would help most when they are labeled: those on whose masks the
    network's views agree least, and that are most unlike the labeled ones and each other in its deepest features.

    Writes ``suggestions.csv`` and ``suggestions.png``, the images under their masks, into the training's folder.

    Args:
        folder: folder of a finished training.
        number: how many images; of different patients, as long as there are any.
        among: how many unlabeled images are looked at, drawn at random where there are more.
        copy_to: folder, which must not exist, that gets them with the network's masks, to be corrected. None: none.
        values: further values of ``inference.yaml``.
        datalist: images that a host has, by ``labeled`` and ``unlabeled``, in place of those of the training.

    Returns:
        the suggestions, the first first.

    Raises:
        ValueError: when the folder is no finished training, or there are no unlabeled images.
        FileExistsError: when ``copy_to`` exists.
        SystemExit: with status 1 when an image was left out, after the others are suggested.
    """
    run = read_run(folder, datalist)
    if copy_to is not None and Path(copy_to).exists():
        raise FileExistsError(f"{str(copy_to)!r} exists: choose a folder that does not.")
    images = run.images("labeled", "unlabeled")
    known, free = ([i for i in images if i["part"] == part] for part in ("labeled", "unlabeled"))
    if not free:
        raise ValueError(
            f"The training in {str(folder)!r} has no images without masks to choose from: train with some, see "
            "`monai-sscm train --help`."
        )
    if len(free) > among:
        _logger.info(f"Looking at {among} of {len(free)} unlabeled images, drawn at random.")
        drawn = np.random.RandomState(0).permutation(len(free))[:among]
        free = [free[i] for i in sorted(drawn)]
    with tempfile.TemporaryDirectory() as masks:
        features, agreement, finish = _look(run, [*known, *free], masks, values or {})
        seen = [item for item in free if item["name"] in features]
        learned = [features[item["name"]] for item in known if item["name"] in features]
        if not seen or not learned:
            finish()
        choice = choose(
            np.stack([features[item["name"]] for item in seen]),
            np.stack(learned),
            [agreement[item["name"]] for item in seen],
            [str(item.get("group", item["name"])) for item in seen],
            number,
        )
        found = [Suggestion(seen[i], agreement[seen[i]["name"]], *scores) for i, *scores in choice]
        _write(found, run.root, masks)
        if copy_to is not None:
            copy_for_annotation([suggestion.item for suggestion in found], masks, copy_to)
    finish()
    return found


def _look(
    run: TrainingRun, images: Sequence[Mapping[str, Any]], masks: str, values: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, float], Any]:
    """Features and agreement by the names of the images, and the function that names those that were left out."""
    values = {**values, "output_dir": masks, "quality": True, "save_overlays": True}
    # features first: the others run the network again
    values["features"] = {"_target_": "monai_sscm.handlers.ImageFeatures", "network": "@network"}
    values["judges"] = "$[@features, @views, @quality_writer]"
    with run.inference(images, **values) as workflow:
        workflow.initialize()
        features, writer = (workflow.parser.get_parsed_content(name) for name in ("features", "quality_writer"))
        with contextlib.redirect_stdout(io.StringIO()):
            workflow.run()
        agreement = {row["case"]: row["agreement"] for row in writer.rows()}
        return {name: x.numpy() for name, x in features.by_name.items()}, agreement, workflow.finalize


def _write(found: Sequence[Suggestion], folder: Path, masks: str) -> None:
    rows = [
        {
            "rank": rank,
            "case": suggestion.item["name"],
            "patient": suggestion.item.get("group", ""),
            "agreement": "" if math.isnan(suggestion.agreement) else f"{suggestion.agreement:.4f}",
            "distance": f"{suggestion.distance:.4f}",
            "score": f"{suggestion.score:.4f}",
            "image": first_file(suggestion.item["image"]),
        }
        for rank, suggestion in enumerate(found, start=1)
    ]
    write_table(rows, folder / "suggestions.csv")
    overlays = [Path(masks) / f"{row['case']}_overlay.png" for row in rows]
    titles = [f"{row['rank']}  {Path(str(row['case'])).name}" for row in rows]
    write_picture(contact_sheet(overlays, titles), folder / "suggestions.png")


def contact_sheet(pictures: Sequence[Path], titles: Sequence[str]) -> Image.Image:
    """
    Thumbnails in rows, each with its title.

    Args:
        pictures: files of pictures.
        titles: of each.
    """
    rows, height = math.ceil(len(pictures) / _COLUMNS), _THUMBNAIL + 20
    sheet = Image.new("RGB", (_THUMBNAIL * min(len(pictures), _COLUMNS), height * rows))
    draw = ImageDraw.Draw(sheet)
    for i, (path, title) in enumerate(zip(pictures, titles, strict=True)):
        left, top = _THUMBNAIL * (i % _COLUMNS), height * (i // _COLUMNS)
        with Image.open(path) as picture:
            scale = (_THUMBNAIL - 4) / max(picture.size)
            size = [max(1, round(n * scale)) for n in picture.size]
            sheet.paste(picture.resize((size[0], size[1])), (left + 2, top + 18))
        draw.text((left + 4, top + 3), title[:36], fill="white")
    return sheet


def copy_for_annotation(images: Sequence[Mapping[str, Any]], masks: str | Path, folder: str | Path) -> None:
    """
    Lay images and masks out for an annotation tool: ``images/``, ``labels/`` with masks of the same name in the
    format and on the grid of each image, and ``labels.txt``, which names the classes for ITK-SNAP. Images in several
    files, one a channel, are laid out as by nnU-Net, ``imagesTr/case_0000.nii.gz`` and ``labelsTr/``.

    When the masks are corrected, the folder is a data set of its own, and its files can be moved into another.

    Args:
        images: as :py:meth:`TrainingRun.images` gives them.
        masks: folder of their masks.
        folder: the folder, which must not exist; it appears whole.

    Raises:
        OSError: when it cannot be written.
    """
    folder = Path(folder)
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a command that was killed
    several = any(not isinstance(item["image"], str) for item in images)
    image_folder, label_folder = (
        part / name for name in (("imagesTr", "labelsTr") if several else ("images", "labels"))
    )
    try:
        for path in (image_folder, label_folder):
            path.mkdir(parents=True)
        for item in images:
            name = item["name"].replace("/", "_").replace(os.sep, "_")
            files = [item["image"]] if isinstance(item["image"], str) else list(item["image"])
            for channel, file in enumerate(files):
                behind = f"_{channel:04}" if several else ""
                target = image_folder / f"{name}{behind}{image_suffix(file)}"
                (shutil.copytree if os.path.isdir(file) else shutil.copyfile)(file, target)
            mask = find_mask(masks, item["name"])
            ending = next(ending for ending in MASK_ENDINGS if mask.name.endswith(ending))
            shutil.copyfile(mask, label_folder / f"{name}{ending.removeprefix('_seg')}")
        shutil.copyfile(Path(masks) / "labels.txt", part / "labels.txt")
        part.rename(folder)
    except OSError as e:
        shutil.rmtree(part, ignore_errors=True)
        raise OSError(f"{str(folder)!r} cannot be written ({e.strerror or e}): choose another folder.") from e
