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

"""Finding the patient in file names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = ["find_patients"]

_PATIENT = r"(?:patient|pat|subject|subj|sub|case|scan|volume|vol|pt|p)"
_SIDE = r"[_-]?(?:L|R|OD|OS|left|right)"
_MOMENT = r"(?:frame|visit|slice|session|ses|time|scan|view|day|week|month)"
# numbers that are of no patient: of a fold or a set, or a year
_NO_PATIENT = re.compile(
    r"(?:.*(?:fold|set|batch|part|site|center|train|test|val|group|class)[_-]?|(?:19|20)\d\d)\d*", re.I
)
_FEWEST_PATIENTS = 3  # where nothing but a second number says that an image is one of several


def find_patients(names: Iterable[str]) -> str | None:
    """
    Propose a ``group_pattern`` where file names show that several images are of one patient.

    It is careful: all names must be alike, and say so by a word (``patient002_frame01``, ``A_visit2``), by a side
    (``Image_01L``), by folders with numbers, or by two numbers (``007_3``).

    Args:
        names: names of images, without suffix.

    Returns:
        a regular expression whose first group is the patient; None where the names do not clearly show one.

    Example:
        >>> from monai_sscm.data.patients import find_patients
        >>> find_patients(["patient002_frame01", "patient002_frame02", "patient003_frame01"])
        '(patient[0-9]+)'
        >>> find_patients(["case_001", "case_002", "case_003"]) is None
        True
    """
    names = list(names)
    for pattern, fewest in (
        (r"([^/]*\d[^/]*)/", _FEWEST_PATIENTS),
        (r"(TCGA[_-]\w\w[_-]\w{4})", 2),
        (rf"((?:.*[_\-. ])?{_PATIENT}[_-]?\d+)[_\-. ].+", 2),
        (rf"(.*\d){_SIDE}$", 2),
        (rf"(.+?)[_-]{_MOMENT}[_-]?\d+$", 2),
        (r"(.*\d)[_-]\d+$", _FEWEST_PATIENTS),
    ):
        matches = [re.match(pattern, name, re.IGNORECASE) for name in names]
        patients = [match[1] for match in matches if match]
        counts = Counter(patients)
        if len(patients) < len(names) or len(counts) < fewest or len(counts) == len(names):
            continue
        if pattern.endswith(r"\d+$") and any(map(_NO_PATIENT.fullmatch, counts)):
            continue
        return _simplest(pattern, names, patients)
    return None


def _simplest(pattern: str, names: Sequence[str], patients: Sequence[str]) -> str:
    """The words before a number as they are, and the number, where that gives the same patients."""
    head = re.match(r"\D*", patients[0])
    simple = f"({re.escape(head[0] if head else '')}[0-9]+)".replace(r"\-", "-").replace(r"\ ", " ")
    matches = [re.match(simple, name) for name in names]
    if [match and match[1] for match in matches] == list(patients):
        return simple
    return f"(?i){pattern}"
