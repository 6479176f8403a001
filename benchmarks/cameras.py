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
What the shipped vessel weights predict along the border of photographs as other cameras give them.

    python benchmarks/cameras.py --dataset_dir data/chase_db1 [--photographs 4] [--views "round, small" ...]

Validation photographs of CHASE_DB1 are put into black rows, cut to a round field, made darker, of another color, larger
and smaller, with letters on the border and with the noise of JPEG, and segmented at default options. For each, a line
of ``results/cameras.jsonl`` counts the pixels that are predicted outside the field, the false ones inside it within
10 pixels of its border (of a photograph of 960), and vessel Dice; all with and without the field of view.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigWorkflow
from PIL import Image, ImageDraw
from scipy import ndimage

from monai_sscm.bundle import find_bundle
from monai_sscm.datasets import CHASE_DB1_SPLIT
from monai_sscm.study import markdown_row, markdown_table

RESULTS = Path(__file__).resolve().parent / "results" / "cameras.jsonl"
NEAR = 10
Photograph = tuple[np.ndarray, np.ndarray, np.ndarray]  # colors (H, W, 3), vessels and field (H, W)


def padded(photograph: Photograph, top: int, bottom: int, black: float = 0) -> Photograph:
    """In rows of the camera's black, with some noise where that is not 0."""
    image, vessels, field = photograph
    rows = ((top, bottom), (0, 0))
    noise = np.random.default_rng(0).integers(0, 4, (image.shape[0] + top + bottom, image.shape[1], 3)) * (black > 0)
    outside = ~np.pad(field, rows)
    image = np.pad(image, (*rows, (0, 0)))
    image = np.where(outside[..., None] & (image < black), np.minimum(255, black + noise), image)
    return image.astype(np.uint8), np.pad(vessels, rows), ~outside


def cut(photograph: Photograph, top: int, bottom: int) -> Photograph:
    """Without its first and last rows, so that the field ends in a straight line."""
    return tuple(x[top : len(x) - bottom] for x in photograph)  # type: ignore[return-value]


def disc(photograph: Photograph, radius: float, black: float = 0) -> Photograph:
    """In a round field of this radius, in shortest sides."""
    image, vessels, field = photograph
    height, width = field.shape
    rows, columns = np.mgrid[:height, :width]
    inside = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (radius * min(height, width)) ** 2
    noise = np.random.default_rng(0).integers(0, 4, image.shape)
    return np.where(inside[..., None], image, black + noise).astype(np.uint8), vessels & inside, field & inside


def resized(photograph: Photograph, factor: float) -> Photograph:
    image, vessels, field = photograph
    size = (round(field.shape[1] * factor), round(field.shape[0] * factor))
    masks = (np.asarray(Image.fromarray(x).resize(size, Image.Resampling.NEAREST)) for x in (vessels, field))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)), *masks


def colored(photograph: Photograph, factors: tuple[float, float, float], gamma: float = 1) -> Photograph:
    image, vessels, field = photograph
    return (255 * (image / 255) ** gamma * np.array(factors)).clip(0, 255).astype(np.uint8), vessels, field


def vignetted(photograph: Photograph) -> Photograph:
    """Darker and darker to the border of the field."""
    image, vessels, field = photograph
    depth = ndimage.distance_transform_edt(np.pad(field, 1))[1:-1, 1:-1] / 120
    return (image * np.minimum(1, 0.25 + 0.75 * depth)[..., None]).astype(np.uint8), vessels, field


def jpeg(photograph: Photograph, quality: int) -> Photograph:
    stream = io.BytesIO()
    Image.fromarray(photograph[0]).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB")), *photograph[1:]


def lettered(photograph: Photograph) -> Photograph:
    """With letters in the black, as cameras print there."""
    image = Image.fromarray(photograph[0])
    ImageDraw.Draw(image).text((12, 8), "OD 2024-03-01\n45 deg", fill=(255, 255, 255), font_size=28)
    return np.asarray(image), *photograph[1:]


def notched(photograph: Photograph) -> Photograph:
    """With the small notch that some cameras have at the right of the field."""
    image, vessels, field = photograph
    out = field.copy()
    rows, columns = np.mgrid[: field.shape[0], : field.shape[1]]
    edge = np.flatnonzero(field[field.shape[0] // 2])[-1]
    out &= (rows - field.shape[0] // 2) ** 2 + (columns - edge) ** 2 > 25**2
    return image * out[..., None], vessels & out, out


VIEWS: dict[str, Callable[[Photograph], Photograph]] = {
    "as it is": lambda p: p,
    "one black row": lambda p: padded(cut(p, 200, 0), 1, 0),
    "5 black rows": lambda p: padded(cut(p, 200, 0), 5, 0),
    "100 black rows": lambda p: padded(cut(p, 200, 0), 100, 0),
    "black rows above and below": lambda p: padded(cut(p, 150, 150), 150, 150),
    "whole photograph in black rows": lambda p: padded(p, 150, 150),
    "rows of a black of 12": lambda p: padded(cut(p, 200, 0), 100, 0, 12),
    "rows of a black of 30": lambda p: padded(cut(p, 200, 0), 100, 0, 30),
    "black rows, JPEG of quality 50": lambda p: jpeg(padded(cut(p, 150, 150), 100, 100), 50),
    "round": lambda p: disc(p, 0.4),
    "round, cut above and below": lambda p: cut(disc(p, 0.45), 110, 110),
    "round, cut, black rows, black of 15": lambda p: padded(cut(disc(p, 0.45, 15), 110, 110), 110, 110, 15),
    "round, half the size": lambda p: resized(disc(p, 0.42), 0.5),
    "round, twice the size": lambda p: resized(disc(p, 0.42), 2),
    "round, dark": lambda p: colored(disc(p, 0.42), (0.4, 0.4, 0.4)),
    "round, green": lambda p: colored(disc(p, 0.42), (0.4, 1.3, 0.5)),
    "round, pale": lambda p: colored(disc(p, 0.42), (1, 1, 1), 0.6),
    "round, darker to the border": lambda p: vignetted(disc(p, 0.42)),
    "round, with a notch": lambda p: notched(disc(p, 0.42)),
    "black rows, letters": lambda p: lettered(padded(cut(p, 150, 0), 120, 0)),
    "gray, black rows": lambda p: (
        (np.repeat(p[0][..., 1:2], 3, -1), *p[1:])
        if False
        else padded(cut((np.repeat(p[0][..., 1:2], 3, -1), *p[1:]), 200, 0), 100, 0)
    ),
    "rows, blurred by resizing": lambda p: resized(padded(cut(p, 150, 150), 100, 100), 0.61),
}


def photographs(dataset_dir: Path, number: int) -> dict[str, Photograph]:
    found = {}
    for name in CHASE_DB1_SPLIT["val"][:number]:
        image = np.asarray(Image.open(next((dataset_dir / "images").glob(f"{name}.*"))).convert("RGB"))
        vessels = np.asarray(Image.open(next((dataset_dir / "labels").glob(f"{name}*"))).convert("L")) > 0
        field = ndimage.binary_fill_holes(ndimage.binary_opening(image.max(-1) > 25, iterations=3))
        found[name] = image, vessels, field
    return found


def segment(folder: Path, output_dir: Path, **values: object) -> None:
    bundle = find_bundle("chase_vessel_segmentation")
    values = {
        "input": str(folder),
        "output_dir": str(output_dir),
        "bundle_root": bundle,
        "device": torch.device("cpu"),
    } | values
    run = ConfigWorkflow(f"{bundle}/configs/inference.yaml", workflow_type="infer", logging_file=False, **values)
    run.initialize()
    run.run()
    run.finalize()


def measure(mask: np.ndarray, photograph: Photograph) -> dict[str, float]:
    """Pixels predicted outside the field, false ones along its border, and Dice."""
    _, vessels, field = photograph
    depth = ndimage.distance_transform_edt(np.pad(field, 1, mode="edge"))[1:-1, 1:-1]
    wide = ndimage.binary_dilation(vessels, iterations=2)
    near = field & (depth <= NEAR * min(field.shape) / 960)
    return {
        "outside": int((mask & ~field & ~wide).sum()),
        "near": int((mask & near & ~wide).sum()),
        "border": int(near.sum()),
        "dice": round(float(2 * (mask & vessels).sum() / max(1, mask.sum() + vessels.sum())), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", type=Path, required=True)
    parser.add_argument("--photographs", type=int, default=4)
    parser.add_argument("--views", nargs="*", choices=list(VIEWS), default=list(VIEWS))
    args = parser.parse_args()
    rows = []
    print(
        markdown_table(
            [
                "photograph",
                "outside",
                "near the border, false",
                "of",
                "Dice",
                "without the field: outside",
                "near",
                "Dice",
            ],
            [],
        ),
        flush=True,
    )
    found = photographs(args.dataset_dir, args.photographs)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for view in args.views:
            made = {f"{i}": VIEWS[view](photograph) for i, photograph in enumerate(found.values())}
            (folder / view).mkdir()
            for i, (image, *_) in made.items():
                Image.fromarray(image).save(folder / view / f"{i}.png")
            both = {}
            for how, values in (("found", {}), ("not found", {"field_of_view": None})):
                segment(folder / view, folder / "masks", **values)
                masks = {i: np.asarray(Image.open(folder / "masks" / f"{i}_seg.png")) > 0 for i in made}
                scores = [measure(masks[i], made[i]) for i in made]
                both[how] = {key: round(float(np.mean([s[key] for s in scores])), 4) for key in scores[0]}
            rows.append({"view": view, "photographs": len(made), **both})
            cells = [
                both[how][key]
                for how, keys in (
                    ("found", ("outside", "near", "border", "dice")),
                    ("not found", ("outside", "near", "dice")),
                )
                for key in keys
            ]
            print(markdown_row([view, *cells]), flush=True)
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


if __name__ == "__main__":
    main()
