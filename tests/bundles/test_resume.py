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

"""Training by the bundle, killed at any moment and resumed, ends as if it had never been killed."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from monai_sscm.datasets import write_chest_phantoms

pytestmark = pytest.mark.slow

EPOCHS, EPOCH_LENGTH = 3, 4


def train(
    phantoms: Path,
    output_dir: Path,
    moment: str | None,
    workers: int,
    resume: bool,
    bundle: str = "chase_vessel_segmentation",
    epochs: int = EPOCHS,
) -> None:
    """Train by the shipped configuration; at ``moment`` the process gets a signal that nothing can catch."""
    from tests.helpers.bundles import workflow

    torch.set_num_threads(1)
    # as in a process that a user starts: workers that lose their parent notice it and end
    multiprocessing.set_start_method("fork", force=True)
    run = workflow(
        phantoms,
        output_dir,
        bundle=bundle,
        max_epochs=epochs,
        epoch_length=EPOCH_LENGTH,
        num_workers=workers,
        adversarial_interval=2,
        resume=resume,
    )
    run.initialize()
    trainer, evaluator = (run.parser.get_parsed_content(name) for name in ("train#trainer", "validate#evaluator"))

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    from ignite.engine import Events

    if moment == "epoch":
        trainer.add_event_handler(Events.ITERATION_COMPLETED(once=EPOCH_LENGTH + 3), kill)
    elif moment == "validation":
        evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda: trainer.state.epoch == 2 and kill())
    elif moment == "save":
        # at the second epoch's checkpoint, half of the file is on the disk
        to_disk = os.fsync

        def half(descriptor: int) -> None:
            if trainer.state.epoch == 2:
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
                to_disk(descriptor)
                kill()
            to_disk(descriptor)

        os.fsync = half
    elif moment == "rename":
        # the new checkpoint is complete, the old one is set aside, the new one has no name yet
        to_rename = os.replace

        def between(source, target) -> None:
            if trainer.state.epoch == 2 and str(target).endswith("last.pt"):
                kill()
            to_rename(source, target)

        os.replace = between
    elif moment == "later":
        trainer.add_event_handler(Events.ITERATION_COMPLETED(once=EPOCHS * EPOCH_LENGTH + 6), kill)
    elif moment == "sigterm later":
        last = EPOCHS * EPOCH_LENGTH + 6
        trainer.add_event_handler(Events.ITERATION_STARTED(once=last), lambda: os.kill(os.getpid(), signal.SIGTERM))
    elif moment == "sigterm":
        trainer.add_event_handler(Events.ITERATION_STARTED(once=6), lambda: os.kill(os.getpid(), signal.SIGTERM))
    run.run()
    run.finalize()


def in_a_process(*args) -> int:
    """The exit status of ``train`` in a process of its own, started from a clean one that has imported all."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.helpers.bundles", "monai_sscm"])
    process = context.Process(target=train, args=args)
    process.start()
    process.join(timeout=60)
    if process.exitcode is None:
        process.kill()
        pytest.fail("the process hangs")
    return process.exitcode


def load(folder: Path, name: str = "last.pt") -> dict:
    return torch.load(folder / "states" / name, weights_only=True)


def assert_equal(a, b, where: str = "") -> None:
    """Equal to the last bit, all the way down."""
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b)):
            assert_equal(x, y, f"{where}/{i}")
    else:
        assert a == b, where


@pytest.fixture(scope="module")
def undisturbed(vessel_phantoms, tmp_path_factory) -> dict[int, Path]:
    """Trainings that were never killed, by the number of workers."""
    folders = {workers: tmp_path_factory.mktemp(f"undisturbed_{workers}") for workers in (0, 2)}
    for workers, folder in folders.items():
        assert in_a_process(vessel_phantoms, folder, None, workers, False) == 0
        state = load(folder)
        assert state["trainer"]["iteration"] == EPOCHS * EPOCH_LENGTH
        assert {"discriminator", "discriminator_optimizer", "teacher", "scaler"} <= set(state["trainer"])
    return folders


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("moment", ["epoch", "validation", "save", "rename"])
def test_killed_and_resumed(vessel_phantoms, tmp_path, undisturbed, moment, workers):
    assert in_a_process(vessel_phantoms, tmp_path, moment, workers, False) == -signal.SIGKILL
    newest = load(tmp_path, "previous.pt" if moment == "rename" else "last.pt")
    assert newest["trainer"]["iteration"] == EPOCH_LENGTH  # of the first epoch's end: the second was cut off
    assert in_a_process(vessel_phantoms, tmp_path, None, workers, True) == 0
    # student, teacher, discriminator, both optimizers, scheduler, counters, best metric
    assert_equal(load(tmp_path), load(undisturbed[workers]))
    assert_equal(load(tmp_path, "best.pt"), load(undisturbed[workers], "best.pt"))
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("workers", [0, 2])
def test_stopped_within_an_epoch_and_resumed(vessel_phantoms, tmp_path, undisturbed, workers):
    assert in_a_process(vessel_phantoms, tmp_path, "sigterm", workers, False) == 128 + signal.SIGTERM
    assert load(tmp_path)["trainer"]["iteration"] == 6  # in the middle of the second epoch
    assert in_a_process(vessel_phantoms, tmp_path, None, workers, True) == 0
    assert_equal(load(tmp_path), load(undisturbed[workers]))
    assert_equal(load(tmp_path, "best.pt"), load(undisturbed[workers], "best.pt"))


@pytest.mark.parametrize(("moment", "status"), [("later", -signal.SIGKILL), ("sigterm later", 128 + signal.SIGTERM)])
def test_a_finished_training_goes_on_longer_however_often_it_is_stopped(
    vessel_phantoms, tmp_path, undisturbed, moment, status
):
    bundle, longer = "chase_vessel_segmentation", EPOCHS + 2
    for name in ("whole", "cut"):
        shutil.copytree(undisturbed[0], tmp_path / name)
    assert in_a_process(vessel_phantoms, tmp_path / "whole", None, 0, True, bundle, longer) == 0
    assert in_a_process(vessel_phantoms, tmp_path / "cut", moment, 0, True, bundle, longer) == status
    assert in_a_process(vessel_phantoms, tmp_path / "cut", None, 0, True, bundle, longer) == 0
    for name in ("last.pt", "best.pt"):
        assert_equal(load(tmp_path / "cut", name), load(tmp_path / "whole", name))
    state = load(tmp_path / "whole")
    total = longer * EPOCH_LENGTH
    assert state["trainer"]["iteration"] == total and state["lr_scheduler"]["total_iters"] == total
    models = [torch.load(f / "models" / "model.pt", weights_only=True) for f in (tmp_path / "whole", undisturbed[0])]
    assert_equal(models[0], state["teacher"])
    assert any(not torch.equal(models[0][name], models[1][name]) for name in models[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_chest_ct_killed_and_resumed(tmp_path, workers):
    """Groups of unlabelled slices and donors in the place of their receivers are drawn again as they were."""
    write_chest_phantoms(tmp_path / "scans", num_train=4, num_val=1, num_test=0, size=64, num_slices=3)
    args = (workers, False, "covid19_ct_segmentation")
    assert in_a_process(tmp_path / "scans", tmp_path / "whole", None, *args) == 0
    assert in_a_process(tmp_path / "scans", tmp_path / "cut", "epoch", *args) == -signal.SIGKILL
    assert in_a_process(tmp_path / "scans", tmp_path / "cut", None, workers, True, args[-1]) == 0
    for name in ("last.pt", "best.pt"):
        assert_equal(load(tmp_path / "cut", name), load(tmp_path / "whole", name))


def test_the_command_stops_and_resumes(vessel_phantoms, tmp_path):
    """The command line itself: Ctrl-C, its last line and status, and --resume true."""
    config = Path(__file__).parents[2] / "bundles" / "chase_vessel_segmentation" / "configs" / "train.yaml"
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(config)]
    values = {"dataset_dir": vessel_phantoms, "output_dir": tmp_path, "zoom": 1.0, "patch_size": [32, 32]}
    values |= {"num_labeled": 2, "max_epochs": 40, "epoch_length": 4, "val_interval": 40}
    for key, value in values.items():
        command += [f"--{key}", str(value)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # two threads wait for each other where cores are busy
    with open(tmp_path / "log.txt", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        for _ in range(600):
            if (tmp_path / "states" / "last.pt").is_file() or process.poll() is not None:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    last_line = (tmp_path / "log.txt").read_text().splitlines()[-1]
    iteration = load(tmp_path)["trainer"]["iteration"]
    assert last_line.startswith(f"Stopped by SIGINT after iteration {iteration}, saved to") and 4 <= iteration < 160
    command += ["--resume", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0 and f"after iteration {iteration}" in done.stdout + done.stderr
    assert load(tmp_path)["trainer"]["iteration"] == 160
