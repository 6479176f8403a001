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

import os
import signal
import sys

import pytest

from monai_sscm.bundle import find_bundle
from monai_sscm.data import PictureReader, inference_datalist
from monai_sscm.errors import check_options, plain_errors


@pytest.fixture
def last_words(monkeypatch, capsys):
    """What is printed about the error that a function ends the process with."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    handler = signal.getsignal(signal.SIGCHLD)
    monkeypatch.setattr("threading.enumerate", list)  # nor wait for threads that other tests have left
    plain_errors()

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


def test_a_worker_that_is_lost_meanwhile_does_not_take_the_last_words(last_words, monkeypatch):
    def lost(number, frame):
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed.")

    def fail():
        os.kill(os.getpid(), signal.SIGCHLD)

    signal.signal(signal.SIGCHLD, lost)
    # a second one ends while the first is told of
    monkeypatch.setattr("threading.enumerate", lambda: fail() or [])
    assert last_words(fail).startswith("Error: A process that loads images has ended (DataLoader worker (pid 1)")


def test_what_was_not_foreseen_has_its_traceback(last_words):
    said = last_words(len, 1)
    assert said.startswith("Traceback") and "TypeError" in said and "Error:" not in said.splitlines()[0]


TRAIN, EVALUATE = (f"{find_bundle('chase_vessel_segmentation')}/configs/{name}.yaml" for name in ("train", "evaluate"))


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        (TRAIN, ["--num_labelled", "3"], "no `num_labelled` in .*train.yaml: did you mean `--num_labeled`"),
        (TRAIN, ["--seed", "1", "--zoon=1.0"], "no `zoon` in .* did you mean `--zoom`"),
        (TRAIN, ["--part", "test"], "no `part` in"),
        (TRAIN, ["--qqqqqq", "1"], "no `qqqqqq` in .* at the top of the file"),
        (f"['{TRAIN}','{EVALUATE}']", ["--part", "test", "--wait", "1"], "no `wait` in"),
    ],
)
def test_an_option_without_effect_is_refused(files, options, message):
    argv = ["/lib/monai/bundle/__main__.py", "run", "--config_file", files, "--dataset_dir", "data", *options]
    with pytest.raises(ValueError, match=message):
        check_options(argv)
    check_options(["/bin/pytest", *argv[1:]])


def test_options_with_effect_pass():
    argv = ["/lib/monai/bundle/__main__.py", "run", "train", "--config_file", f"['{TRAIN}','{EVALUATE}']"]
    argv += ["--logging_file", "no.conf", "--part=test", "--num-labeled", "3", "--train#trainer#amp", "true"]
    argv += ["--validate::dataloader::batch_size", "1", "--rate", "0.1", "--learning_rate", "$@rate * 2"]
    check_options(argv)
    check_options([argv[0], "run", f"--config_file={TRAIN}"])
    check_options([argv[0], "run", "--args_file", "args.json", "--seed", "1"])
