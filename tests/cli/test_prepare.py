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

from monai_sscm.cli.main import main
from monai_sscm.datasets import CHASE_DB1_URL


def test_the_arguments_arrive(monkeypatch, capsys):
    calls = []
    monkeypatch.setattr("monai_sscm.datasets.prepare_chase_db1", lambda *args: calls.append(args) or args[0])
    main(["prepare", "chase_db1"])
    assert calls.pop() == ("data/chase_db1", None, CHASE_DB1_URL) and capsys.readouterr().out == "data/chase_db1\n"
    main(["prepare", "chase_db1", "--from", "a.zip", "--output_dir", "out", "--url", "https://example.org"])
    assert calls.pop() == ("out", "a.zip", "https://example.org")


def test_an_error_is_one_line(tmp_path):
    command = [sys.executable, "-m", "monai_sscm", "prepare", "chase_db1", "--from", "nothing.zip"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("Error: There is no 'nothing.zip': give the data set's zip")
    assert len(done.stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == ["data"] and os.listdir(tmp_path / "data") == []
