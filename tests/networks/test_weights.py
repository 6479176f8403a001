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

"""Which of a checkpoint's weights are loaded, and what its training was given."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_sscm.networks import load_weights, training_settings


def test_teacher_or_student_by_name(tmp_path):
    student, teacher = nn.Linear(2, 1), nn.Linear(2, 1)
    torch.save({"student": student.state_dict(), "teacher": teacher.state_dict()}, tmp_path / "last.pt")
    for name, expected in (("student", student), ("teacher", teacher)):
        network = nn.Linear(2, 1)
        load_weights(network, tmp_path / "last.pt", weights=name)
        assert torch.equal(network.weight, expected.weight)
    torch.save(teacher.state_dict(), tmp_path / "model.pt")  # weights alone are a teacher's
    with pytest.raises(ValueError, match="the teacher: set `weights`"):
        load_weights(nn.Linear(2, 1), tmp_path / "model.pt", weights="student")
    with pytest.raises(ValueError, match="'teacher' or 'student'"):
        load_weights(nn.Linear(2, 1), tmp_path / "model.pt", weights="both")


def test_settings_are_in_the_file_or_beside_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no checkpoint .*last.pt': train first"):
        training_settings(tmp_path / "last.pt")
    for folder, name in (("models", "model.pt"), ("states", "last.pt")):
        (tmp_path / folder).mkdir()
        torch.save(nn.Linear(2, 1).state_dict(), tmp_path / folder / name)
        with pytest.raises(ValueError, match=r"do not say how their network sees images: keep the settings.json"):
            training_settings(tmp_path / folder / name)
    (tmp_path / "models" / "settings.json").write_text('{"zoom": 0.5}')
    assert training_settings(tmp_path / "models" / "model.pt") == {"zoom": 0.5}
    assert training_settings(tmp_path / "states" / "last.pt") == {"zoom": 0.5}  # of the same training
    torch.save({"teacher": {}, "settings": {"zoom": 0.25}}, tmp_path / "states" / "last.pt")
    assert training_settings(tmp_path / "states" / "last.pt") == {"zoom": 0.25}
    (tmp_path / "models" / "settings.json").write_text("{")
    with pytest.raises(ValueError, match=r"settings.json' is no JSON .*: copy it from the training or bundle again"):
        training_settings(tmp_path / "models" / "model.pt")
