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
Which two views of the unlabelled images pay on hearts: ACDC with 3 labelled patients, its development fold.

    OMP_NUM_THREADS=1 python benchmarks/acdc_views.py --dataset_dir data/acdc --work_dir runs/acdc_views

The labelled patients are those of the usual list; the ten development patients are scored and are no part of the
unlabelled images, which are those of the other 57 training patients. ``val`` is not read. Every recipe has the same
network, weights to begin with, labelled batches, geometry and mild intensity changes (of labelled, unlabelled and donor
images), strong intensity changes (of every view) and schedule. The EMA teacher is scored every 1,000 steps and at the
last one, which is the result: Dice of the three classes by volume (each phase of each patient) and pooled over volumes.

Each finished run adds a line to ``results/acdc_views/results.jsonl``; runs that are there are left out. A run that was
stopped goes on from its last checkpoint in ``work_dir``: SIGTERM (``kill``) saves at once, and a checkpoint is written
every 500 steps. Give the same command again. ``--time 100`` measures the step of every recipe instead.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from ignite.engine import Events
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import Compose, CopyItemsd, Randomizable, SpatialPad, Transform
from torch import nn
from torch.utils.data import Dataset, default_collate

from monai_sscm.data import SemiSupervisedLoader
from monai_sscm.engines import PseudoLabeler, Ramp, SemiSupervisedTrainer, View
from monai_sscm.handlers import CheckpointHandler
from monai_sscm.losses import WeightedDiceCELoss, WeightedDiceLoss
from monai_sscm.transforms import (
    ClassMixd,
    CutMixSegd,
    RandBatchAffined,
    RandBatchLowResolution,
    RandBatchLowResolutiond,
    RandStrongIntensity,
    RandStrongIntensityd,
    SupervisedClassMixd,
)

RESULTS = Path(__file__).parent / "results" / "acdc_views" / "results.jsonl"
CLASSES = ["background", "right ventricle", "myocardium", "left ventricle"]
SIZE = (128, 128)
BATCH_SIZE = 4
EPOCH_LENGTH = 500
SCORE_EVERY = 1000
RAMPUP_STEPS = 200
RECIPES = {
    "supmix_cutmix": ("supmix", "cutmix"),
    "cutmix2": ("cutmix", "cutmix"),
    "classmix_cutmix": ("classmix", "cutmix"),
    "supmix_classmix": ("supmix", "classmix"),
    "supervised_augmented": ("labeled",),
    "supervised": (),
}
KEYS = ("unlabeled_image", "pseudo_label", "pseudo_weight")
OUT = ("mixed_image", "mixed_label", "mixed_weight")
# what a run is known by in the results
SETTINGS = ("recipe", "seed", "steps", "loss", "paste_classes", "precision", "rotation")


class Slices(Dataset, Randomizable):
    """
    Slices in memory, each at least as large as the crop; larger ones are cropped anywhere.

    Args:
        slices: dictionaries of channel-first tensors of one spatial size.
    """

    def __init__(self, slices: Sequence[Mapping[str, torch.Tensor]]) -> None:
        self.slices = slices

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        item = self.slices[index]
        room = [n - size + 1 for n, size in zip(item["image"].shape[1:], SIZE, strict=True)]
        row, column = (int(self.R.randint(n)) for n in room)
        return {key: x[:, row : row + SIZE[0], column : column + SIZE[1]] for key, x in item.items()}


class AugmentedLoader(SemiSupervisedLoader):
    """
    A loader whose batches are augmented as batches, each stream by a transform of its own.

    Args:
        augment: transform of each stream, by its prefix. Its random numbers depend on seed, epoch, batch and stream.
        kwargs: see the base class.
    """

    def __init__(self, augment: Mapping[str, Compose], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.augment = augment

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._augmented(super().__iter__(), self.epoch, self.start)

    def _augmented(self, batches: Iterator[dict[str, Any]], epoch: int, start: int) -> Iterator[dict[str, Any]]:
        for position, batch in enumerate(batches, start):
            for stream, prefix in enumerate(("", "unlabeled_", "donor_")):
                if prefix in self.streams:
                    sequence = np.random.SeedSequence([self.seed, epoch, position, stream])
                    self.augment[prefix].set_random_state(int(sequence.generate_state(1)[0]))
                    batch = self.augment[prefix](batch)
            yield batch


class Scorer:
    """
    Handler that scores the teacher on whole volumes; keeps the curve, and the processor's seconds of training.

    Args:
        volumes: image ``(slices, 1, H, W)`` and label of every volume, by name.
        teacher: the network.
    """

    def __init__(self, volumes: Mapping[str, tuple[torch.Tensor, torch.Tensor]], teacher: nn.Module) -> None:
        self.volumes = volumes
        self.teacher = teacher
        self.curve: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._since = time.process_time()
        self._inferer = SlidingWindowInferer(SIZE, sw_batch_size=8, overlap=0.5, mode="gaussian")

    def state_dict(self) -> dict[str, Any]:
        return {"curve": self.curve, "seconds": self.seconds + time.process_time() - self._since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.curve, self.seconds = list(state["curve"]), state["seconds"]
        self._since = time.process_time()

    def __call__(self, trainer: SemiSupervisedTrainer) -> None:
        iteration = trainer.state.iteration
        if iteration % SCORE_EVERY and trainer.state.epoch != trainer.state.max_epochs:
            return
        started = time.process_time()
        score = {"step": iteration, **self.score()}
        self._since += time.process_time() - started  # scoring is no part of the training's time
        self.curve.append(score)
        out = trainer.state.output
        print(
            f"  {iteration}: Dice by volume {score['mean']:.1f} {score['classes']}, pooled {score['pooled_mean']:.1f}; "
            f"losses {float(out['supervised_loss']):.3f}, {float(out['unsupervised_loss']):.3f}; "
            f"{self.state_dict()['seconds']:.0f} s",
            flush=True,
        )

    @torch.no_grad()
    def score(self) -> dict[str, Any]:
        """Dice in percent, of every class but the background; of a volume without a class, nan for it."""
        sums = np.zeros((len(self.volumes), 3, len(CLASSES) - 1))
        for i, (image, label) in enumerate(self.volumes.values()):
            found = self._inferer(image, self.teacher).argmax(1, keepdim=True)
            for c in range(1, len(CLASSES)):
                a, b = found == c, label == c
                sums[i, :, c - 1] = int((a & b).sum()), int(a.sum()), int(b.sum())
        with np.errstate(invalid="ignore"):
            by_volume = np.where(sums[:, 2] > 0, 200 * sums[:, 0] / (sums[:, 1] + sums[:, 2]), np.nan)
            pooled = 200 * sums.sum(0)[0] / sums.sum(0)[1:].sum(0)
        classes = np.nanmean(by_volume, axis=0)
        return {
            "mean": round(float(classes.mean()), 3),
            "classes": [round(float(x), 2) for x in classes],
            "pooled_mean": round(float(pooled.mean()), 3),
            "pooled_classes": [round(float(x), 2) for x in pooled],
            "volumes": {n: [round(float(x), 2) for x in row] for n, row in zip(self.volumes, by_volume, strict=True)},
        }


def read_volumes(root: Path, names: Sequence[str], label: bool) -> dict[str, dict[str, torch.Tensor]]:
    """Volumes as batches of slices ``(slices, 1, H, W)``, each volume standardized and padded to the crop's size."""
    volumes = {}
    for name in names:
        image = np.asarray(nibabel.load(root / "images" / f"{name}.nii.gz").dataobj, dtype=np.float32)
        image = (image - image.mean()) / image.std()
        item = {"image": torch.as_tensor(image).movedim(2, 0)[:, None]}
        pad = SpatialPad((-1, *SIZE), mode="constant", value=float(image.min()))
        item["image"] = pad(item["image"].movedim(1, 0)).movedim(1, 0).as_tensor().contiguous()
        if label:
            mask = np.asarray(nibabel.load(root / "labels" / f"{name}.nii.gz").dataobj).astype(np.int64)
            mask_tensor = torch.as_tensor(mask).movedim(2, 0)[None]
            item["label"] = SpatialPad((-1, *SIZE))(mask_tensor).movedim(1, 0).as_tensor().long().contiguous()
        volumes[name] = item
    return volumes


def read_data(dataset_dir: str) -> tuple[Slices, Slices, Slices, dict[str, tuple[torch.Tensor, torch.Tensor]]]:
    """Labelled, unlabelled and donor slices, and the volumes to score."""
    root = Path(dataset_dir)
    split = json.loads((root / "split.json").read_text())
    chosen, scored = set(split["labeled_patients"]["3"]), set(split["development"])
    if chosen & scored:
        raise ValueError(f"Patients are both labelled and scored: {sorted(chosen & scored)}.")

    def of(patients: set[str]) -> list[str]:
        return [name for name in split["train"] if name.split("_")[0] in patients]

    rest = {name.split("_")[0] for name in split["train"]} - chosen - scored

    def slices(volumes: dict[str, dict[str, torch.Tensor]]) -> list[dict[str, torch.Tensor]]:
        return [{k: x[i] for k, x in v.items()} for v in volumes.values() for i in range(len(v["image"]))]

    labeled = slices(read_volumes(root, of(chosen), label=True))
    unlabeled = slices(read_volumes(root, of(rest), label=False))
    volumes = read_volumes(root, of(scored), label=True)
    print(
        f"{len(labeled)} labelled slices of {len(chosen)} patients, {len(unlabeled)} unlabelled of {len(rest)}, "
        f"{len(volumes)} volumes of {len(scored)} to score",
        flush=True,
    )
    return (
        Slices(labeled),
        Slices(unlabeled),
        Slices(labeled),
        {n: (v["image"], v["label"]) for n, v in volumes.items()},
    )


def base_augmentation(prefix: str, rotation: float) -> Compose:
    """Geometry and mild changes of intensity, of every stream."""
    image = f"{prefix}image"
    keys, modes = ([image], ["bilinear"])
    if prefix != "unlabeled_":
        keys, modes = [image, f"{prefix}label"], ["bilinear", "nearest"]
    return Compose(
        [
            RandBatchAffined(keys, spatial_dims=2, mode=modes, rotate_range=math.radians(rotation)),
            RandStrongIntensityd(image, 2, prob=0.2, brightness=0.25, contrast=0.25, gamma=1.5, noise=0.1, blur=0.7),
            RandBatchLowResolutiond(image, 2, prob=0.125),
        ]
    )


def make_views(args: argparse.Namespace, recipe: str) -> list[View]:
    common: dict[str, Any] = {"spatial_dims": 2, "output_keys": OUT, "mask_key": "mixed_mask"}
    classes = len(CLASSES)
    mixes: dict[str, Callable[[], Transform]] = {
        "supmix": lambda: SupervisedClassMixd(
            KEYS, ("donor_image", "donor_label", None), "donor_label", args.paste_classes, classes, **common
        ),
        "classmix": lambda: ClassMixd(KEYS, "pseudo_label", classes, **common),
        # UniMatch's boxes
        "cutmix": lambda: CutMixSegd(KEYS, area=(0.02, 0.4), max_aspect=3.3, prob=0.5, **common),
        "labeled": lambda: CopyItemsd(["donor_image", "donor_label"], names=["mixed_image", "mixed_label"]),
    }
    unlabeled_loss = WeightedDiceLoss() if args.loss == "dice" else WeightedDiceCELoss()
    return [
        View(
            mix=mixes[name](),
            augment=Compose([RandStrongIntensity(2), RandBatchLowResolution(2)]),
            loss=supervised_loss if name == "labeled" else unlabeled_loss,
            weight=Ramp(1.0, RAMPUP_STEPS),
        )
        for name in RECIPES[recipe]
    ]


_DICE_CE = DiceCELoss(to_onehot_y=True, softmax=True)


def supervised_loss(pred: torch.Tensor, label: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Dice + cross-entropy, in float32 whatever the network's precision."""
    return _DICE_CE(pred.float(), label)


def make_trainer(
    args: argparse.Namespace, recipe: str, seed: int, data: tuple, steps: int, folder: Path | None
) -> tuple[SemiSupervisedTrainer, Scorer, CheckpointHandler | None]:
    labeled, unlabeled, donor, volumes = data
    views = RECIPES[recipe]
    torch.manual_seed(seed)
    network = UNet(2, 1, len(CLASSES), (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=steps, power=0.9)
    loader = AugmentedLoader(
        {prefix: base_augmentation(prefix, args.rotation) for prefix in ("", "unlabeled_", "donor_")},
        labeled=labeled,
        unlabeled=unlabeled if {*views} & {"supmix", "cutmix", "classmix"} else None,
        donor=donor if {*views} & {"supmix", "labeled"} else None,
        batch_size=BATCH_SIZE,
        epoch_length=min(EPOCH_LENGTH, steps),
        seed=seed,
        collate_fn=default_collate,
    )
    trainer = SemiSupervisedTrainer(
        device="cpu",
        max_epochs=max(1, steps // EPOCH_LENGTH),
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=supervised_loss,
        views=make_views(args, recipe),
        pseudo_labeler=PseudoLabeler(0.95, "pixel"),
        seed=seed,
        amp=args.precision == "bfloat16",
        decollate=False,
    )
    saved: dict[str, Any] = {"optimizer": optimizer, "schedule": schedule}
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _: schedule.step())
    scorer = Scorer(volumes, trainer.teacher)
    checkpoint = None
    if folder is not None:
        trainer.add_event_handler(Events.EPOCH_COMPLETED, scorer)
        saved["scorer"] = scorer
        checkpoint = CheckpointHandler(folder, saved, resume=True, settings=run_settings(args, recipe, seed))
        checkpoint.attach(trainer)
    return trainer, scorer, checkpoint


def run_settings(args: argparse.Namespace, recipe: str, seed: int) -> dict[str, Any]:
    values = {**vars(args), "recipe": recipe, "seed": seed}
    return {name: values[name] for name in SETTINGS}


def finished(results: Path) -> list[dict[str, Any]]:
    if not results.is_file():
        return []
    rows = [json.loads(line) for line in results.read_text().splitlines() if line.strip()]
    # thresholds of each class were compared once; the first rows do not say the rotation
    return [{n: row.get(n, 20) for n in SETTINGS} for row in rows if row.get("threshold", "fixed") == "fixed"]


def train(args: argparse.Namespace, recipe: str, seed: int, data: tuple) -> None:
    settings = run_settings(args, recipe, seed)
    name = "_".join(str(value) for value in settings.values())
    folder = Path(args.work_dir) / name
    print(f"{name}, {time.strftime('%Y-%m-%d %H:%M:%S')}", flush=True)
    trainer, scorer, checkpoint = make_trainer(args, recipe, seed, data, args.steps, folder)
    trainer.run()
    assert checkpoint is not None
    checkpoint.exit_if_stopped()
    last = scorer.curve[-1]
    row = {
        **settings,
        "labeled": "usual list of 3 patients",
        "scored": "development, 10 patients",
        **{key: value for key, value in last.items() if key != "step"},
        "curve": [{key: value for key, value in point.items() if key != "volumes"} for point in scorer.curve],
        "seconds": round(scorer.state_dict()["seconds"]),
        "skipped_steps": trainer.state.skipped_steps,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "commit": args.commit,
    }
    results = Path(args.results)
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())
    for name in ("last.pt", "previous.pt"):  # models/model.pt stays, the teacher
        (folder / "states" / name).unlink(missing_ok=True)


def time_steps(args: argparse.Namespace, data: tuple) -> None:
    """Processor time of a step with loading and augmentation, and of these alone."""
    for recipe in args.recipes:
        trainer, _, _ = make_trainer(args, recipe, 0, data, args.time, None)
        ends: list[float] = []
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _, ends=ends: ends.append(time.process_time()))
        trainer.run()
        steps = np.diff(ends)[5:]
        begun = time.process_time()
        for _ in copy.copy(trainer.data_loader):
            pass
        load = (time.process_time() - begun) / args.time
        begun = time.process_time()
        for _ in SemiSupervisedLoader.__iter__(trainer.data_loader):
            pass
        plain = (time.process_time() - begun) / args.time
        print(
            f"{recipe}, {args.precision}: step {np.median(steps) * 1e3:.1f} ms median, {steps.mean() * 1e3:.1f} mean; "
            f"loading {plain * 1e3:.1f}, base augmentation {(load - plain) * 1e3:.1f} "
            f"({100 * (load - plain) / np.median(steps):.1f} %)",
            flush=True,
        )


def commit() -> str:
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return told.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True)
    parser.add_argument("--work_dir", default="runs/acdc_views", help="folder of the checkpoints")
    parser.add_argument("--results", default=str(RESULTS), help="file of the results, one line a run")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--loss", choices=["dice", "dice_ce"], default="dice", help="of the unlabelled views")
    parser.add_argument("--paste_classes", choices=["foreground", "random_half"], default="foreground")
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--rotation", type=int, default=20, help="of every stream, degrees to both sides")
    parser.add_argument("--time", type=int, default=0, help="measure so many steps of every recipe, and train nothing")
    args = parser.parse_args()
    if args.steps % EPOCH_LENGTH:
        parser.error(f"--steps must be a multiple of {EPOCH_LENGTH}")
    args.commit = commit()
    torch.set_num_threads(1)
    data = read_data(args.dataset_dir)
    if args.time:
        time_steps(args, data)
        return
    for seed in args.seeds:
        for recipe in args.recipes:
            if run_settings(args, recipe, seed) not in finished(Path(args.results)):
                train(args, recipe, seed, data)


if __name__ == "__main__":
    main()
