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

import sys

import pytest

from monai_sscm.data import PictureReader, inference_datalist
from monai_sscm.errors import plain_errors


@pytest.fixture
def last_words(monkeypatch, capsys):
    """What is printed about the error that a function ends the process with."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr("threading.enumerate", list)  # nor wait for threads that other tests have left
    plain_errors()

    def run(function, *args) -> str:
        try:
            function(*args)
        except Exception as error:
            sys.excepthook(type(error), error, error.__traceback__)
        return capsys.readouterr().err

    return run


def test_what_was_foreseen_is_one_sentence(last_words):
    assert last_words(PictureReader().get_data, "none.png") == (
        "Error: There is no picture 'none.png': check its name.\n"
    )


def test_a_name_that_no_file_can_have_is_one_sentence(last_words, tmp_path):
    path = str(tmp_path / ("x" * 300))
    assert last_words(inference_datalist, path) == f"Error: The name {path!r} is too long for a file: check it.\n"


def test_what_was_not_foreseen_has_its_traceback(last_words):
    said = last_words(len, 1)
    assert said.startswith("Traceback") and "TypeError" in said and "Error:" not in said.splitlines()[0]
