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

import inspect

import pytest

from monai_sscm.cli.main import main
from monai_sscm.study import study


def test_the_arguments_arrive(monkeypatch):
    """All that the function takes, with its own defaults."""
    calls = []
    monkeypatch.setattr("monai_sscm.study.study", lambda **arguments: calls.append(arguments))
    main(["study"])
    defaults = {name: parameter.default for name, parameter in inspect.signature(study).parameters.items()}
    lists = {name: list(value) for name, value in defaults.items() if isinstance(value, tuple)}
    of_the_function = {name: defaults.pop(name) for name in ("output_dir", "threads")}  # its own, where none is given
    assert calls.pop() == {**defaults, **lists, "values": {}} and of_the_function == {
        "output_dir": "runs/study",
        "threads": 1,
    }
    main(["study", "--bundle", "my/bundle", "--values", "max_epochs=2", "zoom=1.0", "--num_labeled", "2", "4"])
    given = {"bundle": "my/bundle", "values": {"max_epochs": "2", "zoom": "1.0"}, "num_labeled": [2, 4]}
    assert given.items() <= calls.pop().items()


def test_a_value_without_a_name_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["study", "--values", "max_epochs"])
    assert "--values: must be NAME=VALUE, got 'max_epochs'" in capsys.readouterr().err


def test_a_folder_gets_a_verdict(monkeypatch):
    calls = []
    monkeypatch.setattr("monai_sscm.study.guide", lambda *folder, **arguments: calls.append((*folder, arguments)))
    main(["study", "data"])
    assert calls.pop() == ("data", {"values": {}, "output_dir": None, "jobs": 1, "threads": None})
    main(["study", "data", "--hours", "2.5", "--values", "zoom=1.0", "--group_pattern", "(p.)_", "--output_dir", "out"])
    assert calls.pop()[1] == {
        "values": {"zoom": "1.0", "group_pattern": "(p.)_"},
        "output_dir": "out",
        "jobs": 1,
        "threads": None,
        "hours": 2.5,
    }


def test_arguments_of_the_other_kind_of_study_are_refused(capsys):
    with pytest.raises(ValueError, match="`--methods` does not go with a FOLDER"):
        main(["study", "data", "--methods", "supmix"])
    with pytest.raises(ValueError, match="`--seeds` does not go with a FOLDER"):
        main(["study", "data", "--seeds", "4"])
    with pytest.raises(ValueError, match="`--hours` goes with a FOLDER"):
        main(["study", "--hours", "4"])
    with pytest.raises(SystemExit):
        main(["study", "data", "--hours", "0"])
    assert "--hours: must be a number above 0, got '0'" in capsys.readouterr().err
