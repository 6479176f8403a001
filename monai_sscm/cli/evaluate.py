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

"""``monai-sscm evaluate``: masks against the truth."""

from __future__ import annotations

from typing import Any

from .arguments import add_command

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the command ``evaluate``."""
    parser = add_command(subparsers, "evaluate", "score masks against true masks: Dice, IoU and HD95 of every class")
    parser.add_argument("predictions", metavar="OUT", help="folder of masks, as `predict` writes them, or one mask")
    parser.add_argument("labels", metavar="LABELS", help="folder of true masks or of a data set, or one mask")
    parser.add_argument("--part", choices=("train", "val", "test"), help="the part of the data set that was predicted")
    parser.add_argument("--within", metavar="MASKS", help="fields of view: pixels outside them do not count")
    parser.add_argument("--class_names", metavar="NAMES", help="background,vessel and so on; else those of labels.txt")
    parser.add_argument("--ignore_index", type=int, help="value in true masks of pixels that do not count, such as 255")
    parser.add_argument("--output_dir", help="folder for metrics.csv; else that of the masks")
    parser.set_defaults(func=run)


def run(
    predictions: str,
    labels: str,
    part: str | None,
    within: str | None,
    class_names: str | None,
    ignore_index: int | None,
    output_dir: str | None,
) -> None:
    """Run the command, see :py:func:`monai_sscm.evaluation.evaluate_masks`."""
    from monai_sscm.evaluation import evaluate_masks
    from monai_sscm.options import OPTIONS

    names = None if class_names is None else OPTIONS["class_names"]("class_names", class_names)
    scores = evaluate_masks(predictions, labels, within, names, ignore_index, part)
    path = scores.write(output_dir)
    print(f"{scores.table()}\nScores of every case are in {str(path)!r}.")
