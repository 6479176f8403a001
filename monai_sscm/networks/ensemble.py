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

"""Several networks as one: the mean of their probabilities."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

__all__ = ["Ensemble", "make_ensemble"]


class Ensemble(nn.Module):
    """
    Networks whose probabilities are averaged.

    The output is the logarithm of the mean of their probabilities: logits, so that softmax and argmax behind it are
    those of the mean.

    Args:
        networks: networks that take the same image, and give logits ``(B, C, *spatial)`` of the same classes.

    Raises:
        ValueError: when there is none.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from monai_sscm.networks import Ensemble
        >>> networks = [nn.Conv2d(1, 3, 1) for _ in range(2)]
        >>> image = torch.rand(1, 1, 4, 4)
        >>> mean = (networks[0](image).softmax(1) + networks[1](image).softmax(1)) / 2
        >>> torch.allclose(Ensemble(networks)(image).softmax(1), mean)
        True
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        if not networks:
            raise ValueError("An ensemble needs a network.")
        self.networks = nn.ModuleList(networks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Args:
            x: image ``(B, C, *spatial)``.

        Returns:
            logarithms of the mean probabilities, float32.
        """
        total: torch.Tensor | None = None
        for network in self.networks:
            log_probabilities = network(x).float().log_softmax(1)
            total = log_probabilities if total is None else torch.logaddexp(total, log_probabilities)
        assert total is not None
        return total - math.log(len(self.networks))


def make_ensemble(network: nn.Module, checkpoint: str | Path | Sequence[str | Path]) -> nn.Module:
    """
    The network for a checkpoint, or an ensemble of copies of it for several.

    Args:
        network: the network.
        checkpoint: path of a checkpoint or a list of paths, see :py:func:`monai_sscm.networks.load_weights`, which
            loads them.

    Example:
        >>> from torch import nn
        >>> from monai_sscm.networks import make_ensemble
        >>> len(make_ensemble(nn.Conv2d(1, 2, 1), ["a/models/model.pt", "b/models/model.pt"]).networks)
        2
    """
    if isinstance(checkpoint, (str, Path)) or len(checkpoint) == 1:
        return network
    return Ensemble([copy.deepcopy(network) for _ in checkpoint])
