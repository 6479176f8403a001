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


"""What people read of a plan: ``docs/plan.md`` and ``docs/README.md`` of its bundle."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .plan import Plan, describe_images
from .words import by, round_minutes

__all__ = ["plan_document", "readme"]

_LISTED = 200  # lines of a list; a folder may have 100,000 files


def plan_document(plan: Plan) -> str:
    """What was seen and what was chosen, with all reasons, as Markdown."""
    seen = plan.seen
    one_each = seen.patients == seen.counts["labeled"] + seen.counts["unlabeled"]
    patients = "each training image is taken for one" if one_each else f"{seen.patients} of the training images"
    counts = ", ".join(f"{count} {part}" for part, count in seen.counts.items())
    spacing = [] if seen.spacing is None or seen.spacing_spread is None else [
        ("voxels", f"{by(seen.spacing)} mm in the median; largest by smallest {by(seen.spacing_spread, ', ')}")
    ]  # fmt: skip
    facts = [
        ("data set", f"`{seen.dataset_dir}`, layout `{seen.layout}`"),
        ("images", counts),
        ("labeled in part", str(seen.partial)),
        ("patients", patients),
        ("looked at", f"{seen.looked_at.get('masks', 0)} masks, {seen.looked_at.get('images', 0)} images"),
        ("sizes", describe_images(seen)),
        *spacing,
        ("intensities at 0.5, 50, 99.5 %", "; ".join(by(row, ", ") for row in seen.percentiles)),
        ("the same in classes", "; ".join(by(row, ", ") for row in seen.foreground_percentiles)),
        ("masks without a class", str(seen.empty_masks)),
        ("machine", plan.hardware.name),
    ]
    classes = [
        (i, c.name, f"{100 * c.share:.3g} %", c.masks, c.smallest, _or_dash(c.thickness), _or_dash(c.elongation))
        for i, c in enumerate(seen.classes)
    ]
    columns = ("", "class", "share of pixels", "masks", "fewest pixels", "thickness, pixels", "length by thickness")
    chosen = [(f"`{name}`", f"`{planned.value}`", planned.reason) for name, planned in plan.values.items()]
    parts = [
        "# Plan",
        f"Kind of input: **{plan.kind}**: {plan.reason}. About {round_minutes(plan.minutes)} of training.",
        *(f"**Warning:** {warning}." for warning in plan.warnings),
        "## What was seen",
        _table(("", ""), facts),
        "## Classes, in the masks of the labeled training images",
        _table(columns, classes),
        "## What was chosen",
        "Change any of these at the top of `configs/train.yaml`, or on the command line.",
        _table(("value", "", "reason"), chosen),
    ]
    if seen.guessed:
        parts += ["## Masks that were matched by a guess", "Look whether they are right."]
        parts += [_table(("image", "mask"), seen.guessed[:_LISTED]), *_left_out(len(seen.guessed))]
    if seen.passed_over:
        parts += ["## What is not used", _table(("", "why"), list(seen.passed_over.items())[:_LISTED])]
        parts += _left_out(len(seen.passed_over))
    return "\n\n".join(parts) + "\n"


def readme(plan: Plan, bundle_name: str) -> str:
    """How the bundle is used."""
    return f"""# {bundle_name}

Planned by monai-sscm for `{plan.seen.dataset_dir}`, as [plan.md](plan.md) says. Train here:

```bash
monai-sscm train {plan.seen.dataset_dir} --output_dir {bundle_name}
```

Then segment new images:

```bash
monai-sscm predict IMAGES --model {bundle_name} --output_dir masks
```

It is an ordinary MONAI bundle: `python -m monai.bundle run --config_file {bundle_name}/configs/train.yaml` trains too.
"""


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _left_out(count: int) -> list[str]:
    return [f"And {count - _LISTED} more."] * (count > _LISTED)


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
