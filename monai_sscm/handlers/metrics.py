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

"""Scores of a data set: IoU and Dice from one confusion matrix, and Hausdorff distances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ignite.metrics import ConfusionMatrix, Metric, MetricsLambda
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce
from monai.metrics import compute_hausdorff_distance

__all__ = ["confusion_matrix", "dice_per_class", "hausdorff_metrics", "iou_per_class", "segmentation_metrics"]


def confusion_matrix(label: torch.Tensor, pred: torch.Tensor, num_classes: int) -> torch.Tensor:
    """
    Count the pixels of every class that are predicted as every class.

    Args:
        label: class indices of the truth, int64; pixels with other values, such as an ignored one, do not count.
        pred: class indices of the prediction, of the same shape.
        num_classes: number of classes with the background.

    Returns:
        ``(C, C)``, truth in rows, prediction in columns.

    Example:
        >>> import torch
        >>> from monai_sscm.handlers import confusion_matrix
        >>> confusion_matrix(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1]), num_classes=2)
        tensor([[1, 1],
                [0, 2]])
    """
    counted = (label >= 0) & (label < num_classes)
    pairs = label[counted] * num_classes + pred[counted]
    return torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def iou_per_class(matrix: torch.Tensor) -> torch.Tensor:
    """
    Intersection over union of every class.

    Args:
        matrix: confusion matrix ``(C, C)``, truth in rows, prediction in columns; or several, ``(..., C, C)``.

    Returns:
        ``(C,)``, or ``(..., C)``, in [0, 1]; nan for a class that is neither in the truth nor predicted.

    Example:
        >>> import torch
        >>> from monai_sscm.handlers import iou_per_class
        >>> iou_per_class(torch.tensor([[8, 2, 0], [0, 2, 0], [0, 0, 0]]))
        tensor([0.8000, 0.5000,    nan], dtype=torch.float64)
    """
    matrix = matrix.double()
    both = matrix.diagonal(dim1=-2, dim2=-1)
    return both / (matrix.sum(-2) + matrix.sum(-1) - both)


def dice_per_class(matrix: torch.Tensor) -> torch.Tensor:
    """
    Dice coefficient of every class, ``2 |A and B| / (|A| + |B|)``; nan as in :py:func:`iou_per_class`.

    Args:
        matrix: as there.

    Returns:
        ``(C,)``, or ``(..., C)``, in [0, 1].

    Example:
        >>> import torch
        >>> from monai_sscm.handlers import dice_per_class
        >>> truth_in_rows = torch.tensor([[8, 2, 0], [0, 2, 0], [0, 0, 0]])
        >>> [round(x, 3) for x in dice_per_class(truth_in_rows).tolist()]
        [0.889, 0.667, nan]
    """
    matrix = matrix.double()
    return 2 * matrix.diagonal(dim1=-2, dim2=-1) / (matrix.sum(-2) + matrix.sum(-1))


def segmentation_metrics(
    class_names: Sequence[str], output_transform: Callable[[Any], tuple[torch.Tensor, torch.Tensor]] | None = None
) -> dict[str, Metric]:
    """
    Mean IoU, and IoU and Dice of every class, over all pixels of the data set; to be given to an evaluator as
    ``key_val_metric``, where the mean IoU, being first, is the key.

    Args:
        class_names: names of the classes in the order of their indices, background first.
        output_transform: from the engine's output to logits or one-hot prediction ``(B, C, *spatial)``, or class
            indices ``(B, *spatial)``, and the label's class indices ``(B, *spatial)``. None: ``pred`` and ``label`` of
            a dictionary or a decollated list.

    Returns:
        ``mean_iou``, and ``iou_<name>`` and ``dice_<name>`` for every class; absent classes are nan and left out of
        the mean.

    Example:
        >>> import torch
        >>> from ignite.engine import Engine
        >>> from monai_sscm.handlers import segmentation_metrics
        >>> engine = Engine(lambda engine, batch: batch)
        >>> for name, metric in segmentation_metrics(["background", "vessel"]).items():
        ...     metric.attach(engine, name)
        >>> label = torch.tensor([[[0, 0], [1, 1]]])[None]
        >>> logits = torch.nn.functional.one_hot(label[:, 0], 2).movedim(-1, 1).float()
        >>> engine.run([{"pred": logits, "label": label}]).metrics["mean_iou"]
        1.0
    """
    matrix = _IndexConfusionMatrix(len(class_names), output_transform=output_transform or _pred_and_label)
    metrics: dict[str, Metric] = {"mean_iou": MetricsLambda(lambda m: float(iou_per_class(m).nanmean()), matrix)}
    for i, name in enumerate(class_names):
        metrics[f"iou_{name}"] = MetricsLambda(lambda m, i=i: float(iou_per_class(m)[i]), matrix)
        metrics[f"dice_{name}"] = MetricsLambda(lambda m, i=i: float(dice_per_class(m)[i]), matrix)
    return metrics


def hausdorff_metrics(
    class_names: Sequence[str], output_transform: Callable[[Any], Any] | None = None
) -> dict[str, Metric]:
    """
    95 % Hausdorff distance of every class but the background, in millimetres: the mean over the volumes with the class.

    A volume with a class only in the truth, or only in the prediction, counts with the length of its diagonal: a
    distance of 0, or leaving the volume out, would reward a missed class. Volumes without the class are left out, and
    so are pictures, whose pixel size is unknown.

    Args:
        class_names: names of the classes in the order of their indices, background first.
        output_transform: from the engine's output to prediction and label, class indices ``(B, *spatial)``, and the
            voxel's size in mm along each axis, or None. None: ``pred``, ``label`` and the metadata of ``image`` of a
            dictionary or a decollated list, as :py:class:`monai_sscm.io.VolumeReader` gives it.

    Returns:
        ``hd95_<name>`` for every class; nan for a class that is in no volume.
    """
    distances = _HausdorffDistances(len(class_names), output_transform or _with_spacing)
    return {
        f"hd95_{name}": MetricsLambda(lambda d, i=i: float(d[i]), distances) for i, name in enumerate(class_names[1:])
    }


class _HausdorffDistances(Metric):
    def __init__(self, num_classes: int, output_transform: Callable[[Any], Any]) -> None:
        self.num_classes = num_classes
        super().__init__(output_transform)

    @reinit__is_reduced
    def reset(self) -> None:
        self._sum = torch.zeros(self.num_classes - 1, dtype=torch.float64, device=self._device)
        self._count = torch.zeros(self.num_classes - 1, dtype=torch.float64, device=self._device)

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        pred, label, spacing = output
        if spacing is None:
            return
        # a single slice is a picture: as a volume, all of a lesion would be its edge
        axes = [axis for axis, n in enumerate(label.shape[1:]) if n > 1]
        spacing = [spacing[axis] for axis in axes]
        pred, label = (x.reshape(len(x), *(x.shape[1 + axis] for axis in axes)) for x in (pred, label))
        diagonal = float(np.linalg.norm(np.array(label.shape[1:]) * np.array(spacing)))
        for p, t in zip(pred, label, strict=True):
            for i in range(1, self.num_classes):
                predicted, true = (p == i)[None, None], (t == i)[None, None]
                present = [bool(predicted.any()), bool(true.any())]
                if all(present):
                    distance = compute_hausdorff_distance(predicted, true, True, percentile=95, spacing=list(spacing))
                    self._sum[i - 1] += float(distance)
                elif any(present):
                    self._sum[i - 1] += diagonal
                self._count[i - 1] += any(present)

    @sync_all_reduce("_sum", "_count")
    def compute(self) -> torch.Tensor:
        return self._sum / self._count


def _with_spacing(output: Any) -> tuple[torch.Tensor, torch.Tensor, list[float] | None]:
    items = output if isinstance(output, list) else [output]
    meta = getattr(items[0]["image"], "meta", {})
    spacing = None
    if "geometry" in meta:
        # of the axes as they were read, not as they were stored
        affine = torch.as_tensor(meta["affine"]).double().reshape(-1, 4, 4)[0]
        spacing = affine[:3, :3].norm(dim=0).tolist()
    pred, label = _pred_and_label(output)
    return (pred if pred.ndim == label.ndim else pred.argmax(1)), label, spacing


class _IndexConfusionMatrix(ConfusionMatrix):
    """ignite's, which also takes predictions as class indices, as of a volume whose logits would not fit."""

    def update(self, output: Sequence[torch.Tensor]) -> None:
        pred, label = (x.detach() for x in output)
        if pred.shape != label.shape:
            super().update((pred, label))
            return
        self._num_examples += len(pred)
        counts = confusion_matrix(label.long(), pred.long(), self.num_classes)
        self.confusion_matrix += counts.to(self.confusion_matrix)


def _pred_and_label(output: Any) -> tuple[torch.Tensor, torch.Tensor]:
    if isinstance(output, list):
        output = {key: torch.stack([torch.as_tensor(item[key]) for item in output]) for key in ("pred", "label")}
    pred, label = torch.as_tensor(output["pred"]), torch.as_tensor(output["label"])
    if pred.shape[1] == 1:
        return pred[:, 0].long(), label[:, 0].long()
    if label.shape[1] not in (1, pred.shape[1]):
        raise ValueError(f"The label must have one channel or {pred.shape[1]}, got {tuple(label.shape)}.")
    return pred, (label[:, 0] if label.shape[1] == 1 else label.argmax(1)).long()
