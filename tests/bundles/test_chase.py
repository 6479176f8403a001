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

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
import yaml
from monai.bundle import ConfigWorkflow

from monai_sscm.data import SemiSupervisedLoader, write_vessel_phantoms

CONFIGS = Path(__file__).parents[2] / "bundles" / "chase_vessel_segmentation" / "configs"
METHODS = ["supervised", "supervised_augmented", "mean_teacher", "cutmix", "classmix", "supmix", "supmix_sufd"]


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    write_vessel_phantoms(folder, num_train=5, num_val=1, num_test=1, size=64)
    return folder


def workflow(phantoms: Path, output_dir: Path, *names: str, **values) -> ConfigWorkflow:
    values = {
        "dataset_dir": str(phantoms),
        "output_dir": str(output_dir),
        "zoom": 1.0,
        "patch_size": [32, 32],
        "max_epochs": 2,
        "epoch_length": 4,
        "val_interval": 1,
        "rampup_steps": 2,
        "confidence_threshold": 0.5,
        "device": torch.device("cpu"),
        **values,
    }
    files = [str(CONFIGS / f"{name}.yaml") for name in ("train", *names)]
    return ConfigWorkflow(files, workflow_type="train", logging_file=False, **values)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_is_evaluated(phantoms, tmp_path, method):
    override = [] if method == "supmix_sufd" else [method]
    train = workflow(phantoms, tmp_path, *override)
    train.initialize()
    train.run()
    train.finalize()
    trainer, evaluator = (train.parser.get_parsed_content(name) for name in ("train#trainer", "validate#evaluator"))
    assert train.parser.get_parsed_content("method") == method
    assert trainer.state.iteration == trainer.state.optimizer_steps == 8
    assert len(trainer.views) == (method != "supervised")
    assert (trainer.discriminator is not None) == (method == "supmix_sufd")
    uses_unlabeled = not method.startswith("supervised")
    assert bool(trainer.state.pseudo) == uses_unlabeled
    assert isinstance(trainer.data_loader, SemiSupervisedLoader)
    assert evaluator.network is trainer.teacher
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    assert set(saved) == {"teacher", "student", "optimizer", "lr_scheduler", "trainer", "evaluator", "settings"}
    for name, value in trainer.teacher.state_dict().items():
        assert torch.equal(saved["teacher"][name], value) and torch.equal(saved["trainer"]["teacher"][name], value)
    assert (tmp_path / "best.pt").is_file() and list(tmp_path.glob("events.out.tfevents.*"))

    if method in ("supervised", "supmix_sufd"):
        evaluate = workflow(phantoms, tmp_path, *override, "evaluate", part="test")
        evaluate.initialize()
        evaluate.run()
        with open(tmp_path / "evaluation_test_teacher" / "metrics.csv") as file:
            scores = {row[0]: float(row[1]) for row in csv.reader(file)}
        assert set(scores) == {"mean_iou", "iou_background", "iou_vessel", "dice_background", "dice_vessel"}
        assert scores["mean_iou"] == pytest.approx((scores["iou_background"] + scores["iou_vessel"]) / 2)


def test_methods_start_from_the_same_weights_and_crops(phantoms, tmp_path):
    starts = []
    for override in (["supervised"], []):
        train = workflow(phantoms, tmp_path, *override)
        train.initialize()
        network, loader = (train.parser.get_parsed_content(name) for name in ("network", "train#dataloader"))
        starts.append((next(network.parameters()).clone(), next(iter(loader))["image"]))
    assert torch.equal(starts[0][0], starts[1][0]) and torch.equal(starts[0][1], starts[1][1])


def test_configs_name_public_classes_and_overrides_are_short():
    for path in CONFIGS.glob("*.yaml"):
        text = path.read_text()
        yaml.safe_load(text)
        if path.stem in METHODS:
            assert len(text.splitlines()) <= 15, path
            assert yaml.safe_load(text)["method"] == path.stem
