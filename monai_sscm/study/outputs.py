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

"""What a finished training and its evaluation have left in their folders."""

from __future__ import annotations

import csv
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

__all__ = ["read_curves", "read_images", "read_scores", "read_seconds"]

# what the report draws over time: tags of TensorBoard's scalars
_CURVES = ("mean_iou", "pseudo_weight", "pseudo_agreement_*", "discriminator_accuracy", "judged_labeled_*")


def read_scores(path: Path) -> dict[str, float]:
    """Read ``metrics.csv``: a score by its name, without those that are not a number."""
    with open(path, newline="") as file:
        scores = {row[0]: round(float(row[1]), 5) for row in csv.reader(file)}
    return {name: score for name, score in scores.items() if score == score}  # nan is no JSON


def read_images(path: Path) -> dict[str, list[list[int]]]:
    """Read ``images.csv``: the confusion matrix of every image, by the image's name."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    names = [key.removeprefix("iou_") for key in rows[0] if key.startswith("iou_")]
    return {row["image"]: [[int(row[f"{a}_as_{b}"]) for b in names] for a in names] for row in rows}


def read_curves(folder: Path) -> dict[str, list[list[float]]]:
    """Read TensorBoard's scalars: pairs of step and value, some 30 of each, by name."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    curves = {}
    for tag in events.Tags()["scalars"]:
        if any(tag.startswith(name[:-1]) if name.endswith("*") else tag == name for name in _CURVES):
            points = {event.step: event.value for event in events.Scalars(tag)}
            every = max(1, len(points) // 30)
            steps = sorted(points)[every - 1 :: every]
            curves[tag] = [[step, round(points[step], 4)] for step in steps if points[step] == points[step]]
    return curves


def read_seconds(path: Path) -> float:
    """Read the seconds that a training took: the sum of a line for each start."""
    return sum(float(line) for line in path.read_text().splitlines())
