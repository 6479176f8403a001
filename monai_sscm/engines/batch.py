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
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.utils import convert_to_tensor

__all__ = [
    "StepOutput",
    "concatenate",
    "detach",
    "heads_of",
    "labeled_of",
    "num_samples",
    "plain_tensors",
    "rows_of",
    "take_rows",
]


class StepOutput(dict):
    """
    What a step gives, by name. A handler that takes it for MONAI's decollated list, ``output[0]``, is told what to do.
    """

    def __missing__(self, key: Any) -> Any:
        if key == 0:
            raise KeyError(
                "With `decollate=False` the trainer's output is one dictionary and no list: give StatsHandler "
                "`output_transform=monai_sscm.handlers.scalars`, MetricLogger `loss_transform=lambda output: "
                'output["loss"]`, or the trainer `decollate=True`.'
            )
        raise KeyError(key)


def labeled_of(
    prepared: Sequence[Any], batch: Mapping[str, Any], supervised_weight: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Image and label of a batch, or why nothing labelled can be learned from it where that is asked for.

    Args:
        prepared: what ``prepare_batch`` gave.
        batch: all that the loader gave.
        supervised_weight: factor of the loss of the labelled images.

    Raises:
        ValueError: when there is more than the two, one is missing, or both are empty and the factor is not 0.
    """
    if len(prepared) != 2:
        raise ValueError(
            "`prepare_batch` must return image and label alone: further network arguments would not fit the one "
            "pass of labeled images and views."
        )
    image, label = prepared
    if image is None or label is None:
        raise ValueError(f"The labeled batch needs 'image' and 'label', it has {list(batch)}.")
    if not len(label) and supervised_weight:
        raise ValueError(
            "There are no labeled images, and `supervised_weight` is not 0: set it to 0, with a method that learns "
            "from unlabeled images alone (mean_teacher, fixmatch), or give labeled images."
        )
    return image, label


def plain_tensors(
    batch: Mapping[str, Any], device: torch.device, non_blocking: bool, to_kwargs: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    """
    The tensors of a batch on a device, without metadata, which would cost up to a fifth of a small step.

    Args:
        batch: what the loader gave.
        device: the device.
        non_blocking: whether nothing waits for the copies.
        to_kwargs: further arguments of ``Tensor.to`` for floating-point tensors.
    """
    return {
        key: convert_to_tensor(value, track_meta=False).to(
            device, non_blocking=non_blocking, **(to_kwargs if value.is_floating_point() else {})
        )
        for key, value in batch.items()
        if isinstance(value, torch.Tensor)
    }


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


def heads_of(pred: Any, ndim: int) -> Any:
    """
    A prediction with deep supervision as a list of its heads; others as they are.

    Args:
        pred: what the network gave; MONAI's ``DynUNet`` stacks the heads along dimension 1.
        ndim: number of dimensions of the images.
    """
    return list(pred.unbind(1)) if isinstance(pred, torch.Tensor) and pred.ndim > ndim else pred


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
