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

"""From the images and annotations that MONAI Label holds to lists of a training. MONAI Label is not needed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_sscm.data import datalist_of_layout
from monai_sscm.data.layouts import Case, Layout

__all__ = ["annotation_fault", "semi_supervised_lists"]


def semi_supervised_lists(
    annotated: Sequence[Mapping[str, str]],
    others: Sequence[str],
    studies: str,
    group_pattern: str | None = None,
    val_split: float = 0.0,
) -> dict[str, list[dict[str, Any]]]:
    """
    Lists for a bundle's ``train.yaml``: images with an annotation are labelled, all others are unlabelled.

    Args:
        annotated: items with ``image`` and ``label``, paths.
        others: paths of images without annotation.
        studies: folder of the images.
        group_pattern: finds the patient in an image's name, see :py:func:`monai_sscm.data.semi_supervised_datalist`.
        val_split: share of the patients with annotations that validates, whose annotations are not learned from.

    Returns:
        lists by ``labeled``, ``unlabeled``, ``val`` and ``test``.

    Raises:
        ValueError: when no image is annotated, two are one, or none is left for training.
    """
    if not annotated:
        raise ValueError("No image is annotated yet: annotate some, with every class among them, then train.")
    pairs = [(item["image"], item["label"]) for item in annotated] + [(image, None) for image in others]
    cases = [Case(Path(image).name, image, label) for image, label in sorted(pairs, key=lambda pair: pair[0])]
    layout = Layout("folders", studies, cases, None, None, [], {})
    return datalist_of_layout(layout, group_pattern=group_pattern, val_fraction=max(0.0, val_split))


def annotation_fault(
    image_id: str, segments: Sequence[Mapping[str, Any]] | None, class_names: Sequence[str]
) -> str | None:
    """
    What is wrong with the values of an annotation: 3D Slicer numbers segments in their order, whatever they are named.

    Args:
        image_id: the image.
        segments: what the client said of the annotation, items with ``name`` and ``idx``, the value. None: nothing.
        class_names: names of the classes in the order of their indices, background first.

    Returns:
        a sentence; None where names and values agree, or names are not known.
    """
    index = {name.lower(): i for i, name in enumerate(class_names)}
    for segment in segments or []:
        name, value = str(segment.get("name", "")).lower(), segment.get("idx")
        if value is not None and index.get(name, value) != value:
            return (
                f"The annotation of {image_id!r} has the value {value} for {name!r}, which the model has as "
                f"{index[name]}: keep a segment for each of {', '.join(map(repr, class_names[1:]))}, in this order, "
                "those that the image lacks too, and submit it again."
            )
    return None
