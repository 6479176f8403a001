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

"""The runs of a study: which there are, and each trained and scored by the commands of its bundle."""

from __future__ import annotations

import csv
import json
import os
import platform
import signal
import subprocess  # nosec B404
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

from monai.bundle import ConfigParser
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_sscm.bundle import find_bundle
from monai_sscm.data.covid19_ct import released_split
from monai_sscm.data.datalist import CHASE_DB1_PATIENT, image_name, patients, read_split
from monai_sscm.handlers import check_writable

from .methods import METHODS, Method

__all__ = ["Run", "Study"]

_PACKAGES = ("monai-sscm", "monai", "torch", "pytorch-ignite", "numpy")
# which child of CHASE_DB1 a photograph is of
_PATTERNS = {"chase_vessel_segmentation": CHASE_DB1_PATIENT}
# what the report draws over time: tags of TensorBoard's scalars
_CURVES = ("mean_iou", "pseudo_weight", "pseudo_agreement_*", "discriminator_accuracy", "judged_labeled_*")


@dataclass(frozen=True)
class Run:
    """One training: a method, with so many labelled images, from a seed."""

    method: str
    num_labeled: int
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.method}_labeled{self.num_labeled}_seed{self.seed}"


class Study:
    """
    Methods x label budgets x seeds, trained and scored through a bundle's own configurations.

    Every run is ``python -m monai.bundle run`` in a process of its own, so a result can be had again by hand. The runs
    of a seed are paired: same labelled images, initial weights and crops. A finished run is a line of
    ``results.jsonl`` and is never repeated, an interrupted one goes on where it stopped, a failed one is told of, and
    the others go on.

    Args:
        bundle: name of a bundle that comes with the package.
        dataset_dir: folder of the data set.
        output_dir: folder for the results, and for the trainings, in ``runs``.
        methods: names of methods, of ``all_methods``. None: all.
        num_labeled: label budgets. A method whose values have a ``num_labeled`` of their own is run with that alone.
        seeds: the seeds.
        part: which images are scored, ``"test"`` or ``"val"``.
        values: values of the configuration that all runs share, such as ``{"max_epochs": 90}``.
        all_methods: the methods by name.
        group_pattern: regular expression whose first group says of an image's name which patient it is of; the same
            as that of ``values``. It keeps a patient's images in one part, where there is no ``split.json``, and
            together in the intervals. None: by ``split.json``, and of CHASE_DB1 by its names; else each image is a
            patient of its own.
        threads: of each run.

    Raises:
        ValueError: when a method is unknown, there are fewer labelled images than a budget asks for, no images to
            score or to validate with, or ``results.jsonl`` has results of other values.
    """

    def __init__(
        self,
        bundle: str,
        dataset_dir: str | Path,
        output_dir: str | Path,
        methods: Sequence[str] | None = None,
        num_labeled: Sequence[int] = (2,),
        seeds: Sequence[int] = (0, 1, 2),
        part: str = "test",
        values: Mapping[str, Any] | None = None,
        all_methods: Mapping[str, Method] = METHODS,
        group_pattern: str | None = None,
        threads: int = 1,
    ) -> None:
        self.bundle = bundle
        self.configs = Path(find_bundle(bundle)) / "configs"
        self.dataset_dir = Path(dataset_dir).resolve()
        self.output_dir = Path(check_writable(output_dir)).resolve()
        self.part = part
        self.values = {str(k): v for k, v in (values or {}).items()}
        if group_pattern:
            self.values["group_pattern"] = group_pattern
        self.methods = all_methods
        self.group_pattern = self.values.get("group_pattern") or _PATTERNS.get(bundle)
        self.threads = threads
        self.results_file = self.output_dir / "results.jsonl"
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen] = set()
        self._stopped = False
        unknown = [name for name in methods or () if name not in all_methods]
        if unknown:
            raise ValueError(f"There is no method {unknown[0]!r}: choose among {', '.join(all_methods)}.")
        lists = self._datalist((), {})
        num_training = len(lists["labeled"])
        for name in (part, "val"):
            if not lists[name]:
                raise ValueError(f"The data set has no {name} images: name some in its split.json, or score others.")
        self.runs: list[Run] = []
        for seed in seeds:
            for budget in num_labeled:
                for name in methods or all_methods:
                    own = all_methods[name].values.get("num_labeled", budget)
                    run = Run(name, num_training if own == "all" else int(own), seed)
                    if run.num_labeled > num_training:
                        raise ValueError(f"{run.num_labeled} labelled images are asked for, there are {num_training}.")
                    if run not in self.runs:
                        self.runs.append(run)
        for row in self.results():
            mine = self._settings(row["method"]) if row["method"] in all_methods else row["settings"]
            if row["settings"] != mine:
                raise ValueError(
                    f"{str(self.results_file)!r} has a result of {row['method']} with {row['settings']}, asked for is "
                    f"{mine}: choose another `output_dir` for other settings."
                )

    def _datalist(self, configs: Sequence[str], values: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
        """The bundle's lists of images; with all labels, unless the values say how many."""
        parser = ConfigParser()
        parser.read_config([str(self.configs / f"{name}.yaml") for name in ("train", *configs)])
        defaults = {"dataset_dir": str(self.dataset_dir), "num_labeled": None}
        parser.update({**defaults, **self.values, **values})
        return parser.get_parsed_content("datalist")

    def results(self) -> list[dict[str, Any]]:
        """What there is so far, a dictionary for each finished run."""
        if not self.results_file.is_file():
            return []
        rows = []
        for line in self.results_file.read_text("utf-8").splitlines():
            # a line that a power cut or a full disk left half written is no result: its run is done again
            with suppress(json.JSONDecodeError):
                rows.append(json.loads(line))
        return rows

    def run(self, jobs: int = 1) -> list[Run]:
        """
        Do what is not done yet.

        Args:
            jobs: runs at a time.

        Returns:
            the runs that failed.
        """
        done = {Run(r["method"], r["num_labeled"], r["seed"]) for r in self.results()}
        todo = [run for run in self.runs if run not in done]
        failed: list[Run] = []
        start, finished = time.perf_counter(), 0

        def one(run: Run) -> None:
            nonlocal finished
            try:
                row = self._train_and_score(run)
                said = f"mIoU {100 * row['last']['mean_iou']:.1f}"
            except (subprocess.CalledProcessError, OSError) as e:
                if self._stopped:
                    return
                failed.append(run)
                said = f"failed ({e}), see {self._folder(run) / 'log.txt'}"
            with self._lock:
                finished += 1
                left = (time.perf_counter() - start) / finished * (len(todo) - finished)
                print(f"{finished} of {len(todo)}: {run.name}: {said}; about {left / 60:.0f} min left", flush=True)

        in_main = threading.current_thread() is threading.main_thread()
        # SIGHUP: a terminal that is closed; left alone where it is ignored, as under nohup
        told = [s for s in (signal.SIGTERM, getattr(signal, "SIGHUP", None)) if s is not None] if in_main else []
        before = {s: signal.signal(s, _leave) for s in told if signal.getsignal(s) != signal.SIG_IGN}
        pool = ThreadPoolExecutor(jobs)
        try:
            list(pool.map(one, todo))
        except BaseException:
            self._stopped = True
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(self._processes):
                process.terminate()  # it saves its checkpoint, and goes on from there next time
            raise
        finally:
            pool.shutdown()
            for number, handler in before.items():
                signal.signal(number, handler)
        return failed

    def _folder(self, run: Run) -> Path:
        return self.output_dir / "runs" / run.name

    def _patients(self, items: Sequence[dict[str, Any]]) -> dict[str, str]:
        """The patient of every scored image."""
        split = read_split(self.dataset_dir, released_split(self.dataset_dir))
        # of the slices of a stack the list itself says it
        known = {image_name(item["image"], item.get("slice")): item.get("group") for item in items}
        of = patients([name for name, group in known.items() if group is None], self.group_pattern, split)
        return {name: group or of[name] for name, group in known.items()}

    def _settings(self, name: str) -> dict[str, Any]:
        """What a result depends on beside method, budget and seed, as text."""
        method = self.methods[name]
        values = {k: str(v) for k, v in {**self.values, **method.values}.items() if k != "num_labeled"}
        return {"bundle": self.bundle, "part": self.part, "configs": list(method.configs), "values": values}

    def _train_and_score(self, run: Run) -> dict[str, Any]:
        method, folder = self.methods[run.method], self._folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        configs = ["train", *method.configs]
        values = {**self.values, **method.values, "num_labeled": run.num_labeled, "seed": run.seed}
        values |= {"dataset_dir": str(self.dataset_dir), "output_dir": str(folder)}
        memory = self._command(folder, configs, {**values, "resume": "true"}, folder / "seconds.txt")
        lists = self._datalist(method.configs, values)
        row: dict[str, Any] = {
            "method": run.method,
            "num_labeled": run.num_labeled,
            "seed": run.seed,
            "settings": self._settings(run.method),
            "labeled": [Path(item["image"]).name for item in lists["labeled"]],
            "num_unlabeled": len(lists["unlabeled"]),
            "num_validation": len(lists["val"]),
        }
        for name, checkpoint in (("last", "last.pt"), ("best", "best.pt")):
            scores = folder / name
            where = {"checkpoint": str(folder / checkpoint), "evaluation_dir": str(scores), "part": self.part}
            self._command(folder, [*configs, "evaluate"], {**values, **where, "save_overlays": name == "last"})
            row[name] = {k: x for k, x in _read_scores(scores / "metrics.csv").items() if x == x}  # nan is no JSON
            if name == "last":
                row["images"] = _read_images(scores / "images.csv")
                row["patients"] = self._patients(lists[self.part])
        row["curves"] = _read_curves(folder)
        row["seconds"] = round(_read_seconds(folder / "seconds.txt"))
        row["peak_memory_mb"] = memory
        row["versions"] = {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
        with self._lock, open(self.results_file, "a+b") as file:
            file.seek(max(0, file.tell() - 1))
            half_written = file.read(1) not in (b"", b"\n")
            file.write(b"\n" * half_written + json.dumps(row).encode() + b"\n")
        return row

    def _command(
        self, folder: Path, configs: Sequence[str], values: Mapping[str, Any], times: Path | None = None
    ) -> int | None:
        """
        Run the bundle; the most memory that it had, in MB, where the system tells. The seconds go into a line of
        ``times``, also when it is stopped, so that those of a training that goes on later add up.
        """
        files = [str(self.configs / f"{name}.yaml") for name in configs]
        command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(files)]
        for key, value in values.items():
            command += [f"--{key}", str(value)]
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
        start = time.perf_counter()
        with open(folder / "log.txt", "a") as log:
            environment = {**os.environ, **dict.fromkeys(names, str(self.threads))}
            # no shell: a list of arguments, MONAI's command line and what the user asked for
            # a session of its own: Ctrl-C in a terminal reaches us alone, and trainings are told to stop once
            process = subprocess.Popen(  # nosec B603
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )
            self._processes.add(process)
            memory = None
            if hasattr(os, "wait4"):
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                memory = round(usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2))
            process.wait()
            self._processes.discard(process)
        if times is not None:
            with open(times, "a") as file:
                file.write(f"{time.perf_counter() - start:.1f}\n")
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, "monai.bundle run")
        return memory


def _leave(number: int, frame: FrameType | None) -> None:
    """Leave as on Ctrl-C when told to stop, or the trainings would go on alone."""
    raise SystemExit(128 + number)


def _read_seconds(path: Path) -> float:
    return sum(float(line) for line in path.read_text().splitlines())


def _read_scores(path: Path) -> dict[str, float]:
    with open(path, newline="") as file:
        return {row[0]: round(float(row[1]), 5) for row in csv.reader(file)}


def _read_images(path: Path) -> dict[str, list[list[int]]]:
    """The confusion matrix of every image."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    names = [key.removeprefix("iou_") for key in rows[0] if key.startswith("iou_")]
    return {row["image"]: [[int(row[f"{a}_as_{b}"]) for b in names] for a in names] for row in rows}


def _read_curves(folder: Path) -> dict[str, list[list[float]]]:
    """Pairs of step and value of what was logged during the training, some 30 of each, by name."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    curves = {}
    for tag in events.Tags()["scalars"]:
        if any(tag.startswith(name[:-1]) if name.endswith("*") else tag == name for name in _CURVES):
            points = {event.step: event.value for event in events.Scalars(tag)}
            every = max(1, len(points) // 30)
            steps = sorted(points)[every - 1 :: every]
            curves[tag] = [[step, round(points[step], 4)] for step in steps if points[step] == points[step]]
    return curves
