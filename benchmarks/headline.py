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
Both data sets of the study in one table: SupMix + SUFD minus every other method, and the average over the sets.

    python benchmarks/headline.py

Reads ``results/study_chase`` and ``results/study_covid19_ct``, the lower label budget, and writes the bar chart
``methods.png`` beside each. The interval of an average is that of the averaged replicates of both sets' bootstraps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from monai_sscm.study import METHODS, Difference, bar_chart, difference

RESULTS = Path(__file__).parent / "results"
LOWER_BUDGET = {"study_chase": 2, "study_covid19_ct": 8}
OURS = "supmix_sufd"


def minus(rows: list[Mapping[str, Any]], other: str, num_labeled: int) -> Difference | None:
    """Ours minus another method at the lower budget; full supervision has a budget of its own."""
    budgets = {row["num_labeled"] for row in rows if row["method"] == other}
    budget = num_labeled if num_labeled in budgets else max(budgets, default=num_labeled)
    return difference(rows, OURS, other, num_labeled, budget)


def average(differences: list[Difference]) -> tuple[float, float, float]:
    """Mean over data sets of the differences, and the 95 % interval of it."""
    low, high = np.quantile(np.mean([d.replicates for d in differences], axis=0), [0.025, 0.975])
    return float(np.mean([d.mean for d in differences])), float(low), float(high)


def vessel_iou(rows: list[Mapping[str, Any]], method: str) -> float:
    """Mean over seeds at the smallest budget that the method has."""
    smallest = min(row["num_labeled"] for row in rows if row["method"] == method)
    found = [row["last"]["iou_vessel"] for row in rows if (row["method"], row["num_labeled"]) == (method, smallest)]
    return float(np.mean(found))


def main() -> None:
    sets = {}
    for name in LOWER_BUDGET:
        with open(RESULTS / name / "results.jsonl") as file:
            sets[name] = [json.loads(line) for line in file]
        bar_chart(sets[name], LOWER_BUDGET[name]).savefig(RESULTS / name / "methods.png", dpi=150)
    print("| SupMix + SUFD minus | CHASE_DB1 | COVID-19 CT | average | 95 % interval |\n|---|---|---|---|---|")
    for other in METHODS:
        found = [minus(rows, other, LOWER_BUDGET[name]) for name, rows in sets.items()] if other != OURS else [None]
        if None not in found:
            mean, low, high = average(found)
            of_set = " | ".join(f"{d.mean:+.2f}" for d in found)
            print(f"| {METHODS[other].title} | {of_set} | {mean:+.2f} | {low:+.2f} to {high:+.2f} |")
    chase = sets["study_chase"]
    if any(row["method"] == "full_supervision" for row in chase):
        ours, full = vessel_iou(chase, OURS), vessel_iou(chase, "full_supervision")
        print(
            f"\nVessel IoU with 2 labels: {100 * ours:.1f}, {ours / full:.1%} of full supervision's {100 * full:.1f}."
        )


if __name__ == "__main__":
    main()
