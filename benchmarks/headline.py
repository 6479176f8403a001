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
Both data sets of the study, at the lower label budget: scores of every method, and SupMix + SUFD minus every other.

    python benchmarks/headline.py

Reads ``results/study_chase`` and ``results/study_covid19_ct``, as far as they have come. The interval of an average
over the sets is of the averaged replicates of both bootstraps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from monai_sscm.study import METHODS, markdown_table
from monai_sscm.study.differences import differences
from monai_sscm.study.summary import scores

RESULTS = Path(__file__).parent / "results"
LOWER_BUDGET = {"study_chase": 2, "study_covid19_ct": 8}
TITLES = {"study_chase": "CHASE_DB1", "study_covid19_ct": "COVID-19 CT"}
IOUS = {"study_chase": ["vessel"], "study_covid19_ct": ["ground-glass", "consolidation"]}
OURS = "supmix_sufd"


def score_table(sets: Mapping[str, list[dict[str, Any]]]) -> str:
    """A row for each method: mIoU and IoU of the classes, means over the seeds, and mIoU of each seed, of both sets."""
    lines = {name: {line["method"]: line for line in scores(results)} for name, results in sets.items()}
    heads = ["method", *(h for n in sets for h in (f"{TITLES[n]}: mIoU", *(f"{c} IoU" for c in IOUS[n]), "each seed"))]
    rows = []
    for method in METHODS:
        cells = [METHODS[method].title]
        for name in sets:
            line = lines[name].get(method)
            keys = ["mean_iou", *(f"iou_{c}" for c in IOUS[name])]
            cells += [f"{line[key][0]:.1f}" if line else "" for key in keys]
            cells.append(", ".join(f"{x:.1f}" for x in line["each_seed"]) if line else "")
        if any(cells[1:]):
            rows.append(cells)
    return markdown_table(heads, rows)


def difference_table(sets: Mapping[str, list[dict[str, Any]]]) -> str:
    """A row for each other method that both sets have: ours minus it in each set, the average and its interval."""
    lines = []
    of_set = [{d.other: d for d in differences(rows, OURS, METHODS)} for rows in sets.values()]
    for other in METHODS:
        found = [by_other[other] for by_other in of_set if other in by_other]
        if len(found) == len(sets):
            # each set's replicates are drawn with the same random numbers: in another order they are independent
            replicates = [np.random.RandomState(k).permutation(d.replicates) for k, d in enumerate(found)]
            low, high = np.quantile(np.mean(replicates, axis=0), [0.025, 0.975])
            mean = np.mean([d.mean for d in found])
            cells = [f"{d.mean:+.2f}" for d in found] + [f"{mean:+.2f}", f"{low:+.2f} to {high:+.2f}"]
            lines.append([METHODS[other].title, *cells])
    return markdown_table(["SupMix + SUFD minus", *TITLES.values(), "average", "95 % interval"], lines)


def read_sets() -> dict[str, list[dict[str, Any]]]:
    """The rows of each data set at its lower budget, as far as they have come."""
    sets = {}
    for name, budget in LOWER_BUDGET.items():
        if (RESULTS / name / "results.jsonl").is_file():
            with open(RESULTS / name / "results.jsonl") as file:
                rows = [json.loads(line) for line in file]
            # full supervision has a budget of its own
            sets[name] = [r for r in rows if r["num_labeled"] == budget or "num_labeled" in METHODS[r["method"]].values]
    return sets


def main() -> None:
    sets = read_sets()
    print(score_table(sets))
    if len(sets) == len(LOWER_BUDGET):
        print(f"\n{difference_table(sets)}")


if __name__ == "__main__":
    main()
