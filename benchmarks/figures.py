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
Draw the figures of the documentation, into ``docs/_static/``.

    python benchmarks/figures.py --photograph data/chase_db1/images/Image_09L.jpg

The method and the discriminator as vector figures with procedural images, what is mixed, what counts how much, the
differences of the study by data set, and what the shipped weights make of a photograph.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from headline import OURS, TITLES, read_sets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from monai.bundle import ConfigWorkflow
from PIL import Image

from monai_sscm.bundle import find_bundle
from monai_sscm.datasets import vessel_phantom
from monai_sscm.handlers import overlay
from monai_sscm.study import METHODS
from monai_sscm.study.differences import differences
from monai_sscm.transforms import KeepClassShares, RandStrongIntensity, SupervisedClassMix

OUT = Path(__file__).parents[1] / "docs" / "_static"
LABELED, UNLABELED, NETWORK = "#1f77b4", "#d9822b", "#5f6b76"
# text stays text, and the same figure is the same file
matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "monai_sscm", "font.family": "sans-serif"}


def examples() -> dict[str, torch.Tensor]:
    """A donor with its label, an unlabeled image with what a half-trained teacher says, their mix, and its weights."""

    def load(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, mask = (torch.as_tensor(x) for x in vessel_phantom(384, seed))
        return image.movedim(-1, 0)[:, 64:256, 96:288].float() / 255, mask[None, 64:256, 96:288]

    (donor, label), (receiver, truth) = load(6), load(21)
    # the thick vessels only
    pseudo = torch.nn.functional.max_pool2d(-torch.nn.functional.max_pool2d(-truth.float(), 3, 1, 1), 3, 1, 1)
    mix = SupervisedClassMix(classes=(1,), num_classes=2, spatial_dims=2)
    (image, target), mask = mix((receiver, pseudo), (donor, label), label)
    weight = torch.where(mask, 1.0, 0.6)
    return {
        "donor": donor,
        "label": label,
        "receiver": receiver,
        "pseudo": pseudo,
        "mixed": image,
        "target": target,
        "mask": mask,
        "weight": weight,
        "kept": KeepClassShares(num_classes=2)(weight, target, pseudo),
        "seen": RandStrongIntensity(spatial_dims=2, prob=1.0).set_random_state(4)(image),
    }


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A drawing without axes, in inches."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return figure, axes


def thumbnail(
    axes: Axes, x: float, y: float, picture: torch.Tensor, title: str, color: str, size: float = 0.95
) -> None:
    """A picture with its center at a place, a frame that says where it comes from, and a title below."""
    array = picture[:, ::2, ::2].movedim(0, -1).float().clamp(0, 1).numpy()
    array = np.repeat(array, 3, axis=-1) if array.shape[-1] == 1 else array
    extent = (x - size / 2, x + size / 2, y - size / 2, y + size / 2)
    axes.imshow(array, extent=extent, interpolation="nearest", aspect="auto", zorder=2)
    axes.add_patch(
        FancyBboxPatch(
            (extent[0], extent[2]),
            size,
            size,
            boxstyle="square,pad=0",
            fill=False,
            edgecolor=color,
            linewidth=2,
            zorder=3,
        )
    )
    axes.text(x, y - size / 2 - 0.06, title, ha="center", va="top", fontsize=8.5)


def box(axes: Axes, x: float, y: float, text: str, color: str = NETWORK, width: float = 1.15) -> None:
    """A part of the method."""
    style = "round,pad=0.02,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch((x - width / 2, y - 0.24), width, 0.48, boxstyle=style, color=color, zorder=2))
    axes.text(x, y, text, ha="center", va="center", fontsize=9, color="white", zorder=3)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], text: str = "", **kwargs: Any) -> None:
    """From one part to another."""
    style = {"arrowstyle": "-|>", "mutation_scale": 10, "color": "#444", "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0}
    axes.add_patch(FancyArrowPatch(start, end, **(style | kwargs), zorder=1))
    if text:
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.07)
        axes.text(*middle, text, ha="center", va="bottom", fontsize=8, color="#444")


def draw_method(pictures: dict[str, torch.Tensor]) -> Figure:
    """The whole method."""
    figure, axes = canvas(9.6, 4.9)
    thumbnail(axes, 0.75, 4.2, pictures["donor"], "labeled image", LABELED)
    thumbnail(axes, 0.75, 2.75, pictures["label"], "its true label", LABELED)
    thumbnail(axes, 0.75, 1.0, pictures["receiver"], "unlabeled image", UNLABELED)
    box(axes, 2.35, 1.0, "teacher")
    thumbnail(axes, 3.95, 1.0, pictures["pseudo"], "pseudo-label", UNLABELED)
    box(axes, 3.95, 3.0, "SupMix: paste", LABELED, 1.35)
    thumbnail(axes, 5.65, 3.65, pictures["mixed"], "mixed image", UNLABELED)
    thumbnail(axes, 5.65, 2.2, pictures["target"], "mixed label", UNLABELED)
    box(axes, 7.25, 3.65, "student")
    box(axes, 8.85, 4.3, "supervised loss", LABELED, 1.3)
    box(axes, 8.85, 3.25, "discriminator", NETWORK, 1.3)
    box(axes, 8.85, 2.2, "loss on the mix", UNLABELED, 1.3)
    arrow(axes, (1.3, 1.0), (1.75, 1.0))
    arrow(axes, (2.95, 1.0), (3.4, 1.0))
    arrow(axes, (1.3, 3.85), (3.25, 3.12))
    arrow(axes, (1.3, 2.75), (3.25, 2.93), "classes, with their true labels")
    arrow(axes, (3.95, 1.55), (3.95, 2.72))
    arrow(axes, (1.2, 1.5), (3.4, 2.74))
    arrow(axes, (4.65, 3.1), (5.13, 3.5))
    arrow(axes, (4.65, 2.9), (5.13, 2.4))
    arrow(axes, (6.15, 3.65), (6.65, 3.65))
    axes.text(6.4, 3.33, "augment", fontsize=8, color="#444", ha="center")
    arrow(axes, (1.3, 4.5), (7.25, 3.92), connectionstyle="angle,angleA=0,angleB=90,rad=5")
    arrow(axes, (7.85, 3.75), (8.18, 4.2))
    arrow(axes, (7.85, 3.6), (8.18, 3.35))
    axes.text(8.0, 3.28, "features", fontsize=8, color="#444", ha="right", va="top")
    arrow(axes, (7.7, 3.38), (8.4, 2.47))
    arrow(axes, (6.15, 2.2), (8.18, 2.2))
    axes.plot([7.25, 7.25, 2.35], [3.39, 0.14, 0.14], color="#444", linewidth=1.1, linestyle="--", zorder=1)
    arrow(axes, (2.35, 0.14), (2.35, 0.74))
    axes.text(5.4, 0.2, "moving average of the weights", fontsize=8, color="#444", ha="center", va="bottom")
    return figure


def draw_discriminator() -> Figure:
    """What the discriminator compares."""
    figure, axes = canvas(7.4, 2.3)
    for y, color, text in ((1.65, LABELED, "labeled images"), (0.65, UNLABELED, "unlabeled images")):
        box(axes, 0.95, y, text, color, 1.5)
        arrow(axes, (1.75, y), (2.4, 1.15 + (y - 1.15) * 0.3))
    box(axes, 3.0, 1.15, "student")
    arrow(axes, (3.6, 1.15), (4.2, 1.15))
    for i in range(4):
        for j in range(4):
            axes.add_patch(
                FancyBboxPatch(
                    (4.3 + 0.2 * i, 0.77 + 0.2 * j), 0.14, 0.14, boxstyle="square,pad=0.02", color="#b8c4d0", zorder=2
                )
            )
    axes.text(4.68, 0.62, "patches of a\nfeature map", ha="center", va="top", fontsize=8.5)
    arrow(axes, (5.15, 1.15), (5.6, 1.15))
    box(axes, 6.3, 1.15, "discriminator", NETWORK, 1.3)
    axes.text(6.3, 1.55, "from which images?", ha="center", fontsize=8.5, color="#444")
    axes.plot([6.3, 6.3, 3.0], [0.9, 0.2, 0.2], color="#444", linewidth=1.1, linestyle="--", zorder=1)
    arrow(axes, (3.0, 0.2), (3.0, 0.9))
    axes.text(5.6, 0.24, "make them alike", ha="center", va="bottom", fontsize=8, color="#444")
    return figure


def draw_mix(pictures: dict[str, torch.Tensor]) -> Figure:
    """Donor, receiver, mix and what the student sees: images above, labels over them below."""
    columns = [
        ("labeled image (donor)", "donor", "label", "its true label"),
        ("unlabeled image", "receiver", "pseudo", "the teacher's pseudo-label"),
        ("mixed image", "mixed", "target", "mixed label"),
        ("as the student sees it", "seen", "mask", "what was pasted"),
    ]
    figure = Figure(figsize=(2.6 * len(columns), 5.6), layout="constrained")
    for (top, bottom), (title, image, mask, below) in zip(figure.subplots(2, len(columns)).T, columns, strict=True):
        top.imshow(pictures[image].movedim(0, -1).clamp(0, 1))
        top.set_title(title, fontsize=10)
        painted = overlay(pictures[image], pictures[mask].float())[:, :, pictures[image].shape[-1] :]
        bottom.imshow(painted.movedim(0, -1), interpolation="nearest")
        bottom.set_title(below, fontsize=10)
        top.axis("off")
        bottom.axis("off")
    return figure


def draw_weights(pictures: dict[str, torch.Tensor]) -> Figure:
    """The weight of each pixel, before class shares are kept and after."""
    figure = Figure(figsize=(8.6, 3.1), layout="constrained")
    places = figure.subplots(1, 3)
    painted = overlay(pictures["mixed"], pictures["target"].float())[:, :, pictures["mixed"].shape[-1] :]
    places[0].imshow(painted.movedim(0, -1), interpolation="nearest")
    places[0].set_title("mixed image and label", fontsize=10)
    for axes, key, title in ((places[1], "weight", "weight after the paste"), (places[2], "kept", "shares kept")):
        shown = axes.imshow(pictures[key][0], cmap="cividis", vmin=0, vmax=1.2, interpolation="nearest")
        share = float((pictures[key] * pictures["target"]).sum() / pictures[key].sum())
        axes.set_title(f"{title}\nvessels: {100 * share:.0f} % of the weight", fontsize=10)
    for axes in places:
        axes.axis("off")
    figure.colorbar(shown, ax=places[2], shrink=0.8, label="weight")
    return figure


def draw_study() -> Figure | None:
    """Ours minus every other method, with intervals, each data set by itself."""
    of_set = {name: {d.other: d for d in differences(rows, OURS, METHODS)} for name, rows in read_sets().items()}
    others = [m for m in METHODS if all(m in found for found in of_set.values())]
    if len(of_set) < 2:
        return None
    figure = Figure(figsize=(8.4, 0.34 * len(others) + 1.1), layout="constrained")
    for i, (axes, (name, found)) in enumerate(zip(figure.subplots(1, 2, sharey=True), of_set.items(), strict=True)):
        for y, other in enumerate(reversed(others)):
            axes.plot(np.quantile(found[other].replicates, [0.025, 0.975]), [y, y], color=LABELED, linewidth=2)
            axes.plot(found[other].mean, y, "o", color=LABELED, markersize=5)
        axes.axvline(0, color="#888", linewidth=1)
        axes.set_title(TITLES[name], fontsize=10)
        axes.set_xlabel("SupMix + SUFD minus the method, mIoU points", fontsize=8.5)
        # one scale for both, so that a small difference looks small
        axes.set_xlim(-7, 17.5)
        axes.tick_params(labelsize=8.5)
        axes.spines[["top", "right"]].set_visible(False)
        if i == 0:
            axes.set_yticks(range(len(others)), [METHODS[m].title for m in reversed(others)])
    return figure


def draw_inference(photograph: str) -> Image.Image:
    """The photograph and the same under its mask, by the shipped bundle."""
    config = f"{find_bundle('chase_vessel_segmentation')}/configs/inference.yaml"
    with tempfile.TemporaryDirectory() as folder:
        values = {"input": photograph, "output_dir": folder, "save_overlays": True}
        run = ConfigWorkflow(config, workflow_type="infer", logging_file=False, **values)
        run.initialize()
        run.run()
        run.finalize()
        pictures = [Image.open(photograph).convert("RGB"), Image.open(next(Path(folder).glob("*_overlay.png")))]
        both = Image.new("RGB", (sum(p.width for p in pictures), pictures[0].height))
        both.paste(pictures[0], (0, 0))
        both.paste(pictures[1], (pictures[0].width, 0))
    return both


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photograph", help="photograph to segment; none leaves that picture as it is")
    photograph = parser.parse_args().photograph
    pictures = examples()
    figures = {"method": draw_method(pictures), "discriminator": draw_discriminator(), "study": draw_study()}
    for name, figure in figures.items():
        if figure is not None:
            figure.savefig(OUT / f"{name}.svg", metadata={"Date": None})
    draw_mix(pictures).savefig(OUT / "supmix.png", dpi=80)
    draw_weights(pictures).savefig(OUT / "weights.png", dpi=90)
    if photograph:
        draw_inference(photograph).save(OUT / "inference.jpg", quality=85)


if __name__ == "__main__":
    main()
