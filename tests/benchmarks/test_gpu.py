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

"""The script for machines with a GPU, in its short form."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.sh"


def test_all_parts_run_in_their_short_form(tmp_path):
    results = tmp_path / "gpu.jsonl"
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = ["bash", str(SCRIPT), "--short", "--output", str(results)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300)
    rows = {row["part"]: row for row in map(json.loads, results.read_text().splitlines())}
    assert done.returncode == 0, done.stdout + done.stderr + results.with_suffix(".log").read_text()
    assert list(rows) == [
        "machine",
        "tests",
        "mixed_precision",
        "compile",
        "sliding_window",
        "two_processes",
        "training_3d",
    ]
    skipped = {name for name, row in rows.items() if row["status"] == "skipped"}
    assert skipped == {"tests", "two_processes"} and rows["tests"]["error"] == "no GPU"
    figures = {name: row["figures"] for name, row in rows.items() if row["status"] == "passed"}
    assert figures["machine"]["devices"] == ["CPU"] and figures["machine"]["short"]
    assert figures["compile"]["3D, compiled"]["step_ms"] > 0
    assert figures["sliding_window"]["agreement"] > 0.9
    training = figures["training_3d"]
    planned = training["max_epochs"] * training["epoch_length"]
    assert training["patch"] == [16, 16, 16] and training["step_seconds"] > 0
    assert training["hours_of_plan"] == pytest.approx(planned * training["step_seconds"] / 3600, abs=0.01)
    assert set(os.listdir(tmp_path)) == {"gpu.jsonl", "gpu.log"}


def test_a_part_that_fails_crashes_or_hangs_is_recorded(tmp_path, monkeypatch):
    from benchmarks import gpu

    def fails(setup):
        raise RuntimeError("out of memory")

    parts = {
        "fails": (fails, 1),
        "crashes": (lambda setup: os.kill(os.getpid(), signal.SIGKILL), 1),
        "hangs": (lambda setup: subprocess.run(["sleep", "60"]), 0.01),
        "works": (lambda setup: {"short": setup.short}, 1),
    }
    monkeypatch.setattr(gpu, "PARTS", parts)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--short", "--output", str(tmp_path / "out.jsonl")])
    start = time.monotonic()
    monkeypatch.setattr(gpu, "MACHINE", "works")
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 1 and time.monotonic() - start < 50
    rows = {row["part"]: row for row in map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())}
    assert rows["fails"]["status"] == "failed" and rows["fails"]["error"] == "RuntimeError: out of memory"
    assert rows["crashes"]["error"] == "the process ended with status -9"
    assert rows["hangs"]["error"].startswith("took more than 0.01 minutes")
    assert rows["works"]["status"] == "passed" and rows["works"]["figures"] == {"short": True}
