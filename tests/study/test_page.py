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

"""What the page says, and which command it names."""

from __future__ import annotations

import pytest

from monai_sscm.study import judge, write_report
from monai_sscm.study.page import verdict_page
from tests.helpers.study_results import result_row

TITLES = ("SupMix + SUFD", "supervised + augmented batch")
COMMANDS = ("monai-sscm train data", "monai-sscm train data --method supervised_augmented")


def page_of(gains: list[float], in_turn: bool = True):
    verdict = judge({f"p{i}": {0: gain} for i, gain in enumerate(gains)}, {f"p{i}": i for i in range(len(gains))})
    return verdict_page(verdict, TITLES, COMMANDS, {f"p{i}": i for i in range(len(gains))}, ["6 patients."])


@pytest.mark.parametrize(
    ("gains", "headline", "advice", "command"),
    [
        ([3, 2, 4, 2.5, 3.5, 3], "+3.0 Dice (95 % interval +1.9 to +4.1), ahead in 6 of 6 folds", "is better than", 0),
        ([-3, -2, -4, -2.5, -3.5, -3], "-3.0 Dice (95 % interval -4.1 to -1.9), ahead in 0 of 6", "is behind", 1),
        ([9, -2, 4, -3, 1, 0], "Not shown with 6 patients: +1.5 Dice (95 % interval -", "may be chance", 0),
        ([-9, 2, -4, 3, -1, 0], "Not shown with 6 patients: -1.5 Dice (95 % interval -", "may be chance", 1),
        ([9, 8, 7], "Not shown with 3 patients: +8.0 Dice, ahead in 3 of 3 folds", "nothing is proven", 0),
        ([-9, -8], "Not shown with 2 patients: -8.5 Dice, ahead in 0 of 2 folds", "Nothing speaks for it", 1),
        ([0, 0], "Not shown with 2 patients: +0.0 Dice, ahead in 0 of 2 folds", "level with", 1),
    ],
)
def test_each_outcome_has_its_words_and_its_command(gains, headline, advice, command):
    page = page_of(gains)
    assert page.headline.startswith(headline) and page.headline.endswith(f"({TITLES[0]} minus {TITLES[1]})")
    assert advice in page.advice and page.command == COMMANDS[command]
    few = len(gains) < 5
    assert any("cannot show a difference" in note for note in page.notes) == few
    text = page.markdown()
    assert page.headline in text and f"```bash\n{page.command}\n```" in text
    assert text.count("| p") == len(gains) + 2 and f"| p0 | 1 | {gains[0]:+.1f} |" in text


def test_the_report_has_the_verdict_in_place_of_other_intervals(tmp_path):
    rows = [result_row(name, 0) for name in ("supervised_augmented", "supmix_sufd")]
    page = page_of([9, 8, 7])
    text = write_report(rows, tmp_path, "supmix_sufd", page=page).read_text()
    assert page.headline in text and page.command in text and "of a bootstrap" not in text
    assert "2 trainings" in text and "held out in turn" in text
    assert "of a bootstrap" in write_report(rows, tmp_path, "supmix_sufd").read_text()
