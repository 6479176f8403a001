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
Time of a training step of each method, beside a bare PyTorch loop with the same network, tensors and augmentation.

    python benchmarks/step.py

The bare loop does the forward and backward pass on labelled and mixed images, one teacher forward, losses, optimizer,
EMA and, for SUFD, the discriminator's own passes, and nothing else. Both run in turn in one process, and take turns in
who goes first; figures are medians. With --parts it tells where the time of the bare step goes.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from monai_sscm.engines import SemiSupervisedTrainer, View
from monai_sscm.losses import WeightedCELoss, WeightedMSELoss
from monai_sscm.networks import FeatureDiscriminator
from monai_sscm.study import markdown_row, markdown_table
from monai_sscm.transforms import ClassMixd, CutMixSegd, RandStrongIntensity, SupervisedClassMixd

RESULTS = Path(__file__).parent / "results" / "step.jsonl"
KEYS = ("unlabeled_image", "pseudo_label", "pseudo_weight")
OUT = ("mixed_image", "mixed_label", "mixed_weight")
LAYER = "model.1.submodule"
SETTINGS = {
    "2D, 4 + 4 x 3 x 128^2, U-Net 1.6 M": (2, 4, 3, 128, (16, 32, 64, 128, 256)),
    "2D, 4 + 4 x 3 x 128^2, U-Net 6.5 M": (2, 4, 3, 128, (32, 64, 128, 256, 512)),
    "3D, 2 + 2 x 1 x 48^3, U-Net 0.3 M": (3, 2, 1, 48, (16, 32, 64)),
    "3D, 2 + 2 x 1 x 48^3, U-Net 4.8 M": (3, 2, 1, 48, (16, 32, 64, 128, 256)),
}
METHODS = [
    "supervised",
    "mean_teacher",
    "cutmix",
    "classmix",
    "supmix",
    "supmix_sufd_every_step",
    "supmix_sufd_every_4th",
]


def keep_freed_memory() -> None:
    """
    Let the C library keep what is freed, as allocators of GPUs do.

    It gives memory back to the system or not, by what happens to lie behind it, and then both loops wait for new pages:
    0 to 9,000 of them in the same step, up to 5 % of its time.
    """
    if sys.platform == "linux":
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((trim_threshold, 2**30), (top_pad, 2**28), (mmap_threshold, 2**25)):
            mallopt(option, value)


def make(
    method: str,
    setting: tuple,
    device: str = "cpu",
    network_kwargs: dict[str, Any] | None = None,
    optimizer_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> tuple[SemiSupervisedTrainer, Callable[..., None]]:
    """A trainer, and the bare step with the same start; the further arguments are of the trainer's alone."""
    spatial_dims, batch_size, channels, size, widths = setting
    torch.manual_seed(0)
    network = UNet(spatial_dims, channels, 2, widths, (2,) * (len(widths) - 1), num_res_units=2)
    judge = FeatureDiscriminator(spatial_dims, in_channels=widths[0])
    shape = (batch_size, channels, *(size,) * spatial_dims)
    batch = {
        "image": torch.rand(shape),
        "label": (torch.rand(batch_size, 1, *shape[2:]) > 0.9).to(torch.uint8),
        "unlabeled_image": torch.rand(shape),
    }
    every = {"supmix_sufd_every_step": 1, "supmix_sufd_every_4th": 4}.get(method, 0)
    augment = RandStrongIntensity(spatial_dims)
    views = {
        "supervised": [],
        "mean_teacher": [View(target="pseudo_prob", augment=augment, loss=WeightedMSELoss())],
        "cutmix": [View(CutMixSegd(KEYS, spatial_dims=spatial_dims, output_keys=OUT), augment, loss=WeightedCELoss())],
        "classmix": [
            View(
                ClassMixd(KEYS, "pseudo_label", num_classes=2, spatial_dims=spatial_dims, output_keys=OUT),
                augment,
                loss=WeightedCELoss(),
            )
        ],
    }
    donors = ("image", "label", None)
    supmix = SupervisedClassMixd(KEYS, donors, "label", (1,), 2, spatial_dims, output_keys=OUT)
    student, discriminator = copy.deepcopy(network).to(device, **network_kwargs or {}), copy.deepcopy(judge)
    trainer = SemiSupervisedTrainer(
        device=device,
        max_epochs=1,
        train_data_loader=[batch] * 4,
        network=student,
        optimizer=torch.optim.AdamW(student.parameters(), 1e-4, **optimizer_kwargs or {}),
        loss_function=DiceCELoss(softmax=True, to_onehot_y=True),
        views=views.get(method, [View(supmix, augment, loss=WeightedCELoss())]),
        discriminator=discriminator if every else None,
        discriminator_optimizer=torch.optim.Adam(discriminator.parameters(), 1e-4) if every else None,
        feature_layer=LAYER if every else None,
        adversarial_interval=max(every, 1),
        decollate=False,
        **kwargs,
    )
    return trainer, bare(method, network, judge, batch, every, spatial_dims)


def bare(
    method: str, student: nn.Module, judge: nn.Module, batch: dict[str, torch.Tensor], every: int, spatial_dims: int
) -> Callable[..., None]:
    """The same step, written out, without anything around it; it calls ``done`` with the name of every part."""
    teacher = copy.deepcopy(student).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(student.parameters(), 1e-4)
    judge_optimizer = torch.optim.Adam(judge.parameters(), 1e-4)
    supervised_loss, augment = DiceCELoss(softmax=True, to_onehot_y=True), RandStrongIntensity(spatial_dims)
    x_l, y_l, x_u = batch["image"], batch["label"], batch["unlabeled_image"]
    features: list[torch.Tensor] = []
    if every:
        student.get_submodule(LAYER).register_forward_hook(lambda module, args, output: features.append(output))

    def step(t: int, done: Callable[[str], None] = lambda part: None) -> None:
        features.clear()
        optimizer.zero_grad()
        if method == "supervised":
            pred = student(x_l)
            done("student, forward")
            loss = supervised_loss(pred, y_l)
        else:
            with torch.no_grad():
                prob = teacher(x_u).softmax(1)
                done("teacher, forward")
                confidence, pseudo = prob.max(1, keepdim=True)
                weight = (confidence >= 0.95).float().flatten(1).mean(1).view(-1, *(1,) * (x_u.ndim - 1))
                weight = weight.expand_as(confidence)
                done("pseudo-labels")
                if method == "mean_teacher":
                    x_m = x_u
                elif method in ("cutmix", "classmix"):
                    donor = pseudo.roll(-1, 0)
                    if method == "cutmix":
                        side = int(0.5 ** (1 / spatial_dims) * x_u.shape[-1])
                        mask = torch.zeros_like(donor, dtype=torch.bool)
                        for sample in mask:
                            begin = torch.randint(0, x_u.shape[-1] - side + 1, (spatial_dims,)).tolist()
                            sample[(slice(None), *(slice(b, b + side) for b in begin))] = True
                    else:
                        mask = donor == torch.randint(0, 2, (len(x_u), *(1,) * (x_u.ndim - 1)))
                    x_m = torch.where(mask, x_u.roll(-1, 0), x_u)
                    y_m, w_m = torch.where(mask, donor, pseudo), torch.where(mask, weight.roll(-1, 0), weight)
                else:
                    mask = y_l == 1
                    x_m = torch.where(mask, x_l, x_u)
                    y_m, w_m = torch.where(mask, y_l.long(), pseudo), torch.where(mask, 1.0, weight)
                done("mixing")
                x_m = augment(x_m)
                done("augmentation")
            pred = student(torch.cat([x_l, x_m]))
            done("student, forward")
            loss = supervised_loss(pred[: len(x_l)], y_l)
            if method == "mean_teacher":
                loss = loss + (pred[len(x_l) :].softmax(1) - prob).square().mean()
            else:
                loss = loss + (w_m[:, 0] * cross_entropy(pred[len(x_l) :], y_m[:, 0], reduction="none")).mean()
        done("losses")
        if every and t % every == 0:
            # the floor asks for features of the unlabelled images by a whole pass
            student(x_u)
            logits = judge.requires_grad_(False)(features[1])
            loss = loss + 0.01 * every * binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
            judge.requires_grad_(True)
            done("discriminator, and the pass for it")
        loss.backward()
        done("backward")
        optimizer.step()
        done("optimizer")
        if every and t % every == 0:
            judge_optimizer.zero_grad()
            logits = judge(torch.cat([features[0][: len(x_l)], features[1]]).detach())
            target = torch.cat([torch.ones_like(logits[: len(x_l)]), torch.zeros_like(logits[len(x_l) :])])
            binary_cross_entropy_with_logits(logits, target).backward()
            judge_optimizer.step()
            done("discriminator, and the pass for it")
        with torch.no_grad():
            torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), 0.01)
        done("teacher, moving average")

    return step


def parts(setting: tuple, rounds: int) -> dict[str, float]:
    """Milliseconds of each part of the bare step of SUFD at every 4th step, on average."""
    step = make("supmix_sufd_every_4th", setting)[1]
    step(4)
    total: dict[str, float] = {}
    last = time.perf_counter()

    def done(part: str) -> None:
        nonlocal last
        now = time.perf_counter()
        total[part] = total.get(part, 0.0) + now - last
        last = now

    for t in range(1, 4 * rounds + 1):
        last = time.perf_counter()
        step(t, done)
    return {part: 1e3 * seconds / (4 * rounds) for part, seconds in total.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12, help="rounds of four steps of each")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parts", action="store_true", help="where the time of a step of SUFD goes, instead")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    if args.parts:
        columns = [parts(setting, args.rounds) for setting in SETTINGS.values()]
        lines = [
            [part, *(f"{c[part]:.1f} ms, {100 * c[part] / sum(c.values()):.1f} %" for c in columns)]
            for part in columns[0]
        ]
        print(markdown_table(["part", *SETTINGS], lines))
        return
    print(markdown_table(["setting", "method", "ours, ms", "bare loop, ms", "ours / bare", "ours / bare supervised"]))
    rows = []
    for name, setting in SETTINGS.items():
        pairs = {method: make(method, setting) for method in METHODS}
        times: dict[str, list[list[float]]] = {method: [] for method in METHODS}
        for r in range(args.rounds + 1):
            for method, (trainer, step) in pairs.items():
                trainer.state.max_epochs += 1
                seconds = [0.0, 0.0]
                # who goes first finds the caches cold
                for i in (0, 1) if r % 2 else (1, 0):
                    start = time.perf_counter()
                    if i == 0:
                        trainer.run()
                    else:
                        for t in range(1, 5):
                            step(t)
                    seconds[i] = (time.perf_counter() - start) / 4
                times[method].append(seconds)
        supervised = [b for _, b in times["supervised"][1:]]
        for method, pair in times.items():
            ours, floor = (statistics.median(t[i] for t in pair[1:]) for i in (0, 1))  # the first round warms up
            ratio = statistics.median(a / b for a, b in pair[1:])
            row = {"setting": name, "method": method, "threads": args.threads, "ours_ms": round(1e3 * ours, 1)}
            row |= {"bare_ms": round(1e3 * floor, 1), "ratio": round(ratio, 3)}
            # of the same round, since a shared machine is faster or slower from one to the next
            in_steps = statistics.median(a / s for (a, _), s in zip(pair[1:], supervised, strict=True))
            row |= {"in_supervised_steps": round(in_steps, 2)}
            rows.append(row)
            cells = [row[key] for key in ("ours_ms", "bare_ms", "ratio", "in_supervised_steps")]
            print(markdown_row([name, method, *cells]), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
