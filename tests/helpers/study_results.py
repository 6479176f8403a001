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

"""Results of a study that are made up: five images of three patients, two budgets, three seeds."""

from __future__ import annotations

from itertools import product

import numpy as np

from monai_sscm.study import mean_iou

PATIENT_OF = {"a1": "a", "a2": "a", "b1": "b", "b2": "b", "c1": "c"}


def result_row(method: str, seed: int, num_labeled: int = 2, better: int = 0) -> dict:
    """A made-up result of a study; ``better`` pixels of each image are right that else would be wrong."""
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


ROWS = [result_row("supervised", seed, n) for seed, n in product((0, 1, 2), (2, 4))]
ROWS += [result_row("supmix_sufd", seed, n, better=20) for seed, n in product((0, 1, 2), (2, 4))]
ROWS += [result_row("classmix", seed) for seed in (0, 1)]
ROWS += [result_row("full_supervision", seed, 16, better=40) for seed in (0, 1)]
