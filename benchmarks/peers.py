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
A training step of ours beside what one would take instead: PyMIC's, and the step of the published ClassMix/DACS code.

    pip install PyMIC
    python benchmarks/peers.py

Same network, loss and batches for all, in turn in one process; figures are medians. PyMIC's agents run their own
``training()`` with our network and batches in place of those from a configuration. ``reference_step`` is a faithful
re-writing of the reference step of ClassMix (and of DACS, with labelled donors): the teacher in training mode, labelled
and mixed images in two student passes, mixing sample by sample with maps of probabilities, a moving average parameter
by parameter; without its colour jitter, in place of which all mixing methods have our strong augmentation.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks import one_hot
from monai.networks.nets import UNet
from monai.transforms import Compose
from step import SETTINGS, make
from torch import nn
from torch.nn.functional import cross_entropy

from monai_sscm.study import markdown_row, markdown_table
from monai_sscm.transforms import RandStrongIntensity

RESULTS = Path(__file__).parent / "results" / "peers.jsonl"
STEPS = 4


def batch_of(setting: tuple) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    spatial_dims, batch_size, channels, size, _ = setting
    g = torch.Generator().manual_seed(0)
    x_l, x_u = (torch.rand((batch_size, channels, *(size,) * spatial_dims), generator=g) for _ in range(2))
    return x_l, (x_l[:, :1] > 0.9).to(torch.uint8), x_u


def network_of(setting: tuple) -> nn.Module:
    spatial_dims, _, channels, _, widths = setting
    torch.manual_seed(0)
    return UNet(spatial_dims, channels, 2, widths, (2,) * (len(widths) - 1), num_res_units=2)


class Twins(nn.Module):
    """Two networks side by side, as cross pseudo supervision needs them."""

    def __init__(self, setting: tuple) -> None:
        super().__init__()
        self.one, self.two = network_of(setting), network_of(setting)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.one(x), self.two(x)


def ours(method: str, setting: tuple) -> Callable[[], None]:
    trainer = make(method, setting)[0]

    def run() -> None:
        trainer.state.max_epochs += 1
        trainer.run()

    return run


def pymic(method: str, setting: tuple) -> Callable[[], None]:
    # what PyMIC imports and does not need here: one class of torchvision, and tables of networks and
    # transforms, whose own requirements it does not name
    for name, contents in {
        "torchvision": {"transforms": types.SimpleNamespace(Compose=Compose)},
        "torchvision.transforms": {"Compose": Compose},
        "pymic.net.net_dict_seg": {"SegNetDict": {}},
        "pymic.transform": {},
        "pymic.transform.trans_dict": {"TransformDict": {}},
    }.items():
        module = types.ModuleType(name)
        module.__dict__.update(contents)
        sys.modules.setdefault(name, module)
    from pymic.net_run.semi_sup import SSLMethodDict

    x_l, y_l, x_u = batch_of(setting)
    config = {
        "dataset": {"tensor_type": "float", "task_type": "seg"},
        "network": {"class_num": 2},
        "training": {
            "deterministic": False,
            "iter_valid": STEPS,
            "iter_max": 1000,
            "loss_type": ["DiceLoss", "CrossEntropyLoss"],
            "loss_weight": [1.0, 1.0],
            "loss_softmax": True,
        },
        "semi_supervised_learning": {},
    }
    agent = SSLMethodDict[method](config, "train")
    agent.net = Twins(setting) if method == "CPS" else network_of(setting)
    agent.net_ema, agent.device, agent.glob_it = network_of(setting), torch.device("cpu"), 100
    agent.optimizer = torch.optim.AdamW(agent.net.parameters(), 1e-4)
    agent.create_loss_calculator()
    agent.trainIter = itertools.repeat({"image": x_l, "label_prob": one_hot(y_l, 2)})
    agent.trainIter_unlab = itertools.repeat({"image": x_u})
    return agent.training


def reference(method: str, setting: tuple) -> Callable[[], None]:
    x_l, y_l, x_u = batch_of(setting)
    student = network_of(setting)
    teacher = copy.deepcopy(student).requires_grad_(False)  # and never set to evaluation mode
    optimizer, loss_function = torch.optim.AdamW(student.parameters(), 1e-4), DiceCELoss(softmax=True, to_onehot_y=True)
    augment, random = RandStrongIntensity(setting[0]), np.random.default_rng(0)
    steps = itertools.count(1)

    def reference_step() -> None:
        optimizer.zero_grad()
        loss = loss_function(student(x_l), y_l)
        with torch.no_grad():
            soft = torch.softmax(teacher(x_u), dim=1)
        confidence, pseudo = torch.max(soft, dim=1)
        masks = []
        for i in range(len(x_u)):
            label = pseudo[i] if method == "ClassMix" else y_l[i, 0].long()
            classes = torch.unique(label).cpu().numpy()
            number = len(classes) // 2 if method == "ClassMix" else (len(classes) + 1) // 2
            chosen = torch.as_tensor(random.choice(classes, number, replace=False))
            stacked = label[None] == chosen.view(-1, *(1,) * label.ndim)
            masks.append(stacked.sum(0).float())
        images, targets, weights = [], [], []
        for i in range(len(x_u)):
            if method == "ClassMix":
                j = (i + 1) % len(x_u)
                mask, other_image, other_soft = masks[j], x_u[j], soft[j]
            else:
                mask, other_image, other_soft = masks[i], x_l[i], one_hot(y_l[i : i + 1], 2)[0]
            images.append(mask * other_image + (1 - mask) * x_u[i])
            targets.append(mask * other_soft + (1 - mask) * soft[i])
        mixed, target = torch.stack(images), torch.stack(targets).argmax(1)
        share = (confidence >= 0.968).sum().item() / confidence.numel()
        for mask in masks:
            weight = share * torch.ones_like(mask)
            weights.append(torch.where(mask > 0, torch.ones_like(mask), weight) if method == "DACS" else weight)
        pred = student(augment(mixed))
        loss = loss + (torch.stack(weights) * cross_entropy(pred, target, reduction="none")).mean()
        loss.backward()
        optimizer.step()
        alpha = min(1 - 1 / (next(steps) + 1), 0.99)
        for average, parameter in zip(teacher.parameters(), student.parameters(), strict=True):
            average.data[:] = alpha * average[:].data[:] + (1 - alpha) * parameter[:].data[:]
        loss.item()

    def run() -> None:
        for _ in range(STEPS):
            reference_step()

    return run


CONTENDERS: dict[str, Callable[[tuple], Callable[[], None]]] = {
    "ours: supervised": lambda setting: ours("supervised", setting),
    "ours: Mean Teacher": lambda setting: ours("mean_teacher", setting),
    "PyMIC: Mean Teacher": lambda setting: pymic("MeanTeacher", setting),
    "PyMIC: UA-MT": lambda setting: pymic("UAMT", setting),
    "PyMIC: entropy minimization": lambda setting: pymic("EntropyMinimization", setting),
    "PyMIC: CPS": lambda setting: pymic("CPS", setting),
    "ours: ClassMix": lambda setting: ours("classmix", setting),
    "reference ClassMix": lambda setting: reference("ClassMix", setting),
    "ours: SupMix": lambda setting: ours("supmix", setting),
    "reference DACS": lambda setting: reference("DACS", setting),
    "ours: SupMix + SUFD": lambda setting: ours("supmix_sufd_every_4th", setting),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8, help="rounds of four steps of each")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    print(markdown_table(["setting", "step", "ms", "in steps of ours, supervised"]))
    for name in list(SETTINGS)[::2]:  # the small networks, where overhead shows most
        runs = {contender: make_run(SETTINGS[name]) for contender, make_run in CONTENDERS.items()}
        times: dict[str, list[float]] = {contender: [] for contender in runs}
        for _ in range(args.rounds + 1):
            for contender, run in runs.items():
                start = time.perf_counter()
                run()
                times[contender].append((time.perf_counter() - start) / STEPS)
        base = times["ours: supervised"][1:]
        for contender, seconds in times.items():
            ratio = statistics.median(a / b for a, b in zip(seconds[1:], base, strict=True))
            row = {"setting": name, "step": contender, "threads": args.threads}
            row |= {"ms": round(1e3 * statistics.median(seconds[1:]), 1), "in_supervised_steps": round(ratio, 2)}
            rows.append(row)
            print(markdown_row([name, contender, row["ms"], row["in_supervised_steps"]]), flush=True)
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
