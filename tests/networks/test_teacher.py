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

import pytest
import torch
from torch import nn

from monai_sscm.networks import FeatureTap, make_teacher, unwrap, update_teacher


def make_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))


def test_teacher_is_a_frozen_copy_in_evaluation_mode():
    student = make_network().train()
    teacher = make_teacher(student)
    assert student.training and not any(m.training for m in teacher.modules())
    assert not any(p.requires_grad for p in teacher.parameters()) and all(p.requires_grad for p in student.parameters())
    for (name, a), b in zip(teacher.state_dict().items(), student.state_dict().values()):
        assert torch.equal(a, b) and a.data_ptr() != b.data_ptr(), name


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_parameters_are_averaged_and_buffers_copied(decay):
    student = make_network()
    teacher = make_teacher(student)
    expected = [p.detach().double() for p in teacher.parameters()]
    for _ in range(5):
        with torch.no_grad():
            for p in student.parameters():
                p.add_(torch.randn_like(p))
        student.train()(torch.randn(4, 2, 8, 8) * 3 + 1)  # moves the running statistics
        update_teacher(teacher, student, decay)
        expected = [decay * e + (1 - decay) * p.detach().double() for e, p in zip(expected, student.parameters())]
    for a, e in zip(teacher.parameters(), expected):
        torch.testing.assert_close(a.double(), e, rtol=1e-5, atol=1e-6)
    for (name, a), b in zip(teacher.named_buffers(), student.buffers()):
        assert torch.equal(a, b) and a.data_ptr() != b.data_ptr(), name
    assert teacher[1].num_batches_tracked == 5


def test_unwrap_compiled_and_parallel():
    network = make_network()
    assert unwrap(network) is network
    assert unwrap(nn.DataParallel(network)) is network
    compiled = torch.compile(network, backend="eager")
    assert unwrap(compiled) is network
    teacher = make_teacher(compiled)
    assert list(teacher.state_dict()) == list(network.state_dict())  # no prefix of a wrapper
    update_teacher(teacher, compiled, 0.9)


def test_teacher_of_a_tapped_student_carries_no_hook():
    student = make_network()
    with FeatureTap(student, "2"):
        pass
    assert not make_teacher(student)[2]._forward_hooks
