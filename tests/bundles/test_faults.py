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

"""What befalls a training from outside: a checkpoint that loads stays behind, and the last line says what to do."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.helpers.bundles import CONFIGS

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and prlimit")]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def fill_the_disk(process: subprocess.Popen, output_dir: Path) -> None:
    """No file can get longer than 20 kB from now on."""
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))


def remove_the_folder(process: subprocess.Popen, output_dir: Path) -> None:
    shutil.rmtree(output_dir)
    while not (output_dir / "states" / "last.pt").is_file() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)


def kill_a_worker(process: subprocess.Popen, output_dir: Path) -> None:
    while process.poll() is None:
        for child in children(process.pid):
            with contextlib.suppress(ProcessLookupError):  # it may have ended by itself since it was listed
                os.kill(child, signal.SIGKILL)
        time.sleep(0.02)


def terminate(process: subprocess.Popen, output_dir: Path) -> None:
    process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("fault", "status", "last_line"),
    [
        (fill_the_disk, 1, "Error: The checkpoint '{last}' cannot be written ("),
        (remove_the_folder, 143, "Stopped by SIGTERM after iteration {iteration}, saved to '{last}'"),
        (kill_a_worker, 1, "Error: A process that loads images has ended (DataLoader worker (pid"),
        (terminate, 143, "Stopped by SIGTERM after iteration {iteration}, saved to '{last}'"),
    ],
)
def test_a_checkpoint_stays_and_the_last_line_tells(
    vessel_phantoms, tmp_path, fault: Callable[[subprocess.Popen, Path], None], status: int, last_line: str
):
    last = tmp_path / "run" / "states" / "last.pt"
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(CONFIGS / "train.yaml")]
    values = {
        "dataset_dir": vessel_phantoms,
        "output_dir": tmp_path / "run",
        "zoom": 1.0,
        "num_labeled": 2,
        "patch_size": [32, 32],
    }
    values |= {"num_workers": int(fault is kill_a_worker)}
    short = {"max_epochs": 200, "epoch_length": 5, "val_interval": 100}
    for key, value in {**values, **short}.items():
        command += [f"--{key}", str(value)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(tmp_path / "log.txt", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        while not last.is_file() and process.poll() is None:
            time.sleep(0.05)
        fault(process, tmp_path / "run")
        assert process.wait(timeout=60) == status, (tmp_path / "log.txt").read_text()[-6000:]
    iteration = torch.load(last, weights_only=True)["trainer"]["iteration"]
    assert 0 < iteration < 1000 and not list(last.parent.glob("*.part"))
    said = (tmp_path / "log.txt").read_text().splitlines()[-1]
    expected = last_line.format(last=last, iteration=iteration)
    assert said.startswith(expected) and "--resume true" in said, (tmp_path / "log.txt").read_text()[-6000:]
