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

from monai_sscm.study import bar_chart, label_efficiency
from monai_sscm.study.figures import curves
from tests.helpers.study_results import ROWS, result_row


def test_bars_and_label_efficiency():
    chart = bar_chart(ROWS, 2).axes[0]
    names = [label.get_text() for label in chart.get_yticklabels()]
    assert names == ["full supervision (16)", "SupMix + SUFD", "ClassMix", "supervised"]
    assert len(chart.lines) == 4 and len(chart.lines[2].get_xdata()) == 2  # ClassMix
    assert [float(text.get_text()) for text in chart.texts] == [round(bar.get_width(), 1) for bar in chart.patches]
    curve = label_efficiency(ROWS).axes[0]
    assert [text.get_text() for text in curve.get_legend().get_texts()] == ["supervised", "SupMix + SUFD"]
    assert label_efficiency([r for r in ROWS if r["num_labeled"] == 2]) is None


def test_a_difference_within_the_noise_looks_small():
    rows = [result_row(method, 0, better=better) for method, better in (("supervised", 0), ("classmix", 1))]
    low, high = bar_chart(rows, 2).axes[0].get_xlim()
    shown = [100 * row["last"]["mean_iou"] for row in rows]
    assert 0 < abs(shown[1] - shown[0]) < 0.1 * (high - low) and low < min(shown) and max(shown) < high


def test_a_figure_for_each_curve_that_was_recorded():
    figures = curves(ROWS)
    titles = ["validation mIoU of the teacher", "accuracy of the discriminator"]
    assert list(figures) == [f"{title}, 2 labeled images, mean of the seeds." for title in titles]
    (axes,) = list(figures.values())[1].axes
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines) == ["supervised", "ClassMix", "SupMix + SUFD"]
    assert lines["ClassMix"].get_xydata().tolist() == [[10, 0.5], [20, 0.6]]
