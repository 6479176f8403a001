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
Does ``monai-sscm study FOLDER`` say the right thing where the answer is known?

    python benchmarks/verdict.py --data ../shared/data/chase_db1

- ``shortcut``: phantoms where unlabelled images help by construction. Discs on a bright half of the image and on a dark
  half; class 1 are those with a bright core, in noise. In the four labelled images these are always on the bright half,
  so that supervised training can take the easy way, the surroundings; in the unlabelled and the test images they are on
  either half. Pasting labelled discs onto unlabelled images shows them, with their true labels, on the other half.
- ``chase_db1``: two photographs of two children with masks, the others without: two patients cannot show anything,
  whatever comes out, and the page has to say so.

Both are trained in short, with a small network. The pages and the results go to ``results/verdict``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

RESULTS = Path(__file__).parent / "results" / "verdict"
SMALL = {"channels": "8,16,32", "strides": "2,2", "batch_size": "8"}


def shortcut_phantom(size: int, seed: int, shortcut: bool) -> tuple[np.ndarray, np.ndarray]:
    """
    An image of four discs and its mask.

    Args:
        size: height and width in pixels.
        seed: which image.
        shortcut: whether discs of class 1 are always on the bright half, and the others on the dark one.

    Returns:
        image ``(size, size)``, uint8, and mask of the same size, 0 and 1.
    """
    random = np.random.RandomState(seed)
    y, x = np.mgrid[:size, :size]
    bright = np.arange(4) < 2  # cells of the upper half
    image = np.where(y < size / 2, 120.0, 60.0)
    classes = bright if shortcut else random.permutation([True, True, False, False])
    mask = np.zeros((size, size), np.uint8)
    for cell, is_target in enumerate(classes):
        center = (np.array([cell // 2, cell % 2]) + 0.5) * size / 2 + random.uniform(-0.05, 0.05, 2) * size
        radius = random.uniform(0.14, 0.19) * size
        distance = np.hypot(y - center[0], x - center[1])
        image[distance < radius] = 90
        image[distance < 0.55 * radius] += 14 if is_target else -14
        mask[distance < radius] |= is_target
    turns = random.randint(4)
    noisy = np.rot90(image, turns) + random.normal(0, 8, image.shape)
    return noisy.clip(0, 255).astype(np.uint8), np.rot90(mask, turns).copy()


def shortcut(folder: Path, data: Path | None) -> dict[str, str]:
    """4 labelled images, 48 unlabelled and 12 test images; values of the study."""
    counts = {"labeled": 4, "unlabeled": 48, "test": 12}
    names: dict[str, list[str]] = {part: [f"{part}_{k:02d}" for k in range(count)] for part, count in counts.items()}
    for part in ("images", "labels", "unlabeled_images"):
        (folder / part).mkdir(parents=True)
    for seed, (part, name) in enumerate((part, name) for part, found in names.items() for name in found):
        image, mask = shortcut_phantom(32, seed, part == "labeled")
        where = "unlabeled_images" if part == "unlabeled" else "images"
        Image.fromarray(image).save(folder / where / f"{name}.png")
        if part != "unlabeled":
            Image.fromarray(mask * 255).save(folder / "labels" / f"{name}.png")
    (folder / "split.json").write_text(json.dumps({"train": names["labeled"], "test": names["test"]}))
    return {**SMALL, "patch_size": "32,32", "max_epochs": "12"}


def chase_db1(folder: Path, data: Path | None) -> dict[str, str]:
    """Two photographs of two children with masks, one of each other child of the training part without."""
    if data is None:
        raise SystemExit("chase_db1 needs --data, its folder.")
    split = json.loads((data / "split.json").read_text())
    for part in ("images", "labels", "unlabeled_images"):
        (folder / part).mkdir(parents=True)
    names = [name for name in split["train"] if name.endswith("L")]
    for k, name in enumerate(names):
        shutil.copy(next((data / "images").glob(f"{name}.*")), folder / ("images" if k < 2 else "unlabeled_images"))
        if k < 2:
            shutil.copy(next((data / "labels").glob(f"{name}*")), folder / "labels")
    return {**SMALL, "patch_size": "64,64", "zoom": "0.5", "max_epochs": "6"}


SETS = {f.__name__: f for f in (shortcut, chase_db1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of CHASE_DB1")
    parser.add_argument("--work_dir", type=Path, default=Path("runs/verdict"))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--hours", default="2")
    parser.add_argument("--jobs", default="1")
    args = parser.parse_args()
    for name in args.sets:
        folder, output = args.work_dir / name, args.work_dir / f"{name}_study"
        settings = args.work_dir / f"{name}.json"
        if not settings.is_file():
            shutil.rmtree(folder, ignore_errors=True)  # half made
            settings.parent.mkdir(parents=True, exist_ok=True)
            settings.write_text(json.dumps(SETS[name](folder, args.data)))
        values = [f"{key}={value}" for key, value in json.loads(settings.read_text()).items()]
        command = ["study", str(folder), "--output_dir", str(output), "--hours", args.hours, "--jobs", args.jobs]
        subprocess.run([sys.executable, "-m", "monai_sscm", *command, "--values", *values], check=True)
        (RESULTS / name).mkdir(parents=True, exist_ok=True)
        results = "".join(path.read_text() for path in sorted(output.glob("fold_*/results.jsonl")))
        texts = {file: (output / file).read_text() for file in ("verdict.md", "study.json")} | {
            "results.jsonl": results
        }
        for file, text in texts.items():  # paths within the folder of the work
            (RESULTS / name / file).write_text(text.replace(f"{args.work_dir.resolve()}/", ""))


if __name__ == "__main__":
    main()
