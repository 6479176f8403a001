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
Compare methods on the validation images of a data set, through the commands of its bundle.

    python benchmarks/validation.py chase --dataset_dir data/chase_db1 --seeds 0 1 --jobs 2
    python benchmarks/validation.py covid19_ct --dataset_dir data/covid19_ct --seeds 0 1 --jobs 2

Every run trains by ``python -m monai.bundle run`` and scores the EMA teacher at the last step on the validation part at
native size. The figures are appended to ``results/<data set>_validation.jsonl``, a finished run is not repeated, an
interrupted one goes on where it stopped, and ``--table`` prints what there is. The test part is never read.
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
BUNDLES = {"chase": "chase_vessel_segmentation", "covid19_ct": "covid19_ct_segmentation"}
NUM_LABELED = {"chase": 2, "covid19_ct": 8}

#: name in the table: the override file, and further values
COMMON: dict[str, tuple[str | None, dict[str, str]]] = {
    "supervised": ("supervised", {}),
    "supervised_augmented": ("supervised_augmented", {}),
    "mean_teacher": ("mean_teacher", {}),
    "cutmix": ("cutmix", {}),
    "classmix": ("classmix", {}),
    "supmix": ("supmix", {}),
    "supmix_sufd": (None, {}),
}
CHASE: dict[str, tuple[str | None, dict[str, str]]] = {
    "full_supervision": ("supervised", {"num_labeled": "16"}),
    "supmix_sufd_weight_0.1": (None, {"adversarial_weight": "0.1"}),
    # where the discriminator gets its features from, and how often
    "supmix_sufd_every_step": (None, {"adversarial_interval": "1"}),
    "supmix_sufd_encoder": (None, {"feature_layer": "model.1.submodule.0", "feature_channels": "32"}),
}
NO_MORE = {"unlabeled_images": "false"}  # the 48 training slices that give up their masks, not the 1,600 others
COVID19_CT: dict[str, tuple[str | None, dict[str, str]]] = {
    **{name: (override, NO_MORE) for name, (override, _) in COMMON.items()},
    # the naive form: every slice is pasted onto, with donors cropped anywhere; and with donors in place
    "supmix_naive": ("supmix", {**NO_MORE, "align_donors": "false", "keep_class_shares": "false"}),
    "supmix_in_place": ("supmix", {**NO_MORE, "keep_class_shares": "false"}),
    "full_supervision": ("supervised", {"num_labeled": "56"}),
    "classmix_1600": ("classmix", {}),
    "supmix_1600": ("supmix", {}),
    "supmix_sufd_1600": (None, {}),
}
METHODS = {"chase": {**COMMON, **CHASE}, "covid19_ct": COVID19_CT}


def results_file(data: str) -> Path:
    return ROOT / "benchmarks" / "results" / f"{data}_validation.jsonl"


def bundle(data: str, configs: Iterable[str], values: dict[str, str], log: Path) -> None:
    """Run the bundle in a process of its own, on one thread."""
    files = [str(ROOT / "bundles" / BUNDLES[data] / "configs" / f"{name}.yaml") for name in configs]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(files)]
    for key, value in values.items():
        command += [f"--{key}", value]
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")}
    with open(log, "a") as out:
        subprocess.run(command, check=True, stdout=out, stderr=out, env={**os.environ, **threads}, cwd=ROOT)


def run(name: str, seed: int, args: argparse.Namespace) -> None:
    """Train and score one method with one seed, and append the result."""
    override, values = METHODS[args.data][name]
    values = {"num_labeled": str(args.num_labeled), **values}
    output_dir = Path(args.output_dir).resolve() / args.data / f"{name}_labeled{values['num_labeled']}_seed{seed}"
    output_dir.mkdir(parents=True, exist_ok=True)
    values |= {"dataset_dir": str(Path(args.dataset_dir).resolve()), "output_dir": str(output_dir), "seed": str(seed)}
    configs = ["train"] if override is None else ["train", override]
    start = time.perf_counter()
    bundle(args.data, configs, {**values, "resume": "true"}, output_dir / "log.txt")
    seconds = time.perf_counter() - start

    result: dict[str, object] = {
        "method": name,
        "seed": seed,
        "num_labeled": int(values["num_labeled"]),
        "seconds": round(seconds),
    }
    for label, checkpoint in (("teacher_last", "last.pt"), ("teacher_best", "best.pt")):
        scores = output_dir / label
        where = {"checkpoint": str(output_dir / checkpoint), "evaluation_dir": str(scores)}
        bundle(args.data, [*configs, "evaluate"], {**values, **where}, output_dir / "log.txt")
        with open(scores / "metrics.csv") as file:
            scores = {row[0]: float(row[1]) for row in csv.reader(file)}
        # of distances, slices without a size have none
        result[label] = {name: round(100 * x, 2) for name, x in scores.items() if x == x}
    with open(results_file(args.data), "a") as file:
        file.write(json.dumps(result) + "\n")
    print(json.dumps(result), flush=True)


def results(data: str) -> list[dict]:
    path = results_file(data)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def table(data: str) -> None:
    """Print the mean of the seeds, and every seed."""
    everything = results(data)
    keys = [key for key in everything[0]["teacher_last"] if key.startswith("iou_") and "background" not in key]
    heads = ["method", "labelled", "seeds", "mIoU", *(f"{key[4:]} IoU" for key in keys), "each seed", "best", "minutes"]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for name, num_labeled in sorted({(r["method"], r["num_labeled"]) for r in everything}, key=lambda pair: pair[::-1]):
        rows = [r for r in everything if (r["method"], r["num_labeled"]) == (name, num_labeled)]
        rows.sort(key=lambda r: r["seed"])
        last = [r["teacher_last"] for r in rows]
        figures = [mean(r[key] for r in last) for key in ("mean_iou", *keys)]
        print(
            f"| {name} | {num_labeled} | {', '.join(str(r['seed']) for r in rows)} | "
            + " | ".join(f"{figure:.1f}" for figure in figures)
            + f" | {', '.join(format(r['mean_iou'], '.1f') for r in last)}"
            + f" | {mean(r['teacher_best']['mean_iou'] for r in rows):.1f}"
            + f" | {mean(r['seconds'] for r in rows) / 60:.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=list(BUNDLES))
    parser.add_argument("--dataset_dir", default="data")
    parser.add_argument("--output_dir", default="runs/validation")
    parser.add_argument("--methods", nargs="*", help="all, if none is named")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1])
    parser.add_argument("--num_labeled", type=int)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--table", action="store_true", help="only print the table of what there is")
    args = parser.parse_args()
    if not args.table:
        methods = METHODS[args.data]
        wrong = [name for name in args.methods or [] if name not in methods]
        if wrong:
            parser.error(f"there is no method {wrong[0]}: choose among {', '.join(methods)}")
        args.num_labeled = args.num_labeled or NUM_LABELED[args.data]
        results_file(args.data).parent.mkdir(exist_ok=True)
        done = {(r["method"], r["seed"], r["num_labeled"]) for r in results(args.data)}
        todo = [
            (m, s)
            for s in args.seeds
            for m in args.methods or methods
            if (m, s, int(methods[m][1].get("num_labeled", args.num_labeled))) not in done
        ]
        with ThreadPoolExecutor(args.jobs) as pool:
            list(pool.map(lambda job: run(*job, args), todo))
    table(args.data)


if __name__ == "__main__":
    main()
