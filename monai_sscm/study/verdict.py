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

"""Whether one method is better than another on somebody's images, and what the scores of few patients can bear."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import t

from monai_sscm.metrics import dice_per_class

from .methods import Rows

__all__ = ["FEWEST_PATIENTS", "FEWEST_SEEDS", "Verdict", "judge", "patient_differences"]

#: of fewer patients or folds nothing is claimed, whatever comes out: all five ahead is 6 % even where nothing helps
FEWEST_PATIENTS = 5
#: where one list of images is trained on, from fewer seeds nobody knows what another seed would have given
FEWEST_SEEDS = 3

#: how much better one method is than the other, in points of Dice, by patient and seed
Differences = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True)
class Verdict:
    """
    Whether a method is better than another, by the rule of :py:func:`judge`.

    Args:
        mean: difference in points of Dice, mean of the patients.
        interval: its 95 % interval; None where the data cannot bear one.
        too_few: why not, in words; None where they can.
        patients: difference of each patient, mean of the seeds.
        folds: difference of each fold, mean of its patients; empty where no patient was held out in turn.
        seeds: number of seeds.
    """

    mean: float
    interval: tuple[float, float] | None
    too_few: str | None
    patients: Mapping[str, float]
    folds: Mapping[int, float]
    seeds: int

    @property
    def outcome(self) -> str:
        """``"ahead"`` or ``"behind"`` where the interval lies on one side of 0, else ``"not shown"``."""
        low, high = self.interval or (-math.inf, math.inf)
        return "ahead" if low > 0 else "behind" if high < 0 else "not shown"

    @property
    def counts(self) -> str:
        """In how many folds and patients the method was ahead."""
        parts = [] if not self.folds else [f"{_ahead(self.folds.values())} of {len(self.folds)} folds"]
        alone = len(self.folds) == len(self.patients)  # a fold is a patient then
        parts += [] if alone else [f"{_ahead(self.patients.values())} of {len(self.patients)} patients"]
        return " and ".join(parts)

    @property
    def headline(self) -> str:
        """
        The verdict in a few words.

        Example:
            >>> from monai_sscm.study import judge
            >>> judge({"a": {0: 4.0}, "b": {0: 1.5}, "c": {0: -1.0}}, {"a": 0, "b": 1, "c": 2}).headline
            'Not shown with 3 patients: +1.5 Dice, ahead in 2 of 3 folds'
        """
        interval = "" if self.interval is None else " (95 % interval {:+.1f} to {:+.1f})".format(*self.interval)
        found = f"{self.mean:+.1f} Dice{interval}, ahead in {self.counts}"
        many = f"{len(self.patients)} patient{'s' * (len(self.patients) != 1)}"
        return f"Not shown with {many}: {found}" if self.outcome == "not shown" else found


def judge(differences: Differences, fold_of: Mapping[str, int] | None = None, num_folds: int | None = None) -> Verdict:
    """
    Say whether a method is better than another, from the differences of patients who were scored by both.

    The difference of a patient is the mean over the seeds; images are never counted by themselves, since those of a
    patient are alike. The mean of the patients gets a 95 % interval of Student's t, and a claim is made only where that
    lies on one side of 0:

    - **Patients held out in turn** (``fold_of``). Patients of a fold are scored by the same two networks, so the folds
      are what varies, not the patients: with ``J`` folds, of which fold ``f`` has the share ``w_f`` of the patients and
      the mean ``m_f``, the variance of the mean ``m`` is ``J / (J - 1) * sum(w_f^2 (m_f - m)^2)``. Trainings of
      different folds share most of their labelled images, which makes their scores alike, and this variance too small;
      it is multiplied by ``1 + J / (K - 1)``, for ``K`` folds in all, the correction of Nadeau and Bengio (2003) for
      overlapping trainings. ``J - 1`` degrees of freedom.
    - **A list of test patients** (no ``fold_of``). Both other patients and other seeds would have given another mean:
      each has an interval by t, over the patients' means and over the seeds' means, and the half widths are added as
      squares. What other labelled images would have given is not known from one list of them.

    There is no interval, and no claim, from fewer than 5 patients or folds, nor from fewer than 3 seeds on a list of
    test patients.

    Where nothing helps, made-up scores of normal spread are called ahead or behind in 5 % of the studies with folds, as
    trainings that share their images are alike by as much as the correction says, and in 1 to 5 % of those with test
    patients. t is not exact for few patients with skewed differences, where one patient gains much and the others lose
    little: an exponential spread gives 9 to 11 % with folds.

    Args:
        differences: in points of Dice, by patient and seed, such as from :py:func:`patient_differences`.
        fold_of: fold of each patient. None: all were scored by the same trainings.
        num_folds: number of folds in all, if not all have been scored. None: as many as ``fold_of`` has.

    Raises:
        ValueError: when there is no patient.

    Example:
        >>> from monai_sscm.study import judge
        >>> six = {"a": 3.0, "b": 2.0, "c": 4.0, "d": 2.5, "e": 3.5, "f": 3.0}
        >>> verdict = judge({patient: {0: gain} for patient, gain in six.items()}, {p: k for k, p in enumerate(six)})
        >>> verdict.outcome, verdict.headline
        ('ahead', '+3.0 Dice (95 % interval +1.9 to +4.1), ahead in 6 of 6 folds')
    """
    if not differences:
        raise ValueError("No patient has a score of both methods: there is nothing to compare.")
    patients = {patient: float(np.mean(list(of_seed.values()))) for patient, of_seed in differences.items()}
    mean = float(np.mean(list(patients.values())))
    seeds = sorted({seed for of_seed in differences.values() for seed in of_seed})
    folds: dict[int, float] = {}
    if fold_of is not None:
        members = _members(patients, fold_of)
        folds = {fold: float(np.mean([patients[p] for p in members[fold]])) for fold in sorted(members)}
    too_few = _too_few(len(patients), len(folds), len(seeds), fold_of is not None)
    if too_few:
        return Verdict(mean, None, too_few, patients, folds, len(seeds))
    if fold_of is not None:
        weights = np.array([len(members[fold]) for fold in folds]) / len(patients)
        count, of_all = len(folds), num_folds or len(folds)
        variance = count / (count - 1) * float((weights**2 * (np.array(list(folds.values())) - mean) ** 2).sum())
        half = _half_width(variance * (1 + count / (of_all - 1)), count)
    else:
        by_seed = [float(np.mean([d[seed] for d in differences.values() if seed in d])) for seed in seeds]
        columns = (list(patients.values()), by_seed)
        half = math.hypot(*(_half_width(float(np.var(c, ddof=1)) / len(c), len(c)) for c in columns))
    return Verdict(mean, (mean - half, mean + half), None, patients, folds, len(seeds))


def patient_differences(rows: Rows, others: Rows) -> dict[str, dict[int, float]]:
    """
    How much better one method is than another in each patient, in points of Dice, by seed.

    The Dice of a patient is the mean of the classes but the background, from the summed confusion matrices of the
    patient's images. A class that is neither in the truth nor predicted by one of the two is left out; where one method
    alone sees a class that is not there, that counts 0 for it, and 100 for the other. Patients without any are left
    out.

    Args:
        rows: results of the method, as a study has them.
        others: results of the other; rows are paired by their seed.

    Example:
        >>> from monai_sscm.study import patient_differences
        >>> row = {"seed": 0, "patients": {"x1": "x"}, "images": {"x1": [[80, 0], [0, 20]]}}
        >>> other = {**row, "images": {"x1": [[80, 0], [10, 10]]}}
        >>> round(patient_differences([row], [other])["x"][0], 1)
        33.3
    """
    found: dict[str, dict[int, float]] = {}
    of_seed = {row["seed"]: row for row in others}
    for row in rows:
        if row["seed"] not in of_seed:
            continue
        ours, theirs = _dice_of_patients(row), _dice_of_patients(of_seed[row["seed"]])
        for patient in sorted(ours.keys() & theirs.keys()):
            a, b = ours[patient], theirs[patient]
            seen = ~(np.isnan(a) & np.isnan(b))
            if seen.any():
                gain = np.nan_to_num(a, nan=100.0) - np.nan_to_num(b, nan=100.0)
                found.setdefault(patient, {})[row["seed"]] = float(gain[seen].mean())
    return found


def _dice_of_patients(row: Mapping[str, object]) -> dict[str, np.ndarray]:
    """Dice of every class but the background, in percent, by patient; nan for a class that is on neither side."""
    images, patient_of = row["images"], row["patients"]
    assert isinstance(images, Mapping) and isinstance(patient_of, Mapping)
    sums: dict[str, np.ndarray] = {}
    for image, matrix in images.items():
        patient = patient_of[image]
        sums[patient] = sums.get(patient, 0) + np.asarray(matrix)
    return {p: 100 * dice_per_class(torch.as_tensor(matrix))[1:].numpy() for p, matrix in sums.items()}


def _too_few(patients: int, folds: int, seeds: int, in_turn: bool) -> str | None:
    if patients < FEWEST_PATIENTS:
        return (
            f"{patients} patient{'s' * (patients != 1)} cannot show a difference, whatever comes out: it takes "
            f"{FEWEST_PATIENTS}"
        )
    if in_turn and folds < FEWEST_PATIENTS:
        return f"only {folds} fold{'s' * (folds != 1)} were scored: it takes {FEWEST_PATIENTS}"
    if not in_turn and seeds < FEWEST_SEEDS:
        return f"{seeds} seed{'s' * (seeds != 1)} cannot say what others would have given: it takes {FEWEST_SEEDS}"
    return None


def _members(patients: Iterable[str], fold_of: Mapping[str, int]) -> dict[int, list[str]]:
    members: dict[int, list[str]] = {}
    for patient in patients:
        members.setdefault(fold_of[patient], []).append(patient)
    return members


def _half_width(variance: float, count: int) -> float:
    """Half of the 95 % interval of a mean of so many values."""
    return float(t.ppf(0.975, count - 1)) * math.sqrt(variance)


def _ahead(values: Iterable[float]) -> int:
    return sum(value > 0 for value in values)
