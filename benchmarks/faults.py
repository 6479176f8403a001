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

"""
Training by the shipped bundle, killed (SIGKILL) at random moments and resumed, beside one that was never killed.

    python benchmarks/faults.py --kills 20 --workers 0 2

Every kill is one training: it starts, is killed with all its processes a random time after its training began (in four
of five when it next loads, steps, validates or saves), and is resumed to its end. A third of them are new trainings, a
third starts from another training's weights (`init_from`), and a third makes a finished training longer
(`--resume true --max_epochs 5` after 3). Then student, teacher, discriminator, optimizers, counters and best metric in
last.pt, the best model in best.pt, and the last step that TensorBoard knows must be those of the undisturbed training
of the same kind, to the last bit. A line for each is printed and written to results/faults.jsonl; the exit status is 1
if one differs. Takes 20 minutes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_sscm.bundle import find_bundle
from monai_sscm.datasets import write_vessel_phantoms
from monai_sscm.handlers import checkpoint

FORK = multiprocessing.get_context("fork")
KINDS = ("new", "longer", "from weights")
EPOCHS, BEFORE = 5, 3  # of every training; of one that is made longer, before that
DOING = ("loading", "a step", "validating", "saving", "")
RESULTS = Path(__file__).parent / "results" / "faults.jsonl"


def train(
    data: str, output_dir: str, workers: int, resume: bool, log: str, epochs: int = EPOCHS, init_from: str | None = None
) -> None:
    """One training; the file ``log`` always holds what it is doing."""
    with open(log, "w") as file:

        def doing(what: str) -> None:
            os.pwrite(file.fileno(), what.ljust(12).encode(), 0)

        def save(*args: Any, **kwargs: Any) -> None:
            doing("saving")
            save_checkpoint(*args, **kwargs)
            doing("between")

        save_checkpoint, checkpoint.save_checkpoint = checkpoint.save_checkpoint, save
        values = {"dataset_dir": data, "output_dir": output_dir, "num_workers": workers, "resume": resume}
        values |= {
            "num_labeled": 2,
            "zoom": 1.0,
            "patch_size": [64, 64],
            "max_epochs": epochs,
            "init_from": init_from,
            "epoch_length": 8,
            "val_interval": 1,
        }
        values |= {"rampup_steps": 10, "confidence_threshold": 0.5, "device": torch.device("cpu")}
        config = f"{find_bundle('chase_vessel_segmentation')}/configs/train.yaml"
        workflow = ConfigWorkflow(config, workflow_type="train", logging_file=False, **values)
        workflow.initialize()
        trainer, evaluator = (workflow.parser.get_parsed_content(x) for x in ("train#trainer", "validate#evaluator"))
        trainer.add_event_handler(Events.GET_BATCH_STARTED, doing, "loading")
        trainer.add_event_handler(Events.ITERATION_STARTED, doing, "a step")
        evaluator.add_event_handler(Events.STARTED, doing, "validating")
        workflow.run()
        workflow.finalize()


def start(*args: Any) -> ForkProcess:
    """A process of its own that trains; forked, as importing all anew would take longer than the training."""
    process = FORK.Process(target=_in_a_session, args=args)
    process.start()
    return process


def _in_a_session(*args: Any) -> None:
    os.setsid()  # it is killed with the processes that load images
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    train(*args)


def status_of(process: ForkProcess) -> int:
    """The exit status, when it has ended."""
    process.join()
    assert process.exitcode is not None and process.pid is not None
    return process.exitcode


def differences(a: Any, b: Any, where: str) -> list[str]:
    """Where two states differ in the least."""
    if isinstance(a, torch.Tensor):
        return [] if torch.equal(a, b) else [where]
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [found for key in a for found in differences(a[key], b[key], f"{where}/{key}")]
    if isinstance(a, (list, tuple)) and len(a) == len(b):
        return [found for i, (x, y) in enumerate(zip(a, b, strict=True)) for found in differences(x, y, f"{where}/{i}")]
    return [] if a == b else [where]


def results(folder: Path) -> dict[str, Any]:
    names = ("states/last", "states/best", "models/model")
    state: dict[str, Any] = {name: torch.load(folder / f"{name}.pt", weights_only=True) for name in names}
    events = EventAccumulator(str(folder / "logs"))
    events.Reload()
    state["logged"] = {tag: events.Scalars(tag)[-1].step for tag in ("loss", "mean_iou")}
    return state


def _begin(kind: str, run: Path, finished: Path) -> tuple[bool, tuple[Any, ...]]:
    """Whether a training of this kind is resumed from its start, and the further arguments of it."""
    if kind == "longer":
        shutil.copytree(finished, run)
    return kind == "longer", (EPOCHS, str(finished) if kind == "from weights" else None)


def _undisturbed(work: Path, kind: str, workers: int, finished: Path) -> tuple[float, dict[str, Any]]:
    """A training that is not killed: the seconds from its first to its last step, and its results."""
    name = f"{kind.replace(' ', '_')}_{workers}"
    run, log = work / f"undisturbed_{name}", work / f"log_{name}"
    resume, more = _begin(kind, run, finished)
    process, begun = start(str(work / "data"), str(run), workers, resume, str(log), *more), None
    while process.is_alive():
        begun = begun or (time.monotonic() if log.is_file() and log.stat().st_size else None)
        time.sleep(0.005)
    assert process.exitcode == 0 and begun is not None
    return time.monotonic() - begun, results(run)


def _killed(
    work: Path,
    kind: str,
    workers: int,
    finished: Path,
    wanted: str,
    moments: random.Random,
    duration: float,
    expected: dict[str, Any],
) -> dict[str, Any] | None:
    """A training that is killed and resumed; None where it came to its end before."""
    run, log = work / "killed", work / "killed_log"
    for path in (run, log):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    resume, more = _begin(kind, run, finished)
    after = moments.uniform(0, 0.7 * duration)
    process = start(str(work / "data"), str(run), workers, resume, str(log), *more)
    while not (log.is_file() and log.stat().st_size):
        assert process.is_alive(), "the training does not start"
        time.sleep(0.002)
    time.sleep(after)
    while process.is_alive() and wanted not in log.read_text():
        pass
    if process.is_alive():
        os.killpg(int(process.pid or 0), signal.SIGKILL)
    if status_of(process) == 0:
        return None
    doing, part = log.read_text().strip(), any(run.rglob("*.part"))
    code = status_of(start(str(work / "data"), str(run), workers, True, str(log), *more))
    found = differences(expected, results(run), "") if code == 0 else [f"exit status {code}"]
    row = {"training": kind, "workers": workers, "after_s": round(after, 2), "exit_status": process.exitcode}
    return row | {"while": doing, "half_written": part, "differences": found}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="trainings that are killed, for each number of workers")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    moments, rows = random.Random(args.seed), []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_vessel_phantoms(work / "data", num_train=6, num_val=3, num_test=0, size=128)
        for workers in args.workers:
            finished = work / f"finished_{workers}"  # what is made longer, and what others start from
            assert status_of(start(str(work / "data"), str(finished), workers, False, str(work / "log"), BEFORE)) == 0
            undisturbed = {kind: _undisturbed(work, kind, workers, finished) for kind in KINDS}
            for number in range(args.kills):
                kind = KINDS[number % len(KINDS)]
                row = None
                while row is None:
                    row = _killed(
                        work, kind, workers, finished, DOING[number % len(DOING)], moments, *undisturbed[kind]
                    )
                rows.append(row)
                print(json.dumps(row), flush=True)
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in rows))
    bad = sum(bool(row["differences"]) for row in rows)
    print(f"{len(rows)} trainings were killed and resumed, {bad} ended otherwise.")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
