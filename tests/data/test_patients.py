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

import pytest

from monai_sscm.data.patients import find_patients


@pytest.mark.parametrize(
    ("names", "patients"),
    [
        (["patient002_frame01", "patient002_frame02", "patient003_frame01"], ["patient002"] * 2 + ["patient003"]),
        (["Image_01L", "Image_01R", "Image_02L"], ["Image_01", "Image_01", "Image_02"]),
        (["p1_v1", "p1_v2", "p2_v1"], ["p1", "p1", "p2"]),
        (["sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1"], ["sub-01", "sub-01", "sub-02"]),
        (["A_visit1", "A_visit2", "B_visit1"], ["A", "A", "B"]),
        (["001_1", "001_2", "002_1", "003_1"], ["001", "001", "002", "003"]),
        (["corona_001_12", "corona_001_13", "radio_4_1", "radio_5_2"], ["corona_001"] * 2 + ["radio_4", "radio_5"]),
        (["p1/a", "p1/b", "p2/a", "p3/a"], ["p1", "p1", "p2", "p3"]),
        (
            ["TCGA_CS_4941_19960909_1", "TCGA_CS_4941_19960909_2", "TCGA_DU_4942_1"],
            ["TCGA_CS_4941"] * 2 + ["TCGA_DU_4942"],
        ),
    ],
)
def test_several_images_of_a_patient(names, patients):
    pattern = find_patients(names)
    assert [re.match(pattern, name)[1] for name in names] == patients


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["a"],
        ["1", "2", "10"],
        ["case_001", "case_002", "case_003"],
        ["hippocampus_001", "hippocampus_003"],
        ["image_1", "image_2"],
        ["21_training", "22_training"],
        ["p1_a", "p2_a", "p3_a"],  # one image of each
        ["p1_a", "p1_b"],  # one patient alone
        ["p1_a", "p1_b", "p2_a", "other"],
        ["fold1_001", "fold1_002", "fold2_001", "fold3_001"],
        ["2024_01", "2024_02", "2025_01", "2026_01"],
        ["benign/benign (1)", "benign/benign (2)", "normal/normal (1)", "malignant/x"],
        ["ISIC_0000001", "ISIC_0000002"],
    ],
)
def test_names_that_do_not_say_so(names):
    assert find_patients(names) is None
