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

"""Scores as functions of masks; handlers and commands are made from them."""

from __future__ import annotations

from .agreement import mask_agreement, mean_of_classes
from .calibration import Calibration, fit_calibration
from .distance import hausdorff_95
from .overlap import confusion_matrix, dice_per_class, iou_per_class
from .tables import text_table

__all__ = [
    "Calibration",
    "confusion_matrix",
    "dice_per_class",
    "fit_calibration",
    "hausdorff_95",
    "iou_per_class",
    "mask_agreement",
    "mean_of_classes",
    "text_table",
]
