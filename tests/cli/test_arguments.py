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

import argparse

import pytest

from monai_sscm.cli.arguments import CommandParser, name_value_pair, option_words, positive_int


def test_what_the_user_typed_is_read():
    assert positive_int("1") == 1
    assert name_value_pair("rate=a=b") == ("rate", "a=b") and name_value_pair("rate=") == ("rate", "")


def test_what_is_wrong_is_named():
    with pytest.raises(argparse.ArgumentTypeError, match="must be a whole number of 1 or more, got '0'"):
        positive_int("0")
    with pytest.raises(argparse.ArgumentTypeError, match="must be NAME=VALUE, got 'rate'"):
        name_value_pair("rate")


def parser(**kwargs) -> CommandParser:
    made = CommandParser(allow_abbrev=False)
    made.takes_options = True
    made.add_argument("folder")
    made.add_argument("--output_dir")
    made.add_argument("--model", nargs="+")
    return made


@pytest.mark.parametrize(
    "words",
    [
        ["data", "--output_dir", "run", "--train#trainer#amp", "true", "--seed=-1"],
        ["--train#trainer#amp", "true", "--output-dir=run", "data", "--seed", "-1"],
        ["--train#trainer#amp=true", "--seed", "-1", "data", "--output_dir", "run"],
    ],
)
def test_options_stand_anywhere(words):
    values = vars(parser().parse_args(words))
    options = values.pop("options")
    assert values == {"folder": "data", "output_dir": "run", "model": None}
    assert options == {"train#trainer#amp": "true", "seed": "-1"}


def test_arguments_are_not_abbreviated():
    """`--output` may be a misspelled option: who checks the names says so."""
    assert parser().parse_args(["data", "--output", "run"]).options == {"output": "run"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data", "--seed"], "'--seed' has no value"),
        (["data", "--seed", "--model", "a"], "'--seed' has no value"),
        (["data", "--seed", "1", "--seed", "2"], "`--seed` is given twice"),
        (["data", "more"], "unrecognized arguments: more"),
    ],
)
def test_what_is_no_option_is_refused(capsys, words, message):
    with pytest.raises(SystemExit) as stopped:
        parser().parse_args(words)
    assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_a_misspelled_argument(capsys):
    made = CommandParser(allow_abbrev=False)
    made.add_argument("--class_names")
    for words in (["--class_name", "a,b"], ["--class_name=a,b"]):
        with pytest.raises(SystemExit):
            made.parse_args(words)
        assert "there is no --class_name: did you mean --class_names?" in capsys.readouterr().err


def test_option_words():
    assert option_words(["--max-epochs", "4", "--amp=true", "--a#b", "x=y"]) == {
        "max_epochs": "4",
        "amp": "true",
        "a#b": "x=y",
    }
    with pytest.raises(ValueError, match="'max_epochs' belongs to no option"):
        option_words(["max_epochs", "4"])
    for words in (["--rate"], ["--rate", "--seed", "4"]):
        with pytest.raises(ValueError, match="'--rate' has no value"):
            option_words(words)
    with pytest.raises(ValueError, match="`--rate` is given twice"):
        option_words(["--rate", "4", "--rate=5"])
