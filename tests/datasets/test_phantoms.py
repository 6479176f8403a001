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
import pytest
from PIL import Image

from monai_sscm.data import semi_supervised_datalist
from monai_sscm.datasets import chest_phantom, vessel_phantom, write_vessel_phantoms


def test_phantoms():
    image, mask = vessel_phantom(96, seed=3)
    again, _ = vessel_phantom(96, seed=3)
    np.testing.assert_array_equal(image, again)
    assert not np.array_equal(image, vessel_phantom(96, seed=4)[0])
    assert image.dtype == mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 1}
    # vessels are darker than what lies around them, in green most
    assert image[..., 1][mask == 1].mean() < image[..., 1][(mask == 0) & (image.sum(-1) > 0)].mean() - 5
    with pytest.raises(ValueError, match="size"):
        vessel_phantom(8)


def test_chest_phantoms():
    scan, mask = chest_phantom(size=96, num_slices=8, seed=0)
    assert scan.shape == mask.shape == (96, 96, 8) and scan.dtype == np.int16 and mask.dtype == np.uint8
    again = chest_phantom(size=96, num_slices=8, seed=0)
    assert (again[0] == scan).all() and (again[1] == mask).all()
    assert (chest_phantom(size=96, num_slices=8, seed=1)[0] != scan).any()
    air, ground_glass, consolidation = (np.median(scan[m]) for m in (scan < -700, mask == 1, mask == 2))
    assert air < -800 < ground_glass < -300 < consolidation < 150
    with pytest.raises(ValueError, match="at least 32"):
        chest_phantom(size=16)


def test_phantom_data_set(tmp_path):
    write_vessel_phantoms(tmp_path, num_train=4, num_val=1, num_test=1, size=32)
    files = semi_supervised_datalist(tmp_path, num_labeled=1)
    assert {k: len(v) for k, v in files.items()} == {"labeled": 1, "unlabeled": 3, "val": 1, "test": 1}
    mask = np.asarray(Image.open(files["labeled"][0]["label"]))
    assert mask.shape == (32, 32) and set(np.unique(mask)) == {0, 255}
