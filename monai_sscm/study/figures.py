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

"""Figures of a study: bars, label efficiency and curves over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .methods import METHODS, Methods, Rows
from .summary import scores

__all__ = ["bar_chart", "curves", "has_own_budget", "label_efficiency"]

_LEAST_WIDTH = 10  # of an axis in points of mIoU: what is less than the noise must look like little
_CURVES = {
    "mean_iou": "validation mIoU of the teacher",
    "pseudo_weight": "mean weight of the pseudo-labels",
    "pseudo_agreement_{rare}": "student and pseudo-label agree, {rare}",
    "discriminator_accuracy": "accuracy of the discriminator",
    "judged_labeled_held_out": "held-out patches that it takes for labeled",
}


def bar_chart(rows: Rows, num_labeled: int, methods: Methods = METHODS) -> Figure:
    """
    Mean mIoU of every method at a budget, with every seed as a dot.

    Args:
        rows: results of a study.
        num_labeled: the budget; methods with a budget of their own are shown too.
        methods: the methods.
    """
    lines = [
        line
        for line in scores(rows, methods)
        if line["num_labeled"] == num_labeled or has_own_budget(line["method"], methods)
    ]
    figure = Figure(figsize=(8, 0.36 * len(lines) + 1), layout="constrained")
    axes = figure.subplots()
    for i, line in enumerate(reversed(lines)):
        mean = line["mean_iou"][0]
        axes.barh(i, mean, color="#3b6ea5" if line["method"] in ("supmix", "supmix_sufd") else "#b8c4d0")
        # beside the plot, where no dot covers it
        axes.annotate(f"{mean:.1f}", (1.01, i), xycoords=("axes fraction", "data"), va="center", fontsize=9)
        axes.plot(line["each_seed"], [i] * len(line["each_seed"]), "o", color="#222", markersize=3.5)
    budgets = [f" ({line['num_labeled']})" if line["num_labeled"] != num_labeled else "" for line in lines]
    names = [line["title"] + budget for line, budget in zip(lines, budgets, strict=True)]
    axes.set_yticks(range(len(lines)), reversed(names))
    every = [x for line in lines for x in line["each_seed"]]
    middle, spread = (max(every) + min(every)) / 2, max(every) - min(every)
    half = max(0.65 * spread + 0.5, _LEAST_WIDTH / 2)
    axes.set_xlim(middle - half, middle + half)
    axes.set_xlabel(
        f"mIoU, %, {num_labeled} labeled images; dots are seeds, means on the right\n(the axis does not begin at 0)"
    )
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def label_efficiency(rows: Rows, methods: Methods = METHODS) -> Figure | None:
    """
    Mean mIoU, and its standard deviation over the seeds, by number of labeled images.

    Args:
        rows: results of a study.
        methods: the methods.

    Returns:
        None where no method has more than one budget.
    """
    lines = scores(rows, methods)
    names = [n for n in methods if sum(line["method"] == n for line in lines) > 1]
    if not names:
        return None
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name in names:
        points = [line for line in lines if line["method"] == name]
        x = [line["num_labeled"] for line in points]
        y, spread = (np.array([line["mean_iou"][k] for line in points]) for k in (0, 1))
        axes.errorbar(  # one seed has no spread, and no bar
            x, y, spread, marker="o", capsize=3, label=methods[name].title, color=_color(name, methods)
        )
    budgets = sorted({line["num_labeled"] for line in lines if line["method"] in names})
    for line in lines:
        if has_own_budget(line["method"], methods):
            axes.axhline(line["mean_iou"][0], linestyle="--", color="#777", linewidth=1)
            axes.annotate(line["title"], (budgets[-1], line["mean_iou"][0]), ha="right", va="bottom", fontsize=8)
    axes.set_xticks(budgets)
    axes.set_xlabel("labeled images")
    axes.set_ylabel("mIoU, %")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def curves(rows: Rows, methods: Methods = METHODS) -> dict[str, Figure]:
    """
    Scores and losses over time at the smallest budget: the mean of the seeds for each method.

    Args:
        rows: results of a study.
        methods: the methods.

    Returns:
        a figure by its caption, for each curve that was recorded.
    """
    rare = [key[4:] for key in rows[0]["last"] if key.startswith("iou_")][-1]
    smallest = min(row["num_labeled"] for row in rows)
    figures = {}
    for tag, title in _CURVES.items():
        tag, title = tag.format(rare=rare), title.format(rare=rare)
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        axes = figure.subplots()
        for name in methods:
            _draw_curve(
                axes,
                [row["curves"].get(tag) for row in rows if (row["method"], row["num_labeled"]) == (name, smallest)],
                methods[name].title,
                _color(name, methods),
            )
        if axes.lines:
            axes.set_xlabel("step" if tag != "mean_iou" else "epoch")
            axes.set_title(title, fontsize=10)
            axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
            axes.spines[["top", "right"]].set_visible(False)
            figures[f"{title}, {smallest} labeled images, mean of the seeds."] = figure
    return figures


def has_own_budget(name: str, methods: Methods) -> bool:
    """Whether a method is run with its own number of labels alone, as full supervision is."""
    return name in methods and "num_labeled" in methods[name].values


def _color(name: str, methods: Methods) -> Any:
    """The same for a method in every figure."""
    return colormaps["tab20"](list(methods).index(name) % 20)


def _draw_curve(axes: Axes, of_seeds: Sequence[Any], title: str, color: Any) -> None:
    points = [dict(map(tuple, curve)) for curve in of_seeds if curve]
    steps = sorted(set.intersection(*map(set, points))) if points else []
    if steps:
        axes.plot(steps, [np.mean([curve[step] for curve in points]) for step in steps], label=title, color=color)
