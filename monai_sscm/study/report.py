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

"""One file that shows a study: tables, figures, curves over time, and pictures of what the methods see."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .methods import METHODS, Method
from .summary import difference_table, mean_iou, score_table, scores

__all__ = ["bar_chart", "label_efficiency", "write_report"]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
td, th { padding: 3px 9px; border-bottom: 1px solid #ddd; text-align: left }
th { border-bottom: 2px solid #444 } h2 { margin-top: 2em } figure { margin: 1em 0 }
figcaption { font-size: 13px; color: #555 } img { max-width: 100% }
"""
_CURVES = {
    "mean_iou": "validation mIoU of the teacher",
    "pseudo_weight": "mean weight of the pseudo-labels",
    "pseudo_agreement_{rare}": "student and pseudo-label agree, {rare}",
    "discriminator_accuracy": "accuracy of the discriminator",
    "judged_labeled_held_out": "held-out patches that it takes for labelled",
}


def bar_chart(rows: Sequence[Mapping[str, Any]], num_labeled: int, methods: Mapping[str, Method] = METHODS) -> Figure:
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
        if line["num_labeled"] == num_labeled or _has_own_budget(line["method"], methods)
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
    room = 0.15 * (max(every) - min(every)) + 0.5
    axes.set_xlim(min(every) - room, max(every) + room)
    axes.set_xlabel(
        f"mIoU, %, {num_labeled} labelled images; dots are seeds, means on the right\n(the axis does not begin at 0)"
    )
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def label_efficiency(rows: Sequence[Mapping[str, Any]], methods: Mapping[str, Method] = METHODS) -> Figure | None:
    """
    Mean mIoU, and its standard deviation over the seeds, by number of labelled images.

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
        axes.errorbar(
            x, y, np.nan_to_num(spread), marker="o", capsize=3, label=methods[name].title, color=_colour(name, methods)
        )
    budgets = sorted({line["num_labeled"] for line in lines if line["method"] in names})
    for line in lines:
        if _has_own_budget(line["method"], methods):
            axes.axhline(line["mean_iou"][0], linestyle="--", color="#777", linewidth=1)
            axes.annotate(line["title"], (budgets[-1], line["mean_iou"][0]), ha="right", va="bottom", fontsize=8)
    axes.set_xticks(budgets)
    axes.set_xlabel("labelled images")
    axes.set_ylabel("mIoU, %")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def write_report(
    rows: Sequence[Mapping[str, Any]],
    output_dir: str | Path,
    method: str = "supmix_sufd",
    methods: Mapping[str, Method] = METHODS,
) -> Path:
    """
    Write ``report.html``, which needs no other file.

    Args:
        rows: results of a study.
        output_dir: the study's folder; pictures are taken from the trainings in ``runs``, as far as they are there.
        method: what every other method is compared with.
        methods: the methods.

    Returns:
        its path.
    """
    root = Path(output_dir)
    part, bundle = rows[0]["settings"]["part"], rows[0]["settings"]["bundle"]
    hours = sum(row["seconds"] for row in rows) / 3600
    values = sorted({f"{k} = {v}" for row in rows for k, v in row["settings"]["values"].items()})
    versions = ", ".join(f"{name} {number}" for name, number in rows[0]["versions"].items())
    text = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{bundle}</title><style>{_STYLE}</style>",
        f"<h1>{bundle}</h1>",
        f"<p>{len(rows)} trainings, {hours:.1f} hours; scores over all pixels of the {len(rows[0]['images'])} images "
        f"of the {part} part, in percent, of the averaged teacher at the last step; mean ± standard deviation over the "
        f"seeds. Nothing was chosen on these images. {html.escape(versions)}.</p>",
        f"<p>Values beside the bundle's: {html.escape('; '.join(values)) or 'none'}.</p>",
        "<h2>Scores</h2>",
        _table(score_table(scores(rows, methods))),
        "<h2>Differences</h2><p>Of the same seeds; the intervals are of a bootstrap over seeds and patients.</p>",
        _table(difference_table(rows, method, methods)),
    ]
    for num_labeled in sorted({row["num_labeled"] for row in rows if not _has_own_budget(row["method"], methods)}):
        text.append(_figure(bar_chart(rows, num_labeled, methods), "Mean IoU of each method."))
    efficiency = label_efficiency(rows, methods)
    if efficiency is not None:
        text.append(_figure(efficiency, "What more labels bring."))
    text += ["<h2>Over time</h2>", *_curve_figures(rows, methods)]
    text += ["<h2>Best, median and worst image</h2>", *_pictures(rows, root, methods)]
    path = root / "report.html"
    path.write_text("\n".join(text), "utf-8")
    return path


def _has_own_budget(name: str, methods: Mapping[str, Method]) -> bool:
    """Whether a method is run with its own number of labels alone, as full supervision is."""
    return name in methods and "num_labeled" in methods[name].values


def _table(markdown: str) -> str:
    """A Markdown table as HTML."""
    head, _, *body = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in markdown.splitlines()]
    rows = ["".join(f"<th>{html.escape(cell)}" for cell in head)]
    rows += ["".join(f"<td>{html.escape(cell)}" for cell in row) for row in body]
    return f"<table>{''.join(f'<tr>{row}' for row in rows)}</table>"


def _figure(figure: Figure, caption: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return _picture(buffer.getvalue(), "png", caption)


def _picture(content: bytes, kind: str, caption: str) -> str:
    encoded = base64.b64encode(content).decode()
    image = f'<img src="data:image/{kind};base64,{encoded}">'
    return f"<figure>{image}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _curve_figures(rows: Sequence[Mapping[str, Any]], methods: Mapping[str, Method]) -> list[str]:
    """How it went, at the smallest budget: the mean of the seeds for each method."""
    rare = [key[4:] for key in rows[0]["last"] if key.startswith("iou_")][-1]
    smallest = min(row["num_labeled"] for row in rows)
    drawn = []
    for tag, title in _CURVES.items():
        tag, title = tag.format(rare=rare), title.format(rare=rare)
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        axes = figure.subplots()
        for name in methods:
            _draw_curve(
                axes,
                [row["curves"].get(tag) for row in rows if (row["method"], row["num_labeled"]) == (name, smallest)],
                methods[name].title,
                _colour(name, methods),
            )
        if axes.lines:
            axes.set_xlabel("step" if tag != "mean_iou" else "epoch")
            axes.set_title(title, fontsize=10)
            axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
            axes.spines[["top", "right"]].set_visible(False)
            drawn.append(_figure(figure, f"{title}, {smallest} labelled images, mean of the seeds."))
    return drawn


def _colour(name: str, methods: Mapping[str, Method]) -> Any:
    """The same for a method in every figure."""
    return colormaps["tab20"](list(methods).index(name) % 20)


def _draw_curve(axes: Axes, of_seeds: Sequence[Any], title: str, colour: Any) -> None:
    curves = [dict(map(tuple, curve)) for curve in of_seeds if curve]
    steps = sorted(set.intersection(*map(set, curves))) if curves else []
    if steps:
        axes.plot(steps, [np.mean([curve[step] for curve in curves]) for step in steps], label=title, color=colour)


def _pictures(rows: Sequence[Mapping[str, Any]], root: Path, methods: Mapping[str, Method]) -> list[str]:
    smallest = min(row["num_labeled"] for row in rows)
    shown = []
    for name in methods:
        runs = [r for r in rows if (r["method"], r["num_labeled"]) == (name, smallest)]
        if not runs:
            continue
        row = min(runs, key=lambda r: r["seed"])
        of_image = {image: mean_iou(np.array(matrix)) for image, matrix in row["images"].items()}
        order = sorted(of_image, key=of_image.__getitem__)
        for kind, image in (("best", order[-1]), ("median", order[len(order) // 2]), ("worst", order[0])):
            path = root / "runs" / f"{name}_labeled{row['num_labeled']}_seed{row['seed']}" / "last" / f"{image}.jpg"
            if path.is_file():
                caption = f"{methods[name].title}, {kind}: {image}, mIoU {of_image[image]:.1f}"
                caption += "; image, truth, prediction."
                shown.append(_picture(path.read_bytes(), "jpeg", caption))
    return shown
