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

"""What a data set's folder holds, whatever its layout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["EXTRAS", "Case", "Layout"]

#: what an item of a data list may say of a mask that leaves pixels out, see :py:class:`Case`
EXTRAS = ("unlabeled_classes", "labeled_slices")


@dataclass(frozen=True)
class Case:
    """
    One image of a data set, and its mask if it has one.

    Args:
        name: the image's name without suffix, and with the folders within the data set where a layout has such.
        image: path of the image, a file or a folder of DICOM files; or a list of files that are its channels.
        label: path of its mask. None: it is unlabelled.
        part: ``"train"``, ``"val"`` or ``"test"``, as the data set says. None: it does not say, and the image is for
            training.
        group: the patient, as the data set says. None: it does not say.
        extras: what goes into the items of a data list as it is: ``unlabeled_classes``, the indices of classes that
            the mask lacks, and ``labeled_slices``, the indices from 0 of the slices along the last axis, as stored,
            that alone are labelled.

    Example:
        >>> from monai_sscm.data.layouts import Case
        >>> Case("a", "images/a.nii.gz", "labels/a.nii.gz", extras={"labeled_slices": [3, 7]}).part is None
        True
    """

    name: str
    image: str | list[str]
    label: str | None
    part: str | None = None
    group: str | None = None
    extras: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """
    What :py:func:`monai_sscm.data.layouts.read_layout` found in a data set's folder.

    Args:
        kind: ``"folders"``, ``"datalist"``, ``"decathlon"``, ``"nnunet"`` or ``"beside"``.
        root: the folder, or the data list's file.
        cases: the images. Test images without masks are among them, as cases of the part ``"test"``.
        class_names: names of the classes, background first. None: the data set does not name them.
        channel_names: names of the images' channels. None: the data set does not name them.
        guessed: images and masks that were paired by a guess of what their names mean.
        passed_over: files and folders that are not used, and why.
        ignore_index: value of pixels in masks that are to be left out, as nnU-Net's ``ignore`` says. None: none.

    Example:
        >>> from monai_sscm.data.layouts import Case, Layout
        >>> layout = Layout("folders", "data", [Case("a", "images/a.png", None)], None, None, [], {})
        >>> [case.name for case in layout.cases if case.label is None]
        ['a']
    """

    kind: str
    root: str
    cases: list[Case]
    class_names: list[str] | None
    channel_names: list[str] | None
    guessed: list[tuple[str, str]]
    passed_over: dict[str, str]
    ignore_index: int | None = None
