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
What was tried to make the methods better, on other splits of the training and validation images, never the test ones.

    python benchmarks/development.py chase --dataset_dir data/chase_db1 --methods supervised classmix supmix --folds 0 1
    python benchmarks/development.py covid19_ct --dataset_dir data/covid19_ct --methods classmix supmix --folds 0 1

The validation part alone has four photographs of two children, or twelve slices: too few to tell methods apart. So its
patients and those of the training part are dealt out anew: in fold k a random 40 % of them, by images, are scored and
the others train, with seed 100 + k, which the study never uses. The methods are those of the study and of
``development.yaml``. The results are collected in ``results/development_<data set>.jsonl``; ``--table`` prints them.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np

from monai_sscm.data.datalist import patients, read_split
from monai_sscm.datasets import COVID19_CT_SPLIT, chase_db1_datalist, covid19_ct_datalist
from monai_sscm.datasets.chase_db1 import CHASE_DB1_PATIENT
from monai_sscm.study import METHODS, Study, markdown_table, read_methods

HERE = Path(__file__).resolve().parent
BUNDLES = {"chase": "chase_vessel_segmentation", "covid19_ct": "covid19_ct_segmentation"}
NUM_LABELED = {"chase": 2, "covid19_ct": 8}


def write_fold(data: str, dataset_dir: Path, folder: Path, fold: int) -> None:
    """A data set of links to the training and validation images, with a split of its own, unless it is there."""
    if (folder / "split.json").is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    lists = chase_db1_datalist(dataset_dir) if data == "chase" else covid19_ct_datalist(dataset_dir)
    names = []
    for item in lists["labeled"] + lists["val"]:
        for key in ("image", "label"):
            path = Path(item[key]).resolve()
            (folder / f"{key}s" / path.name).symlink_to(path)
        names.append(Path(item["image"]).stem)
    kept: Sequence[Sequence[object]] = []
    pattern = CHASE_DB1_PATIENT if data == "chase" else None
    if data == "covid19_ct":
        (folder / "unlabeled_images").symlink_to((dataset_dir / "unlabeled_images").resolve())
        together = (read_split(dataset_dir, COVID19_CT_SPLIT) or {})["kept_together"]
        kept = [[n for n in group if str(n) in names] for group in together]
    patient_of = patients(names, pattern, {"kept_together": [group for group in kept if group]})
    scored: list[str] = []
    for patient in np.random.RandomState(fold).permutation(sorted(set(patient_of.values()))):
        if len(scored) < 0.4 * len(names):
            scored += [name for name in names if patient_of[name] == patient]
    split = {"train": [n for n in names if n not in scored], "val": scored, "test": []}
    split["kept_together"] = [group for group in kept if group]  # type: ignore[misc]
    (folder / "split.json").write_text(json.dumps(split))


def table(results: Path) -> None:
    """Print the mean of the folds, and every fold."""
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    keys = [key for key in rows[0]["last"] if key.startswith("iou_") and "background" not in key]
    folds = sorted({row["fold"] for row in rows})
    heads = ["method", "mIoU", *(f"{key[4:]} IoU" for key in keys), *(f"fold {fold}" for fold in folds), "minutes"]
    lines = []
    for method in dict.fromkeys(row["method"] for row in rows):
        of_fold = {row["fold"]: row for row in rows if row["method"] == method}
        cells = [f"{100 * mean(r['last'][key] for r in of_fold.values()):.1f}" for key in ("mean_iou", *keys)]
        cells += [f"{100 * of_fold[f]['last']['mean_iou']:.1f}" if f in of_fold else "" for f in folds]
        lines.append([method, *cells, f"{mean(r['seconds'] for r in of_fold.values()) / 60:.1f}"])
    print(markdown_table(heads, lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=list(BUNDLES))
    parser.add_argument("--dataset_dir", type=Path, default="data")
    parser.add_argument("--output_dir", type=Path, default="runs/development")
    parser.add_argument("--methods", nargs="+", default=["supervised", "classmix", "supmix", "supmix_sufd"])
    parser.add_argument("--folds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only print the table of what there is")
    args = parser.parse_args()
    results = HERE / "results" / f"development_{args.data}.jsonl"
    for fold in [] if args.table else args.folds:
        root = args.output_dir / f"{args.data}_fold{fold}"
        write_fold(args.data, args.dataset_dir, root / "data", fold)
        study = Study(
            BUNDLES[args.data],
            root / "data",
            root,
            args.methods,
            [NUM_LABELED[args.data]],
            [100 + fold],
            part="val",
            all_methods=METHODS | read_methods(HERE / "development.yaml"),
        )
        study.run(args.jobs)
        known = [json.loads(line) for line in results.read_text().splitlines()] if results.is_file() else []
        here = study.results()
        known = [r for r in known if r["fold"] != fold or r["method"] not in {row["method"] for row in here}]
        known += [{"fold": fold, **row} for row in here]
        results.write_text("".join(json.dumps({k: v for k, v in r.items() if k != "curves"}) + "\n" for r in known))
    table(results)


if __name__ == "__main__":
    main()
