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
Any data, one command: ``train``, ``predict`` and ``evaluate`` on five data sets, each as a user would have it.

For each, a folder is made with what is trained on, and another with what is scored and was not trained on; then the
three commands run as they are typed, and a row goes to ``results/any_data.jsonl``: commands, minutes, Dice.

- ``chase_db1``: the 16 training photographs of CHASE_DB1, all with masks; scored: the 4 of validation.
- ``photographs``: 3 of them with masks, 13 without, no validation; scored: the same 4.
- ``hippocampus``: a Decathlon folder of 10 volumes with masks and 50 without; scored: the other 40. Which have masks
  is drawn by the seed, among the first 60.
- ``acdc``: thick heart volumes, 3 patients with masks, the other training patients without; scored: the 10 development
  patients, which are not among the unlabelled ones.
- ``covid19_ct``: 8 chest CT slices with masks, the other training slices and all slices of other scans without;
  scored: the 12 of validation.

    python benchmarks/any_data.py --data /folder/of/all --sets hippocampus --seeds 0 1 2 --methods default supervised
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results" / "any_data.jsonl"


def copy(files: Iterable[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, folder)


def named(folder: Path, names: Sequence[str]) -> list[Path]:
    """The files of a folder that have one of the names, with more behind it or not."""
    return [file for file in sorted(folder.iterdir()) if any(file.name.startswith((f"{n}.", f"{n}_")) for n in names)]


def chase_db1(data: Path, train: Path, scored: Path, seed: int) -> None:
    source = data / "chase_db1"
    split = json.loads((source / "split.json").read_text())
    copy(named(source / "images", split["train"]), train / "images")
    copy(named(source / "labels", split["train"]), train / "labels")
    copy(named(source / "images", split["val"]), scored / "images")
    copy(named(source / "labels", split["val"]), scored / "labels")


def photographs(data: Path, train: Path, scored: Path, seed: int) -> None:
    chase_db1(data, train, scored, seed)
    images = sorted((train / "images").iterdir())
    labeled = {images[i].stem for i in np.random.RandomState(seed).permutation(len(images))[:3]}
    (train / "unlabeled_images").mkdir()
    for image in images:
        if image.stem not in labeled:
            shutil.move(image, train / "unlabeled_images")
            named(train / "labels", [image.stem])[0].unlink()


def hippocampus(data: Path, train: Path, scored: Path, seed: int) -> None:
    source = data / "hippocampus"
    images = sorted((source / "imagesTr").glob("*.nii.gz"))
    order = np.random.RandomState(seed).permutation(60)
    labeled = [images[i].name for i in sorted(order[:10])]
    copy(images[:60], train / "imagesTr")
    copy([source / "labelsTr" / name for name in labeled], train / "labelsTr")
    copy(images[60:], scored / "images")
    copy([source / "labelsTr" / image.name for image in images[60:]], scored / "labels")
    description = {
        "name": "Hippocampus",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "anterior", "2": "posterior"},
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in labeled],
        "test": [],
    }
    (train / "dataset.json").write_text(json.dumps(description, indent=1))


def acdc(data: Path, train: Path, scored: Path, seed: int) -> None:
    source = data / "acdc"
    split = json.loads((source / "split.json").read_text())
    held_out, labeled = split["development"], split["labeled_patients"]["3"]
    of_patient = {name: name.split("_")[0] for name in split["train"]}
    is_held_out = [name for name in split["train"] if name in held_out or of_patient[name] in held_out]
    with_masks = [name for name in split["train"] if name in labeled or of_patient[name] in labeled]
    without = [name for name in split["train"] if name not in is_held_out and name not in with_masks]
    copy(named(source / "images", with_masks), train / "images")
    copy(named(source / "labels", with_masks), train / "labels")
    copy(named(source / "images", without), train / "unlabeled_images")
    copy(named(source / "images", is_held_out), scored / "images")
    copy(named(source / "labels", is_held_out), scored / "labels")


def covid19_ct(data: Path, train: Path, scored: Path, seed: int) -> None:
    source = data / "covid19_ct"
    split = json.loads((source / "split.json").read_text())
    names = [str(name) for name in split["train"]]
    labeled = [names[i] for i in np.random.RandomState(seed).permutation(len(names))[:8]]
    copy(named(source / "images", labeled), train / "images")
    copy(named(source / "labels", labeled), train / "labels")
    copy(named(source / "images", [name for name in names if name not in labeled]), train / "unlabeled_images")
    copy(sorted((source / "unlabeled_images").iterdir()), train / "unlabeled_images")
    copy(named(source / "images", [str(name) for name in split["val"]]), scored / "images")
    copy(named(source / "labels", [str(name) for name in split["val"]]), scored / "labels")


SETS = {f.__name__: f for f in (chase_db1, photographs, hippocampus, acdc, covid19_ct)}


def dice_by_class(table: Path) -> dict[str, dict[str, float]]:
    """Dice of every case by class, as ``evaluate`` wrote it, in percent."""
    found: dict[str, dict[str, float]] = {}
    with open(table, newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["class"], {})[row["case"]] = round(100 * float(row["dice"]), 2)
    return found


def run(name: str, seed: int, method: str, args: argparse.Namespace) -> dict:
    folder = Path(args.work_dir) / f"{name}_seed{seed}"
    train, scored = folder / "data", folder / "scored"
    if not folder.is_dir():
        SETS[name](Path(args.data), train, scored, seed)
    result, masks = folder / method, folder / f"{method}_masks"
    chosen = [] if method == "default" else ["--method", method]
    commands = {
        "train": ["train", train, "--output_dir", result, "--seed", seed, *chosen, *args.options],
        "predict": ["predict", scored / "images", "--model", result, "--output_dir", masks],
        "evaluate": ["evaluate", masks, scored / "labels"],
    }
    row: dict = {"set": name, "seed": seed, "method": method, "commands": {}, "minutes": {}}
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    for step, words in commands.items():
        command = [sys.executable, "-m", "monai_sscm", *map(str, words)]
        start = time.perf_counter()
        with open(folder / f"{method}_{step}.log", "a") as log:
            status = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment).returncode
        if status:
            sys.exit(f"{shlex.join(command)} ended with status {status}: see {log.name}")
        # of a training that was stopped and goes on, those of the last part alone
        row["minutes"][step] = round((time.perf_counter() - start) / 60, 2)
        row["commands"][step] = shlex.join(["monai-sscm", *(str(w).replace(str(folder) + "/", "") for w in words)])
    dice = dice_by_class(masks / "metrics.csv")
    means = {c: float(np.nanmean(list(cases.values()))) for c, cases in dice.items()}
    row["mean_dice"] = round(float(np.mean([m for m in means.values() if not math.isnan(m)])), 2)
    row["dice"] = {c: round(m, 2) for c, m in means.items()}
    row["cases"] = dice
    return row | {"threads": args.threads}


def table(rows: list[dict]) -> str:
    """The rows in Markdown, and the differences by case where a set has two methods with the same seed."""
    lines = [
        "| set | seed | method | minutes: train, predict, evaluate | mean Dice | by class |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        minutes = ", ".join(f"{m:.1f}" for m in row["minutes"].values())
        classes = ", ".join(f"{d:.1f}" for d in row["dice"].values())
        cells = (row["set"], row["seed"], row["method"], minutes, f"{row['mean_dice']:.1f}", classes)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += ["", "| set | seed | default minus supervised, mean of cases | cases ahead |", "|---|---|---|---|"]
    by_key = {(row["set"], row["seed"], row["method"]): row for row in rows}
    for (name, seed, method), row in by_key.items():
        other = by_key.get((name, seed, "supervised"))
        if method != "default" or other is None:
            continue
        ours, theirs = (
            np.nanmean([list(cases.values()) for cases in r["cases"].values()], axis=0) for r in (row, other)
        )
        ahead = f"{int((ours > theirs).sum())} of {len(ours)}"
        lines.append(f"| {name} | {seed} | {np.mean(ours - theirs):+.2f} | {ahead} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with the folders of the data sets; without it, a table of the results")
    parser.add_argument("--work_dir", default="runs/any_data")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--methods", nargs="+", default=["default"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("options", nargs="*", help="further options of `train`, behind --")
    args = parser.parse_args()
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.is_file() else []
    if args.data is None:
        print(table(rows))
        return
    done = {(row["set"], row["seed"], row["method"]) for row in rows}
    for name in args.sets:
        for seed in args.seeds:
            for method in args.methods:
                if (name, seed, method) in done:
                    continue
                row = run(name, seed, method, args)
                with open(RESULTS, "a") as file:
                    file.write(json.dumps(row) + "\n")
                print(json.dumps({k: row[k] for k in ("set", "seed", "method", "mean_dice", "dice", "minutes")}))


if __name__ == "__main__":
    main()
