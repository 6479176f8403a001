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

import re
from pathlib import Path

from monai_sscm.study import Method, write_report
from tests.helpers.study_results import PATIENT_OF, ROWS, result_row


def test_the_report_needs_no_other_file(tmp_path):
    picture = tmp_path / "runs" / "supervised_labeled2_seed0" / "last" / "a1.jpg"
    picture.parent.mkdir(parents=True)
    for name in PATIENT_OF:
        picture.with_name(f"{name}.jpg").write_bytes(b"\xff\xd8 a picture")
    path = write_report(ROWS, tmp_path)
    text = path.read_text()
    assert path == Path(tmp_path) / "report.html"
    sources = re.findall(r'src="([^"]{0,30})', text)
    assert len(sources) >= 7 and all(source.startswith("data:image/") for source in sources)
    assert text.count("data:image/jpeg") == 3  # best, median and worst of the one method that has pictures
    for words in ("SupMix + SUFD minus", "accuracy of the discriminator", f"{len(ROWS)} trainings"):
        assert words in text


def test_a_class_that_is_nowhere_and_a_reference_without_results(tmp_path):
    rows = [result_row("supervised", 0), result_row("classmix", 0)]
    del rows[0]["last"]["iou_vessel"]
    assert "Mean IoU of each method" in write_report(rows, tmp_path).read_text()


def test_titles_and_values_are_text_and_no_html(tmp_path):
    row = result_row("mine", 0)
    row["settings"]["values"] = {"zoom": "<b>"}
    text = write_report([row], tmp_path, "mine", {"mine": Method("a < b & c | d")}).read_text()
    assert "<td>a &lt; b &amp; c | d</td>" in text and "zoom = &lt;b&gt;" in text and "<b>" not in text
