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

"""What a user sees at the end of a command that failed."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import sys

import pytest
from monai.transforms import Compose
from torch.utils.data import DataLoader, Dataset

from monai_sscm.errors import install_error_hook, raised_here, root_cause
from monai_sscm.io import PictureReader, inference_datalist


@pytest.fixture
def last_words(monkeypatch, capsys):
    """What is printed about the error that a function ends the process with."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "argv", ["/lib/monai/bundle/__main__.py", "run"])
    handler = signal.getsignal(signal.SIGCHLD)
    monkeypatch.setattr(logging.getLogger("ignite.engine.engine"), "level", logging.NOTSET)
    monkeypatch.setattr("threading.enumerate", list)  # nor wait for threads that other tests have left
    install_error_hook()

    def run(function, *args) -> str:
        try:
            function(*args)
        except Exception as error:
            sys.excepthook(type(error), error, error.__traceback__)
        return capsys.readouterr().err

    yield run
    signal.signal(signal.SIGCHLD, handler)


def test_what_was_foreseen_is_one_sentence(last_words):
    assert last_words(PictureReader().get_data, "none.png") == (
        "Error: There is no picture 'none.png': check its name.\n"
    )


def test_a_name_that_no_file_can_have_is_one_sentence(last_words, tmp_path):
    path = str(tmp_path / ("x" * 300))
    assert last_words(inference_datalist, path) == f"Error: The name {path!r} is too long for a file: check it.\n"


@pytest.mark.parametrize("kind", [errno.EACCES, errno.ELOOP, errno.EIO, errno.ENOSPC])
def test_a_file_that_cannot_be_used_is_one_sentence(last_words, kind):
    def look() -> None:
        raise OSError(kind, os.strerror(kind), "images/a.png")  # as a library does

    said = last_words(look)
    assert said.startswith(f"Error: 'images/a.png' cannot be read or written ({os.strerror(kind)}): check")
    assert said.count("\n") == 1


def test_a_worker_that_is_lost_meanwhile_does_not_take_the_last_words(last_words, monkeypatch):
    def lost(number, frame):
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed.")

    def fail():
        os.kill(os.getpid(), signal.SIGCHLD)

    signal.signal(signal.SIGCHLD, lost)
    # a second one ends while the first is reported
    monkeypatch.setattr("threading.enumerate", lambda: fail() or [])
    assert last_words(fail).startswith("Error: A process that loads images has ended (DataLoader worker (pid 1)")


class Damaged(Dataset):
    """A data set whose images cannot be read, as its transforms say or as nobody foresaw."""

    def __init__(self, transform) -> None:
        self.transform = Compose([transform])

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int):
        return self.transform("none.png")


def test_what_a_worker_says_are_the_last_words(last_words, monkeypatch, tmp_path):
    """And those of torchrun's report."""
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    loader = DataLoader(Damaged(PictureReader().get_data), num_workers=1)
    expected = "Error: There is no picture 'none.png': check its name."
    assert last_words(list, loader) == expected + "\n"
    assert json.loads((tmp_path / "error.json").read_text())["message"]["extraInfo"]["py_callstack"] == expected
    printed = last_words(list, DataLoader(Damaged(int), num_workers=1))
    assert printed.startswith("Traceback") and "invalid literal for int()" in printed and "memory" not in printed


def test_what_was_not_foreseen_has_its_traceback(last_words):
    printed = last_words(len, 1)
    assert printed.startswith("Traceback") and "TypeError" in printed and "Error:" not in printed.splitlines()[0]


def test_the_traceback_is_printed_too_when_it_is_asked_for(last_words, monkeypatch):
    monkeypatch.setenv("MONAI_DEBUG", "1")
    printed = last_words(PictureReader().get_data, "none.png").splitlines()
    assert printed[0].startswith("Traceback") and printed[-1].startswith("Error: There is no picture")


@pytest.mark.parametrize(
    ("program", "installed"),
    [
        ("/lib/monai/bundle/__main__.py", True),  # also of torchrun
        ("/lib/monai_sscm/__main__.py", True),
        ("/usr/bin/monai-sscm", True),
        ("monai-sscm.exe", True),
        ("/lib/ipykernel_launcher.py", False),
        ("/bin/pytest", False),
        ("/home/user/bundle/__main__.py", False),
        ("train.py", False),
        ("-c", False),
        ("", False),
    ],
)
def test_the_hook_is_installed_in_commands_alone(monkeypatch, program, installed):
    def hook_of_host(*args):
        """As of a notebook or of an application that runs a bundle."""

    monkeypatch.setattr(sys, "excepthook", hook_of_host)
    monkeypatch.setattr(sys, "argv", [program])
    monkeypatch.setattr(logging.getLogger("ignite.engine.engine"), "level", logging.NOTSET)
    install_error_hook()
    assert (sys.excepthook is not hook_of_host) == installed
    # ignite would print what the hook does
    level = logging.getLogger("ignite.engine.engine.Trainer").getEffectiveLevel()
    assert (level == logging.CRITICAL) == installed


def test_the_root_cause_is_the_first_of_ours():
    def chain(load) -> Exception:
        try:
            try:
                load()
            except Exception as error:
                raise RuntimeError("around it") from error
        except RuntimeError as error:
            return error

    ours = root_cause(chain(lambda: PictureReader().get_data("none.png")))
    assert raised_here(ours) and str(ours) == "There is no picture 'none.png': check its name."
    others = root_cause(chain(lambda: len(1)))
    assert isinstance(others, TypeError) and not raised_here(others)
    assert not raised_here(ValueError("never raised"))
