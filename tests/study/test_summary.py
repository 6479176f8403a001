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

"""Means, paired differences, intervals, figures and the report, of results that are made up."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from monai_sscm.study import METHODS, bar_chart, difference, label_efficiency, mean_iou, write_report, write_summary

PATIENT_OF = {"a1": "a", "a2": "a", "b1": "b", "b2": "b", "b3": "b"}


def row(method: str, seed: int, num_labeled: int = 2, better: int = 0) -> dict:
    """A result; ``better`` pixels of each image are right that else would be wrong."""
    random = np.random.RandomState(1000 * num_labeled + seed)
    images = {}
    for name in PATIENT_OF:
        matrix = random.randint(50, 100, (2, 2))
        matrix += [[better, -better // 2], [-better // 2, better]]
        images[name] = matrix.tolist()
    iou = mean_iou(np.array(list(images.values()))) / 100
    return {
        "method": method,
        "num_labeled": num_labeled,
        "seed": seed,
        "settings": {
            "bundle": "chase_vessel_segmentation",
            "part": "test",
            "configs": [],
            "values": {"max_epochs": "2"},
        },
        "num_validation": 4,
        "last": {"mean_iou": iou, "iou_background": iou, "iou_vessel": iou - 0.01},
        "best": {"mean_iou": iou + 0.02},
        "images": images,
        "patients": PATIENT_OF,
        "curves": {"mean_iou": [[1, 0.5], [2, iou]], "discriminator_accuracy": [[10, 0.5], [20, 0.6]]},
        "seconds": 60,
        "peak_memory_mb": 1000,
        "versions": {"python": "3.11"},
    }


ROWS = [row("supervised", seed, n) for seed, n in product((0, 1, 2), (2, 4))]
ROWS += [row("supmix_sufd", seed, n, better=20) for seed, n in product((0, 1, 2), (2, 4))]
ROWS += [row("classmix", seed) for seed in (0, 1)] + [row("full_supervision", seed, 16, better=40) for seed in (0, 1)]


def iou(matrix: np.ndarray) -> float:
    """Another way: pixel counts by hand."""
    return 50 * sum(matrix[c, c] / (matrix[c].sum() + matrix[:, c].sum() - matrix[c, c]) for c in (0, 1))


def test_a_difference_is_paired_by_seed():
    found = difference(ROWS, "supmix_sufd", "classmix", 2)
    assert found is not None and list(found.of_seed) == [0, 1]
    for seed, value in found.of_seed.items():
        sums = {
            name: sum(np.array(m) for r in ROWS if r["method"] == name and r["seed"] == seed and r["num_labeled"] == 2
                      for m in r["images"].values())
            for name in ("supmix_sufd", "classmix")
        }  # fmt: skip
        assert value == pytest.approx(iou(sums["supmix_sufd"]) - iou(sums["classmix"]))
    assert found.mean == pytest.approx(np.mean(list(found.of_seed.values())))
    low, high = found.interval
    assert 0 < low < found.mean < high
    assert difference(ROWS, "supmix_sufd", "cutmix", 2) is None


def test_whole_patients_are_drawn_the_same_for_all_seeds_and_both_methods():
    """Two patients and two seeds leave few outcomes, all of which can be written down."""
    rows = [r for r in ROWS if r["seed"] < 2 and r["num_labeled"] == 2 and r["method"] != "supervised"]
    found = difference(rows, "supmix_sufd", "classmix", 2)
    of_patient = {
        (r["method"], r["seed"], p): sum(np.array(m) for i, m in r["images"].items() if PATIENT_OF[i] == p)
        for r in rows
        for p in "ab"
    }
    possible = set()
    for patients, seeds in product(product("ab", repeat=2), product((0, 1), repeat=2)):
        of_seed = [
            iou(sum(of_patient["supmix_sufd", s, p] for p in patients))
            - iou(sum(of_patient["classmix", s, p] for p in patients))
            for s in seeds
        ]
        possible.add(round(float(np.mean(of_seed)), 6))
    assert {round(float(x), 6) for x in found.replicates} == possible


def test_a_method_equals_itself_and_full_supervision_has_its_own_budget():
    same = difference(ROWS, "supervised", "supervised", 4)
    assert same.mean == 0 and same.interval == (0, 0)
    full = difference(ROWS, "supmix_sufd", "full_supervision", 2, 16)
    assert list(full.of_seed) == [0, 1]
    absent = np.array([[[5, 0, 0], [5, 10, 0], [0, 0, 0]]])
    assert mean_iou(absent) == pytest.approx(100 * (5 / 10 + 10 / 15) / 2)  # the third class is nowhere


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
    rows = [row("supervised", 0), row("classmix", 0)]
    del rows[0]["last"]["iou_vessel"]
    text = write_summary(rows, tmp_path)
    of_method = {line.split(" | ")[0]: line.split(" | ") for line in text.splitlines()}
    assert of_method["| supervised"][4].strip() == "" and of_method["| ClassMix"][4].strip() != ""
    assert text.strip().splitlines()[-1] == "| --- | --- | --- | --- | --- |"
    assert "Mean IoU of each method" in write_report(rows, tmp_path).read_text()


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


def test_figures():
    chart = bar_chart(ROWS, 2).axes[0]
    names = [label.get_text() for label in chart.get_yticklabels()]
    assert names == ["full supervision (16)", "SupMix + SUFD", "ClassMix", "supervised"]
    assert len(chart.lines) == 4 and len(chart.lines[2].get_xdata()) == 2  # ClassMix
    assert [float(text.get_text()) for text in chart.texts] == [round(bar.get_width(), 1) for bar in chart.patches]
    curve = label_efficiency(ROWS).axes[0]
    assert [text.get_text() for text in curve.get_legend().get_texts()] == ["supervised", "SupMix + SUFD"]
    assert label_efficiency([r for r in ROWS if r["num_labeled"] == 2]) is None
