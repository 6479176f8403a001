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
import subprocess
import sys

import pytest

from monai_sscm.cli.main import main


@pytest.mark.parametrize("dataset", ["chase_db1", "hippocampus"])
def test_the_arguments_arrive(monkeypatch, capsys, dataset):
    calls = []
    monkeypatch.setattr(f"monai_sscm.datasets.prepare_{dataset}", lambda **kwargs: calls.append(kwargs) or "folder")
    main(["prepare", dataset])
    assert calls.pop() == {} and capsys.readouterr().out == "folder\n"
    main(["prepare", dataset, "--from", "a.zip", "--output_dir", "out", "--url", "https://example.org"])
    assert calls.pop() == {"output_dir": "out", "source": "a.zip", "url": "https://example.org"}


def test_an_error_is_one_line(tmp_path):
    command = [sys.executable, "-m", "monai_sscm", "prepare", "chase_db1", "--from", "nothing.zip"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("Error: There is no 'nothing.zip': give the data set's zip")
    assert len(done.stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == ["data"] and os.listdir(tmp_path / "data") == []
