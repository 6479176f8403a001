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

"""Command line: ``python -m monai_sscm --help``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from monai_sscm.bundle import bundle_names, copy_bundle, find_bundle
from monai_sscm.data import CHASE_DB1_URL, prepare_chase_db1, write_chest_phantoms, write_vessel_phantoms
from monai_sscm.demo import demo
from monai_sscm.errors import plain_errors
from monai_sscm.study import METHODS, study


def parser() -> argparse.ArgumentParser:
    """The commands and what they take."""
    top = argparse.ArgumentParser("python -m monai_sscm", description="Semi-supervised segmentation for MONAI.")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )

    p = command("demo", "train two methods for a few minutes, and show a table and a picture")
    p.add_argument(
        "--dataset_dir", help="folder of CHASE_DB1, or of photographs laid out like it; else procedural images"
    )
    p.add_argument("--output_dir", default="runs/demo", help="folder for the results")
    p.add_argument("--max_epochs", type=_positive, default=6, help="epochs of 50 steps for each method")

    p = command("study", "compare methods fairly: train and score methods x labels x seeds; tables and a report")
    p.add_argument(
        "--bundle", default="chase_vessel_segmentation", choices=bundle_names(), help="whose configurations are run"
    )
    p.add_argument("--dataset_dir", help="folder of the data set; else procedural images and few steps, as a trial")
    p.add_argument("--output_dir", default="runs/study", help="folder for the results; the same again goes on there")
    p.add_argument("--methods", nargs="+", metavar="METHOD", help=f"of {', '.join(METHODS)}; else all")
    p.add_argument("--methods_file", help="YAML file with more methods: title, configs and values by name")
    p.add_argument("--num_labeled", nargs="+", type=_positive, default=[2], metavar="N", help="label budgets")
    p.add_argument(
        "--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED", help="each draws a labelled list and weights"
    )
    p.add_argument("--part", choices=["val", "test"], default="test", help="images that are scored")
    p.add_argument("--values", nargs="+", type=_pair, default=[], metavar="NAME=VALUE", help="of train.yaml, for all")
    p.add_argument("--group_pattern", help="what of a file name says which patient an image is of: '(p[0-9]+)_'")
    p.add_argument("--reference", default="supmix_sufd", help="method that the others are compared with")
    p.add_argument("--jobs", type=_positive, default=1, help="trainings at a time")
    p.add_argument("--threads", type=_positive, default=1, help="threads of each")

    p = command("prepare", "bring a public data set into the folders that a bundle reads, and check it")
    p.add_argument("dataset", choices=["chase_db1"])
    p.add_argument(
        "--from", dest="source", metavar="ZIP_OR_FOLDER", help="what you have already; else it is downloaded"
    )
    p.add_argument("--output_dir", default="data/chase_db1", help="folder to write to")
    p.add_argument("--url", default=CHASE_DB1_URL, help="where it is downloaded from")

    p = command("bundle", "print the folder of a shipped bundle, or copy it to change it")
    p.add_argument("name", choices=bundle_names())
    p.add_argument("--to", metavar="FOLDER", help="folder that becomes the copy")

    p = command("phantoms", "write procedural fundus photographs or chest CT with exact masks, to try things out")
    p.add_argument("output_dir", help="folder to write to")
    p.add_argument("--kind", choices=["vessel", "chest"], default="vessel", help="photographs, or CT scans")
    p.add_argument("--num_train", type=int, default=12, help="images for training")
    p.add_argument("--num_val", type=int, default=2, help="images for validation")
    p.add_argument("--num_test", type=int, default=2, help="images for testing")
    p.add_argument("--size", type=int, default=256, help="height and width in pixels")
    p.add_argument("--seed", type=int, default=0, help="seed of the first image")
    return top


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return int(text)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, got {text!r}")
    return name, value


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Run one of the commands.

    Args:
        arguments: what would be typed; None takes what was.
    """
    values = vars(parser().parse_args(arguments))
    name = values.pop("command")
    if name == "demo":
        demo(**values)
    elif name == "study":
        values["values"] = dict(values["values"])
        study(**values)
    elif name == "prepare":
        values.pop("dataset")
        print(prepare_chase_db1(**values))
    elif name == "bundle":
        print(find_bundle(values["name"]) if values["to"] is None else copy_bundle(values["name"], values["to"]))
    elif values.pop("kind") == "chest":
        write_chest_phantoms(**values)
    else:
        write_vessel_phantoms(**values)


if __name__ == "__main__":
    plain_errors()
    main()
