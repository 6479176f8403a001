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

"""
A trained network beside two people: its vessels against the masks of both observers of CHASE_DB1, and theirs.

    python benchmarks/observers.py --dataset_dir data/chase_db1 --checkpoint runs/.../models/model.pt --part val

The network learned from the first observer's masks alone; the second observer's agreement with the first is the figure
to hold it against. All at native size, from one confusion matrix over the part's photographs. ``--part test`` is for
the study's networks, once.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from monai_sscm.bundle import find_bundle
from monai_sscm.datasets import chase_db1_datalist
from monai_sscm.metrics import confusion_matrix, dice_per_class, iou_per_class
from monai_sscm.study import markdown_table

OBSERVERS = {"observer 1": "labels", "observer 2": "labels_2nd_observer"}


def as_observer(dataset_dir: Path, labels: str, folder: Path) -> Path:
    """The data set with the masks of one observer, as links."""
    folder.mkdir()
    (folder / "images").symlink_to(dataset_dir / "images")
    (folder / "labels").symlink_to(dataset_dir / labels)
    if (dataset_dir / "split.json").is_file():
        (folder / "split.json").symlink_to(dataset_dir / "split.json")
    return folder


def of_network(dataset_dir: Path, checkpoint: str, part: str, values: list[str]) -> tuple[float, float, float]:
    """Mean IoU, vessel IoU and vessel Dice of a checkpoint, by the bundle's own evaluation."""
    configs = Path(find_bundle("chase_vessel_segmentation")) / "configs"
    files = [str(configs / f"{name}.yaml") for name in ("train", "evaluate")]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(files)]
    scores = dataset_dir / "scores"
    given = {"dataset_dir": dataset_dir, "checkpoint": checkpoint, "part": part, "evaluation_dir": scores}
    for key, value in [*given.items(), *(item.split("=", 1) for item in values)]:
        command += [f"--{key}", str(value)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=dataset_dir)
    with open(scores / "metrics.csv") as file:
        found = {row[0]: float(row[1]) for row in csv.reader(file)}
    return found["mean_iou"], found["iou_vessel"], found["dice_vessel"]


def of_people(first: list[str], second: list[str]) -> tuple[float, float, float]:
    """The same of the second observer's masks against the first's."""
    masks = [np.concatenate([np.asarray(Image.open(path)).ravel() > 0 for path in paths]) for paths in (first, second)]
    matrix = confusion_matrix(*(torch.as_tensor(mask.astype(np.int64)) for mask in masks), num_classes=2)
    iou = iou_per_class(matrix)
    return float(iou.mean()), float(iou[1]), float(dice_per_class(matrix)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", type=Path, default="data/chase_db1")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--part", choices=["val", "test"], default="val")
    parser.add_argument("--values", nargs="*", default=[], metavar="NAME=VALUE", help="such as zoom=1.0")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folders = {
            who: as_observer(args.dataset_dir.resolve(), labels, Path(temporary) / labels)
            for who, labels in OBSERVERS.items()
        }
        rows = {
            f"network against {who}": of_network(folder, str(args.checkpoint.resolve()), args.part, args.values)
            for who, folder in folders.items()
        }
        masks = [[item["label"] for item in chase_db1_datalist(folder)[args.part]] for folder in folders.values()]
        rows["observer 2 against observer 1"] = of_people(*masks)
    lines = [[name, *(f"{100 * x:.1f}" for x in scores)] for name, scores in rows.items()]
    print(markdown_table(["", "mIoU", "vessel IoU", "vessel Dice"], lines))


if __name__ == "__main__":
    main()
