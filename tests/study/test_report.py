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
import shutil
import subprocess
from pathlib import Path

import pytest

from monai_sscm.study import Method, write_report
from tests.helpers.study_results import PATIENT_OF, ROWS, result_row

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


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


def test_dice_stands_beside_iou(tmp_path):
    row = result_row("supervised", 0)
    row["last"]["dice_vessel"] = 0.4321
    text = write_report([row], tmp_path).read_text()
    header = re.findall(r"<th>(.*?)</th>", text)
    assert header[header.index("vessel IoU") + 1] == "vessel Dice" and "<td>43.2</td>" in text


@pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium")
def test_a_browser_shows_it_on_a_phone_and_a_desktop(tmp_path):
    path = write_report(ROWS, tmp_path)
    # every picture is there, and nothing has to be scrolled sideways but tables and figures; in a frame, a window may
    # be as narrow as a phone's
    measured = "[...document.images].every(i => i.naturalWidth > 0)"
    measured += " && document.documentElement.scrollWidth <= window.innerWidth"
    script = f"<script>parent.postMessage(`${{innerWidth}}: ${{{measured}}}; `, '*')</script></body>"
    path.write_text(path.read_text().replace("</body>", script))
    frames = "".join(f'<iframe src="report.html" width="{width}" height="900"></iframe>' for width in (390, 1280))
    listen = "<script>onmessage = e => document.body.append(e.data)</script>"
    (tmp_path / "frame.html").write_text(f"<!doctype html><body>{listen}{frames}</body>")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"]
    shown = subprocess.run(
        [CHROMIUM, *flags, f"--user-data-dir={tmp_path / 'browser'}", (tmp_path / "frame.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    assert "390: true" in shown and "1280: true" in shown


def test_a_class_that_is_nowhere_and_a_reference_without_results(tmp_path):
    rows = [result_row("supervised", 0), result_row("classmix", 0)]
    del rows[0]["last"]["iou_vessel"]
    assert "Mean IoU of each method" in write_report(rows, tmp_path).read_text()


def test_titles_and_values_are_text_and_no_html(tmp_path):
    row = result_row("mine", 0)
    row["settings"]["values"] = {"zoom": "<b>"}
    text = write_report([row], tmp_path, "mine", {"mine": Method("a < b & c | d")}).read_text()
    assert "<td>a &lt; b &amp; c | d</td>" in text and "zoom = &lt;b&gt;" in text and "<b>" not in text
