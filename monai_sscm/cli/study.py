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

"""``monai-sscm study``: a fair comparison of methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai_sscm.bundle import bundle_names
from monai_sscm.methods import METHODS

from .arguments import add_command, name_value_pair, positive_int

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the command ``study``."""
    parser = add_command(
        subparsers, "study", "compare methods fairly: train and score methods x labels x seeds; tables and a report"
    )
    parser.add_argument(
        "--bundle",
        default="chase_vessel_segmentation",
        metavar="NAME_OR_FOLDER",
        help=f"whose configurations are run: {', '.join(bundle_names())}, or the folder of a copied bundle",
    )
    parser.add_argument(
        "--dataset_dir", help="folder of the data set; else procedural images and few steps, as a trial"
    )
    parser.add_argument(
        "--output_dir", default="runs/study", help="folder for the results; the same command continues there"
    )
    parser.add_argument(
        "--methods", nargs="+", metavar="METHOD", help=f"of {', '.join(METHODS)}, full_supervision; else all"
    )
    parser.add_argument("--methods_file", help="YAML file with more methods: title and values by name")
    parser.add_argument("--num_labeled", nargs="+", type=positive_int, default=[2], metavar="N", help="label budgets")
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED", help="each draws a labeled list and weights"
    )
    parser.add_argument("--part", choices=["val", "test"], default="test", help="images that are scored")
    parser.add_argument(
        "--values",
        nargs="+",
        type=name_value_pair,
        default=[],
        metavar="NAME=VALUE",
        help="values of train.yaml for all runs",
    )
    parser.add_argument(
        "--group_pattern",
        help="regular expression, matched at the start of each image's name, whose first group is the patient: "
        "'(p[0-9]+)_'; must fit all names",
    )
    parser.add_argument("--reference", default="supmix_sufd", help="method that the others are compared with")
    parser.add_argument("--jobs", type=positive_int, default=1, help="trainings at a time")
    parser.add_argument("--threads", type=positive_int, default=1, help="threads of each")
    parser.set_defaults(func=run)


def run(values: Sequence[tuple[str, str]], **arguments: Any) -> None:
    """Run the command, see :py:func:`monai_sscm.study.study`."""
    from monai_sscm.study import study

    study(values=dict(values), **arguments)
