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

"""One path from a photograph's file to the network: training, validation, evaluation and inference see the same."""

from __future__ import annotations

import csv

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from PIL import Image

from tests.helpers.bundles import workflow


@pytest.mark.slow
@pytest.mark.parametrize("zoom", [1.0, 0.5])
def test_evaluation_sees_photographs_as_training_and_inference_do(vessel_phantoms, tmp_path, zoom):
    """Photographs of 64 pixels, as if they had 96: what all of them predict is the same, pixel for pixel."""
    train = workflow(vessel_phantoms, tmp_path, zoom=zoom, shortest_side=96, method="supmix_sufd")
    train.initialize()
    train.run()
    validated = train.parser.get_parsed_content("validate#evaluator").state.metrics
    item = train.parser.get_parsed_content("train#dataset").data[0]
    seen = train.parser.get_parsed_content("load") + train.parser.get_parsed_content("see")
    for transform in [*seen, *train.parser.get_parsed_content("prepare")]:
        item = transform(item)
    assert item["image"].shape[1:] == item["label"].shape[1:] == (int(96 * zoom), int(96 * zoom))

    evaluate = workflow(vessel_phantoms, tmp_path, "evaluate", part="val", zoom=zoom)
    evaluate.initialize()
    evaluate.run()
    metrics = evaluate.parser.get_parsed_content("evaluator").state.metrics
    assert {k: metrics[k] for k in validated} == pytest.approx(validated, nan_ok=True)
    with open(tmp_path / "evaluation_val_teacher" / "images.csv", newline="") as file:
        rows = list(csv.DictReader(file))

    images = [str(next((vessel_phantoms / "images").glob(f"{row['image']}.*"))) for row in rows]
    infer = ConfigWorkflow(
        str(tmp_path / "configs" / "inference.yaml"),
        workflow_type="infer",
        logging_file=False,
        bundle_root=str(tmp_path),
        input=images,
        output_dir=str(tmp_path / "masks"),
        device=torch.device("cpu"),
    )
    infer.initialize()
    infer.run()
    for row in rows:
        mask = np.asarray(Image.open(tmp_path / "masks" / f"{row['image']}_seg.png"))
        assert mask.any()
        assert int((mask == 1).sum()) == int(row["background_as_vessel"]) + int(row["vessel_as_vessel"])


@pytest.mark.slow
def test_single_slices_in_nifti_are_learned_from(vessel_phantoms, tmp_path):
    """Images and masks of ``(X, Y, 1)``."""
    for part in ("images", "labels"):
        (tmp_path / "data" / part).mkdir(parents=True)
        for path in sorted((vessel_phantoms / part).iterdir())[:4]:
            array = np.asarray(Image.open(path).convert("L"))[..., None]
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "data" / part / f"{path.stem}.nii.gz")
    run = workflow(tmp_path / "data", tmp_path / "run", in_channels=1, val_fraction=0.25, method="supervised")
    run.initialize()
    run.run()
    assert run.parser.get_parsed_content("train#trainer").state.optimizer_steps == 8
    assert 0 <= run.parser.get_parsed_content("validate#evaluator").state.metrics["mean_iou"] <= 1
