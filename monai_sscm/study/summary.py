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

"""What the results of a study say: means, paired differences and how sure they are."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from monai_sscm.handlers import iou_per_class

from .methods import METHODS, Method

__all__ = ["Difference", "difference", "mean_iou", "write_summary"]

_REPLICATES = 2000


@dataclass(frozen=True)
class Difference:
    """
    How much better a method is than another, in points of mIoU, over the seeds that both have.

    The interval holds the middle 95 % of a bootstrap: in each of 2,000 replicates seeds are drawn with replacement, and
    so are patients (children, groups of slices), the same for every seed and both methods; scores are those of the
    drawn patients' summed confusion matrices. Images are never drawn by themselves: those of a patient are alike.

    Args:
        method, other: names of the methods.
        num_labeled: labels that each had.
        of_seed: difference for every seed.
        replicates: the bootstrap's differences.
    """

    method: str
    other: str
    num_labeled: int
    of_seed: Mapping[int, float]
    replicates: np.ndarray

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(list(self.of_seed.values())))

    @property
    def interval(self) -> tuple[float, float]:
        """2.5 % and 97.5 % quantile of the replicates."""
        low, high = np.quantile(self.replicates, [0.025, 0.975])
        return float(low), float(high)


def mean_iou(matrices: np.ndarray) -> float:
    """
    Mean IoU of summed confusion matrices, in percent; absent classes are left out.

    Args:
        matrices: confusion matrices of images ``(..., C, C)``, truth in rows.

    Example:
        >>> import numpy as np
        >>> from monai_sscm.study import mean_iou
        >>> round(mean_iou(np.array([[[8, 2], [0, 0]], [[8, 0], [2, 4]]])), 2)
        65.0
    """
    return float(_mean_ious(matrices.reshape(-1, *matrices.shape[-2:]).sum(0)))


def difference(
    rows: Sequence[Mapping[str, Any]],
    method: str,
    other: str,
    num_labeled: int,
    other_num_labeled: int | None = None,
) -> Difference | None:
    """
    Compare two methods, seed by seed.

    Args:
        rows: results of a study.
        method, other: names of the methods.
        num_labeled: which budget.
        other_num_labeled: the other's budget, if it differs.

    Returns:
        None where no seed has both.
    """
    budgets = {method: num_labeled, other: other_num_labeled or num_labeled}
    runs = {
        name: {r["seed"]: r["images"] for r in rows if r["method"] == name and r["num_labeled"] == budget}
        for name, budget in budgets.items()
    }
    seeds = sorted(set(runs[method]) & set(runs[other]))
    if not seeds:
        return None
    patient_of = next(r["patients"] for r in rows if r["method"] == method)
    images = sorted(patient_of)
    patients = sorted({patient_of[image] for image in images})
    # (method, seed, patient, C, C)
    matrices = np.array(
        [
            [
                [np.sum([runs[name][seed][i] for i in images if patient_of[i] == p], axis=0) for p in patients]
                for seed in seeds
            ]
            for name in (method, other)
        ]
    )
    of_seed = {seed: mean_iou(matrices[0, k]) - mean_iou(matrices[1, k]) for k, seed in enumerate(seeds)}
    random = np.random.RandomState(0)
    replicates = []
    for _ in range(_REPLICATES):
        drawn = matrices[:, :, random.randint(len(patients), size=len(patients))]
        of_drawn = _mean_ious(drawn.sum(2))
        replicates.append((of_drawn[0] - of_drawn[1])[random.randint(len(seeds), size=len(seeds))].mean())
    return Difference(method, other, num_labeled, of_seed, np.array(replicates))


def _mean_ious(matrices: np.ndarray) -> np.ndarray:
    """Mean IoU of each confusion matrix ``(..., C, C)``, in percent."""
    return 100 * iou_per_class(torch.as_tensor(matrices)).nanmean(-1).numpy()


def scores(rows: Sequence[Mapping[str, Any]], methods: Mapping[str, Method] = METHODS) -> list[dict[str, Any]]:
    """
    A line for each method and budget: seeds, and mean and standard deviation over them of every score, in percent.

    Args:
        rows: results of a study.
        methods: the methods, in whose order the lines are.
    """
    order = {name: i for i, name in enumerate(methods)}
    kinds = {(r["num_labeled"], order.get(r["method"], len(order)), r["method"]) for r in rows}
    lines = []
    for num_labeled, _, name in sorted(kinds):
        runs = sorted(
            (r for r in rows if (r["method"], r["num_labeled"]) == (name, num_labeled)), key=lambda r: r["seed"]
        )
        line: dict[str, Any] = {"method": name, "title": methods[name].title if name in methods else name}
        line |= {"num_labeled": num_labeled, "seeds": [r["seed"] for r in runs]}
        line["each_seed"] = [100 * r["last"]["mean_iou"] for r in runs]
        for key in dict.fromkeys(key for r in runs for key in r["last"]):
            factor = 1 if key.startswith("hd95") else 100  # millimetres
            values = [factor * r["last"][key] for r in runs if key in r["last"]]
            line[key] = (float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else float("nan"))
        line["best_mean_iou"] = 100 * float(np.mean([r["best"]["mean_iou"] for r in runs]))
        line["num_validation"] = runs[0]["num_validation"]
        line["minutes"] = float(np.mean([r["seconds"] for r in runs])) / 60
        memory = [r["peak_memory_mb"] for r in runs if r["peak_memory_mb"]]
        line["peak_memory_mb"] = max(memory, default=None)
        lines.append(line)
    return lines


def differences(rows: Sequence[Mapping[str, Any]], method: str, methods: Mapping[str, Method]) -> list[Difference]:
    """``method`` minus every other, at each budget; methods of a budget of their own are compared with all budgets."""
    found = []
    for num_labeled in sorted({r["num_labeled"] for r in rows if r["method"] == method}):
        for name in methods:
            own = methods[name].values.get("num_labeled")
            budgets = {r["num_labeled"] for r in rows if r["method"] == name}
            other = next(iter(budgets), None) if own is not None else num_labeled
            if name != method and other in budgets:
                compared = difference(rows, method, name, num_labeled, other)
                if compared is not None:
                    found.append(compared)
    return found


def write_summary(
    rows: Sequence[Mapping[str, Any]],
    output_dir: str | Path,
    method: str = "supmix_sufd",
    methods: Mapping[str, Method] = METHODS,
) -> str:
    """
    Write ``summary.csv`` (a line for each run) and ``summary.md`` (the tables).

    Args:
        rows: results of a study.
        output_dir: folder to write to.
        method: what every other method is compared with.
        methods: the methods.

    Returns:
        the text of ``summary.md``.
    """
    # a class that is nowhere has no score
    keys = [key for key in dict.fromkeys(key for r in rows for key in r["last"]) if "background" not in key]
    with open(Path(output_dir) / "summary.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "num_labeled", "seed", *keys, "best_mean_iou", "seconds", "peak_memory_mb"])
        for r in rows:
            values = [r["last"].get(key, "") for key in keys]
            more = [r["best"]["mean_iou"], r["seconds"], r["peak_memory_mb"]]
            writer.writerow([r["method"], r["num_labeled"], r["seed"], *values, *more])
    text = "\n\n".join([score_table(scores(rows, methods)), difference_table(rows, method, methods)]) + "\n"
    (Path(output_dir) / "summary.md").write_text(text, "utf-8")
    return text


def score_table(lines: Sequence[Mapping[str, Any]]) -> str:
    """The means as a Markdown table."""
    every = dict.fromkeys(key for line in lines for key in line)
    ious = [key for key in every if key.startswith("iou_") and "background" not in key]
    best = f"best on validation (+{lines[0]['num_validation']} labels)"
    heads = ["method", "labels", "seeds", "mIoU", *(f"{key[4:]} IoU" for key in ious), "each seed", best, "minutes"]
    table = [heads, ["---"] * len(heads)]
    for line in lines:
        cells = [_with_spread(line[key]) if key in line else "" for key in ("mean_iou", *ious)]
        each = ", ".join(f"{x:.1f}" for x in line["each_seed"])
        table.append(
            [line["title"], str(line["num_labeled"]), ", ".join(map(str, line["seeds"])), *cells, each]
            + [f"{line['best_mean_iou']:.1f}", f"{line['minutes']:.1f}"]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in table)


def difference_table(rows: Sequence[Mapping[str, Any]], method: str, methods: Mapping[str, Method]) -> str:
    """The paired differences as a Markdown table."""
    title = methods[method].title if method in methods else method
    table = [[f"{title} minus", "labels", "mIoU", "95 % interval", "each seed"], ["---"] * 5]
    for d in differences(rows, method, methods):
        low, high = d.interval
        each = ", ".join(f"{x:+.1f}" for x in d.of_seed.values())
        table.append([methods[d.other].title, str(d.num_labeled), f"{d.mean:+.2f}", f"{low:+.2f} to {high:+.2f}", each])
    return "\n".join("| " + " | ".join(row) + " |" for row in table)


def _with_spread(pair: tuple[float, float]) -> str:
    mean, spread = pair
    return f"{mean:.1f}" if spread != spread else f"{mean:.1f} ± {spread:.1f}"
