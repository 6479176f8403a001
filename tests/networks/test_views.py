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

import itertools

import pytest
import torch
from torch import nn

from monai_sscm.networks import Ensemble, make_views


def mean_of_neighbors(image: torch.Tensor) -> torch.Tensor:
    """A pixel at a time, of those neighbors that are in the image."""
    out = torch.empty_like(image)
    for index in itertools.product(*map(range, image.shape[2:])):
        around = tuple(slice(max(0, i - 1), i + 2) for i in index)
        out[(..., *index)] = image[(..., *around)].flatten(2).mean(2)
    return out


@pytest.mark.parametrize("dims", [2, 3])
def test_views_of_one_network(dims):
    torch.manual_seed(0)
    network = (nn.Conv2d if dims == 2 else nn.Conv3d)(1, 2, 3, padding=1)
    image = torch.rand(2, 1, *(7, 9, 5)[:dims])
    views = make_views(network, None, mirror_axes=[0])
    with torch.no_grad():
        mirrored = views["mirrored along 0"](image)
        assert torch.allclose(mirrored, network(image.flip(2)).flip(2))
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
        noisy = image + 0.3 * noise * image.flatten(2).std(2).view(2, 1, *[1] * dims)
        assert torch.allclose(views["noisy"](image), network(noisy), atol=1e-6)
        assert torch.equal(views["noisy"](image), views["noisy"](image))
        assert torch.allclose(views["blurred"](image), network(mean_of_neighbors(image)), atol=1e-6)
    assert sorted(views) == ["blurred", "mirrored along 0", "noisy"]


def test_the_student_of_a_teacher_and_the_teacher_of_a_student(tmp_path):
    teacher, student = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1)
    image = torch.rand(1, 1, 4, 4)
    for folder in ("models", "states"):
        (tmp_path / folder).mkdir()
    result, last = tmp_path / "models" / "model.pt", tmp_path / "states" / "last.pt"
    torch.save(teacher.state_dict(), result)
    assert "student" not in make_views(teacher, result)
    torch.save({"teacher": teacher.state_dict(), "student": student.state_dict()}, last)
    for path in (result, last):
        assert torch.equal(make_views(teacher, path)["student"](image), student(image))
    assert torch.equal(make_views(student, last, "student")["teacher"](image), teacher(image))
    # weights that are of another training than the states beside them
    assert "student" not in make_views(nn.Conv2d(1, 2, 1), result)


def test_each_network_of_an_ensemble_is_a_view():
    networks = [nn.Conv2d(1, 2, 1) for _ in range(3)]
    image = torch.rand(1, 1, 4, 4)
    views = make_views(Ensemble(networks), ["a", "b", "c"])
    for i, network in enumerate(networks):
        assert torch.equal(views[f"network {i}"](image), network(image))
