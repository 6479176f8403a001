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


"""Data that many tests train on, written once. No test changes it."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers of pytest-xdist, and what they start, share the cores

import pytest

from monai_sscm.datasets import write_chest_phantoms, write_vessel_phantoms
from tests.helpers.volumes import write_organ_phantoms


@pytest.fixture(scope="session")
def vessel_phantoms(tmp_path_factory) -> Path:
    """Photographs: 5 for training, 2 for validation, 3 for testing."""
    folder = tmp_path_factory.mktemp("vessel_phantoms")
    write_vessel_phantoms(folder, num_train=5, num_val=2, num_test=3, size=64)
    return folder


@pytest.fixture(scope="session")
def chest_phantoms(tmp_path_factory) -> Path:
    """Scans of 4 slices: 5 for training, 2 for validation, 3 for testing."""
    folder = tmp_path_factory.mktemp("chest_phantoms")
    write_chest_phantoms(folder, num_train=5, num_val=2, num_test=3, size=64, num_slices=4)
    return folder


@pytest.fixture(scope="session")
def organ_phantoms(tmp_path_factory) -> Path:
    """Volumes: 5 for training, 2 for validation, 3 for testing."""
    folder = tmp_path_factory.mktemp("organ_phantoms")
    write_organ_phantoms(folder, {"train": 5, "val": 2, "test": 3})
    return folder


@pytest.fixture(scope="session")
def phantoms(vessel_phantoms, chest_phantoms, organ_phantoms) -> dict[str, Path]:
    """Data for each bundle."""
    return {
        "chase_vessel_segmentation": vessel_phantoms,
        "covid19_ct_segmentation": chest_phantoms,
        "hippocampus_mr_segmentation": organ_phantoms,
    }
