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

import pytest

from monai_sscm.io import inference_datalist
from tests.helpers.dicom import write_series
from tests.helpers.volumes import oblique_volume


def test_names_of_inputs(tmp_path):
    for uid, folder in enumerate(("p1", "p2")):
        write_series(oblique_volume(), tmp_path / folder / "CT", uid=str(uid + 1))
    (tmp_path / "p1" / "x_seg.nii.gz").touch()
    (tmp_path / "p1" / "x.seg.nrrd").touch()
    assert [item["name"] for item in inference_datalist(tmp_path, scans=True)] == ["p1/CT", "p2/CT"]
    with pytest.raises(ValueError, match="'.*p1/CT' and '.*p2/CT' would have the same name: rename one"):
        inference_datalist([tmp_path / "p1" / "CT", tmp_path / "p2" / "CT"], scans=True)
    (tmp_path / "a.mhd").touch()
    assert "a" in [item["name"] for item in inference_datalist(tmp_path, scans=True)]
