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


"""A plan: what a training does with a data set on a machine, and why."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from monai_sscm.command_line import no_such_option, read_value
from monai_sscm.io.files import image_suffix
from monai_sscm.methods import METHODS
from monai_sscm.options import OPTIONS
from monai_sscm.templates import KINDS, render_configs

from .draft import Draft, minutes
from .fingerprint import Fingerprint
from .hardware import Hardware
from .rules import RULES, choose_kind
from .words import axis_names, by, counted, round_minutes

__all__ = ["OF_DATA", "Plan", "Planned", "make_plan", "typed_values"]

#: values without which it is not known what there is to see
OF_DATA = (
    "num_labeled",
    "seed",
    "group_pattern",
    "val_fraction",
    "train_on_test_images",
    "class_names",
    "ignore_index",
)


@dataclass(frozen=True)
class Planned:
    """A value of a configuration, and its reason."""

    value: Any
    reason: str


@dataclass(frozen=True)
class Plan:
    """
    What a training does, and why.

    Args:
        seen: what was seen of the data.
        hardware: what it is trained on.
        kind: of templates, see :py:data:`monai_sscm.templates.KINDS`.
        reason: why of this kind.
        values: values of ``train.yaml`` with their reasons.
        minutes: about how long the training takes.
        warnings: what is probably wrong.
        notes: what the user should look at.
    """

    seen: Fingerprint
    hardware: Hardware
    kind: str
    reason: str
    values: dict[str, Planned]
    minutes: float
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """What was found and chosen, and why, in about ten lines."""
        seen, values = self.seen, {name: planned.value for name, planned in self.values.items()}
        lines = [
            ("Found", f"{_describe_counts(seen)} in {seen.dataset_dir}; {seen.counts['val']} for validation, "
             f"{seen.counts['test']} for testing"),
            ("Images", describe_images(seen)),
            ("Classes", _class_shares(seen)),
            ("Kind", f"{_KINDS[self.kind]}: {self.reason}"),
        ]  # fmt: skip
        crop = f"crops of {by(values['patch_size'])} pixels, batches of {values['batch_size']}"
        lines += [("Network", f"U-Net with {by(values['channels'], ', ')} channels; {crop}")]
        for title, name in _SUMMARY.items():
            if name in values and (values[name] is not None or name in _NULL):
                text = _NULL[name] if values[name] is None else values[name]
                if name == "mirror_axes":
                    text = " and ".join(axis_names(self.kind)[axis] for axis in values[name] or ()) or "not at all"
                lines.append((title, f"{text}: {self.values[name].reason}"))
        steps = values["max_epochs"] * values["epoch_length"]
        time = f"about {round_minutes(self.minutes)} on {self.hardware.name} that does nothing else"
        lines.append(("Time", f"{steps} steps, {time}"))
        lines += [("Warning", warning) for warning in self.warnings] + [("Note", note) for note in self.notes]
        return "\n".join(f"{title + ':':<13}{text}" for title, text in lines)


_KINDS = {"pictures": "pictures, 2D", "slices": "volumes slice by slice, 2D", "volumes": "volumes, 3D"}
_SUMMARY = {
    "Zoom": "zoom",
    "Spacing": "spacing",
    "Intensities": "intensity_range",
    "Mirrored": "mirror_axes",
    "Patients": "group_pattern",
    "Method": "method",
}
_NULL = {"spacing": "as stored", "intensity_range": "standardized"}
_SHOWN = 12  # classes in a line


def make_plan(seen: Fingerprint, hardware: Hardware, chosen: Mapping[str, Any] | None = None) -> Plan:
    """
    Decide what a training does. Nothing is read: the same data and machine give the same plan.

    Args:
        seen: what was seen of the data.
        hardware: what it is trained on.
        chosen: values of ``train.yaml`` by name that are not decided, in their types; those that depend on them follow.

    Returns:
        the plan.

    Raises:
        ValueError: when what was chosen does not go with the data.

    Example:
        >>> import tempfile
        >>> from monai_sscm.datasets import write_vessel_phantoms
        >>> from monai_sscm.planning import Hardware, fingerprint, make_plan
        >>> folder = tempfile.mkdtemp()
        >>> write_vessel_phantoms(folder, num_train=4, num_val=1, num_test=1, size=64)
        >>> plan = make_plan(fingerprint(folder, num_labeled=2), Hardware(), {"batch_size": 2})
        >>> plan.kind, plan.values["patch_size"].value, plan.values["batch_size"].reason
        ('pictures', [64, 64], 'as you chose')
    """
    chosen = dict(chosen or {})
    kind, reason = choose_kind(seen, chosen.pop("spatial_dims", None))
    draft = Draft(seen, hardware, kind, dict(chosen))
    values = {}
    for name, rule in RULES.items():
        decision = (chosen[name], "as you chose") if name in chosen else rule(draft)
        if decision is not None:
            draft.values[name] = decision[0]
            values[name] = Planned(*decision)
    values |= {name: Planned(value, "as you chose") for name, value in chosen.items() if name not in values}
    method = draft.values["method"]
    if "unlabeled" in METHODS[method].config["streams"] and not seen.learned_without and seen.ignore_index is None:
        raise ValueError(
            f"--method {method} learns from images without masks, and there are none: add some, or choose --method "
            "supervised or supervised_augmented."
        )
    return Plan(seen, hardware, kind, reason, values, minutes(draft), _warnings(seen), _notes(seen))


def typed_values(values: Mapping[str, str]) -> dict[str, Any]:
    """
    The user's values in their types.

    Args:
        values: texts by name.

    Raises:
        ValueError: when there is no such value, or it is of another type or out of range, or is an expression of which
            others depend.

    Example:
        >>> from monai_sscm.planning.plan import typed_values
        >>> typed_values({"max_epochs": "4"})
        {'max_epochs': 4}
        >>> typed_values({"max_epoch": "4"})
        Traceback (most recent call last):
        ValueError: There is no `max_epoch` in the configuration of a training: did you mean `--max_epochs`?
    """
    known = {name for kind in KINDS for name in yaml.safe_load(render_configs(kind)["train.yaml"])}
    typed: dict[str, Any] = {}
    for name, text in values.items():
        name = name.replace("::", "#")
        if name.partition("#")[0] not in known:
            raise no_such_option(name, known, "the configuration of a training")
        is_expression = text.startswith(("$", "@"))
        if is_expression and (name in RULES or name in OF_DATA):
            raise ValueError(f"`{name}` must be a value and no expression, as others follow from it, got {text!r}.")
        checked = name in OPTIONS and not is_expression and name != "device"  # which need not be here
        typed[name] = OPTIONS[name](name, text) if checked else read_value(text)
    if typed.get("method", "supervised") not in METHODS:
        raise ValueError(f"`method` must be one of {', '.join(METHODS)}, got {typed['method']!r}.")
    return typed


def _warnings(seen: Fingerprint) -> list[str]:
    warnings = []
    absent = [c.name for c in seen.classes if not c.masks]
    if absent:
        warnings.append(f"no mask has the class {', '.join(absent)}: it is not learned")
    return warnings


def _notes(seen: Fingerprint) -> list[str]:
    notes = []
    unsure = [(image, mask) for image, mask in seen.guessed if not _is_usual(image, mask)]
    if unsure:
        image, mask = unsure[0]
        notes.append(
            f"{counted(len(unsure), 'mask')} matched by a guess, such as {image} with {mask}: look at docs/plan.md"
        )
    if seen.passed_over:
        path, why = next(iter(seen.passed_over.items()))
        more = f", and {len(seen.passed_over) - 1} more, see docs/plan.md" * (len(seen.passed_over) > 1)
        notes.append(f"not used: {path} ({why}){more}")
    return notes


def _is_usual(image: str, mask: str) -> bool:
    """Whether a mask has its image's name with what is usually put behind it."""
    image, mask = (os.path.basename(path).removesuffix(image_suffix(path)) for path in (image, mask))
    return re.fullmatch(re.escape(image) + "_(mask|seg|label)s?", mask, re.IGNORECASE) is not None


def _describe_counts(seen: Fingerprint) -> str:
    """How many images are learned from."""
    text = counted(seen.counts["labeled"], "labeled image")
    text += f" (of which {seen.partial} in part)" * bool(seen.partial)
    text += f" and {seen.counts['unlabeled']} unlabeled"
    one_each = seen.patients == seen.counts["labeled"] + seen.counts["unlabeled"]
    return text if one_each else f"{text} of {counted(seen.patients, 'patient')}"


def describe_images(seen: Fingerprint) -> str:
    """Size, channels, spacing of the images in a line."""
    text = f"{by(seen.sizes['median'])} pixels in the median ({by(seen.sizes['min'])} to {by(seen.sizes['max'])})"
    text += f", {counted(seen.channels, 'channel')}"
    if seen.spacing is not None:
        text += f", {by(seen.spacing)} mm"
    return text + ", Hounsfield units" * seen.hounsfield


def _class_shares(seen: Fingerprint) -> str:
    shares = [f"{c.name} {100 * c.share:.2g} %" for c in seen.classes]
    more = [f"... ({len(shares)} in all)"] * (len(shares) > _SHOWN)
    return ", ".join(shares[: _SHOWN - bool(more)] + more)
