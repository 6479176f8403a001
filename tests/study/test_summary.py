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

from __future__ import annotations

import numpy as np

from monai_sscm.study import METHODS, write_summary
from tests.helpers.study_results import ROWS, result_row


def test_tables_show_every_seed_and_compare_with_every_method(tmp_path):
    text = write_summary(ROWS, tmp_path)
    assert (tmp_path / "summary.md").read_text() == text
    lines = [line for line in text.splitlines() if line.startswith("| SupMix + SUFD |")]
    assert len(lines) == 2 and all(line.count(",") == 4 for line in lines)  # three seeds, three scores
    assert "best on validation (+4 labels)" in text
    values = [100 * r["last"]["mean_iou"] for r in ROWS if (r["method"], r["num_labeled"]) == ("supmix_sufd", 2)]
    assert f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}" in lines[0]
    compared = text[text.index("SupMix + SUFD minus") :]
    assert [compared.count(f"| {METHODS[m].title} |") for m in ("supervised", "classmix", "full_supervision")] == [
        2,
        1,
        2,
    ]
    with open(tmp_path / "summary.csv") as file:
        assert len(file.readlines()) == 1 + len(ROWS)


def test_a_class_that_is_nowhere_and_a_reference_without_results(tmp_path):
    """In one result the class has no score; none is of the method that others are compared with."""
    rows = [result_row("supervised", 0), result_row("classmix", 0)]
    del rows[0]["last"]["iou_vessel"]
    text = write_summary(rows, tmp_path)
    of_method = {line.split(" | ")[0]: line.split(" | ") for line in text.splitlines()}
    assert of_method["| supervised"][4].strip() == "" and of_method["| ClassMix"][4].strip() != ""
    assert text.strip().splitlines()[-1] == "| --- | --- | --- | --- | --- |"


def test_what_the_data_cannot_bear_is_not_printed(tmp_path):
    """An interval of one seed, and the best on validation where nothing was validated."""
    rows = [result_row("supervised", 0), result_row("supmix_sufd", 0, better=20)]
    for row in rows:
        del row["best"]
    text = write_summary(rows, tmp_path)
    assert "best on validation" not in text and " to " not in text
    line = text.strip().splitlines()[-1].split(" | ")
    assert line[3] == "none: 1 seed" and float(line[2]) > 0
    header, first, *_ = (tmp_path / "summary.csv").read_text().splitlines()
    assert first.split(",")[header.split(",").index("best_mean_iou")] == ""
    mixed = write_summary([*rows, result_row("classmix", 0)], tmp_path)
    of_method = {line.split(" | ")[0]: line.split(" | ") for line in mixed.partition("\n\n")[0].splitlines()}
    assert of_method["| supervised"][-2].strip() == "" and float(of_method["| ClassMix"][-2]) > 0
