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

"""The page of a verdict: what came out, what to do, and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .summary import Table
from .tables import markdown_table
from .verdict import Verdict

__all__ = ["Page", "verdict_page"]

_DIFFERENCE = (
    "In points of Dice, mean of the classes but the background, by patient: of the same held-out images, labeled "
    "lists and seeds."
)
_SHOWN = (
    "The interval is Student's t over the folds, widened since trainings of different folds share most of their images",
    "The interval is Student's t over patients and seeds; other labeled images might have given another result",
)


@dataclass(frozen=True)
class Page:
    """
    What a verdict's page says.

    Args:
        title: its heading.
        headline: the verdict in a line.
        advice: what to do.
        command: the command to train with.
        notes: what the verdict rests on, and what it does not say.
        tables: by fold, where patients were held out in turn, and by patient: titles of the columns, and rows.
        in_turn: whether patients were held out in turn.
        difference: what a difference is.
    """

    title: str
    headline: str
    advice: str
    command: str
    notes: Sequence[str]
    tables: Sequence[Table]
    in_turn: bool
    difference: str = field(default=_DIFFERENCE)

    def markdown(self) -> str:
        """The page as ``verdict.md`` has it."""
        notes = "\n".join(f"- {note}" for note in self.notes)
        tables = [markdown_table(*table) for table in self.tables]
        parts = [f"# {self.title}", f"**{self.headline}**", self.advice, f"```bash\n{self.command}\n```", notes]
        return "\n\n".join([*parts, "## Differences", self.difference, *tables]) + "\n"


def verdict_page(
    verdict: Verdict,
    titles: tuple[str, str],
    commands: tuple[str, str],
    fold_of: Mapping[str, int] | None,
    notes: Sequence[str],
    title: str = "Verdict",
) -> Page:
    """
    Say in words what a verdict is, and what to do.

    Where nothing is shown, the method that was ahead is named, as one of the two has to be taken, and that this may be
    chance.

    Args:
        verdict: of the default method minus supervised training.
        titles: what the two are called.
        commands: how to train with each.
        fold_of: fold of each patient, from 0. None: there are test patients.
        notes: what was compared.
        title: heading of the page.

    Example:
        >>> from monai_sscm.study import judge
        >>> from monai_sscm.study.page import verdict_page
        >>> titles, commands = ("SupMix", "supervised"), ("train x", "train x --method supervised")
        >>> page = verdict_page(judge({"a": {0: -2.0}}), titles, commands, None, [])
        >>> page.headline
        'Not shown with 1 patient: -2.0 Dice, ahead in 0 of 1 patients (SupMix minus supervised)'
        >>> page.command
        'train x --method supervised'
    """
    ours, other = titles
    if verdict.outcome == "ahead":
        advice = f"{ours} is better than {other} on images like these. Train with it:"
    elif verdict.outcome == "behind":
        advice = f"{ours} is behind {other} on images like these: the unlabeled images do harm. Train without them:"
    elif verdict.mean > 0:
        advice = (
            f"{ours} was ahead of {other}, which may be chance. Nothing speaks against it, and nothing is proven: "
            "decide anew when more patients have masks. Until then:"
        )
    else:
        was = "behind" if verdict.mean < 0 else "level with"
        advice = (
            f"{ours} was {was} {other}, which may be chance. Nothing speaks for it: decide anew when more patients "
            "have masks. Until then, the one that needs no unlabeled images:"
        )
    why = f"No interval: {verdict.too_few}" if verdict.too_few else _SHOWN[fold_of is None]
    tables: list[Table] = []
    if fold_of is not None:
        of_fold = [[str(f + 1), str(sum(fold_of[p] == f for p in verdict.patients)), f"{gain:+.1f}"]
                   for f, gain in verdict.folds.items()]  # fmt: skip
        tables.append((["fold", "patients", f"{ours} minus {other}"], of_fold))
    by_patient = [[p, *([] if fold_of is None else [str(fold_of[p] + 1)]), f"{gain:+.1f}"]
                  for p, gain in sorted(verdict.patients.items(), key=lambda pair: pair[1])]  # fmt: skip
    tables.append((["patient", *([] if fold_of is None else ["fold"]), f"{ours} minus {other}"], by_patient))
    return Page(
        title,
        f"{verdict.headline} ({ours} minus {other})",
        advice,
        commands[verdict.mean <= 0],
        [*notes, f"{why}."],
        tables,
        fold_of is not None,
    )
