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

from monai_sscm.cli.main import main


def test_phantoms(tmp_path):
    arguments = ["--num_train", "3", "--num_val", "1", "--num_test", "0", "--size", "32"]
    main(["phantoms", str(tmp_path / "folder"), *arguments])
    assert len(list((tmp_path / "folder" / "images").glob("*.png"))) == 4
    main(["phantoms", str(tmp_path / "scans"), "--kind", "chest", *arguments])
    assert len(list((tmp_path / "scans" / "images").glob("*.nii.gz"))) == 4


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="The folder '.*file' cannot be written to"):
        main(["phantoms", str(tmp_path / "file")])
