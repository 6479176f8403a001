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
What a machine with a GPU shows in 25 minutes, one part after the other, each in a process and with a time of its own.

    benchmarks/gpu.sh                  # or python benchmarks/gpu.py; parts by name behind it: --parts training_3d

- ``tests``: those that need a GPU (``pytest -m gpu``);
- ``mixed_precision``: SupMix steps with it and in float32, 2D and 3D: milliseconds, memory, the loss after them;
- ``compile``: the same steps with ``torch.compile``: milliseconds, and the loss;
- ``sliding_window``: a volume of 200^3 in windows of 96^3, with mixed precision and without;
- ``two_processes``: a training by torchrun, where there are two devices;
- ``training_3d``: made-up volumes of 200^3, ``train`` with patches of 96^3: memory, seconds of a step, hours in all.

A line of JSON for each part goes to the results file as it ends. A part that fails, or takes longer than it may, is
recorded with its error; the others go on, and the exit status is 1 at the end. Without a GPU, or with ``--short``, all
of it is so small that a CPU does it in seconds: that shows that the parts run, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# asks the driver whether there is a GPU, and does not start CUDA in this process, from which the parts are forked
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

import numpy as np
import SimpleITK as sitk
import torch
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet

from monai_sscm.bundle import run_config
from monai_sscm.planning import plan_bundle
from monai_sscm.study.processes import exit_on_signals

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.step import make  # noqa: E402


class Skipped(Exception):
    """A part that this machine cannot do, and why."""


@dataclass(frozen=True)
class Setup:
    """
    What the parts run on.

    Args:
        short: whether sizes are small.
        folder: for files.
    """

    short: bool
    folder: Path

    @property
    def device(self) -> torch.device:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def start_clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def peak_mib(self) -> float | None:
        """The GPU's highest memory since the last call."""
        if self.device.type != "cuda":
            return None
        peak = torch.cuda.max_memory_allocated() / 2**20
        torch.cuda.reset_peak_memory_stats()
        return round(peak)


def tests(setup: Setup) -> dict[str, Any]:
    if setup.device.type != "cuda":
        raise Skipped("no GPU")
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout, done.stderr)
    if done.returncode:
        raise RuntimeError("pytest -m gpu: " + "; ".join(done.stdout.strip().splitlines()[-8:]))
    return {"pytest": done.stdout.strip().splitlines()[-1]}


def settings(setup: Setup) -> dict[str, tuple]:
    """Dimensions, batch, channels, size of a crop and channels of the network."""
    if setup.short:
        return {"2D": (2, 2, 1, 32, (4, 8)), "3D": (3, 1, 1, 16, (4, 8))}
    return {"2D": (2, 12, 3, 256, (32, 64, 128, 256, 512)), "3D": (3, 2, 1, 96, (32, 64, 128, 256, 320))}


def steps(setup: Setup, setting: tuple, **kwargs: Any) -> dict[str, Any]:
    """Milliseconds of a step, memory and the loss after 8, or 40, steps of SupMix."""
    trainer, _ = make("supmix", setting, device=str(setup.device), **kwargs)
    setup.peak_mib()
    trainer.run()  # 4 steps, of which the first warm up, or compile
    trainer.state.max_epochs += 1 if setup.short else 9
    start = setup.start_clock()
    trainer.run()
    seconds = setup.start_clock() - start
    loss = float(trainer.state.output["loss"])
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss}")
    count = 4 if setup.short else 36
    return {"step_ms": round(1e3 * seconds / count, 1), "peak_mib": setup.peak_mib(), "loss": round(loss, 4)}


def mixed_precision(setup: Setup) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, setting in settings(setup).items():
        for precision, amp in (("float32", False), ("mixed", True)):
            found[f"{name}, {precision}"] = steps(setup, setting, amp=amp)
        losses = [found[f"{name}, {precision}"]["loss"] for precision in ("float32", "mixed")]
        if abs(losses[0] - losses[1]) > 0.1 * max(losses):
            raise ArithmeticError(
                f"{name}: the loss is {losses[0]} in float32, {losses[1]} in mixed precision: {found}"
            )
    return found


def compiled(setup: Setup) -> dict[str, Any]:
    # without a GPU no code is generated, which takes a compiler and a minute
    options = {"backend": "eager"} if setup.short else {}
    found: dict[str, Any] = {}
    for name, setting in settings(setup).items():
        found[f"{name}, eager"] = steps(setup, setting, amp=not setup.short)
        found[f"{name}, compiled"] = steps(setup, setting, amp=not setup.short, compile=True, compile_kwargs=options)
        losses = [found[f"{name}, {kind}"]["loss"] for kind in ("eager", "compiled")]
        if abs(losses[0] - losses[1]) > 0.1 * max(losses):
            raise ArithmeticError(f"{name}: the loss is {losses[0]}, compiled {losses[1]}: {found}")
    return found


@torch.no_grad()
def sliding_window(setup: Setup) -> dict[str, Any]:
    side, window, channels = (32, 16, (4, 8)) if setup.short else (200, 96, (32, 64, 128, 256, 320))
    torch.manual_seed(0)
    network = UNet(3, 1, 3, channels, (2,) * (len(channels) - 1), num_res_units=2).to(setup.device).eval()
    volume = torch.rand(1, 1, side, side, side, device=setup.device)
    inferer = SlidingWindowInferer(window, sw_batch_size=4, overlap=0.5, mode="gaussian")
    found: dict[str, Any] = {"volume": [side] * 3, "window": [window] * 3}
    masks = []
    setup.peak_mib()
    for name, amp in (("float32", False), ("mixed", True)):
        for _ in range(2):  # the first warms up
            start = setup.start_clock()
            with torch.autocast(setup.device.type, enabled=amp):
                logits = inferer(volume, network)
            seconds = setup.start_clock() - start
        masks.append(logits.argmax(1))
        found[name] = {"seconds": round(seconds, 2), "peak_mib": setup.peak_mib()}
    found["agreement"] = round(float((masks[0] == masks[1]).double().mean()), 4)
    return found


def two_processes(setup: Setup) -> dict[str, Any]:
    if torch.cuda.device_count() < 2:
        raise Skipped(f"{torch.cuda.device_count()} GPUs")
    data = made_up_volumes(setup.folder / "data", 64, labeled=2, unlabeled=2)
    bundle = setup.folder / "bundle"
    plan_bundle(data, bundle, {"max_epochs": "4"})
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "monai_sscm"]
    start = time.perf_counter()
    done = subprocess.run([*command, "train", str(data), "--output_dir", str(bundle)], capture_output=True, text=True)
    print(done.stdout, done.stderr)
    if done.returncode or not (bundle / "models" / "model.pt").is_file():
        raise RuntimeError("torchrun: " + "; ".join((done.stdout + done.stderr).strip().splitlines()[-8:]))
    return {"seconds": round(time.perf_counter() - start, 1)} | step_seconds(bundle)


def training_3d(setup: Setup) -> dict[str, Any]:
    side, patch, epochs, length = (32, 16, 1, 20) if setup.short else (200, 96, 4, 50)
    data = made_up_volumes(setup.folder / "data", side, labeled=2, unlabeled=1 if setup.short else 6)
    values = {"patch_size": str([patch] * 3), "spatial_dims": "3"}
    values |= {"channels": "[4, 8]", "strides": "[2]", "batch_size": "1"} if setup.short else {}
    bundle = setup.folder / "bundle"
    plan = plan_bundle(data, bundle, values)
    print(plan.summary(), flush=True)
    chosen = {name: plan.values[name].value for name in ("max_epochs", "epoch_length", "batch_size", "channels")}
    setup.peak_mib()
    start = time.perf_counter()
    options = {"dataset_dir": str(data), "output_dir": str(bundle), "max_epochs": epochs, "epoch_length": length}
    run_config([bundle / "configs" / "train.yaml"], options)
    found = {"volumes": [side] * 3, "patch": [patch] * 3, **chosen, "peak_mib": setup.peak_mib()}
    found |= {"seconds": round(time.perf_counter() - start, 1), "steps": epochs * length, **step_seconds(bundle)}
    planned = chosen["max_epochs"] * chosen["epoch_length"]
    return found | {"hours_of_plan": round(planned * found["step_seconds"] / 3600, 2), "planned_minutes": plan.minutes}


def step_seconds(run: Path) -> dict[str, float]:
    """Seconds of a step of a training, its start and end left out, by the times of what it logged."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "logs"), size_guidance={"scalars": 0})
    events.Reload()
    points = next(events.Scalars(tag) for tag in events.Tags()["scalars"] if "loss" in tag.lower())
    first, last = points[0], points[-1]
    return {"step_seconds": round((last.wall_time - first.wall_time) / (last.step - first.step), 4)}


def made_up_volumes(folder: Path, side: int, labeled: int, unlabeled: int) -> Path:
    """Volumes with an organ of two parts in noise, some without a mask."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, side)] * 3, indexing="ij", sparse=True)
    for k in range(labeled + unlabeled):
        random = np.random.RandomState(k)
        center, radii = random.uniform(-0.2, 0.2, 3), random.uniform(0.4, 0.7, 3)
        inside = sum(((a - c) / r) ** 2 for a, c, r in zip((x, y, z), center, radii, strict=True)) < 1
        mask = np.where(inside, 1 + (y > center[1]), 0).astype(np.uint8)
        image = (100 * mask + random.normal(0, 60, mask.shape)).astype(np.int16)
        has_mask = k < labeled
        for part, array in (("images" if has_mask else "unlabeled_images", image), ("labels", mask)):
            if part == "labels" and not has_mask:
                continue
            (folder / part).mkdir(parents=True, exist_ok=True)
            volume = sitk.GetImageFromArray(array.transpose())
            sitk.WriteImage(volume, str(folder / part / f"volume_{k}.nii.gz"))
    return folder


def machine(setup: Setup) -> dict[str, Any]:
    """What all of it runs on."""
    has_gpu = torch.cuda.is_available()
    names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    memory = [round(torch.cuda.get_device_properties(k).total_memory / 2**30, 1) for k in range(len(names))]
    return {
        "devices": names if has_gpu else ["CPU"],
        "memory_gib": memory,
        "threads": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "short": setup.short,
    }


MACHINE = "machine"  # the first part, whatever is asked for

#: the parts, and the minutes that each may take
PARTS: dict[str, tuple[Callable[[Setup], dict[str, Any]], float]] = {
    MACHINE: (machine, 1),
    "tests": (tests, 3),
    "mixed_precision": (mixed_precision, 3),
    "compile": (compiled, 5),
    "sliding_window": (sliding_window, 2),
    "two_processes": (two_processes, 3),
    "training_3d": (training_3d, 8),
}


def run_part(name: str, short: bool, log: Path) -> dict[str, Any]:
    """Run a part in a process of its own, which can crash or be ended, and say what came out."""
    function, minutes = PARTS[name]
    context = multiprocessing.get_context("fork")  # imports are done once
    ours, theirs = context.Pipe(duplex=False)
    start = time.perf_counter()
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # ours, as the process may be ended
    process = context.Process(target=_in_process, args=(function, Setup(short, Path(folder.name)), log, theirs))
    process.start()
    theirs.close()
    try:
        if not ours.poll(60 * minutes):
            row = {"status": "failed", "error": f"took more than {minutes:g} minutes"}
        else:
            row = ours.recv()
    except EOFError:
        process.join()
        row = {"status": "failed", "error": f"the process ended with status {process.exitcode}"}
    finally:
        if process.is_alive():
            process.join(5)
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)  # with what it started
            process.join()
        folder.cleanup()
    return {"part": name, **row, "seconds": round(time.perf_counter() - start, 1)}


def _in_process(function: Callable[[Setup], dict[str, Any]], setup: Setup, log: Path, answer: Any) -> None:
    os.setsid()
    with open(log, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        row = {"status": "passed", "figures": function(setup)}
    except Skipped as e:
        row = {"status": "skipped", "error": str(e)}
    except BaseException as e:
        traceback.print_exc()
        row = {"status": "failed", "error": f"{type(e).__name__}: {e}"[:2000]}
    answer.send(row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default=str(ROOT / "benchmarks" / "results" / "gpu.jsonl"), help="results file")
    parser.add_argument("--short", action="store_true", help="small sizes, as where there is no GPU")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    args = parser.parse_args()
    short = args.short or not torch.cuda.is_available()
    output = Path(args.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    log = output.with_suffix(".log")
    log.unlink(missing_ok=True)
    failed = []
    with open(output, "w") as file, exit_on_signals():
        for name in dict.fromkeys((MACHINE, *args.parts)):
            row = run_part(name, short, log)
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(json.dumps(row), flush=True)
            failed += [name] if row["status"] == "failed" else []
    print(f"\n{'All went well' if not failed else 'Failed: ' + ', '.join(failed)}. Results: {output}; output: {log}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
