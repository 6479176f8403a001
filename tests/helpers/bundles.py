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


"""Small trainings by the shipped bundles."""

from __future__ import annotations

from pathlib import Path

import torch
from monai.bundle import ConfigWorkflow

BUNDLES = Path(__file__).parents[2] / "bundles"
CONFIGS = BUNDLES / "chase_vessel_segmentation" / "configs"
#: what makes a bundle's training on phantoms small
SMALL = {
    "chase_vessel_segmentation": {"num_labeled": 2, "zoom": 1.0},
    "covid19_ct_segmentation": {"num_labeled": 2, "size": [48, 48]},
    "hippocampus_mr_segmentation": {"num_labeled": 2, "patch_size": [16, 16, 16], "spacing": [1.5, 1.5, 1.5]},
}


def workflow(
    data: Path, output_dir: Path, *names: str, bundle: str = "chase_vessel_segmentation", **values
) -> ConfigWorkflow:
    """
    A bundle's workflow on little data and few steps.

    Args:
        names: files on top of ``train.yaml``, such as ``evaluate``.
        values: values of the configuration.
    """
    values = {
        "dataset_dir": str(data),
        "output_dir": str(output_dir),
        "patch_size": [32, 32],
        "max_epochs": 2,
        "epoch_length": 4,
        "val_interval": 1,
        "rampup_steps": 2,
        "confidence_threshold": 0.5,
        "device": torch.device("cpu"),
        **SMALL[bundle],
        **values,
    }
    files = [str(BUNDLES / bundle / "configs" / f"{name}.yaml") for name in ("train", *names)]
    return ConfigWorkflow(files, workflow_type="train", logging_file=False, **values)
