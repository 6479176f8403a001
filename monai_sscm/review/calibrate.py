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


"""How Dice follows from agreement for the network of a training, found on its validation images."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_sscm.errors import one_line, root_cause
from monai_sscm.evaluation import evaluate_masks
from monai_sscm.handlers import read_calibration, write_calibration
from monai_sscm.metrics import Calibration, fit_calibration
from monai_sscm.metrics.calibration import FEWEST_IMAGES

from .run import TrainingRun, find_mask, read_run

__all__ = ["agreement_and_dice", "calibrate"]

_MOST_IMAGES = 40  # a line needs no more
_logger = logging.getLogger(__name__)


def calibrate(folder: str | Path) -> Calibration | str:
    """
    Find how Dice follows from agreement, once for the weights of a training, and keep it beside them.

    Its validation images are segmented and scored: the network did not learn from their masks, as it did from those of
    the labeled images, on which every view agrees.

    Args:
        folder: folder of a finished training.

    Returns:
        the line, or why there is none.
    """
    weights = Path(folder) / "models" / "model.pt"
    known = read_calibration(weights)
    if known is not None:
        return known
    try:
        run = read_run(folder)
    except (ValueError, OSError, RuntimeError) as e:  # MONAI makes the last of any
        return f"the images of its training cannot be listed ({one_line(root_cause(e), 200)})"
    images = run.images("val")
    if len(images) > _MOST_IMAGES:
        chosen = np.random.RandomState(0).permutation(len(images))[:_MOST_IMAGES]
        images = [images[i] for i in sorted(chosen)]
    agreement = dice = [0.0] * len(images)  # too few to look at
    if len(images) >= FEWEST_IMAGES:
        _logger.info(
            f"Comparing agreement and Dice on {len(images)} validation images, once, to say how good masks are."
        )
        agreement, dice = agreement_and_dice(run, images)
    found = fit_calibration(agreement, dice)
    with contextlib.suppress(OSError):  # a folder that cannot be written to: it is found anew each time
        write_calibration(found, weights)
    return found


def agreement_and_dice(run: TrainingRun, images: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    """
    How well the views agree upon images with true masks, and the Dice of the masks, both as means over the classes.

    Args:
        run: the training.
        images: with ``label``, as :py:meth:`TrainingRun.images` gives them.

    Returns:
        both in the order of the images; nan where there is no class.
    """
    with tempfile.TemporaryDirectory() as folder:
        with run.inference(images, output_dir=folder, quality=True, save_overlays=True) as workflow:
            workflow.initialize()
            with contextlib.redirect_stdout(io.StringIO()):
                workflow.run()
            writer = workflow.parser.get_parsed_content("quality_writer")
        names, ignored = writer.class_names, run.config.get("ignore_index")
        agreement = {row["case"]: row["agreement"] for row in writer.rows()}
        dice = []
        for item in images:
            if item["name"] not in agreement:  # it could not be read
                dice.append(math.nan)
                continue
            scores = evaluate_masks(find_mask(folder, item["name"]), item["label"], None, names, ignored).rows()
            known = [row["dice"] for row in scores if not math.isnan(row["dice"])]
            dice.append(sum(known) / len(known) if known else math.nan)
    return [agreement.get(item["name"], math.nan) for item in images], dice
