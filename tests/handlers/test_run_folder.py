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

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from monai_sscm.handlers import claim_folder, release_folder, run_folder, set_aside

HOLD = "import sys, time; from monai_sscm.handlers import claim_folder; claim_folder(sys.argv[1]); "


def hold(folder: Path) -> subprocess.Popen:
    """A process that claims a folder and stays."""
    code = HOLD + "print('claimed', flush=True); time.sleep(100)"
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "claimed\n"
    return process


def test_another_process_is_refused_until_it_has_ended(tmp_path):
    holder = hold(tmp_path / "run")
    try:
        with pytest.raises(ValueError, match=rf"Another process \({holder.pid} on .*\) trains in '.*run': wait until"):
            claim_folder(tmp_path / "run")
    finally:
        holder.send_signal(signal.SIGKILL)  # which leaves the lock's file
        holder.wait()
    assert os.listdir(tmp_path / "run") == [".lock"]
    assert claim_folder(tmp_path / "run") == claim_folder(tmp_path / "run")  # this process may again
    release_folder(tmp_path / "run")
    assert os.listdir(tmp_path / "run") == []
    release_folder(tmp_path / "run")
    claim_folder(tmp_path / "run")
    release_folder(tmp_path / "run")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked")
def test_processes_that_load_images_do_not_hold_the_lock(tmp_path):
    # written at once: two processes share the pipe
    code = HOLD + "import os; os.write(1, b'%d\\n' % os.fork()); time.sleep(100)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    loader = max(int(holder.stdout.readline()), int(holder.stdout.readline()))  # the other is told 0
    try:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        os.kill(loader, 0)  # still there
        claim_folder(tmp_path)
        release_folder(tmp_path)
    finally:
        os.kill(loader, signal.SIGKILL)


def test_other_ranks_and_file_systems_without_locks_are_not_refused(tmp_path, monkeypatch, caplog):
    holder = hold(tmp_path)
    try:
        monkeypatch.setenv("RANK", "1")
        assert claim_folder(tmp_path) == str(tmp_path)
    finally:
        holder.kill()
        holder.wait()
    monkeypatch.delenv("RANK")

    def without_locks(file: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(run_folder.fcntl, "flock", without_locks)
    caplog.set_level("INFO")
    claim_folder(tmp_path)
    assert "cannot be locked (No locks available): start no other training in it" in caplog.text
    release_folder(tmp_path)


def write(root: Path, text: str) -> None:
    for name in ("models/model.pt", "states/last.pt", "logs/events", "evaluation_val_teacher/metrics.csv"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "configs").mkdir(exist_ok=True)
    (root / "configs" / "train.yaml").write_text(text)


def test_every_earlier_training_keeps_all_its_files(tmp_path):
    for number in range(3):
        claim_folder(tmp_path)
        set_aside(tmp_path)
        release_folder(tmp_path)
        left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file() and "earlier" not in p.parts}
        assert left == ({"configs/train.yaml"} if number else set())  # none is mistaken for one of the new training
        write(tmp_path, f"training {number}")
    for number in (1, 2):
        folder = tmp_path / "earlier" / str(number)
        files = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
        names = ["configs/train.yaml", "evaluation_val_teacher/metrics.csv", "logs/events", "models/model.pt"]
        assert files == dict.fromkeys([*names, "states/last.pt"], f"training {number - 1}")


def test_logs_that_are_written_since_stay(tmp_path, caplog):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "old").touch()
    claim_folder(tmp_path)
    (tmp_path / "logs" / "new").touch()
    set_aside(tmp_path)
    release_folder(tmp_path)
    assert os.listdir(tmp_path / "logs") == ["new"]
    assert os.listdir(tmp_path / "earlier" / "1" / "logs") == ["old"]
    assert "which saved nothing" in caplog.text
