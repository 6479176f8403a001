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

"""The whole study in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_sscm.bundle import find_bundle
from monai_sscm.datasets import write_vessel_phantoms
from monai_sscm.handlers import check_writable

from .methods import METHODS, bundle_methods, read_methods
from .report import write_report
from .runs import Study
from .summary import write_summary

__all__ = ["study"]

#: of the vessel bundle on procedural images: minutes in place of hours, to see that everything works
_TRIAL = {"zoom": 1.0, "max_epochs": 2, "val_interval": 1, "rampup_steps": 20}


def study(
    bundle: str | Path = "chase_vessel_segmentation",
    dataset_dir: str | Path | None = None,
    output_dir: str | Path = "runs/study",
    methods: Sequence[str] | None = None,
    num_labeled: Sequence[int] = (2,),
    seeds: Sequence[int] = (0, 1, 2),
    part: str = "test",
    values: Mapping[str, Any] | None = None,
    methods_file: str | Path | None = None,
    group_pattern: str | None = None,
    reference: str = "supmix_sufd",
    jobs: int = 1,
    threads: int = 1,
) -> list[dict[str, Any]]:
    """
    Compare methods: train and score every method x label budget x seed, and write what came out.

    Writes to ``output_dir``: ``results.jsonl`` (a line for each training, with its scores for each class and image),
    ``summary.csv`` and ``summary.md`` (the tables), ``report.html`` (tables, figures and pictures in one file) and
    ``runs`` (the trainings). The same call again does what is not done yet; with other seeds, budgets or methods it
    adds theirs.

    The primary score is that of the averaged teacher at the last step, on images that nothing was chosen on. Read the
    test part once: decide on the validation part, with other seeds.

    Args:
        bundle, output_dir, methods, num_labeled, seeds, part, values, group_pattern, threads: as in
            :py:class:`monai_sscm.study.Study`.
        dataset_dir: folder of the data set. None: procedural photographs, and so few steps that it takes minutes.
        methods_file: YAML file with more methods, see :py:func:`monai_sscm.study.read_methods`.
        reference: method that all others are compared with.
        jobs: trainings at a time.

    Returns:
        the results, a dictionary for each training.

    Raises:
        ValueError: before any training, when an argument is wrong.
        ChildProcessError: at the end, when trainings failed; the others' results are written.
    """
    root = Path(check_writable(output_dir))
    values = dict(values or {})
    if dataset_dir is None:
        if str(bundle) != "chase_vessel_segmentation":
            raise ValueError(
                f"Without `dataset_dir` there are procedural photographs, none for {str(bundle)!r}: set it."
            )
        dataset_dir = root / "phantoms"
        if not dataset_dir.is_dir():
            write_vessel_phantoms(dataset_dir, num_train=12, num_val=2, num_test=4, size=192)
        values = _TRIAL | values
    all_methods = METHODS | bundle_methods(Path(find_bundle(bundle)) / "configs" / "train.yaml")
    if methods_file:
        all_methods |= read_methods(methods_file)
    if reference not in all_methods:
        raise ValueError(f"There is no method {reference!r} to compare with: choose among {', '.join(all_methods)}.")
    planned = Study(
        bundle, dataset_dir, root, methods, num_labeled, seeds, part, values, all_methods, group_pattern, threads
    )
    failed = planned.run(jobs)
    rows = planned.results()
    if rows:
        print(f"\n{write_summary(rows, root, reference, all_methods)}")
        print(f"Results: {planned.results_file}\nReport:  {write_report(rows, root, reference, all_methods)}")
    if failed:
        raise ChildProcessError(
            f"{len(failed)} of {len(planned.runs)} trainings failed ({', '.join(run.name for run in failed)}): the "
            f"last lines of log.txt in their folders in {str(root / 'runs')!r} say why. The same command tries again."
        )
    return rows
