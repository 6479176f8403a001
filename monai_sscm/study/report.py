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
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from .differences import mean_iou
from .figures import bar_chart, curves, has_own_budget, label_efficiency
from .methods import METHODS, Methods, Rows
from .page import Page
from .runs import Run
from .summary import difference_table, score_table, scores

__all__ = ["write_report"]

_TEMPLATE = Path(__file__).with_name("report.html.jinja")


class Picture(NamedTuple):
    """A picture as a ``data:`` address, which needs no file, and its caption."""

    source: str
    caption: str


def write_report(
    rows: Rows,
    output_dir: str | Path,
    method: str = "supmix_sufd",
    methods: Methods = METHODS,
    page: Page | None = None,
) -> Path:
    """
    Write ``report.html``, which needs no other file.

    Args:
        rows: results of a study.
        output_dir: the study's folder; pictures are taken from the trainings in ``runs``, as far as they are there.
        method: what every other method is compared with.
        methods: the methods.
        page: a verdict on two methods, which is shown in place of differences between all.

    Returns:
        its path.
    """
    root = Path(output_dir)
    charts = [
        _draw(bar_chart(rows, num_labeled, methods), "Mean IoU of each method.")
        for num_labeled in sorted({r["num_labeled"] for r in rows if not has_own_budget(r["method"], methods)})
    ]
    efficiency = label_efficiency(rows, methods)
    if efficiency is not None:
        charts.append(_draw(efficiency, "What more labels bring."))
    # autoescape: titles, names of images and values come from users
    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    ).from_string(_TEMPLATE.read_text("utf-8"))
    text = template.render(
        title=page.title if page else Path(rows[0]["settings"]["bundle"]).name,
        part=rows[0]["settings"]["part"],
        page=page,
        num_trainings=sum(row.get("num_trainings", 1) for row in rows),
        num_images=len(rows[0]["images"]),
        hours=sum(row["seconds"] for row in rows) / 3600,
        versions=rows[0]["versions"],
        values=sorted({f"{k} = {v}" for row in rows for k, v in row["settings"]["values"].items()}),
        scores=score_table(scores(rows, methods)),
        differences=difference_table(rows, method, methods),
        charts=charts,
        curves=[_draw(figure, caption) for caption, figure in curves(rows, methods).items()],
        overlays=_overlays(rows, root, methods),
    )
    path = root / "report.html"
    path.write_text(text, "utf-8")
    return path


def _draw(figure: Figure, caption: str) -> Picture:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return _embed(buffer.getvalue(), "png", caption)


def _embed(content: bytes, kind: str, caption: str) -> Picture:
    return Picture(f"data:image/{kind};base64,{base64.b64encode(content).decode()}", caption)


def _overlays(rows: Rows, root: Path, methods: Methods) -> list[Picture]:
    """The best, median and worst image of each method, at the smallest budget."""
    smallest = min(row["num_labeled"] for row in rows)
    shown = []
    for name in methods:
        runs = [r for r in rows if (r["method"], r["num_labeled"]) == (name, smallest)]
        if not runs:
            continue
        row = min(runs, key=lambda r: r["seed"])
        of_image = {image: mean_iou(np.array(matrix)) for image, matrix in row["images"].items()}
        order = sorted(of_image, key=of_image.__getitem__)
        run = Run(name, row["num_labeled"], row["seed"]).name
        pictures = row.get("pictures", {})  # of several trainings
        for kind, image in (("best", order[-1]), ("median", order[len(order) // 2]), ("worst", order[0])):
            path = root / pictures.get(image, f"runs/{run}/last/{image}.jpg")
            if path.is_file():
                caption = f"{methods[name].title}, {kind}: {image}, mIoU {of_image[image]:.1f}"
                shown.append(_embed(path.read_bytes(), "jpeg", f"{caption}; image, truth, prediction."))
    return shown
