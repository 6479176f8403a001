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

"""Distance between the outlines of a prediction and of the truth."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from monai.metrics import compute_hausdorff_distance

__all__ = ["hausdorff_95"]


def hausdorff_95(pred: torch.Tensor, label: torch.Tensor, spacing: Sequence[float] | None = None) -> float:
    """
    95 % Hausdorff distance of two masks of one class.

    Axes of length 1 are left out: in a volume of one slice all of an object would be its outline.

    Args:
        pred: predicted mask, bool, ``(*spatial)``.
        label: true mask, of the same shape.
        spacing: size of a pixel along each axis, in mm. None: the distance is in pixels.

    Returns:
        the distance, at least 0; nan where a mask is empty.

    Example:
        >>> import torch
        >>> from monai_sscm.metrics import hausdorff_95
        >>> pred, label = torch.zeros(2, 8, 8, dtype=torch.bool)
        >>> pred[2, 2] = label[2, 5] = True
        >>> hausdorff_95(pred, label), hausdorff_95(pred, label, spacing=[1.0, 0.5])
        (3.0, 1.5)
    """
    if not (bool(pred.any()) and bool(label.any())):
        return float("nan")
    axes = [axis for axis, n in enumerate(label.shape) if n > 1] or [0]
    pred, label = (x.reshape(1, 1, *(x.shape[axis] for axis in axes)) for x in (pred, label))
    sizes = None if spacing is None else [float(spacing[axis]) for axis in axes]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*always_return_as_numpy")  # MONAI's own call
        return float(compute_hausdorff_distance(pred, label, include_background=True, percentile=95, spacing=sizes))
