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

import os

import pytest
import torch

from monai_sscm.handlers import CheckpointHandler, check_writable, save_checkpoint


def test_save_checkpoint_is_whole_or_not_there(tmp_path, monkeypatch):
    save_checkpoint({"x": torch.ones(3)}, tmp_path / "a.pt")
    save_checkpoint({"x": torch.zeros(3)}, tmp_path / "a.pt", previous=tmp_path / "b.pt")
    assert sorted(os.listdir(tmp_path)) == ["a.pt", "b.pt"]
    assert torch.load(tmp_path / "a.pt")["x"].sum() == 0 and torch.load(tmp_path / "b.pt")["x"].sum() == 3

    def disk_full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint({"x": torch.full((3,), 7.0)}, tmp_path / "a.pt", previous=tmp_path / "b.pt")
    assert sorted(os.listdir(tmp_path)) == ["a.pt", "b.pt"]
    assert torch.load(tmp_path / "a.pt")["x"].sum() == 0 and torch.load(tmp_path / "b.pt")["x"].sum() == 3


def test_check_writable(tmp_path):
    assert check_writable(tmp_path / "a" / "b") == str(tmp_path / "a" / "b")
    assert os.listdir(tmp_path / "a" / "b") == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file/run' cannot be written to .* set `output_dir`"):
        check_writable(tmp_path / "file" / "run")
    with pytest.raises(OSError, match="cannot be written to"):
        CheckpointHandler(tmp_path / "file", {})
