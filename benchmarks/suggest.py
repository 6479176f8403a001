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
Three suggested patients (ACDC) or slices (COVID-19 CT) against three at random, five draws of those labeled first.

    python benchmarks/suggest.py acdc --dataset_dir ../shared/data/acdc --work /tmp/suggest --steps 600
    python benchmarks/suggest.py ct --dataset_dir ../shared/data/covid19_ct --work /tmp/suggest --steps 600

For each draw: train on 3 patients (8 slices), suggest three more, draw three more at random, train anew with each, and
score the validation images: mean Dice over classes and cases. The same command goes on where it was stopped; each
training is a line of ``results/suggest.jsonl``. At the end: the mean difference of the draws, and its 95 % interval by
Student's t, of those draws that are complete.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from few_labels import acdc_list, ct_list
from scipy.stats import t

from monai_sscm.cli.main import main as command
from monai_sscm.review import read_run, suggest
from monai_sscm.review.calibrate import agreement_and_dice

RESULTS = Path(__file__).parent / "results" / "suggest.jsonl"
FIRST = {"acdc": 3, "ct": 8}
MORE = 3


def write_list(dataset: str, root: Path, labeled: list[str], path: Path) -> Path:
    return acdc_list(root, labeled, "development", path) if dataset == "acdc" else ct_list(root, labeled, path)


def candidates(dataset: str, root: Path) -> list[str]:
    split = json.loads((root / "split.json").read_text())
    if dataset == "ct":
        return [str(name) for name in split["train"]]
    return sorted({name[:10] for name in split["train"]} - set(split["development"]))


def train(args: argparse.Namespace, path: Path, run: Path, seed: int) -> float:
    """Mean Dice of the validation images."""
    epochs = max(1, args.steps // 50)
    words = ["--max_epochs", str(epochs), "--epoch_length", "50", "--val_interval", str(epochs), "--seed", str(seed)]
    command(["train", str(path), "--output_dir", str(run), "--method", args.method, *words])
    trained = read_run(run)
    return float(np.nanmean(agreement_and_dice(trained, trained.images("val"))[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=("acdc", "ct"))
    parser.add_argument("--dataset_dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--method", default="supmix_sufd")
    parser.add_argument("--draws", type=int, default=5)
    args = parser.parse_args()
    root = args.dataset_dir.resolve()
    key = {"dataset": args.dataset, "steps": args.steps, "method": args.method}
    done: dict[tuple[int, str], dict] = {}
    for line in RESULTS.read_text().splitlines() if RESULTS.is_file() else []:
        row = json.loads(line)
        if key.items() <= row.items():
            done[row["draw"], row["arm"]] = row
    everyone = candidates(args.dataset, root)
    for draw in range(args.draws):
        random = np.random.RandomState(draw)
        order = random.permutation(everyone).tolist()
        first, others = order[: FIRST[args.dataset]], order[FIRST[args.dataset] :]
        folder = args.work / f"{args.dataset}_{args.method}_{args.steps}_{draw}"
        folder.mkdir(parents=True, exist_ok=True)
        for arm in ("first", "suggested", "random"):
            if (draw, arm) in done:
                continue
            more: list[str] = []
            if arm == "suggested":
                found = suggest(folder / "first", MORE)
                more = [s.item["group"] if args.dataset == "acdc" else s.item["name"] for s in found]
            elif arm == "random":
                more = others[:MORE]
            path = write_list(args.dataset, root, [*first, *more], folder / f"{arm}.json")
            dice = train(args, path, folder / arm, draw)
            row = {**key, "draw": draw, "arm": arm, "more": more, "dice": round(dice, 4)}
            with RESULTS.open("a") as results:
                results.write(json.dumps(row) + "\n")
            done[draw, arm] = row
            print(row, flush=True)
    complete = [d for d in range(args.draws) if all((d, arm) in done for arm in ("suggested", "random"))]
    differences = np.array([done[d, "suggested"]["dice"] - done[d, "random"]["dice"] for d in complete])
    half = t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / np.sqrt(len(differences))
    print(f"suggested - random: {differences.mean():+.4f} +- {half:.4f} Dice, {len(differences)} draws")


if __name__ == "__main__":
    main()
