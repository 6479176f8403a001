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

"""Scores of a data set for an evaluator: IoU and Dice from one confusion matrix, and Hausdorff distances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ignite.metrics import ConfusionMatrix, Metric, MetricsLambda
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce

from monai_sscm.metrics import confusion_matrix, dice_per_class, hausdorff_95, iou_per_class

__all__ = ["hausdorff_metrics", "segmentation_metrics"]


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
    so are pictures, whose pixel size is unknown. Pixels whose label is no class, such as an ignored one, are of no
    class in the prediction either.

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
        diagonal = float(np.linalg.norm([n * size for n, size in zip(label.shape[1:], spacing, strict=True) if n > 1]))
        for p, t in zip(pred, label, strict=True):
            for i in range(1, self.num_classes):
                masks = (p == i) & (t < self.num_classes), t == i  # pixels that are to be ignored are of no class
                present = [bool(mask.any()) for mask in masks]
                if all(present):
                    self._sum[i - 1] += hausdorff_95(*masks, spacing)
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
        # of the axes and the grid that is scored, not of those that were stored
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
