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

"""``monai-sscm study``: a verdict on a folder, or a fair comparison of methods."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Mapping
from functools import partial
from typing import Any

from monai_sscm.bundle import bundle_names
from monai_sscm.methods import METHODS

from .arguments import add_command, name_value_pair, positive_int

__all__ = ["add_parser", "run"]

# arguments of a study that a folder's verdict has as well
_OF_BOTH = ("output_dir", "group_pattern", "jobs", "threads")
# whose defaults are the functions' own, which differ
_WITH_DEFAULTS = ("output_dir", "threads")


def add_parser(subparsers: Any) -> None:
    """Add the command ``study``."""
    parser = add_command(
        subparsers,
        "study",
        "with FOLDER: do its unlabeled images help? the planned method against supervised training, with a verdict; "
        "else compare methods x labels x seeds of a bundle; tables and a report",
    )
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="folder of your data set, or its list (.json)")
    parser.add_argument("--hours", type=_hours, help="with FOLDER: for all trainings together; else 4")
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
        "--output_dir",
        help="folder for the results; the same command continues there; else runs/study, or runs/study_<FOLDER's name>",
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
    parser.add_argument("--threads", type=positive_int, help="threads of each; else 1, or with FOLDER all, shared")
    defaults = {action.dest: action.default for action in parser._actions}
    parser.set_defaults(func=partial(run, defaults=defaults))


def run(folder: str | None, hours: float | None, defaults: Mapping[str, Any], **arguments: Any) -> None:
    """
    Run the command, see :py:func:`monai_sscm.study.guide` and :py:func:`monai_sscm.study.study`.

    Args:
        folder: folder of the data set to give a verdict on. None: a study of a bundle's methods.
        hours: for the verdict.
        defaults: those of the arguments.
        arguments: the others.

    Raises:
        ValueError: when arguments of the one are given for the other.
    """
    values = dict(arguments.pop("values"))
    if folder is None:
        if hours is not None:
            raise ValueError("`--hours` goes with a FOLDER: `monai-sscm study FOLDER --hours 4`.")
        from monai_sscm.study import study

        given = {name: value for name, value in arguments.items() if value is not None or name not in _WITH_DEFAULTS}
        study(values=values, **given)
        return
    others = [name for name, value in arguments.items() if name not in _OF_BOTH and value != defaults[name]]
    if others:
        raise ValueError(
            f"`--{others[0]}` does not go with a FOLDER, whose methods, labels and seeds are chosen: leave it out, or "
            "name the data set by --dataset_dir and a --bundle."
        )
    from monai_sscm.study import guide

    if arguments["group_pattern"] is not None:
        values["group_pattern"] = arguments["group_pattern"]
    given = {name: arguments[name] for name in ("output_dir", "jobs", "threads")}
    given |= {} if hours is None else {"hours": hours}
    guide(folder, values=values, **given)


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours < float("inf"):
        raise ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return hours
