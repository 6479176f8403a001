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
from monai.bundle import ConfigParser, ConfigWorkflow

from monai_sscm.data import SemiSupervisedLoader, write_chest_phantoms, write_vessel_phantoms
from monai_sscm.handlers import iou_per_class
from monai_sscm.networks import load_weights

BUNDLES = Path(__file__).parents[2] / "bundles"
CONFIGS = BUNDLES / "chase_vessel_segmentation" / "configs"
#: what makes a bundle's training on phantoms small
SMALL = {
    "chase_vessel_segmentation": {"zoom": 1.0},
    "covid19_ct_segmentation": {"num_labeled": 2, "size": [48, 48]},
}
CLASSES = {
    "chase_vessel_segmentation": ["background", "vessel"],
    "covid19_ct_segmentation": ["background", "ground-glass", "consolidation"],
}
#: number of views
METHODS = {
    "supervised": 0,
    "supervised_augmented": 1,
    "supmix_labeled": 1,
    "mean_teacher": 1,
    "cutmix": 1,
    "classmix": 1,
}
METHODS |= {"fixmatch": 1, "unimatch": 3, "bcp": 3, "supmix": 1, "supmix_sufd": 1}
NO_UNLABELED = ("supervised", "supervised_augmented", "supmix_labeled")


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> dict[str, Path]:
    """Data for each bundle."""
    folders = {bundle: tmp_path_factory.mktemp(bundle) for bundle in SMALL}
    write_vessel_phantoms(folders["chase_vessel_segmentation"], num_train=5, num_val=1, num_test=1, size=64)
    write_chest_phantoms(folders["covid19_ct_segmentation"], num_train=5, num_val=1, num_test=1, size=64, num_slices=4)
    return folders


def workflow(
    data: Path, output_dir: Path, *names: str, bundle: str = "chase_vessel_segmentation", **values
) -> ConfigWorkflow:
    values = {
        "dataset_dir": str(data),
        "output_dir": str(output_dir),
        **SMALL[bundle],
        "patch_size": [32, 32],
        "max_epochs": 2,
        "epoch_length": 4,
        "val_interval": 1,
        "rampup_steps": 2,
        "confidence_threshold": 0.5,
        "device": torch.device("cpu"),
        **values,
    }
    files = [str(BUNDLES / bundle / "configs" / f"{name}.yaml") for name in ("train", *names)]
    return ConfigWorkflow(files, workflow_type="train", logging_file=False, **values)


@pytest.mark.parametrize("bundle", SMALL)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_is_evaluated(phantoms, tmp_path, method, bundle):
    override = [] if method == "supmix_sufd" else [method]
    train = workflow(phantoms[bundle], tmp_path, *override, bundle=bundle)
    train.initialize()
    train.run()
    train.finalize()
    trainer, evaluator = (train.parser.get_parsed_content(name) for name in ("train#trainer", "validate#evaluator"))
    assert train.parser.get_parsed_content("method") == method
    assert trainer.state.iteration == trainer.state.optimizer_steps == 8
    assert len(trainer.views) == METHODS[method]
    assert (trainer.discriminator is not None) == (method == "supmix_sufd")
    assert bool(trainer.state.pseudo) == (method not in NO_UNLABELED)
    assert isinstance(trainer.data_loader, SemiSupervisedLoader)
    assert evaluator.network is trainer.teacher
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    assert set(saved) == {"teacher", "student", "optimizer", "lr_scheduler", "trainer", "evaluator", "settings"}
    for name, value in trainer.teacher.state_dict().items():
        assert torch.equal(saved["teacher"][name], value) and torch.equal(saved["trainer"]["teacher"][name], value)
    assert (tmp_path / "best.pt").is_file() and list(tmp_path.glob("events.out.tfevents.*"))

    if method in ("supervised", "supmix_sufd"):
        evaluate = workflow(phantoms[bundle], tmp_path, *override, "evaluate", part="test", bundle=bundle)
        evaluate.initialize()
        evaluate.run()
        with open(tmp_path / "evaluation_test_teacher" / "metrics.csv") as file:
            scores = {row[0]: float(row[1]) for row in csv.reader(file)}
        classes = CLASSES[bundle]
        wanted = {"mean_iou"} | {f"{kind}_{name}" for kind in ("iou", "dice") for name in classes}
        # distances where voxels have a size
        wanted |= {f"hd95_{name}" for name in classes[1:]} if bundle == "covid19_ct_segmentation" else set()
        assert set(scores) == wanted
        ious = [scores[f"iou_{name}"] for name in classes]
        assert scores["mean_iou"] == pytest.approx(sum(ious) / len(ious))
        # the images' confusion matrices add up to the data set's
        with open(tmp_path / "evaluation_test_teacher" / "images.csv") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 1
        matrix = torch.tensor([[sum(int(r[f"{a}_as_{b}"]) for r in rows) for b in classes] for a in classes])
        assert iou_per_class(matrix).tolist() == pytest.approx(ious, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("bundle", "given"),
    [
        ("chase_vessel_segmentation", {"zoom": 0.75, "class_names": ["nothing", "something"], "group_pattern": "(.+)"}),
        (
            "covid19_ct_segmentation",
            {"size": [40, 40], "class_names": ["nothing", "hazy", "dense"], "group_pattern": "(.+)"},
        ),
    ],
)
def test_inference_and_evaluation_take_what_a_training_was_given(phantoms, tmp_path, bundle, given):
    train = workflow(phantoms[bundle], tmp_path, "supervised", bundle=bundle, **given)
    train.initialize()
    train.run()
    network = train.parser.get_parsed_content("network")
    configs = BUNDLES / bundle / "configs"
    for checkpoint in ("last.pt", "best.pt"):
        for names in (["inference"], ["train", "evaluate"]):
            parser = ConfigParser()
            parser.read_config([str(configs / f"{name}.yaml") for name in names])
            parser.update({"checkpoint": str(tmp_path / checkpoint), "bundle_root": str(configs.parent)})
            wanted = {**given, "patch_size": [32, 32]}
            if names == ["inference"]:
                del wanted["group_pattern"]  # it has no list of patients
            assert {name: parser.get_parsed_content(name) for name in wanted} == wanted
            load_weights(parser.get_parsed_content("network"), tmp_path / checkpoint)
            assert str(parser.get_parsed_content("network")) == str(network)


@pytest.mark.parametrize("bundle", SMALL)
def test_methods_start_from_the_same_weights_and_crops(phantoms, tmp_path, bundle):
    starts = []
    for override in (["supervised"], []):
        train = workflow(phantoms[bundle], tmp_path, *override, bundle=bundle)
        train.initialize()
        network, loader = (train.parser.get_parsed_content(name) for name in ("network", "train#dataloader"))
        starts.append((next(network.parameters()).clone(), next(iter(loader))["image"]))
    assert torch.equal(starts[0][0], starts[1][0]) and torch.equal(starts[0][1], starts[1][1])


def test_configs_name_public_classes_and_overrides_are_short():
    for path in BUNDLES.glob("*/configs/*.yaml"):
        text = path.read_text()
        yaml.safe_load(text)
        if path.stem in METHODS:
            assert len(text.splitlines()) <= (15 if METHODS[path.stem] < 2 else 60), path
            assert yaml.safe_load(text)["method"] == path.stem
