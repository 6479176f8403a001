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
import signal
import subprocess
import threading
import time

import pytest

from monai_sscm.study.processes import BundleCommands, exit_on_signals


@pytest.fixture
def sleep(monkeypatch, tmp_path):
    """Stand in for Python as an interpreter that says which threads it has, and then sleeps."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho threads $OMP_NUM_THREADS\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    return tmp_path / "log.txt"


def test_stopping_ends_what_runs_and_starts_nothing_more(sleep):
    commands, failures = BundleCommands(threads=3), []

    def run() -> None:
        try:
            commands.run([], {}, sleep)
        except subprocess.CalledProcessError as error:
            failures.append(error.returncode)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while (not sleep.exists() or len(sleep.read_text().splitlines()) < 2) and time.monotonic() < deadline:
        time.sleep(0.05)
    commands.stop()
    for thread in threads:
        thread.join(timeout=30)
    assert sleep.read_text().splitlines() == ["threads 3"] * 2
    run()
    assert failures == [-signal.SIGTERM] * 3 and commands.stopped
    assert len(sleep.read_text().splitlines()) == 2


def test_a_failure_is_an_error_and_memory_is_reported(tmp_path, monkeypatch):
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\necho "$@"\nexit ${CODE:-0}\n')
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    memory = BundleCommands().run([tmp_path / "train.yaml"], {"seed": 1, "size": "[32,32]"}, tmp_path / "log.txt")
    assert memory is not None and memory >= 0
    assert (tmp_path / "log.txt").read_text() == (
        f"-m monai.bundle run --config_file ['{tmp_path}/train.yaml'] --seed 1 --size [32,32]\n"
    )
    monkeypatch.setenv("CODE", "3")
    with pytest.raises(subprocess.CalledProcessError) as error:
        BundleCommands().run([], {}, tmp_path / "log.txt")
    assert error.value.returncode == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_an_exit_meanwhile(number):
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as stopped, exit_on_signals():
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert stopped.value.code == 128 + number and signal.getsignal(number) == before


def test_an_ignored_signal_stays_ignored(monkeypatch):
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with exit_on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
