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
Compare methods on the CHASE_DB1 validation images, through the bundle's own commands.

    python benchmarks/chase_validation.py --dataset_dir data/chase_db1 --seeds 0 1 --jobs 2

Every run trains by ``python -m monai.bundle run`` and scores the EMA teacher at the last step on the validation part at
native size. The figures are appended to ``results/chase_validation.jsonl``, a finished run is not repeated, and
``--table`` prints what there is. The test part is never read.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "bundles" / "chase_vessel_segmentation" / "configs"
RESULTS = ROOT / "benchmarks" / "results" / "chase_validation.jsonl"

#: name in the table: the override file, and further values
METHODS: dict[str, tuple[str | None, dict[str, str]]] = {
    "supervised": ("supervised", {}),
    "supervised_augmented": ("supervised_augmented", {}),
    "mean_teacher": ("mean_teacher", {}),
    "cutmix": ("cutmix", {}),
    "classmix": ("classmix", {}),
    "supmix": ("supmix", {}),
    "supmix_sufd": (None, {}),
    "full_supervision": ("supervised", {"num_labeled": "16"}),
    "supmix_sufd_weight_0.1": (None, {"adversarial_weight": "0.1"}),
    # where the discriminator gets its features from, and how often
    "supmix_sufd_every_step": (None, {"adversarial_interval": "1"}),
    "supmix_sufd_encoder": (None, {"feature_layer": "model.1.submodule.0", "feature_channels": "32"}),
}


def bundle(configs: Iterable[str], values: dict[str, str], log: Path) -> None:
    """Run the bundle in a process of its own, on one thread."""
    files = [str(CONFIGS / f"{name}.yaml") for name in configs]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(files)]
    for key, value in values.items():
        command += [f"--{key}", value]
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")}
    with open(log, "a") as out:
        subprocess.run(command, check=True, stdout=out, stderr=out, env={**os.environ, **threads}, cwd=ROOT)


def run(name: str, seed: int, args: argparse.Namespace) -> None:
    """Train and score one method with one seed, and append the result."""
    override, values = METHODS[name]
    values = {"num_labeled": str(args.num_labeled), **values}
    output_dir = Path(args.output_dir).resolve() / f"{name}_labeled{values['num_labeled']}_seed{seed}"
    output_dir.mkdir(parents=True, exist_ok=True)
    values |= {"dataset_dir": str(Path(args.dataset_dir).resolve()), "output_dir": str(output_dir), "seed": str(seed)}
    configs = ["train"] if override is None else ["train", override]
    start = time.perf_counter()
    bundle(configs, values, output_dir / "log.txt")
    seconds = time.perf_counter() - start

    result: dict[str, object] = {
        "method": name,
        "seed": seed,
        "num_labeled": int(values["num_labeled"]),
        "seconds": round(seconds),
    }
    for label, weights, checkpoint in (
        ("teacher_last", "teacher", "last.pt"),
        ("student_last", "student", "last.pt"),
        ("teacher_best", "teacher", "best.pt"),
    ):
        scores = output_dir / label
        where = {"weights": weights, "checkpoint": str(output_dir / checkpoint), "evaluation_dir": str(scores)}
        bundle([*configs, "evaluate"], {**values, **where}, output_dir / "log.txt")
        with open(scores / "metrics.csv") as file:
            result[label] = {row[0]: round(100 * float(row[1]), 2) for row in csv.reader(file)}
    with open(RESULTS, "a") as file:
        file.write(json.dumps(result) + "\n")
    print(json.dumps(result), flush=True)


def results() -> list[dict]:
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.is_file() else []


def table() -> None:
    """Print the mean of the seeds, and every seed."""
    print("| method | labelled | seeds | mIoU | vessel IoU | vessel Dice | each seed | best | minutes |")
    print("|---|---|---|---|---|---|---|---|---|")
    everything = results()
    for name, num_labeled in sorted({(r["method"], r["num_labeled"]) for r in everything}, key=lambda pair: pair[::-1]):
        rows = [r for r in everything if (r["method"], r["num_labeled"]) == (name, num_labeled)]
        rows.sort(key=lambda r: r["seed"])
        last = [r["teacher_last"] for r in rows]
        figures = [mean(r[key] for r in last) for key in ("mean_iou", "iou_vessel", "dice_vessel")]
        print(
            f"| {name} | {num_labeled} | {', '.join(str(r['seed']) for r in rows)} | "
            + " | ".join(f"{figure:.1f}" for figure in figures)
            + f" | {', '.join(format(r['mean_iou'], '.1f') for r in last)}"
            + f" | {mean(r['teacher_best']['mean_iou'] for r in rows):.1f}"
            + f" | {mean(r['seconds'] for r in rows) / 60:.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", default="data/chase_db1")
    parser.add_argument("--output_dir", default="runs/chase_validation")
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1])
    parser.add_argument("--num_labeled", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--table", action="store_true", help="only print the table of what there is")
    args = parser.parse_args()
    if not args.table:
        RESULTS.parent.mkdir(exist_ok=True)
        done = {(r["method"], r["seed"], r["num_labeled"]) for r in results()}
        todo = [
            (m, s)
            for s in args.seeds
            for m in args.methods
            if (m, s, int(METHODS[m][1].get("num_labeled", args.num_labeled))) not in done
        ]
        with ThreadPoolExecutor(args.jobs) as pool:
            list(pool.map(lambda job: run(*job, args), todo))
    table()


if __name__ == "__main__":
    main()
