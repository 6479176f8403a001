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

import csv

import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from monai_sscm.handlers import QualityWriter, write_calibration
from monai_sscm.metrics import Calibration

NAMES = ["background", "a", "b"]


def judge(folder, agreements: dict[str, list[float]], **kwargs) -> list[dict[str, str]]:
    """The lines for masks upon whose classes views agree so well."""
    writer = QualityWriter(folder, NAMES, **kwargs)

    def step(engine: Engine, item: tuple[str, list[float]]) -> list[dict[str, torch.Tensor]]:
        engine.state.batch = [{"name": item[0]}]
        engine.state.agreement = [torch.tensor([1.0, *item[1]], dtype=torch.float64)]
        image = MetaTensor(torch.rand(1, 8, 9), meta={"filename_or_obj": f"{item[0]}.png"})
        return [{"image": image, "pred": torch.rand(3, 8, 9)}]

    engine = Engine(step)
    writer.attach(engine)
    engine.run(list(agreements.items()))
    with open(folder / "quality.csv", newline="") as file:
        return list(csv.DictReader(file))


nan = float("nan")
SCORES = {"good": [0.9, 0.9], "empty": [nan, nan], "one": [nan, 0.5], "bad": [0.1, 0.3], "fair": [0.7, 0.7]}


def test_the_worst_come_first_with_overlays(tmp_path):
    (tmp_path / "quality.csv").write_text("of other masks")
    rows = judge(tmp_path, SCORES, num_overlays=2)
    assert [row["case"] for row in rows] == ["empty", "bad", "one", "fair", "good"]
    assert [row["agreement"] for row in rows] == ["", "0.2000", "0.5000", "0.7000", "0.9000"]
    assert rows[2]["agreement_a"] == "" and rows[2]["agreement_b"] == "0.5000"
    assert {row["calibration"] for row in rows} == {"ranks only"} and "expected_dice" not in rows[0]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["bad_overlay.png", "empty_overlay.png"]


def test_expected_dice_where_there_is_a_calibration_of_these_weights(tmp_path):
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"weights")
    write_calibration(Calibration(0.5, 0.2, images=12, correlation=0.8, error=0.04), weights)
    rows = judge(tmp_path, SCORES, num_overlays=0, checkpoint=weights)
    assert [row["expected_dice"] for row in rows] == ["", "0.3000", "0.4500", "0.5500", "0.6500"]
    assert rows[0]["calibration"] == "12 validation images, off by 0.04 in the mean"
    assert not list(tmp_path.glob("*.png"))
    weights.write_bytes(b"others")
    assert judge(tmp_path, SCORES, checkpoint=weights)[0]["calibration"] == "ranks only"


@pytest.mark.parametrize("checkpoint", [None, ["a", "b"]])
def test_of_several_networks_nothing_is_known(tmp_path, checkpoint):
    assert judge(tmp_path, SCORES, checkpoint=checkpoint)[0]["calibration"] == "ranks only"
