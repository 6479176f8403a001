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

"""The numbers in a trainer's output."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["scalars"]


def scalars(output: Any) -> dict[str, float]:
    """
    The losses and other numbers in a trainer's output, by name: for progress bars and ``TensorBoardStatsHandler``.

    Args:
        output: ``trainer.state.output``, a dictionary or, decollated, a list of them.

    Example:
        >>> import torch
        >>> from monai_sscm.handlers import scalars
        >>> scalars({"loss": torch.tensor(0.5), "pred": torch.rand(4, 2, 8, 8)})
        {'loss': 0.5}
    """
    item = output[0] if isinstance(output, list) else output
    return {str(k): float(v) for k, v in item.items() if isinstance(v, (int, float, torch.Tensor)) and _is_number(v)}


def _is_number(value: float | torch.Tensor) -> bool:
    return not isinstance(value, torch.Tensor) or value.ndim == 0
