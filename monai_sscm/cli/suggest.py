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

"""``monai-sscm suggest``: which images to label next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from .arguments import add_command, positive_int

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the command ``suggest``."""
    parser = add_command(
        subparsers,
        "suggest",
        "name the unlabeled images of a training that would help most when they are labeled",
        "any value of inference.yaml, such as --device cpu",
    )
    parser.add_argument("run_dir", metavar="RUN", help="folder of a finished training")
    parser.add_argument("--number", type=positive_int, default=5, help="how many images")
    parser.add_argument(
        "--among", type=positive_int, default=300, help="how many are looked at, drawn at random from more"
    )
    parser.add_argument("--copy_to", metavar="FOLDER", help="new folder for them, with masks to correct")
    parser.set_defaults(func=run)


def run(run_dir: str, number: int, among: int, copy_to: str | None, options: Mapping[str, str]) -> None:
    """
    Run the command, see :py:func:`monai_sscm.review.suggest`.

    Args:
        run_dir: folder of a finished training.
        number: how many images.
        among: how many are looked at.
        copy_to: folder for them. None: none.
        options: values of inference.yaml, as text.
    """
    from monai_sscm.metrics import text_table
    from monai_sscm.review import suggest

    found = suggest(run_dir, number, among, copy_to, options)
    rows = [["", "image", "agreement", "unlike the others"]]
    rows += [[str(i), s.item["name"], f"{s.agreement:.3f}", f"{s.distance:.2f}"] for i, s in enumerate(found, 1)]
    print(text_table(rows))
    print(f"Label these next. They are in {run_dir}/suggestions.csv, and drawn in {run_dir}/suggestions.png.")
    if copy_to is None:
        print(f"With masks to correct: monai-sscm suggest {shlex.quote(run_dir)} --number {number} --copy_to to_label")
    else:
        print(f"Correct the masks in {copy_to!r}, and move its files into those of the data set; then train anew.")
