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

"""The teacher: an exponential moving average of the student."""

from __future__ import annotations

from copy import deepcopy

import ignite.distributed as idist
import torch
from torch import distributed, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["make_teacher", "unwrap", "update_teacher", "weight_sums"]


def unwrap(network: nn.Module) -> nn.Module:
    """The network inside ``DistributedDataParallel`` and ``torch.compile``, whose parameters it shares."""
    while True:
        inner = getattr(network, "_orig_mod", None)
        if inner is None and isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = network.module
        if inner is None:
            return network
        network = inner


def make_teacher(network: nn.Module) -> nn.Module:
    """
    A copy of the student, to be its teacher: in evaluation mode, without gradients.

    Args:
        network: the student; a DDP or compiled network is unwrapped first.

    Example:
        >>> from torch import nn
        >>> from monai_sscm.networks import make_teacher
        >>> teacher = make_teacher(nn.Conv2d(1, 2, 3))
        >>> teacher.training, teacher.weight.requires_grad
        (False, False)
    """
    return deepcopy(unwrap(network)).requires_grad_(False).eval()


@torch.no_grad()
def update_teacher(teacher: nn.Module, network: nn.Module, decay: float) -> None:
    """
    Move the teacher towards the student: ``teacher = decay * teacher + (1 - decay) * student``.

    Parameters are averaged. Buffers, such as the running statistics of batch normalization, are averages already and
    are copied; under ``torch.distributed``, where every process has its own, those of the first process.

    Tarvainen, Valpola, "Mean teachers are better role models", NeurIPS 2017.

    Args:
        teacher: network that is changed, made by :py:func:`make_teacher`.
        network: the student.
        decay: share of the teacher that stays, in [0, 1].

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from monai_sscm.networks import make_teacher, update_teacher
        >>> student = nn.Linear(1, 1, bias=False)
        >>> teacher = make_teacher(student)
        >>> student.weight.data += 1.0
        >>> before = teacher.weight.clone()
        >>> update_teacher(teacher, student, decay=0.9)
        >>> torch.allclose(teacher.weight - before, torch.tensor(0.1))
        True
    """
    student = unwrap(network)
    get_ema_multi_avg_fn(decay)(list(teacher.parameters()), list(student.parameters()), None)
    for copy, buffer in zip(teacher.buffers(), student.buffers(), strict=True):
        copy.copy_(buffer)
        if idist.get_world_size() > 1:
            distributed.broadcast(copy, src=0)


@torch.no_grad()
def weight_sums(network: nn.Module) -> list[float]:
    """
    Numbers that change when somebody loads other weights into a network: the sum of each tensor of its state.

    Args:
        network: network; a DDP or compiled network is unwrapped first.

    Example:
        >>> from torch import nn
        >>> from monai_sscm.networks import weight_sums
        >>> layer = nn.Linear(2, 1)
        >>> before = weight_sums(layer)
        >>> layer.load_state_dict(nn.Linear(2, 1).state_dict())
        <All keys matched successfully>
        >>> weight_sums(layer) == before
        False
    """
    sums = [x.sum(dtype=torch.float64) for x in unwrap(network).state_dict().values()]
    return torch.stack(sums).tolist() if sums else []
