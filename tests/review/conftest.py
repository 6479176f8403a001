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

"""Two trainings of a few steps, on photographs and on volumes, shared by the tests of what comes after a training."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_sscm.cli.main import main
from monai_sscm.datasets import write_vessel_phantoms
from tests.helpers.volumes import write_organ_phantoms


@pytest.fixture(scope="package")
def runs(tmp_path_factory) -> dict[str, Path]:
    """By kind of input: the folder of a training. No test changes it, but for what the commands write into it."""
    folder = tmp_path_factory.mktemp("runs")
    write_vessel_phantoms(folder / "photographs", num_train=5, num_val=1, num_test=1, size=64)
    write_organ_phantoms(folder / "organs", {"train": 6, "val": 2, "test": 1})
    words = ["--num_labeled", "2", "--max_epochs", "1", "--epoch_length", "3", "--device", "cpu", "--batch_size", "2"]
    words += ["--channels", "[8,16]", "--strides", "[2]"]
    found = {}
    for kind, data in (("pictures", "photographs"), ("volumes", "organs")):
        found[kind] = folder / f"run_{kind}"
        main(["train", str(folder / data), "--output_dir", str(found[kind]), *words])
    return found
