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

"""``monai-sscm demo``: a first look at all there is."""

from __future__ import annotations

from typing import Any

from .arguments import add_command, positive_int

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the command ``demo``."""
    parser = add_command(subparsers, "demo", "train two methods for a few minutes, and show a table and a picture")
    parser.add_argument(
        "--dataset_dir", help="folder of CHASE_DB1, or of photographs laid out like it; else procedural images"
    )
    parser.add_argument("--output_dir", default="runs/demo", help="folder for the results")
    parser.add_argument("--max_epochs", type=positive_int, default=6, help="epochs of 50 steps for each method")
    parser.set_defaults(func=run)


def run(**values: Any) -> None:
    """Run the command, see :py:func:`monai_sscm.study.demo.demo`."""
    from monai_sscm.study.demo import demo

    demo(**values)
