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

from monai_sscm.cli.main import main


@pytest.mark.slow
def test_demo(tmp_path, capsys):
    main(["demo", "--max_epochs", "1", "--output_dir", str(tmp_path)])
    out = capsys.readouterr().out
    table = (tmp_path / "table.md").read_text()
    assert table in out and [row.split("|")[1].strip() for row in table.splitlines()] == [
        "method",
        "---",
        "supervised",
        "SupMix + SUFD",
    ]
    assert "smoke run" in out and out.count("epoch 1/1, loss ") == 2
    lines = out.splitlines()
    assert lines[-2].endswith(str(tmp_path / "table.md")) and str(tmp_path / "overlay.png") in lines[-1]
    picture = np.asarray(Image.open(tmp_path / "overlay.png"))
    assert picture.shape == (256, 4 * 256, 3)
    panels = np.split(picture, 4, axis=1)
    assert all((panels[0] != panel).any() for panel in panels[1:])
