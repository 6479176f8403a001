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

from pathlib import Path

import pytest

from monai_sscm.cli.main import main


def test_bundle(tmp_path, capsys):
    main(["bundle", "chase_vessel_segmentation"])
    assert (Path(capsys.readouterr().out.strip()) / "configs" / "train.yaml").is_file()
    main(["bundle", "chase_vessel_segmentation", "--to", str(tmp_path / "mine")])
    assert (Path(capsys.readouterr().out.strip()) / "configs" / "train.yaml").is_file()
    assert (tmp_path / "mine" / "models" / "model.pt").is_file()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="The copy '.*file/mine' cannot be written .*: choose another folder"):
        main(["bundle", "chase_vessel_segmentation", "--to", str(tmp_path / "file" / "mine")])
    with pytest.raises(FileExistsError, match="exists: choose a folder that does not"):
        main(["bundle", "chase_vessel_segmentation", "--to", str(tmp_path)])
