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


"""A plan in the making, and figures that several rules need."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from monai_sscm.methods import METHODS

from .cost import seconds_of_a_pixel
from .fingerprint import Fingerprint
from .hardware import Hardware

__all__ = [
    "Draft",
    "image_gigabytes",
    "is_thin",
    "minutes",
    "seconds_of_a_step",
    "seconds_of_a_validation",
    "thinnest",
]


@dataclass
class Draft:
    """
    A plan in the making.

    Args:
        seen: what was seen of the data.
        hardware: what it is trained on.
        kind: of templates.
        values: what has been decided.
    """

    seen: Fingerprint
    hardware: Hardware
    kind: str
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def dims(self) -> int:
        """Dimensions that the network sees."""
        return 3 if self.kind == "volumes" else 2

    @property
    def pixel(self) -> list[float]:
        """Size of a pixel along each axis, as the network sees it."""
        stored = self.seen.spacing[: self.dims] if self.seen.spacing else [1.0] * self.dims
        return self.values.get("spacing") or stored

    @property
    def size(self) -> list[int]:
        """Size of an image along each axis, as the network sees it."""
        stored = self.seen.spacing[: self.dims] if self.seen.spacing else [1.0] * self.dims
        factors = [self.values.get("zoom", 1.0) * old / new for old, new in zip(stored, self.pixel, strict=True)]
        median = self.seen.sizes["median"][: self.dims]
        return [max(1, round(side * factor)) for side, factor in zip(median, factors, strict=True)]

    @property
    def one_image(self) -> str:
        """What an image is called."""
        return "picture" if self.kind == "pictures" else "volume"

    @property
    def paste_classes(self) -> list[int]:
        """Indices of the classes that are pasted."""
        chosen = self.values["paste_classes"]
        return chosen if isinstance(chosen, list) else list(range(1, len(self.seen.classes)))


def seconds_of_a_step(draft: Draft) -> float:
    """About how long a step takes: labeled images and views learned from, the teacher's pass, transforms and loss."""
    values, hardware = draft.values, draft.hardware
    pixels = values["batch_size"] * math.prod(values["patch_size"])
    network = pixels * seconds_of_a_pixel(draft.dims, values["channels"], len(draft.seen.classes), hardware)
    method = METHODS[values["method"]]
    passes = 1 + method.num_views + ("unlabeled" in method.config["streams"]) / 3
    if values.get("amp") and not hardware.has_gpu:
        passes *= 0.65  # as measured with bfloat16; GPUs are rated with mixed precision
    return passes * network + (0.05 if hardware.has_gpu else 0.02)


def seconds_of_a_validation(draft: Draft) -> float:
    """About how long the validation images take: forward passes of overlapping windows."""
    pixels = math.prod(draft.size) * (1 if draft.kind != "slices" else draft.seen.sizes["median"][2])
    seconds = seconds_of_a_pixel(draft.dims, draft.values["channels"], len(draft.seen.classes), draft.hardware) / 3
    return draft.seen.counts["val"] * pixels * seconds * 3.0


def minutes(draft: Draft) -> float:
    """About how long the training takes."""
    epochs = draft.values["max_epochs"]
    validations = epochs // draft.values["val_interval"] * seconds_of_a_validation(draft)
    return (epochs * draft.values["epoch_length"] * seconds_of_a_step(draft) + validations) / 60


def image_gigabytes(draft: Draft) -> float:
    """About how much memory an image takes with its mask."""
    pixels = math.prod(draft.seen.sizes["median"])
    if draft.kind != "slices":
        pixels = math.prod(draft.size)
    return pixels * (4 * draft.seen.channels + 1) / 1e9


def thinnest(seen: Fingerprint) -> float:
    """Thickness of the thinnest class in pixels as stored; infinite where there is none."""
    return min((c.thickness for c in seen.foreground if c.thickness is not None), default=math.inf)


def is_thin(seen: Fingerprint) -> bool:
    """Whether a class is of thin lines, such as vessels (500 to 1,000 times as long as thick) and no ring (25)."""
    return any((c.thickness or math.inf) <= 12 and (c.elongation or 0) >= 40 for c in seen.foreground)
