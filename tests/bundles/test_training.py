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
import json
import shutil

import pytest
import torch
from monai.bundle import ConfigParser

from monai_sscm.data import SemiSupervisedLoader
from monai_sscm.errors import root_cause
from monai_sscm.metrics import iou_per_class
from monai_sscm.networks import load_weights
from tests.helpers.bundles import BUNDLES, SMALL, workflow

CLASSES = {
    "chase_vessel_segmentation": ["background", "vessel"],
    "covid19_ct_segmentation": ["background", "ground-glass", "consolidation"],
    "hippocampus_mr_segmentation": ["background", "anterior", "posterior"],
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
METHODS |= {"fixmatch": 1, "unimatch": 3, "bcp": 3, "supmix": 1, "supmix_sufd": 1, "supmix_cutmix": 2}
NO_UNLABELED = ("supervised", "supervised_augmented", "supmix_labeled")


@pytest.mark.parametrize("bundle", SMALL)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_is_evaluated(phantoms, tmp_path, method, bundle):
    train = workflow(phantoms[bundle], tmp_path, bundle=bundle, method=method)
    train.initialize()
    train.run()
    train.finalize()
    trainer, evaluator = (train.parser.get_parsed_content(name) for name in ("train#trainer", "validate#evaluator"))
    assert train.parser.get_parsed_content("method") == method
    assert trainer.state.iteration == trainer.state.optimizer_steps == 8
    assert len(trainer.views) == METHODS[method]
    assert (trainer.feature_alignment is not None) == (method == "supmix_sufd")
    assert bool(trainer.state.pseudo) == (method not in NO_UNLABELED)
    assert isinstance(trainer.data_loader, SemiSupervisedLoader)
    assert evaluator.network is trainer.teacher
    saved = torch.load(tmp_path / "states" / "last.pt", weights_only=True)
    of_the_run = {"evaluator", "settings", "images", "parts", "init_from", "processes", "versions"}
    assert set(saved) == {"teacher", "student", "optimizer", "lr_scheduler", "trainer", *of_the_run}
    for name, value in trainer.teacher.state_dict().items():
        assert torch.equal(saved["teacher"][name], value) and torch.equal(saved["trainer"]["teacher"][name], value)
    assert (tmp_path / "states" / "best.pt").is_file() and list(tmp_path.glob("logs/events.out.tfevents.*"))

    if method in ("supervised", "supmix_sufd"):
        evaluate = workflow(phantoms[bundle], tmp_path, "evaluate", part="test", bundle=bundle, method=method)
        evaluate.initialize()
        evaluate.run()
        with open(tmp_path / "evaluation_test_teacher" / "metrics.csv") as file:
            scores = {row[0]: float(row[1]) for row in csv.reader(file)}
        classes = CLASSES[bundle]
        wanted = {"mean_iou"} | {f"{kind}_{name}" for kind in ("iou", "dice") for name in classes}
        # distances where voxels have a size
        wanted |= {f"hd95_{name}" for name in classes[1:]} if "chase" not in bundle else set()
        assert set(scores) == wanted
        ious = [scores[f"iou_{name}"] for name in classes]
        assert scores["mean_iou"] == pytest.approx(sum(ious) / len(ious))
        # the images' confusion matrices add up to the data set's
        with open(tmp_path / "evaluation_test_teacher" / "images.csv") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 3
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
        (
            "hippocampus_mr_segmentation",
            {
                "spacing": [1.0, 1.5, 2.0],
                "intensity_range": [0.0, 9.0],
                "channels": [16, 24],
                "strides": [[2, 2, 1]],
                "class_names": ["nothing", "head", "tail"],
                "patch_size": [16, 16, 10],
                "feature_layer": "model.1.submodule",
            },
        ),
    ],
)
def test_inference_and_evaluation_take_what_a_training_was_given(phantoms, tmp_path, bundle, given):
    train = workflow(phantoms[bundle], tmp_path, bundle=bundle, method="supervised", **given)
    train.initialize()
    train.run()
    network = train.parser.get_parsed_content("network")
    configs = BUNDLES / bundle / "configs"
    for checkpoint in ("states/last.pt", "states/best.pt", "models/model.pt"):
        for names in (["inference"], ["train", "evaluate"]):
            parser = ConfigParser()
            parser.read_config([str(configs / f"{name}.yaml") for name in names])
            parser.update({"checkpoint": str(tmp_path / checkpoint), "bundle_root": str(configs.parent)})
            wanted = {"patch_size": [32, 32], **given}
            wanted.pop("feature_layer", None)  # of training alone
            if names == ["inference"]:
                wanted.pop("group_pattern", None)  # it has no list of patients
            assert {name: parser.get_parsed_content(name) for name in wanted} == wanted
            load_weights(parser.get_parsed_content("network"), tmp_path / checkpoint)
            assert str(parser.get_parsed_content("network")) == str(network)


@pytest.mark.parametrize("bundle", SMALL)
def test_methods_start_from_the_same_weights_and_crops(phantoms, tmp_path, bundle):
    starts = []
    for method in ("supervised", "supmix_sufd"):
        train = workflow(phantoms[bundle], tmp_path, bundle=bundle, method=method)
        train.initialize()
        network, loader = (train.parser.get_parsed_content(name) for name in ("network", "train#dataloader"))
        starts.append((next(network.parameters()).clone(), next(iter(loader))["image"]))
    assert torch.equal(starts[0][0], starts[1][0]) and torch.equal(starts[0][1], starts[1][1])


@pytest.mark.parametrize("bundle", SMALL)
def test_a_training_without_validation_images(phantoms, tmp_path, capsys, bundle):
    """The last step is the result; all else is as with them, going on too."""
    folder, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(phantoms[bundle], folder)
    split = json.loads((folder / "split.json").read_text())
    split = {**split, "train": split["train"] + split["val"], "val": []}
    (folder / "split.json").write_text(json.dumps(split))
    values = {"bundle": bundle, "method": "supmix_sufd", "num_labeled": 3}

    def train(**more):
        made = workflow(folder, run, **values, **more)
        made.initialize()
        made.run()
        made.finalize()
        return made

    first = train()
    evaluator, trainer = (first.parser.get_parsed_content(name) for name in ("validate#evaluator", "train#trainer"))
    assert evaluator is None and trainer.state.iteration == 8
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("3 labeled, ") and ", no validation images (the last step is the result);" in lines[0]
    files = {path.name for path in run.rglob("*.pt")}
    assert files == {"model.pt", "last.pt", "previous.pt"}
    # a new command on the same data goes on from the checkpoint
    again = train(resume=True)
    assert again.parser.get_parsed_content("train#trainer").state.iteration == 8
    assert ", resumed after iteration 8" in capsys.readouterr().out
    evaluate = workflow(folder, run, "evaluate", part="val", **values)
    with pytest.raises(RuntimeError) as caught:
        evaluate.initialize()
        evaluate.run()
    assert str(root_cause(caught.value)).startswith("The data set has no val images to score: set `part` to 'test', or")
