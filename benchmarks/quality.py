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
How well the agreement of views ranks masks by their true Dice, and which views do it best.

    python benchmarks/quality.py acdc --dataset_dir ../shared/data/acdc --run /tmp/acdc_3 --steps 600
    python benchmarks/quality.py hippocampus --dataset_dir ../shared/data/hippocampus --run /tmp/hippocampus_4

Trains on 3 patients or 4 volumes, or goes on with a training in ``--run``, and segments the validation images by every
view. For the package's estimate and for each view, and for some together, a line says the rank correlation
with Dice, over cases, and how many of the worst tenth by Dice are in the worst third of the list. ``--part val`` scores
ACDC's validation patients, which is done once, at the end. A line goes to ``results/quality.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from few_labels import acdc_list, hippocampus_list
from monai.transforms import Compose, EnsureChannelFirst, LoadImage, Orientation
from scipy.stats import spearmanr
from torch.nn.functional import interpolate, one_hot

from monai_sscm.bundle import opened_config
from monai_sscm.cli.main import main as command
from monai_sscm.io import VolumeReader
from monai_sscm.metrics import mask_agreement, mean_of_classes
from monai_sscm.networks import load_weights, make_views

RESULTS = Path(__file__).parent / "results" / "quality.jsonl"
ORIENT = Orientation("LPS", labels=(("L", "R"), ("P", "A"), ("I", "S")))


def other_views(network: Callable) -> dict[str, Callable]:
    """Views that the package does not take, to compare with."""

    def rescaled(factor: float) -> Callable:
        def view(x: torch.Tensor) -> torch.Tensor:
            mode = {4: "bilinear", 5: "trilinear"}[x.ndim]
            size = [max(16, round(n * factor / 16) * 16) for n in x.shape[2:]]
            return interpolate(network(interpolate(x, size, mode=mode)), x.shape[2:], mode=mode)

        return view

    def with_contrast(gain: float) -> Callable:
        return lambda x: network(x * gain)

    return {
        "mirrored": lambda x: network(x.flip(2)).flip(2),
        "rescaled 0.8": rescaled(0.8),
        "rescaled 1.25": rescaled(1.25),
        "contrast 0.8": with_contrast(0.8),
        "contrast 1.25": with_contrast(1.25),
    }


def measure(run: Path, items: list[dict]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """True Dice of every image, and every view's estimate of it."""
    load = Compose([LoadImage(reader=VolumeReader(mask=True)), EnsureChannelFirst(), ORIENT])
    values = {
        "input": [item["image"] for item in items],
        "save_probabilities": "true",
        "output_dir": str(run / "masks"),
    }
    true, estimates = [], {}
    checkpoint = run / "models" / "model.pt"
    with opened_config([run / "configs" / "inference.yaml"], values) as workflow, torch.no_grad():
        workflow.initialize()
        network, inferer, loader = map(workflow.parser.get_parsed_content, ("network", "inferer", "dataloader"))
        load_weights(network, checkpoint)
        network.eval()
        views = make_views(network, checkpoint)
        package = list(views)
        views |= other_views(network)
        for item, batch in zip(items, loader, strict=True):
            logits = torch.as_tensor(inferer(batch["image"], network))[0]
            mask, classes = logits.argmax(0), len(logits)
            label = torch.as_tensor(load(item["label"]))[0].long()
            true.append(mean_of_classes(mask_agreement(mask, [label], classes)))
            masks = {name: torch.as_tensor(inferer(batch["image"], view))[0].argmax(0) for name, view in views.items()}
            found = {name: mean_of_classes(mask_agreement(mask, [other], classes)) for name, other in masks.items()}
            found["package"] = mean_of_classes(mask_agreement(mask, [masks[name] for name in package], classes))
            found["all views"] = mean_of_classes(mask_agreement(mask, list(masks.values()), classes))
            both = mask_agreement(mask, [masks["noisy"], masks["blurred"]], classes)
            found["noisy and blurred"] = mean_of_classes(both)
            prob, hard = logits.float().softmax(0).flatten(1), one_hot(mask.flatten(), classes).T
            found["soft Dice"] = float((2 * (prob * hard).sum(1) / (prob.sum(1) + hard.sum(1)))[1:].mean())
            for name, value in found.items():
                estimates.setdefault(name, []).append(value)
    return np.array(true), {name: np.array(values) for name, values in estimates.items()}


def ranking(estimate: np.ndarray, true: np.ndarray) -> dict[str, float | str]:
    count = max(1, len(true) // 10)
    third = set(np.argsort(estimate, kind="stable")[: math.ceil(len(true) / 3)].tolist())
    worst = set(np.argsort(true, kind="stable")[:count].tolist())
    return {
        "spearman": round(float(spearmanr(estimate, true)[0]), 3),
        "worst_tenth_found": f"{len(worst & third)}/{count}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=("acdc", "hippocampus"))
    parser.add_argument("--dataset_dir", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--part", choices=("development", "val"), default="development")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--method", default="supmix_sufd")
    args = parser.parse_args()
    args.run.parent.mkdir(parents=True, exist_ok=True)
    lists = args.run.parent / f"{args.run.name}_lists"
    lists.mkdir(exist_ok=True)
    root = args.dataset_dir.resolve()
    if args.dataset == "acdc":
        patients = json.loads((root / "split.json").read_text())["labeled_patients"]["3"]
        path = acdc_list(root, patients, "development", lists / "acdc.json")
        scored = acdc_list(root, patients, args.part, lists / f"acdc_{args.part}.json")
    else:
        path = scored = hippocampus_list(root, 4, 30, 0, lists / "hippocampus.json")
    epochs = max(1, args.steps // 50)
    words = [
        "--max_epochs",
        str(epochs),
        "--epoch_length",
        "50",
        "--val_interval",
        str(epochs),
        "--method",
        args.method,
    ]
    command(["train", str(path), "--output_dir", str(args.run), *words])
    items = json.loads(scored.read_text())["validation"]
    true, estimates = measure(args.run, items)
    row = {"dataset": args.dataset, "part": args.part, "method": args.method, "steps": args.steps, "cases": len(true)}
    row |= {"dice_mean": round(float(true.mean()), 3), "dice_std": round(float(true.std()), 3)}
    row["estimates"] = {name: ranking(values, true) for name, values in estimates.items()}
    for name, scores in row["estimates"].items():
        print(f"{name:20s} {scores['spearman']:6.3f}  {scores['worst_tenth_found']}")
    with RESULTS.open("a") as results:
        results.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
