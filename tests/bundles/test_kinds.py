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

"""Templates of the kinds of input that no shipped bundle is of alone: they train, score and segment."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow

from monai_sscm.templates import KINDS, render_configs
from tests.helpers.volumes import write_organ_phantoms

CLASSES = ["background", "anterior", "posterior"]
KIND_VALUES = {
    "volumes": {
        "patch_size": [16, 16, 8],
        "channels": [8, 16, 32],
        "strides": [[2, 2, 1], 2],
        "spacing": [1.3, 1.3, 1.5],
    },
    "slices": {"patch_size": [16, 16], "channels": [8, 16, 32], "strides": [2, 2], "spacing": [1.3, 1.3]},
}


def a_bundle(folder: Path, kind: str) -> Path:
    (folder / "configs").mkdir(parents=True)
    for name, text in render_configs(kind).items():
        (folder / "configs" / name).write_text(text, "utf-8")
    return folder


def started(bundle: Path, *names: str, kind: str = "train", **values) -> ConfigWorkflow:
    files = [str(bundle / "configs" / f"{name}.yaml") for name in names]
    values = {"bundle_root": str(bundle), "device": torch.device("cpu"), "initialize": [], **values}
    run = ConfigWorkflow(files, workflow_type=kind, logging_file=False, **values)
    run.initialize()
    run.run()
    return run


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", KIND_VALUES)
def test_volumes_as_volumes_and_as_slices(tmp_path, kind, channels):
    """Several channels, and a spacing of the network's: scores and masks are on the stored grid."""
    write_organ_phantoms(tmp_path / "data", {"train": 4, "val": 2, "test": 2}, channels)
    images = sorted((tmp_path / "data" / "images").iterdir())
    labels = sorted((tmp_path / "data" / "labels").iterdir())
    items = [
        {"image": [str(x) for x in images[i * channels : (i + 1) * channels]], "label": str(labels[i]), "group": str(i)}
        for i in range(8)
    ]
    unlabeled = [{key: value for key, value in item.items() if key != "label"} for item in items[2:4]]
    datalist = {"labeled": items[:2], "unlabeled": unlabeled, "val": items[4:6], "test": items[6:]}
    bundle = a_bundle(tmp_path / "bundle", kind)
    values = {
        **KIND_VALUES[kind],
        "dataset_dir": str(tmp_path / "data"),
        "datalist": datalist,
        "output_dir": str(tmp_path / "run"),
        "in_channels": channels,
        "class_names": CLASSES,
        "paste_classes": [1, 2],
        "max_epochs": 2,
        "epoch_length": 30,
        "val_interval": 2,
        "learning_rate": 0.01,
        "teacher_decay": 0.8,
        "rampup_steps": 10,
        "feature_channels": 8,
        "mirror_axes": [],
        "batch_size": 4,
    }
    run = started(bundle, "train", **values)
    scores = run.parser.get_parsed_content("validate#evaluator").state.metrics
    assert scores["mean_iou"] > 0.5  # a tenth of it by chance; a grid that is off, or turned, does not reach it
    evaluated = started(bundle, "train", "evaluate", **values, save_overlays=True)
    scored = evaluated.parser.get_parsed_content("evaluator").state.metrics
    assert scored["mean_iou"] == pytest.approx(scores["mean_iou"]) and scored["hd95_anterior"] > 0
    with open(tmp_path / "run" / "evaluation_val_teacher" / "images.csv") as file:
        rows = list(csv.DictReader(file))
    voxels = sum(int(row[f"{a}_as_{b}"]) for row in rows for a in CLASSES for b in CLASSES)
    assert voxels == 2 * 24 * 32 * 20  # each voxel that is stored, once
    assert len(list((tmp_path / "run" / "evaluation_val_teacher").glob("*.jpg"))) == 2

    inputs = [{"image": item["image"], "name": f"case_{i}"} for i, item in enumerate(datalist["val"])]
    started(
        bundle,
        "inference",
        kind="infer",
        datalist=inputs,
        output_dir=str(tmp_path / "masks"),
        checkpoint=str(tmp_path / "run" / "models" / "model.pt"),
        save_overlays=True,
    )
    both = either = 0
    for i, item in enumerate(datalist["val"]):
        mask, truth = (nibabel.load(path) for path in (tmp_path / "masks" / f"case_{i}_seg.nii.gz", item["label"]))
        assert np.allclose(mask.affine, truth.affine)
        p, t = (np.asarray(x.dataobj) == 1 for x in (mask, truth))
        both, either = both + (p & t).sum(), either + (p | t).sum()
        assert (tmp_path / "masks" / f"case_{i}_overlay.png").is_file()
    assert both / either == pytest.approx(scores["iou_anterior"], abs=1e-3)  # what was scored is what is written


def test_every_kind_is_rendered():
    for kind in KINDS:
        assert "train.yaml" in render_configs(kind)
        assert "trained.get('strides')" in render_configs(kind)["inference.yaml"]
