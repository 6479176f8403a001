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
A 3D run: hippocampus (Medical Segmentation Decathlon, Task04) with 4 labelled volumes, supervised and SupMix.

    python benchmarks/hippocampus.py --dataset_dir data/hippocampus

4 labelled and 56 unlabelled volumes, 20 others to score, patches of 32^3, 400 steps, the EMA teacher at the last step.
Figures are appended to ``results/hippocampus.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedEvaluator
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import (
    Compose,
    LoadImaged,
    NormalizeIntensityd,
    RandCropByLabelClassesd,
    RandFlipd,
    RandSpatialCropd,
    SpatialPadd,
    Transform,
)
from monai.utils import set_determinism

from monai_sscm.data import SemiSupervisedLoader, select_labeled
from monai_sscm.engines import Ramp, SemiSupervisedTrainer, View
from monai_sscm.handlers import segmentation_metrics
from monai_sscm.losses import WeightedCELoss
from monai_sscm.networks import make_teacher
from monai_sscm.transforms import MaskToIndexd, RandStrongIntensity, SupervisedClassMixd

RESULTS = Path(__file__).parent / "results" / "hippocampus.jsonl"
CLASSES = ["background", "anterior", "posterior"]
PATCH = (32, 32, 32)


def files(dataset_dir: str, seed: int, volumes: int) -> tuple[list[dict], list[dict], list[dict]]:
    """4 labelled, the other unlabelled and a quarter of all to score; these are the same for every seed."""
    root = Path(dataset_dir)
    names = sorted(path.name for path in (root / "imagesTr").glob("hippocampus_*.nii.gz"))[:volumes]
    items = [{"image": str(root / "imagesTr" / n), "label": str(root / "labelsTr" / n)} for n in names]
    scored, train = items[: volumes // 4], items[volumes // 4 :]
    labeled, rest = select_labeled(train, 4, seed, [item["image"] for item in train])
    return labeled, [{"image": item["image"]} for item in rest], scored


def transform(crop: str | None) -> Transform:
    """Loading, and one of the crops."""
    keys = ["image", "label"]
    load = [
        LoadImaged(keys, ensure_channel_first=True, allow_missing_keys=True),
        MaskToIndexd("label", num_classes=3, allow_missing_keys=True),
        NormalizeIntensityd("image"),  # the intensities of these volumes have no common scale
        SpatialPadd(keys, PATCH, allow_missing_keys=True),
    ]
    crops = {
        "anywhere": [RandSpatialCropd(keys, PATCH, random_size=False, allow_missing_keys=True)],
        "on a class": [RandCropByLabelClassesd(keys, "label", PATCH, ratios=[0, 1, 1], num_classes=3)],
    }
    flips = [RandFlipd(keys, prob=0.5, spatial_axis=axis, allow_missing_keys=True) for axis in range(3)]
    return Compose(load if crop is None else [*load, *crops[crop], *flips])


def run(method: str, seed: int, args: argparse.Namespace, volumes: int = 80) -> dict:
    """Train and score one method with one seed."""
    set_determinism(seed)
    network = UNet(3, 1, 3, (16, 32, 64), (2, 2), num_res_units=2)
    labeled, unlabeled, scored = files(args.dataset_dir, seed, volumes)
    supmix = method == "supmix"
    loader = SemiSupervisedLoader(
        CacheDataset(labeled, transform("on a class"), progress=False),
        CacheDataset(unlabeled, transform("anywhere"), progress=False) if supmix else None,
        CacheDataset(labeled, transform("on a class"), progress=False) if supmix else None,
        batch_size=4,
        epoch_length=args.steps,
        seed=seed,
    )
    mix = SupervisedClassMixd(
        keys=("unlabeled_image", "pseudo_label", "pseudo_weight"),
        donor_keys=("donor_image", "donor_label", None),
        label_key="donor_label",
        classes="foreground",
        num_classes=3,
        spatial_dims=3,
        output_keys=("mixed_image", "mixed_label", "mixed_weight"),
    )
    view = View(mix=mix, augment=RandStrongIntensity(3), loss=WeightedCELoss(), weight=Ramp(1.0, 100))
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-4)
    trainer = SemiSupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=DiceCELoss(softmax=True, to_onehot_y=True),
        views=[view] if supmix else [],
        teacher=make_teacher(network),
        seed=seed,
        decollate=False,
    )
    start = time.perf_counter()
    trainer.run()
    seconds = time.perf_counter() - start
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(CacheDataset(scored, transform(None), progress=False), batch_size=1),
        network=trainer.teacher,
        inferer=SlidingWindowInferer(PATCH, 4, overlap=0.5, mode="gaussian"),
        key_val_metric=segmentation_metrics(CLASSES),
        decollate=False,
    )
    evaluator.run()
    scores = {name: round(100 * value, 2) for name, value in evaluator.state.metrics.items()}
    return {"method": method, "seed": seed, "steps": args.steps, "seconds": round(seconds), "teacher_last": scores}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", default="data/hippocampus")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1)
    return parser


def main() -> None:
    args = arguments().parse_args()
    torch.set_num_threads(args.threads)
    RESULTS.parent.mkdir(exist_ok=True)
    for seed in args.seeds:
        for method in ("supervised", "supmix"):
            result = run(method, seed, args)
            with open(RESULTS, "a") as file:
                file.write(json.dumps(result) + "\n")
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
