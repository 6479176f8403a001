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

"""Are the unlabelled images worth it, on somebody's own data? The planned method against supervised training."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_sscm.handlers import check_writable, claim_folder, release_folder
from monai_sscm.io.writing import write_whole
from monai_sscm.planning import find_hardware, plan_bundle
from monai_sscm.planning.rules import SEMI_SUPERVISED

from .budget import Choice, choose
from .folds import fold_lists, patient_folds, write_lists
from .merge import merge_folds
from .methods import METHODS
from .page import verdict_page
from .report import write_report
from .runs import Study
from .verdict import FEWEST_PATIENTS, Verdict, judge, patient_differences

__all__ = ["CONTROL", "guide"]

#: what the planned method is compared with: supervised training with strong augmentation
CONTROL = "supervised_augmented"


def guide(
    dataset_dir: str | Path,
    output_dir: str | Path | None = None,
    hours: float = 4.0,
    values: Mapping[str, str] | None = None,
    jobs: int = 1,
    threads: int | None = None,
) -> Verdict:
    """
    Say whether the method that ``train`` would take is better on a data set than supervised training with strong
    augmentation, which needs no unlabelled image.

    The data set is planned as ``train`` plans it. Both methods are trained with the same images, seeds and steps, and
    scored on test images, or where there are none, on patients with masks who are held out in turn; validation images
    count as such. All images of a patient who is held out are left out of that training, those without masks too.
    ``monai_sscm.study.budget.choose`` says how many folds, seeds and steps the hours allow, and
    :py:func:`monai_sscm.study.judge` what may be claimed.

    Writes to ``output_dir``: ``verdict.md``, ``report.html`` (the same with figures and pictures), ``bundle`` (the
    plan), ``lists`` (of images) and ``fold_1`` ... (the trainings). The same call goes on where it was stopped.

    Args:
        dataset_dir: folder of the data set, or its list (.json).
        output_dir: folder for the results. None: ``runs/study_<folder's name>``.
        hours: for all of it; no further fold is begun that would end later. A call that goes on has them anew.
        values: values of ``train.yaml`` by name, as texts, that are not planned.
        jobs: trainings at a time, one or two.
        threads: of each training. None: all of the machine, shared.

    Returns:
        the verdict.

    Raises:
        ValueError: before any training, when there is nothing to compare, or the hours are too few.
        ChildProcessError: at the end, when trainings failed; the verdict on the others is written.
    """
    data = Path(dataset_dir).resolve()
    root = Path(check_writable(output_dir or Path("runs") / f"study_{data.name.removesuffix('.json')}")).resolve()
    claim_folder(root)
    try:
        planned = _plan(data, root, dict(values or {}), hours)
        choice, method = Choice(**planned["choice"]), str(planned["method"])
        paths, fold_of = _write_lists(root, planned)
        studies = _studies(root, planned, paths, threads or max(1, find_hardware().threads // jobs))
        print(f"\nCompared: {METHODS[method].title} and {METHODS[CONTROL].title}. {choice.reason}.")
        print(f"About {choice.minutes / 60:.1f} hours. The same command goes on where it is stopped.", flush=True)
        few = choice.num_folds if fold_of else len(planned["patients"])
        if few < FEWEST_PATIENTS:
            print(f"So few patients, {few}, cannot show a difference, whatever comes out: it takes {FEWEST_PATIENTS}.")
        failed = _run(studies, hours, jobs)
    finally:
        release_folder(root)
    rows = [row for seed in range(choice.num_seeds) for row in _merged(root, studies, seed, planned)]
    if not rows:
        raise ChildProcessError(f"No fold was trained: the last lines of {failed[0]} say why.")
    ours, others = ([row for row in rows if row["method"] == name] for name in (method, CONTROL))
    verdict = judge(patient_differences(ours, others), fold_of, choice.num_folds)
    commands = [_command(dataset_dir, values or {}, name, str(planned["default"])) for name in (method, CONTROL)]
    titles = (METHODS[method].title, METHODS[CONTROL].title)
    notes = _notes(planned, verdict, rows)
    title = f"Verdict on {data.name}"
    page = verdict_page(verdict, titles, (commands[0], commands[1]), fold_of, notes, title)
    write_whole(root / "verdict.md", lambda part: part.write_text(page.markdown(), "utf-8"))
    report = write_report(rows, root, method, {name: METHODS[name] for name in (CONTROL, method)}, page)
    print(f"\n{page.headline}\n{page.advice}\n  {page.command}\n\nPage: {report}")
    if failed:
        raise ChildProcessError(
            f"{len(failed)} of {2 * len(studies)} trainings failed; the last lines of {failed[0]} say why. The same "
            "command tries again."
        )
    return verdict


def _plan(data: Path, root: Path, values: dict[str, str], hours: float) -> dict[str, Any]:
    """What was planned and chosen, now or by an earlier call."""
    path, bundle = root / "study.json", root / "bundle"
    asked = {"dataset_dir": str(data), "values": values}
    if path.is_file():
        planned = json.loads(path.read_text("utf-8"))
        if planned["asked"] != asked:
            raise ValueError(f"{str(root)!r} is a study of {planned['asked']}, not of {asked}: choose another folder.")
        return dict(planned)
    if bundle.is_dir():
        shutil.rmtree(bundle)  # of a call that was stopped while it planned
    plan = plan_bundle(str(data), bundle, values)
    default = method = str(plan.values["method"].value)
    if method == CONTROL and "method" not in values and plan.seen.learned_without:
        # `train` would not learn from the images without masks: whether that is right is to be seen
        shutil.rmtree(bundle)
        plan, method = plan_bundle(str(data), bundle, {**values, "method": SEMI_SUPERVISED}), SEMI_SUPERVISED
    try:
        if method in (CONTROL, "supervised"):
            why = "as you chose" if "method" in values else "as there are no images without masks"
            raise ValueError(
                f"There is nothing to compare: the method is {METHODS[method].title}, {why}. Train with it: "
                f"{_command(data, values, method, method)}"
            )
        print(plan.summary(), flush=True)
        lists = _datalist(bundle)
        scored = lists["test"] or [*lists["labeled"], *lists["val"]]
        patients = sorted({str(item["group"]) for item in scored})
        epochs, length = (int(plan.values[name].value) for name in ("max_epochs", "epoch_length"))
        choice = choose(len(patients), bool(lists["test"]), plan.minutes, epochs, length, hours)
    except ValueError:
        shutil.rmtree(bundle)
        raise
    planned = {"asked": asked, "method": method, "default": default if "method" not in values else ""}
    planned |= {"choice": asdict(choice), "patients": patients, "partial": plan.seen.partial}
    planned |= {"max_epochs": epochs, "epoch_length": length, "class_names": plan.values["class_names"].value}
    planned |= {"rampup_steps": plan.values["rampup_steps"].value}
    write_whole(path, lambda part: part.write_text(json.dumps(planned, indent=1), "utf-8"))
    return planned


def _datalist(bundle: Path) -> dict[str, list[dict[str, Any]]]:
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "train.yaml"))
    parser.update({"bundle_root": str(bundle)})
    return dict(parser.get_parsed_content("datalist"))


def _write_lists(root: Path, planned: Mapping[str, Any]) -> tuple[list[Path], dict[str, int] | None]:
    """The data list of each fold, or the one of the test images; refuses data that have changed since."""
    lists, count = _datalist(root / "bundle"), planned["choice"]["num_folds"]
    labeled, unlabeled = lists["labeled"], lists["unlabeled"]
    if lists["test"]:
        fold_of, parts = None, [fold_lists([*labeled, *lists["test"]], unlabeled, _all_in(0, lists["test"]), 0)]
    else:
        labeled = [*labeled, *lists["val"]]
        fold_of = patient_folds([str(item["group"]) for item in labeled], count)
        parts = [fold_lists(labeled, unlabeled, fold_of, fold) for fold in range(count)]
    paths = [root / "lists" / f"fold_{k + 1}.json" for k in range(len(parts))]
    for path, (train, scored) in zip(paths, parts, strict=True):
        if not planned["partial"] and all("label" in item for item in train):
            raise ValueError(
                f"Without {scored[0]['group']!r} there are no images without masks to train on: add some of other "
                "patients."
            )
        if not write_lists(path, train, scored):
            raise ValueError(
                f"The images in {planned['asked']['dataset_dir']!r} have changed since the study in {str(root)!r} "
                "began: choose another folder for the results."
            )
    return paths, fold_of


def _all_in(fold: int, items: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {str(item["group"]): fold for item in items}


def _studies(
    root: Path, planned: Mapping[str, Any], paths: Sequence[Path], threads: int
) -> dict[tuple[int, int], Study]:
    """A study of the two methods for each seed and fold; each fold has seeds of its own."""
    epochs = planned["choice"]["max_epochs"]
    values = {"max_epochs": epochs, "val_fraction": 0.0}
    values["rampup_steps"] = min(planned["rampup_steps"], epochs * planned["epoch_length"] // 5)
    studies = {}
    for seed in range(planned["choice"]["num_seeds"]):
        for fold, path in enumerate(paths):
            labels = sum("label" in item for item in json.loads(path.read_text("utf-8"))["training"])
            names, seeds = [planned["method"], CONTROL], [seed * len(paths) + fold]
            folder = root / f"fold_{fold + 1}"
            studies[seed, fold] = Study(
                root / "bundle", path, folder, names, [labels], seeds, values=values, threads=threads
            )
    return studies


def _run(studies: Mapping[tuple[int, int], Study], hours: float, jobs: int) -> list[Path]:
    """Train and score, fold by fold, as far as the hours go; returns the logs of the trainings that failed."""
    start, longest = time.monotonic(), 0.0
    failed: list[Path] = []
    left = [study for study in studies.values() if study.pending()]
    for k, study in enumerate(left):
        spent = time.monotonic() - start
        if longest and spent + longest > 3600 * hours:
            print(f"The {hours:g} hours do not suffice for more: {len(left) - k} of {len(studies)} pairs are left out.")
            break
        failed += [study.output_dir / "runs" / run.name / "log.txt" for run in study.run(jobs)]
        longest = max(longest, time.monotonic() - start - spent)
        rest = (time.monotonic() - start) / (k + 1) * (len(left) - k - 1) / 60
        print(f"{len(studies) - len(left) + k + 1} of {len(studies)} pairs; about {rest:.0f} min left", flush=True)
    return failed


def _merged(
    root: Path, studies: Mapping[tuple[int, int], Study], seed: int, planned: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The results of a seed: a row for each method, with the images of all folds that both have been scored on."""
    done = {fold: study for (of, fold), study in studies.items() if of == seed and not study.pending()}
    rows = []
    for name in (planned["method"], CONTROL):
        found = {
            study.output_dir.relative_to(root).as_posix(): next(
                row for row in study.results() if row["method"] == name and row["seed"] == study.runs[0].seed
            )
            for study in done.values()
        }
        rows += [merge_folds(found, seed, planned["class_names"])] if found else []
    return rows


def _command(dataset_dir: str | Path, values: Mapping[str, str], method: str, default: str) -> str:
    """The command that trains with a method."""
    chosen = {name: text for name, text in values.items() if name != "method"}
    chosen |= {"method": method} if method != default else {}
    return shlex.join(["monai-sscm", "train", str(dataset_dir), *(w for k, v in chosen.items() for w in (f"--{k}", v))])


def _notes(planned: Mapping[str, Any], verdict: Verdict, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What was compared."""
    choice = Choice(**planned["choice"])
    notes = [f"{choice.reason[0].upper()}{choice.reason[1:]}."]
    num_pairs = sum(row["num_trainings"] for row in rows) // 2
    if num_pairs < choice.num_folds * choice.num_seeds:
        notes.append(f"Scored so far: {num_pairs} of {choice.num_folds * choice.num_seeds} pairs of trainings.")
    if choice.max_epochs < planned["max_epochs"]:
        notes.append(
            f"`train` takes {planned['max_epochs'] * planned['epoch_length']} steps; more steps may change the result."
        )
    left_out = len(planned["patients"]) - len(verdict.patients)
    if left_out > 0 and num_pairs >= choice.num_folds:
        notes.append(f"{left_out} patients have no class in their masks, and none was predicted: they do not count.")
    if verdict.folds:
        notes.append(
            "The held-out patients are like those who have masks: whether unlabeled images help on others, only test "
            "images of others can tell."
        )
    return notes
