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

"""Images of several batches in one, and apart again."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch

__all__ = ["concatenate", "detach", "num_samples", "rows_of", "take_rows"]


def concatenate(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """
    One batch of all images, in the type of the first.

    Args:
        images: batches of images of one size.

    Raises:
        ValueError: when their sizes differ.
    """
    shapes = {tuple(image.shape[1:]) for image in images}
    if len(shapes) > 1:
        raise ValueError(
            f"Labeled images and views go through the network together, but their shapes (channels first) differ: "
            f"{sorted(shapes)}. Crop all to the same size."
        )
    return images[0] if len(images) == 1 else torch.cat([image.to(images[0].dtype) for image in images])


def rows_of(images: Sequence[torch.Tensor]) -> list[slice]:
    """
    Where each batch is when all are put one behind the other.

    Args:
        images: the batches.
    """
    ends = itertools.accumulate(len(image) for image in images)
    return [slice(end - len(image), end) for image, end in zip(images, ends, strict=True)]


def take_rows(pred: Any, rows: slice) -> Any:
    """
    Samples of a prediction.

    Args:
        pred: a tensor, or a list of them as networks with deep supervision give.
        rows: which samples.
    """
    return pred[rows] if isinstance(pred, torch.Tensor) else [take_rows(p, rows) for p in pred]


def detach(pred: Any) -> Any:
    """
    A prediction without its graph.

    Args:
        pred: a tensor, or a list of them.
    """
    return pred.detach() if isinstance(pred, torch.Tensor) else [detach(p) for p in pred]


def num_samples(value: Any) -> int:
    """
    Number of samples of an entry of a batch; 0 where it has none.

    Args:
        value: the entry.
    """
    if isinstance(value, torch.Tensor):
        return len(value) if value.ndim else 0
    return len(value) if hasattr(value, "__len__") else 0
