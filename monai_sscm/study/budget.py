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

"""What a comparison of two methods does with the hours that it has."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .verdict import FEWEST_PATIENTS, FEWEST_SEEDS

__all__ = ["Choice", "choose"]

_MOST_FOLDS = 10
# a training of fewer steps says nothing of one of some thousands
_FEWEST_STEPS = 500
# of a training, beside its steps: two processes start, images are read, and the held-out ones are scored
_MINUTES_AROUND = 1.0
# of the hours, as a training's minutes are an estimate
_PLANNED = 0.8


@dataclass(frozen=True)
class Choice:
    """
    What a comparison does.

    Args:
        num_folds: parts of the patients that are held out in turn; 1: there are test images.
        num_seeds: how often each is trained.
        max_epochs: epochs of each training.
        minutes: about how long all of it takes.
        reason: why, in words.
    """

    num_folds: int
    num_seeds: int
    max_epochs: int
    minutes: float
    reason: str


def choose(
    num_patients: int, has_test: bool, minutes: float, max_epochs: int, epoch_length: int, hours: float
) -> Choice:
    """
    Choose folds, seeds and steps, so that both methods are trained and scored within four fifths of the hours.

    - Patients with masks are held out in turn: each by itself up to 10 of them, in 10 folds if there are more, where
      the hours allow this with all steps of the plan; else 5 folds, the fewest that can show something, with fewer
      steps where needed.
    - On test images, three seeds are trained, the fewest that can show something.
    - What the hours leave then goes into up to three seeds.
    - Where patients are too few for a claim, whatever comes out, one seed is trained.

    Args:
        num_patients: patients who have masks, or test patients.
        has_test: whether there are test images.
        minutes: of a planned training, by :py:func:`monai_sscm.planning.make_plan`.
        max_epochs: its epochs.
        epoch_length: its steps of an epoch.
        hours: for all trainings together.

    Raises:
        ValueError: when a patient is alone, or the hours are too few for anything that could be called a training.

    Example:
        >>> from monai_sscm.study.budget import choose
        >>> choice = choose(8, False, minutes=45, max_epochs=60, epoch_length=50, hours=4)
        >>> choice.num_folds, choice.num_seeds, choice.max_epochs
        (5, 1, 24)
    """
    if num_patients < 2 and not has_test:
        raise ValueError(
            "One patient alone has masks: nobody is left to score on, and nothing can be compared. Add masks of a "
            "second patient; five can show a difference."
        )
    least = min(max_epochs, math.ceil(_FEWEST_STEPS / epoch_length))

    limit = _PLANNED * 60 * hours

    def time(pairs: int, epochs: int) -> float:
        return 2 * pairs * (minutes * epochs / max_epochs + _MINUTES_AROUND)

    most, fewest = (1, 1) if has_test else (min(num_patients, k) for k in (_MOST_FOLDS, FEWEST_PATIENTS))
    most_seeds = FEWEST_SEEDS if num_patients >= FEWEST_PATIENTS else 1
    seeds = most_seeds if has_test else 1
    folds = most if time(most * seeds, max_epochs) <= limit else fewest
    fitting = [e for e in range(max_epochs, least - 1, -1) if time(folds * seeds, e) <= limit]
    if not fitting:
        needed = math.ceil(time(folds * seeds, least) / 6 / _PLANNED) / 10
        raise ValueError(
            f"{hours:g} hours are too few: {2 * folds * seeds} trainings of {least * epoch_length} steps, the least "
            f"that says something, take about {needed:g} hours. Give --hours {needed:g}."
        )
    epochs = fitting[0]
    if epochs == max_epochs:
        seeds = max(k for k in range(seeds, most_seeds + 1) if time(folds * k, epochs) <= limit)
    who = f"{num_patients} patient{'s' * (num_patients != 1)}"
    how = f"{who} of the test part" if has_test else f"{who} held out in turn, in {folds} folds"
    how = f"{who}, each held out in turn" if folds == num_patients and not has_test else how
    steps = f"{epochs * epoch_length} steps" + f" of the plan's {max_epochs * epoch_length}" * (epochs < max_epochs)
    reason = f"{how}; {seeds} seed{'s' * (seeds != 1)}; {steps}"
    return Choice(folds, seeds, epochs, time(folds * seeds, epochs), reason)
