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

import math
import sys

import nibabel
import numpy as np
import pytest

from monai_sscm.cli.main import main
from monai_sscm.handlers import read_calibration
from monai_sscm.metrics import Calibration
from monai_sscm.review import calibrate, read_run
from monai_sscm.review.calibrate import agreement_and_dice


def test_agreement_and_dice_are_those_of_the_masks_that_predict_writes(runs, tmp_path):
    run = read_run(runs["volumes"])
    images = run.images("val")
    agreement, dice = agreement_and_dice(run, images)
    out = tmp_path / "out"
    main(
        ["predict", *[item["image"] for item in images], "--model", str(runs["volumes"]), "--output_dir", str(out)]
        + ["--device", "cpu"]
    )
    rows = {line.split(",")[1]: line.split(",") for line in (out / "quality.csv").read_text().splitlines()[1:]}
    for item, agreed, score in zip(images, agreement, dice, strict=True):
        mask, true = (
            np.asarray(nibabel.load(path).dataobj) for path in (out / f"{item['name']}_seg.nii.gz", item["label"])
        )
        both = [((mask == c) & (true == c)).sum() * 2 / ((mask == c).sum() + (true == c).sum()) for c in (1, 2)]
        assert score == pytest.approx(np.mean(both))
        assert float(rows[item["name"]][2] or math.nan) == pytest.approx(agreed, abs=1e-4, nan_ok=True)
        assert rows[item["name"]][-1] == "ranks only"
    # two validation images are too few, and that is kept
    assert read_calibration(run.weights) == "there are 2 validation images to compare, and it takes 8"


def test_it_is_found_once(runs, monkeypatch):
    module = sys.modules["monai_sscm.review.calibrate"]  # the package has the function by this name
    line = [0.1 * i for i in range(9)]
    monkeypatch.setattr(module, "FEWEST_IMAGES", 1)
    monkeypatch.setattr(module, "agreement_and_dice", lambda run, images: (line, line))
    found = calibrate(runs["pictures"])
    assert isinstance(found, Calibration) and found.correlation == pytest.approx(1)
    monkeypatch.setattr(module, "agreement_and_dice", None)
    assert calibrate(runs["pictures"]) == found
    (runs["pictures"] / "models" / "quality.json").unlink()
