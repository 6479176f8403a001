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

"""The options of the bundles: what each may be, declared once, and checked before anything is made from them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monai_sscm.command_line import command_line_words
from monai_sscm.errors import shown
from monai_sscm.option_values import (
    Wrong,
    boolean,
    choice,
    device,
    list_of,
    number,
    pasted_classes,
    path,
    paths,
    pattern,
    span,
    stride,
    text,
)

__all__ = ["OPTIONS", "Option", "Options"]


@dataclass(frozen=True)
class Option:
    """
    What an option may be.

    Args:
        read: turns a value, or its text from the command line, into one of the option's type.
        null: whether it may be null.
        kept: whether it is kept with the weights, and a resumed training must agree on it.
    """

    read: Callable[[Any], Any]
    null: bool = False
    kept: bool = False

    def __call__(self, name: str, value: Any) -> Any:
        """
        The value in the option's type.

        Args:
            name: name of the option.
            value: a value of its type, or text that stands for one.

        Raises:
            ValueError: when it is of another type or out of range.
        """
        if value is None or (isinstance(value, str) and value.strip().lower() in ("null", "none")):
            if self.null:
                return None
            value = None
        try:
            for tried in (value, ""):  # the second says what it must be
                with contextlib.suppress(TypeError, ValueError, ArithmeticError, RecursionError, OSError):
                    return self.read("" if tried is None else tried)
            raise Wrong("another value")
        except Wrong as e:
            raise ValueError(f"`{name}` must be {e}{', or null' * self.null}, got {shown(value)}.") from None


_COUNT, _AT_LEAST_0 = number(int, 1), number(int, 0)
_SHARE, _POSITIVE, _NOT_NEGATIVE = number(float, 0, 1), number(float, 0, above=True), number(float, 0)
_SIZE = list_of("a list of 2 or 3 whole numbers of at least 1", _COUNT, 2, 3)
_CROP = choice("anywhere", "with_classes")
_INTENSITIES = span("two intensities, the lower one first", number(float, -math.inf))
_SPACING = list_of("a list of 2 or 3 numbers above 0, in mm", _POSITIVE, 2, 3)

#: by name; a bundle may have options of its own, which are taken as they are
OPTIONS: dict[str, Option] = {
    # data
    "dataset_dir": Option(path),
    "num_labeled": Option(_AT_LEAST_0, null=True, kept=True),
    "val_fraction": Option(number(float, 0, 1, below=True), kept=True),
    "train_on_test_images": Option(boolean, kept=True),
    "unlabeled_images": Option(boolean, kept=True),
    "spatial_dims": Option(number(int, 2, 3), kept=True),
    "in_channels": Option(_COUNT, kept=True),
    "class_names": Option(
        list_of("a list of at least 2 different names, background first", text, 2, unique=True), kept=True
    ),
    "group_pattern": Option(pattern, null=True, kept=True),
    "ignore_index": Option(number(int, -math.inf), null=True, kept=True),
    "paste_classes": Option(pasted_classes, kept=True),
    "paste_prob": Option(_SHARE, kept=True),
    "paste_margin": Option(_AT_LEAST_0, kept=True),
    "keep_class_shares": Option(boolean, kept=True),
    "zoom": Option(_POSITIVE, kept=True),
    "shortest_side": Option(_COUNT, null=True, kept=True),
    "field_of_view": Option(choice("find"), null=True, kept=True),
    "spacing": Option(_SPACING, null=True, kept=True),
    "size": Option(_SIZE, null=True, kept=True),
    "intensity_range": Option(
        span("two intensities, the lower one first", number(float, -math.inf)), null=True, kept=True
    ),
    "patch_size": Option(_SIZE, kept=True),
    "channels": Option(list_of("a list of at least 2 whole numbers of at least 1", _COUNT, 2), kept=True),
    "strides": Option(
        list_of("a list of whole numbers of at least 1, or of lists with one for each axis", stride), kept=True
    ),
    "mirror_axes": Option(
        list_of("a list of different axes, from 0 to 2", number(int, 0, 2), 0, 3, unique=True), kept=True
    ),
    "turn": Option(boolean, kept=True),
    "rotate_range": Option(
        list_of("one or three numbers of degrees from 0 to 180", number(float, 0, 180), 1, 3), kept=True
    ),
    "scale_range": Option(span("two factors above 0, the smaller one first", _POSITIVE, equal=True), kept=True),
    "labeled_crop": Option(_CROP, kept=True),
    "donor_crop": Option(_CROP, kept=True),
    "align_donors": Option(boolean, kept=True),
    "batch_size": Option(_COUNT, kept=True),
    "num_workers": Option(_AT_LEAST_0),
    "cache_gigabytes": Option(_NOT_NEGATIVE),
    # training
    "method": Option(text, kept=True),
    "seed": Option(number(int, 0, 2**32 - 1)),
    "init_from": Option(path, null=True),
    "resume": Option(boolean),
    "max_epochs": Option(_COUNT),
    "epoch_length": Option(_COUNT),
    "val_interval": Option(_COUNT),
    "learning_rate": Option(_POSITIVE, kept=True),
    "weight_decay": Option(_NOT_NEGATIVE, kept=True),
    "device": Option(device),
    "amp": Option(boolean, null=True, kept=True),
    "output_dir": Option(path),
    "update_model": Option(boolean),
    # method
    "teacher_decay": Option(number(float, 0, 1, below=True), kept=True),
    "confidence_threshold": Option(_SHARE, kept=True),
    "confidence_weighting": Option(choice("image", "pixel"), kept=True),
    "supervised_weight": Option(_NOT_NEGATIVE, kept=True),
    "unsupervised_weight": Option(_NOT_NEGATIVE, kept=True),
    "rampup_steps": Option(_AT_LEAST_0, kept=True),
    "feature_layer": Option(text, kept=True),
    "feature_channels": Option(_COUNT, kept=True),
    "adversarial_weight": Option(_NOT_NEGATIVE, kept=True),
    "adversarial_interval": Option(_COUNT, kept=True),
    "discriminator_learning_rate": Option(_POSITIVE, kept=True),
    # evaluation and inference
    "part": Option(choice("val", "test")),
    "checkpoint": Option(paths("a checkpoint or a list of them")),
    "weights": Option(choice("teacher", "student")),
    "evaluation_dir": Option(path),
    "input": Option(paths("an image, a folder of images or a list of them"), null=True),
    "save_probabilities": Option(boolean),
    "save_overlays": Option(boolean),
    "quality": Option(boolean),
    "overlap": Option(number(float, 0, 1, below=True)),
    "sw_batch_size": Option(_COUNT),
    "slab": Option(_COUNT),
}


class Options(Mapping):
    """
    The options of a bundle, each in its type and range, by name and as attributes.

    A configuration builds it from the values at its top, after all overrides, and all that follows takes them from
    here. So what the command line gives as text, a script as objects and a host in its own way is the same to the rest,
    and a wrong value is refused before anything is made from it.

    Args:
        size_multiple: the network halves images so far: sizes of crops must be multiples of it, of one number or of
            one for each axis. None: as ``strides`` among the values say.
        values: the options by name; one that :py:data:`OPTIONS` does not declare is taken as it is.

    Raises:
        ValueError: when one is of another type, out of range, or contradicts another.

    Example:
        >>> from monai_sscm.options import Options
        >>> options = Options(num_labeled="4", class_names="[background, main vein]", resume="false")
        >>> options.num_labeled, options.class_names, options.resume
        (4, ['background', 'main vein'], False)
        >>> Options(max_epochs=0)
        Traceback (most recent call last):
        ValueError: `max_epochs` must be a whole number of at least 1, got 0.
    """

    def __init__(self, size_multiple: int | Sequence[int] | None = None, **values: Any) -> None:
        self._values: dict[str, Any] = {}
        words = command_line_words()
        for name, value in values.items():
            option = OPTIONS.get(name)
            if name in words and isinstance(value, (int, float)):  # 2024_01_15 was no number
                value = words[name]
            self._values[name] = value if option is None else option(name, value)
        self._check_together(size_multiple)

    def _check_together(self, size_multiple: int | Sequence[int] | None) -> None:
        values = self._values
        classes, dims = (values.get(name) for name in ("paste_classes", "spatial_dims"))
        for name in ("patch_size", "size", "spacing"):
            if dims and values.get(name) and len(values[name]) != dims:
                raise ValueError(f"`{name}` must have {dims} numbers, as `spatial_dims` says, got {values[name]}.")
        if dims and max(values.get("mirror_axes") or [0]) >= dims:
            raise ValueError(
                f"`mirror_axes` must be axes from 0 to {dims - 1}, as `spatial_dims` says, got {values['mirror_axes']}."
            )
        if dims and len(values.get("rotate_range") or [0]) not in {1, 2 * dims - 3}:
            what = "1 number or 3" if dims == 3 else "1 number"
            raise ValueError(f"`rotate_range` must have {what}, as `spatial_dims` says, got {values['rotate_range']}.")
        if values.get("size") and values.get("spacing"):
            raise ValueError("`size` and `spacing` both say how large slices are: set one of them to null.")
        self._check_network(size_multiple)
        if isinstance(classes, list) and "class_names" in values and max(classes) >= len(values["class_names"]):
            raise ValueError(
                f"`paste_classes` are indices of `class_names`, from 0 to {len(values['class_names']) - 1}, "
                f"got {classes}."
            )

    def _check_network(self, size_multiple: int | Sequence[int] | None) -> None:
        """Whether the U-Net's values fit together, and crops go through it."""
        values = self._values
        dims, channels, patch_size = (values.get(name) for name in ("spatial_dims", "channels", "patch_size"))
        strides = values.get("strides") or []
        if strides and channels and len(strides) != len(channels) - 1:
            raise ValueError(f"`strides` must have one item fewer than `channels`, {channels}, got {strides}.")
        if dims and any(isinstance(stride, list) and len(stride) != dims for stride in strides):
            raise ValueError(f"Each list in `strides` must have {dims} numbers, as `spatial_dims` says, got {strides}.")
        if not patch_size:
            return
        multiples = [math.prod(s if isinstance(s, int) else s[i] for s in strides) for i, _ in enumerate(patch_size)]
        if size_multiple is not None:
            multiples = [size_multiple for _ in patch_size] if isinstance(size_multiple, int) else list(size_multiple)
        near = [max(1, round(n / m)) * m for n, m in zip(patch_size, multiples, strict=True)]
        if any(n % m for n, m in zip(patch_size, multiples, strict=True)):
            what = f"{multiples[0]}" if len(set(multiples)) == 1 else f"{multiples}, axis by axis"
            raise ValueError(
                f"`patch_size` must be multiples of {what}, since the network halves images so far, got "
                f"{patch_size}: take {near}."
            )

    def kept(self) -> dict[str, Any]:
        """What is kept with the weights, and what a resumed training must agree on; a bundle's own options are."""
        return {name: value for name, value in self._values.items() if name not in OPTIONS or OPTIONS[name].kept}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._values:
            raise AttributeError(f"There is no option {name!r} among {', '.join(self.__dict__.get('_values', {}))}.")
        return self._values[name]

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"
