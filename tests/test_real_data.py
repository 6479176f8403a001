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

"""Small runs on real images, if they are at hand: in ``../shared/data`` or the folder in ``MONAI_SSCM_TEST_DATA``."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from PIL import Image

from benchmarks import hippocampus
from monai_sscm.data import CHASE_DB1_SPLIT, chase_db1_datalist

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("MONAI_SSCM_TEST_DATA", ROOT.parent / "shared" / "data"))

chase = pytest.mark.skipif(not (DATA / "chase_db1").is_dir(), reason="CHASE_DB1 is not at hand")
hippocampi = pytest.mark.skipif(not (DATA / "hippocampus").is_dir(), reason="the hippocampus volumes are not at hand")


@chase
def test_chase_split_is_that_of_the_folder():
    files = chase_db1_datalist(DATA / "chase_db1", num_labeled=2, seed=0)
    assert {part: len(items) for part, items in files.items()} == {"labeled": 2, "unlabeled": 14, "val": 4, "test": 8}
    for part in ("val", "test"):
        assert [Path(item["image"]).stem for item in files[part]] == CHASE_DB1_SPLIT[part]


@chase
def test_chase_loads_the_right_way_up_and_the_loss_falls(tmp_path):
    train = ConfigWorkflow(
        str(ROOT / "bundles" / "chase_vessel_segmentation" / "configs" / "train.yaml"),
        workflow_type="train",
        logging_file=False,
        dataset_dir=str(DATA / "chase_db1"),
        output_dir=str(tmp_path),
        max_epochs=2,
        epoch_length=15,
        val_interval=2,
        rampup_steps=5,
        confidence_threshold=0.6,
        patch_size=[96, 96],
        datalist="$dict((k, v[:2]) for k, v in monai_sscm.data.chase_db1_datalist(@dataset_dir, 2, 0).items())",
        device=torch.device("cpu"),
    )
    train.initialize()
    item = next(iter(train.parser.get_parsed_content("validate#dataloader")))
    assert item["image"].shape == (1, 3, 960, 999) and item["label"].shape == (1, 1, 960, 999)
    assert item["label"].unique().tolist() == [0, 1] and 0.05 < item["label"].float().mean() < 0.09
    # vessels are darker than their surroundings in green: image and mask fit
    green, vessel = item["image"][0, 1].as_tensor(), item["label"][0, 0].as_tensor().bool()
    inside = green > green.mean()
    near = torch.nn.functional.max_pool2d(vessel[None, None].float(), 9, 1, 4)[0, 0].bool() & ~vessel
    assert green[vessel & inside].mean() < green[near & inside].mean()
    train.run()
    trainer, evaluator = (train.parser.get_parsed_content(name) for name in ("train#trainer", "validate#evaluator"))
    assert trainer.state.optimizer_steps == 30 and trainer.state.skipped_steps == 0
    assert float(trainer.state.output["supervised_loss"]) < 1.1  # about 1.4 at the start
    assert evaluator.state.metrics["mean_iou"] > 0.5


@chase
def test_shipped_weights_segment_a_photograph_in_every_form(tmp_path):
    photograph = Image.open(DATA / "chase_db1" / "images" / "Image_09L.jpg")  # of the validation part
    truth = np.asarray(Image.open(DATA / "chase_db1" / "labels" / "Image_09L_1stHO.png"))
    grey = np.asarray(photograph.convert("L"))
    forms = {
        "as it is.png": photograph,
        "photograph.tiff": photograph,
        "rotated.png": photograph.transpose(Image.Transpose.ROTATE_90),
        "grey.png": Image.fromarray(grey),
        "deep.png": Image.fromarray(grey.astype(np.uint16) * 257),
    }
    for name, form in forms.items():
        form.save(tmp_path / name)
    run = ConfigWorkflow(
        str(ROOT / "bundles" / "chase_vessel_segmentation" / "configs" / "inference.yaml"),
        workflow_type="infer",
        logging_file=False,
        input=str(tmp_path),
        output_dir=str(tmp_path / "out"),
        device=torch.device("cpu"),
    )
    run.initialize()
    run.run()
    run.finalize()
    mask = {Path(name).stem: np.asarray(Image.open(tmp_path / "out" / f"{Path(name).stem}_seg.png")) for name in forms}
    assert mask["as it is"].shape == truth.shape == (960, 999) and mask["rotated"].shape == (999, 960)
    dice = 2 * (mask["as it is"] * truth).sum() / (mask["as it is"].sum() + truth.sum())
    assert dice > 0.7  # 0.74 when the weights were trained
    assert (mask["photograph"] == mask["as it is"]).all()
    assert (np.rot90(mask["rotated"], -1) == mask["as it is"]).mean() > 0.97
    assert (mask["deep"] == mask["grey"]).mean() > 0.999 and (mask["grey"] == mask["as it is"]).mean() > 0.95


@hippocampi
def test_hippocampus_volumes_in_3d():
    parser = hippocampus.arguments().parse_args(["--dataset_dir", str(DATA / "hippocampus"), "--steps", "4"])
    result = hippocampus.run("supmix", 0, parser, volumes=8)
    assert result["steps"] == 4 and set(result["teacher_last"]) >= {"mean_iou", "iou_anterior", "iou_posterior"}
