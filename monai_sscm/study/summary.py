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

"""What the results of a study say: means, spreads and paired differences, in tables."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .differences import differences
from .methods import METHODS, Methods, Rows
from .tables import markdown_table

__all__ = ["difference_table", "score_table", "scores", "write_summary"]

#: titles of the columns, and the rows
Table = tuple[list[str], list[list[str]]]


def scores(rows: Rows, methods: Methods = METHODS) -> list[dict[str, Any]]:
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
        best = [100 * r["best"]["mean_iou"] for r in runs if "best" in r]
        line["best_mean_iou"] = float(np.mean(best)) if len(best) == len(runs) else None
        line["num_validation"] = runs[0]["num_validation"]
        line["minutes"] = float(np.mean([r["seconds"] for r in runs])) / 60
        memory = [r["peak_memory_mb"] for r in runs if r["peak_memory_mb"]]
        line["peak_memory_mb"] = max(memory, default=None)
        lines.append(line)
    return lines


def write_summary(rows: Rows, output_dir: str | Path, method: str = "supmix_sufd", methods: Methods = METHODS) -> str:
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
            costs = [r["best"]["mean_iou"] if "best" in r else "", r["seconds"], r["peak_memory_mb"]]
            writer.writerow([r["method"], r["num_labeled"], r["seed"], *values, *costs])
    tables = (score_table(scores(rows, methods)), difference_table(rows, method, methods))
    text = "\n\n".join(markdown_table(*table) for table in tables) + "\n"
    (Path(output_dir) / "summary.md").write_text(text, "utf-8")
    return text


def score_table(lines: Sequence[Mapping[str, Any]]) -> Table:
    """
    The means as a table.

    Args:
        lines: what :py:func:`scores` returned.

    Returns:
        titles of the columns, and the rows.
    """
    keys = dict.fromkeys(key for line in lines for key in line)
    names = [key[4:] for key in keys if key.startswith("iou_") and "background" not in key]
    of_class = {f"{kind.lower()}_{name}": f"{name} {kind}" for name in names for kind in ("IoU", "Dice")}
    of_class = {key: title for key, title in of_class.items() if key in keys}
    best = [f"best on validation (+{lines[0]['num_validation']} labels)"]
    best = best if any(line["best_mean_iou"] is not None for line in lines) else []
    header = ["method", "labels", "seeds", "mIoU", *of_class.values(), "each seed", *best, "minutes"]
    rows = []
    for line in lines:
        means = [_with_spread(line[key]) if key in line else "" for key in ("mean_iou", *of_class)]
        each_seed = ", ".join(f"{x:.1f}" for x in line["each_seed"])
        row = [line["title"], str(line["num_labeled"]), ", ".join(map(str, line["seeds"])), *means, each_seed]
        if best:
            row.append("" if line["best_mean_iou"] is None else f"{line['best_mean_iou']:.1f}")
        rows.append([*row, f"{line['minutes']:.1f}"])
    return header, rows


def difference_table(rows: Rows, method: str, methods: Methods) -> Table:
    """
    The paired differences as a table.

    Args:
        rows: results of a study.
        method: what every other method is compared with.
        methods: the methods.

    Returns:
        titles of the columns, and the rows.
    """
    title = methods[method].title if method in methods else method
    lines = []
    for d in differences(rows, method, methods):
        interval = d.too_few or "{:+.2f} to {:+.2f}".format(*d.interval)
        each_seed = ", ".join(f"{x:+.1f}" for x in d.of_seed.values())
        lines.append([methods[d.other].title, str(d.num_labeled), f"{d.mean:+.2f}", interval, each_seed])
    return [f"{title} minus", "labels", "mIoU", "95 % interval", "each seed"], lines


def _with_spread(pair: tuple[float, float]) -> str:
    mean, spread = pair
    return f"{mean:.1f}" if spread != spread else f"{mean:.1f} ± {spread:.1f}"
