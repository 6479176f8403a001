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


"""What is decided from what was seen: a value and its reason by a small function each."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from monai_sscm.methods import METHODS

from .cost import halvings, multiple_of, network_channels, pixels_of_a_patch, shrink_to
from .draft import Draft, image_gigabytes, is_thin, seconds_of_a_step, seconds_of_a_validation, thinnest
from .fingerprint import Fingerprint
from .words import axis_names, by, counted

__all__ = ["RULES", "SEMI_SUPERVISED", "choose_kind"]

#: the method where images without masks are worth it
SEMI_SUPERVISED = "supmix_cutmix"
_STEPS = 50  # of an epoch

Decision = tuple[Any, str]


def choose_kind(seen: Fingerprint, spatial_dims: int | None = None) -> Decision:
    """
    The kind of templates: pictures, volumes, or volumes slice by slice.

    Raises:
        ValueError: when pictures are to have 3 dimensions.
    """
    if seen.pictures:
        if spatial_dims == 3:
            raise ValueError("`spatial_dims` is 3, but the images are pictures, which have 2: leave it out.")
        return "pictures", "the images are pictures"
    if spatial_dims is not None:
        return ("slices" if spatial_dims == 2 else "volumes"), "as you chose"
    assert seen.spacing is not None
    across, within = seen.spacing[2], math.sqrt(seen.spacing[0] * seen.spacing[1])
    depth, smallest = seen.sizes["median"][2], min(seen.sizes["median"][:2])
    if across / within >= 3:
        return "slices", f"slices are {across:g} mm apart, {across / within:.1f} times the {within:.2g} mm within them"
    if depth < 16 and 2 * depth < smallest:
        return "slices", f"there are {depth} slices in a volume, too few for a network of 3 dimensions"
    deep = "as deep as wide" if round(across / within, 1) == 1 else f"{across / within:.1f} times as deep as wide"
    return "volumes", f"voxels are {deep}, and there are {depth} slices"


def _in_channels(draft: Draft) -> Decision:
    count = draft.seen.channels
    if draft.seen.pictures and count in (1, 3):
        return count, "the images are in color" if count == 3 else "the images are gray"
    return count, f"each {draft.one_image} has {count} channel{'s' * (count > 1)}"


def _class_names(draft: Draft) -> Decision:
    names = [c.name for c in draft.seen.classes]
    numbered = ["background", *(f"class_{i}" for i in range(1, len(names)))]
    if names in (numbered, ["background", "foreground"]):
        return names, "by the values in the masks, as the data set gives no names"
    return names, "as the data set names them"


def _group_pattern(draft: Draft) -> Decision:
    seen = draft.seen
    images = seen.counts["labeled"] + seen.counts["unlabeled"]
    if seen.group_pattern is None:
        alone = f"{images} images, each taken for one patient"
        return None, alone if seen.patients == images else f"the data set names {seen.patients} patients"
    return seen.group_pattern, f"file names show {seen.patients} patients for {images} images; each stays on one side"


def _val_fraction(draft: Draft) -> Decision:
    if draft.seen.counts["val"]:
        return 0.0, "the data set names validation images"
    return 0.0, "all masks are learned from; 0.2 would hold out a fifth of the patients with masks"


def _zoom(draft: Draft) -> Decision | None:
    if draft.kind != "pictures":
        return None
    shortest = min(draft.seen.sizes["median"])
    if shortest <= 1024:
        return 1.0, f"the shortest side of {shortest} pixels is at most 1024: seen as stored"
    aim = 1024 if is_thin(draft.seen) else 768
    zoom = round(min(1.0, max(aim / shortest, 1.5 / thinnest(draft.seen))), 2)
    return zoom, (
        f"the shortest side of {shortest} pixels becomes {round(shortest * zoom)}, a class that is "
        f"{thinnest(draft.seen):.3g} pixels thick {thinnest(draft.seen) * zoom:.2g}"
    )


def _spacing(draft: Draft) -> Decision | None:
    seen = draft.seen
    if draft.kind == "pictures":
        return None
    assert seen.spacing is not None and seen.spacing_spread is not None
    stored, spread = seen.spacing[: draft.dims], max(seen.spacing_spread[: draft.dims])
    # nnU-Net trains a second network at a coarser spacing where a patch sees too little; here it is the only one
    patches = math.prod(draft.size) / pixels_of_a_patch(draft.dims, draft.hardware)
    many = 16 if draft.dims == 3 else 9
    finest = min(stored)
    coarser = min(2.0, (patches / many) ** (1 / draft.dims), max(1.0, thinnest(seen) / 3))
    if coarser >= 1.2:
        spacing = [round(max(x, finest * coarser), 2) for x in stored]
        return spacing, f"coarser than the median of {by(stored)} mm, so that a crop sees more of a volume"
    if spread <= 1.01:
        return None, f"all volumes have {by(stored)} mm"
    return [float(f"{x:.3g}") for x in stored], f"the median; voxels differ by a factor of up to {spread:.2g}"


def _intensity_range(draft: Draft) -> Decision | None:
    seen = draft.seen
    if draft.kind == "pictures":
        return None
    if seen.hounsfield and seen.foreground_percentiles:
        low, _, high = seen.foreground_percentiles[0]
        low, high = math.floor(low), math.ceil(max(high, low + 50))
        return [low, high], "Hounsfield units: 0.5 to 99.5 % of what is in the classes"
    return None, "no Hounsfield units: each image and channel is standardized"


def _patch_size(draft: Draft) -> Decision:
    most = pixels_of_a_patch(draft.dims, draft.hardware)
    if "strides" in draft.values:
        steps = multiple_of(_by_axis(draft.values["strides"], draft.dims))
        patch = [max(1, side // step) * step for side, step in zip(draft.size, steps, strict=True)]
        while math.prod(patch) > most and any(side > step for side, step in zip(patch, steps, strict=True)):
            axis = max(range(draft.dims), key=lambda a: (patch[a] > steps[a], patch[a] * draft.pixel[a]))
            patch[axis] -= steps[axis]
    else:
        patch = shrink_to(draft.size, draft.pixel, most)
    what = f"of {by(draft.size)} pixels that an image has in the median"
    device = "GPU" if draft.hardware.has_gpu else "CPU"
    return patch, f"{what}; at most {most} pixels on this {device}"


def _strides(draft: Draft) -> Decision:
    levels = halvings(draft.values["patch_size"], draft.pixel, exact=True)
    if "channels" in draft.values:
        levels = levels[: len(draft.values["channels"]) - 1]
    reason = "an axis is halved while it keeps 4 pixels and is not coarser than the others"
    if all(len(set(level)) == 1 for level in levels):
        return [level[0] for level in levels], reason
    return levels, reason


def _channels(draft: Draft) -> Decision:
    channels = network_channels(len(draft.values["strides"]), draft.dims, draft.hardware)
    return channels, "a level more than `strides`" + "; more on a GPU" * draft.hardware.has_gpu


def _feature_channels(draft: Draft) -> Decision:
    channels = draft.values["channels"]
    return (channels[0] if len(channels) > 2 else channels[1]), "as `channels` says"


def _batch_size(draft: Draft) -> Decision:
    """Twelve large 2D patches or two 3D ones with a GPU, as nnU-Net; four and two with a CPU."""
    patch = math.prod(draft.values["patch_size"])
    if draft.hardware.has_gpu:
        most, low, high = pixels_of_a_patch(draft.dims, draft.hardware) * (10 if draft.dims == 2 else 2), 2, 12
    else:
        most, low, high = (150_000 if draft.dims == 2 else 220_000), 2, 8
    return min(high, max(low, round(most / patch))), f"crops of {patch} pixels; more would take longer or more memory"


def _mirror_axes(draft: Draft) -> Decision:
    seen, dims = draft.seen, draft.dims
    axes, reasons = list(range(dims)), []
    left_right = 1 if draft.kind == "pictures" else 0
    sided = [c.name for c in seen.foreground if re.search(r"(?i)(?<![a-z])(left|right|[lr])(?![a-z])", c.name)]
    names = axis_names(draft.kind)
    if sided:
        axes.remove(left_right)
        reasons.append(f"not {names[left_right]}, as {sided[0]!r} has a side")
    fixed = [axis for axis in seen.fixed_axes if axis in axes]
    if fixed:
        axes = [axis for axis in axes if axis not in fixed]
        reasons.append(f"not {' and '.join(names[a] for a in fixed)}, where a class always lies on one side")
    masks = seen.looked_at.get("masks", 0)
    if draft.kind != "pictures" and masks < 8:
        if len(seen.foreground) > 1:
            axes = []
            reasons.append(f"{len(seen.foreground)} classes may have their places, which {masks} masks do not tell")
        else:
            axes = [axis for axis in axes if axis == 0]
            reasons.append(f"{masks} masks do not tell more")
    return axes, "; ".join(reasons) or "no class has a side"


def _turn(draft: Draft) -> Decision:
    if draft.kind != "pictures":
        return False, "volumes have one way up"
    if len(draft.values["mirror_axes"]) < 2:
        return False, "a class has a side"
    return True, "no class has a side"


def _rotate_range(draft: Draft) -> Decision:
    if draft.kind != "volumes":
        return [20], "degrees; what is seen may lie a little askew"
    if max(draft.pixel[:2]) * 1.5 < draft.pixel[2]:
        return [0, 0, 20], "degrees about each axis: slices are thicker than pixels, they are not tilted"
    return [20], "degrees about each axis; what is seen may lie a little askew"


def _paste_classes(draft: Draft) -> Decision:
    foreground = list(enumerate(draft.seen.classes))[1:]
    small = [i for i, c in foreground if 0 < c.share <= 0.25]
    present = [i for i, c in foreground if c.share > 0]
    if not small:
        return present or [1], "all that the masks have"
    if len(small) == len(foreground):
        return small, "all classes but the background"
    large = [f"{c.name} ({100 * c.share:.0f} %)" for _, c in foreground if c.share > 0.25]
    absent = [c.name for _, c in foreground if not c.share]
    why = [f"{', '.join(large)} would cover too much"] * bool(large)
    why += [f"no mask has {', '.join(absent)}"] * bool(absent)
    return small, "; ".join(why)


def _paste_margin(draft: Draft) -> Decision:
    if not is_thin(draft.seen):
        return 0, "the classes are no thin lines"
    margin = min(10 if draft.dims == 2 else 4, min(draft.values["patch_size"]) // 8)
    return margin, f"a class of thin lines, {thinnest(draft.seen):.3g} pixels thick, keeps its surroundings"


def _align_donors(draft: Draft) -> Decision:
    if not draft.seen.fixed_axes:
        return False, "no class always lies on the same side"
    if draft.values["donor_crop"] == "with_classes":  # the other images, without masks, are cropped anywhere
        return False, "donors are cropped where their classes are"
    return True, "a class always lies on the same side: it is pasted where it lies"


def _crop(draft: Draft) -> Decision:
    seen = draft.seen
    covered = math.prod(draft.values["patch_size"]) / math.prod(draft.size)
    rarest = min((c for c in seen.foreground if c.share), key=lambda c: c.share, default=None)
    if rarest is not None and draft.kind == "slices":  # of which a crop has one, with or without the class
        covered *= rarest.slices
    if rarest is None or covered >= 0.5 or rarest.share >= 0.02:
        return "anywhere", "crops have all classes often enough"
    share = f"{100 * rarest.share:.2g}"
    return "with_classes", f"{rarest.name} is {share} % of the pixels, and few crops of any place have it"


def _crop_ratios(draft: Draft) -> Decision | None:
    if "with_classes" not in (draft.values["labeled_crop"], draft.values["donor_crop"]):
        return None
    ratios = "$[@num_classes - 1] + [1] * (@num_classes - 1)"
    return ratios, "crops with classes: half of them are centered on the background, so that it is learned too"


def _method(draft: Draft) -> Decision:
    seen = draft.seen
    if seen.learned_without and is_thin(seen):
        return "supervised_augmented", (
            f"thin lines have gained nothing from images without masks; --method {SEMI_SUPERVISED} learns from them"
        )
    if seen.counts["unlabeled"]:
        return SEMI_SUPERVISED, f"there are {counted(seen.counts['unlabeled'], 'image')} without masks to learn from"
    if seen.partial:
        return SEMI_SUPERVISED, f"{counted(seen.partial, 'mask')} leave pixels out, which are learned from as well"
    return "supervised_augmented", "there are no images without masks: add some to unlabeled_images to gain from them"


def _max_epochs(draft: Draft) -> Decision:
    """6,000 steps with a CPU, 20,000 with a GPU, or as many as 45 minutes or two hours allow; supervised a quarter."""
    gpu = draft.hardware.has_gpu
    wanted, most_minutes = (20_000, 120) if gpu else (6_000, 45)
    if "unlabeled" not in METHODS[draft.values["method"]].config["streams"]:
        wanted //= 4  # it learns its few images by heart
    length = draft.values["epoch_length"]
    affordable = most_minutes * 60 / seconds_of_a_step(draft)
    epochs = max(1, math.ceil(500 / length), round(min(wanted, affordable) / length))
    within = f", what {most_minutes} minutes allow" if affordable < wanted else ""
    return epochs, f"{epochs} x {length} = {epochs * length} steps in all{within}"


def _epoch_length(draft: Draft) -> Decision:
    return _STEPS, "steps of an epoch"


def _rampup_steps(draft: Draft) -> Decision:
    steps = draft.values["max_epochs"] * draft.values["epoch_length"]
    return min(200, steps // 5), "steps until that factor is reached"


def _val_interval(draft: Draft) -> Decision:
    epochs = draft.values["max_epochs"]
    if not draft.seen.counts["val"]:
        return 5, "there are no validation images: the last step is the result"
    once = seconds_of_a_validation(draft)
    training = epochs * draft.values["epoch_length"] * seconds_of_a_step(draft)
    times = int(min(10, max(1, 0.2 * training / once)))
    interval = max(1, epochs // times)
    return interval, f"epochs from one validation to the next, which takes about {_duration(once)}"


def _cache_gigabytes(draft: Draft) -> Decision:
    count = max(draft.seen.counts["labeled"], draft.seen.learned_without)
    needed = count * image_gigabytes(draft)
    # labeled images, donors and unlabeled ones are kept each by itself
    allowed = 0.6 * draft.hardware.memory / 3
    gigabytes = max(0.5, math.ceil(10 * min(1.2 * needed, allowed)) / 10)
    fit = "fit" if needed <= gigabytes else "do not all fit"
    free = f"{draft.hardware.memory:.0f}"
    return gigabytes, f"{count} images of a kind need about {needed:.2g} GB, {free} are free: they {fit}"


def _num_workers(draft: Draft) -> Decision:
    count = max(draft.seen.counts["labeled"], draft.seen.learned_without)
    if count * image_gigabytes(draft) <= draft.values["cache_gigabytes"]:
        return 0, "the images fit into memory"
    workers = max(1, min(4, draft.hardware.threads // 3))
    return workers, "processes that load each kind, as the images do not fit into memory"


def _amp(draft: Draft) -> Decision:
    if not draft.hardware.half:
        return False, f"this {draft.hardware.device.upper()} is older than its kind of arithmetic"
    if draft.hardware.has_gpu:
        return None, "mixed precision; null: on a GPU"
    return True, "mixed precision: this CPU computes with bfloat16"


def _as_given(name: str) -> Callable[[Draft], Decision | None]:
    def rule(draft: Draft) -> Decision | None:
        value = getattr(draft.seen, name)
        return None if value is None else (value, "pixels of this value in masks do not count")

    return rule


#: the rules by the names of their values, in the order in which they are decided; those that the user chose are not
RULES: dict[str, Callable[[Draft], Decision | None]] = {
    "in_channels": _in_channels,
    "class_names": _class_names,
    "ignore_index": _as_given("ignore_index"),
    "group_pattern": _group_pattern,
    "val_fraction": _val_fraction,
    "zoom": _zoom,
    "spacing": _spacing,
    "intensity_range": _intensity_range,
    "patch_size": _patch_size,
    "strides": _strides,
    "channels": _channels,
    "feature_channels": _feature_channels,
    "batch_size": _batch_size,
    "mirror_axes": _mirror_axes,
    "turn": _turn,
    "rotate_range": _rotate_range,
    "paste_classes": _paste_classes,
    "paste_margin": _paste_margin,
    "labeled_crop": _crop,
    "donor_crop": _crop,
    "crop_ratios": _crop_ratios,
    "align_donors": _align_donors,
    "method": _method,
    "epoch_length": _epoch_length,
    "max_epochs": _max_epochs,
    "rampup_steps": _rampup_steps,
    "val_interval": _val_interval,
    "cache_gigabytes": _cache_gigabytes,
    "num_workers": _num_workers,
    "amp": _amp,
}


def _by_axis(strides: list[Any], dims: int) -> list[list[int]]:
    return [stride if isinstance(stride, list) else [stride] * dims for stride in strides]


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{max(1, round(seconds))} seconds"
