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

import json
import platform
import subprocess  # nosec B404
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

from monai_sscm.bundle import bundle_names, find_bundle
from monai_sscm.data.listing import first_file
from monai_sscm.handlers import check_writable, claim_folder, release_folder
from monai_sscm.io.files import image_name

from .methods import METHODS, Method
from .outputs import read_curves, read_images, read_scores, read_seconds
from .processes import BundleCommands, exit_on_signals

__all__ = ["Run", "Study"]

_PACKAGES = ("monai-sscm", "monai", "torch", "pytorch-ignite", "numpy")


@dataclass(frozen=True)
class Run:
    """One training: a method, with so many labeled images, from a seed."""

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

    Every run is ``python -m monai.bundle run`` in a process of its own, so a result can be reproduced by hand. The runs
    of a seed are paired: same labeled images, initial weights and crops. A finished run is a line of
    ``results.jsonl`` and is never repeated. An interrupted run continues where it stopped. A failed run is reported;
    the others continue.

    Args:
        bundle: name of a bundle that comes with the package, or the folder of a copied one.
        dataset_dir: folder of the data set.
        output_dir: folder for the results, and for the trainings, in ``runs``.
        methods: names of methods, of ``all_methods``. None: all.
        num_labeled: label budgets. A method whose values have a ``num_labeled`` of their own is run with that alone.
        seeds: the seeds.
        part: which images are scored, ``"test"`` or ``"val"``.
        values: values of the configuration that all runs share, such as ``{"max_epochs": 90}``.
        all_methods: the methods by name.
        group_pattern: the configuration's value of this name: regular expression whose first group is the patient in
            the name of an image. It keeps a patient's images in one part, where there is no ``split.json``, and
            together in the intervals. None: the bundle's own value.
        threads: of each run.

    Raises:
        ValueError: when the bundle, a method or a method's file is unknown, there are fewer labeled images than a
            budget asks for, no images to score, or ``results.jsonl`` has results of other values.
    """

    def __init__(
        self,
        bundle: str | Path,
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
        self.dataset_dir = Path(dataset_dir).resolve()
        self.part = part
        self.values = {str(k): v for k, v in (values or {}).items()}
        if group_pattern:
            self.values["group_pattern"] = group_pattern
        folder = Path(find_bundle(bundle))
        self.configs = folder / "configs"
        self._locations = {"dataset_dir": str(self.dataset_dir)}
        if str(bundle) in bundle_names():
            self.bundle = str(bundle)
        else:
            self.bundle = self._locations["bundle_root"] = str(folder)  # in place of the copy's "."
        self.output_dir = Path(check_writable(output_dir)).resolve()
        self.methods = all_methods
        self.results_file = self.output_dir / "results.jsonl"
        self._commands = BundleCommands(threads)
        self._lock = threading.Lock()
        names = list(methods or all_methods)
        self._check_methods(names)
        self.runs = self._plan(names, num_labeled, seeds)
        self._check_settings()

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

    def pending(self) -> list[Run]:
        """The runs that are not done yet."""
        done = {Run(r["method"], r["num_labeled"], r["seed"]) for r in self.results()}
        return [run for run in self.runs if run not in done]

    def run(self, jobs: int = 1) -> list[Run]:
        """
        Do what is not done yet.

        Args:
            jobs: runs at a time.

        Returns:
            the runs that failed.
        """
        pending = self.pending()
        failed: list[Run] = []
        start, num_finished = time.perf_counter(), 0

        def run_and_report(run: Run) -> None:
            nonlocal num_finished
            try:
                row = self._train_and_score(run)
                outcome = f"mIoU {100 * row['last']['mean_iou']:.1f}"
            except (subprocess.CalledProcessError, OSError) as e:
                if self._commands.stopped:
                    return
                failed.append(run)
                outcome = (
                    f"failed ({e}), see {self._folder(run) / 'log.txt'}{_last_error(self._folder(run) / 'log.txt')}"
                )
            with self._lock:
                num_finished += 1
                left = (time.perf_counter() - start) / num_finished * (len(pending) - num_finished)
                progress = f"{num_finished} of {len(pending)}: {run.name}"
                print(f"{progress}: {outcome}; about {left / 60:.0f} min left", flush=True)

        claim_folder(self.output_dir)
        with exit_on_signals():
            pool = ThreadPoolExecutor(jobs)
            try:
                list(pool.map(run_and_report, pending))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self._commands.stop()  # the same study continues from their checkpoints
                raise
            finally:
                pool.shutdown()
                release_folder(self.output_dir)
        return failed

    def _check_methods(self, names: Sequence[str]) -> None:
        """Refuse methods that there are not, or that the bundle's configuration does not have."""
        path = self.configs / "train.yaml"
        in_bundle = yaml.safe_load(path.read_text("utf-8")).get("methods", {})
        for name in names:
            if name not in self.methods:
                raise ValueError(f"There is no method {name!r}: choose among {', '.join(self.methods)}.")
            method = self.methods[name].values["method"]
            if method not in in_bundle:
                raise ValueError(f"{str(path)!r} has no method {method!r}: add it under `methods`.")

    def _plan(self, names: Sequence[str], num_labeled: Sequence[int], seeds: Sequence[int]) -> list[Run]:
        """List the runs, none twice."""
        lists = self._datalist({})
        num_training = len(lists["labeled"])
        if not lists[self.part]:
            raise ValueError(
                f"The data set has no {self.part} images with masks: name some in its split.json, or score others."
            )
        runs: list[Run] = []
        for seed in seeds:
            for budget in num_labeled:
                for name in names:
                    own = self.methods[name].values.get("num_labeled", budget)
                    run = Run(name, num_training if own == "all" else int(own), seed)
                    if run.num_labeled > num_training:
                        raise ValueError(f"{run.num_labeled} labeled images are asked for, there are {num_training}.")
                    if run not in runs:
                        runs.append(run)
        return runs

    def _check_settings(self) -> None:
        """Refuse a folder with results of other settings."""
        for row in self.results():
            settings = self._settings(row["method"]) if row["method"] in self.methods else row["settings"]
            if row["settings"] != settings:
                raise ValueError(
                    f"{str(self.results_file)!r} has a result of {row['method']} with {row['settings']}, asked for is "
                    f"{settings}: choose another `output_dir` for other settings."
                )

    def _datalist(self, values: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
        """The bundle's lists of images; with all labels, unless the values say how many."""
        parser = ConfigParser()
        parser.read_config(str(self.configs / "train.yaml"))
        parser.update({"num_labeled": None, **self._locations, **self.values, **values})
        return parser.get_parsed_content("datalist")

    def _folder(self, run: Run) -> Path:
        return self.output_dir / "runs" / run.name

    def _settings(self, name: str) -> dict[str, Any]:
        """What a result depends on beside method, budget and seed, as text."""
        method = self.methods[name]
        values = {k: str(v) for k, v in {**self.values, **method.values}.items() if k != "num_labeled"}
        return {"bundle": self.bundle, "part": self.part, "values": values}

    def _train_and_score(self, run: Run) -> dict[str, Any]:
        method, folder = self.methods[run.method], self._folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "log.txt"
        values = {**self.values, **method.values, "num_labeled": run.num_labeled, "seed": run.seed}
        values |= {**self._locations, "output_dir": str(folder)}
        train, evaluate = (self.configs / name for name in ("train.yaml", "evaluate.yaml"))
        with _append_seconds(folder / "seconds.txt"):
            memory = self._commands.run([train], {**values, "resume": "true"}, log)
        lists = self._datalist(values)
        row: dict[str, Any] = {
            "method": run.method,
            "num_labeled": run.num_labeled,
            "seed": run.seed,
            "settings": self._settings(run.method),
            "labeled": [Path(first_file(item["image"])).name for item in lists["labeled"]],
            "num_unlabeled": len(lists["unlabeled"]),
            "num_validation": len(lists["val"]),
        }
        for name, checkpoint in (("last", "models/model.pt"), ("best", "states/best.pt")):
            if not (folder / checkpoint).is_file() and name == "best":
                continue  # no validation images, or fewer epochs than from one validation to the next
            scores = folder / name
            scored = {"checkpoint": str(folder / checkpoint), "evaluation_dir": str(scores), "part": self.part}
            self._commands.run([train, evaluate], {**values, **scored, "save_overlays": name == "last"}, log)
            row[name] = read_scores(scores / "metrics.csv")
            if name == "last":
                row["images"] = read_images(scores / "images.csv")
                row["patients"] = _patients(lists[self.part])
        row["curves"] = read_curves(folder / "logs")
        row["seconds"] = round(read_seconds(folder / "seconds.txt"))
        row["peak_memory_mb"] = memory
        row["versions"] = {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
        with self._lock, open(self.results_file, "a+b") as file:
            file.seek(max(0, file.tell() - 1))
            half_written = file.read(1) not in (b"", b"\n")
            file.write(b"\n" * half_written + json.dumps(row).encode() + b"\n")
        return row


@contextmanager
def _append_seconds(path: Path) -> Iterator[None]:
    """Append the seconds that it takes, also when it is stopped, so that those of a resumed training add up."""
    start = time.perf_counter()
    try:
        yield
    finally:
        with open(path, "a") as file:
            file.write(f"{time.perf_counter() - start:.1f}\n")


def _last_error(log: Path) -> str:
    """What a failed command said last, if it was an error that was foreseen."""
    lines = log.read_text("utf-8", errors="replace").splitlines() if log.is_file() else []
    errors = [line for line in lines[-20:] if line.startswith("Error: ")]
    return f": {errors[-1].removeprefix('Error: ')}" if errors else ""


def _patients(items: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The patient of every image, as the list says it, by the image's name; else each image is a patient."""
    names = [image_name(first_file(item["image"]), item.get("slice")) for item in items]
    return {name: str(item.get("group") or name) for name, item in zip(names, items, strict=True)}
