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

from monai_sscm.networks import init_weights, load_weights, training_settings
from tests.helpers.training import assert_same, make_network, weights


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


def other_network(spatial_dims: int) -> nn.Module:
    network = make_network(spatial_dims)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 1.0
    return network


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"module." + name: value for name, value in state.items()},
        lambda state: {"model": {"module._orig_mod." + name: value for name, value in state.items()}},
        lambda state: {"state_dict": {"network." + n: x for n, x in state.items()} | {"loss.w": torch.ones(2)}},
        lambda state: {"student": {n: 0 * x for n, x in state.items()}, "teacher": state, "optimizer": {"state": {}}},
    ],
)
def test_weights_of_any_origin_start_a_network(tmp_path, caplog, spatial_dims, wrap):
    caplog.set_level("INFO")
    expected = weights(other_network(spatial_dims))
    torch.save(wrap(dict(expected)), tmp_path / "other.pt")
    network = make_network(spatial_dims)
    assert init_weights(network, tmp_path / "other.pt") == []
    assert_same(weights(network), expected)
    assert f"other.pt': {len(expected)} of {len(expected)} weights fit." in caplog.text


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_layers_that_do_not_fit_stay_and_are_named(tmp_path, caplog, spatial_dims):
    caplog.set_level("INFO")
    state = weights(other_network(spatial_dims))
    first, *_, last = state
    other = {first: state[first][:, :, 1:], last: state[last][:0], "more": torch.ones(1)}
    torch.save({**state, **other}, tmp_path / "a.pt")
    network = make_network(spatial_dims)
    start = weights(network)
    assert init_weights(network, tmp_path / "a.pt") == [first, last]
    assert f"{len(state) - 2} of {len(state)} weights fit; as initialized: {first}, {last}." in caplog.text
    assert_same(weights(network), {n: start[n] if n in (first, last) else x for n, x in state.items()})


@pytest.mark.parametrize("saved", [{"a": torch.ones(3, 3)}, [1], {"state_dict": {}}, torch.ones(2), {}])
def test_weights_of_which_none_fits_are_refused(tmp_path, saved):
    torch.save(saved, tmp_path / "a.pt")
    network = make_network()
    before = weights(network)
    with pytest.raises(ValueError, match=r"No layer of the weights in '.*a.pt' fits this network by name and shape"):
        init_weights(network, tmp_path / "a.pt")
    assert_same(weights(network), before)


def test_files_that_are_no_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There are no weights '.*a.pt': set `init_from`"):
        init_weights(make_network(), tmp_path / "a.pt")
    (tmp_path / "a.pt").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"a.pt' cannot be read: it is damaged"):
        init_weights(make_network(), tmp_path / "a.pt")
    state = weights(make_network())
    state[next(iter(state))].fill_(float("nan"))
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"The weights in '.*a.pt' are NaN or infinite in"):
        init_weights(make_network(), tmp_path / "a.pt")
