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

from __future__ import annotations

from .compare import study
from .differences import Difference, difference, mean_iou
from .figures import bar_chart, label_efficiency
from .guidance import guide
from .methods import METHODS, Method, bundle_methods, read_methods
from .page import Page
from .report import write_report
from .runs import Run, Study
from .summary import write_summary
from .tables import markdown_row, markdown_table
from .verdict import Verdict, judge, patient_differences

__all__ = [
    "METHODS",
    "Difference",
    "Method",
    "Page",
    "Run",
    "Study",
    "Verdict",
    "bar_chart",
    "bundle_methods",
    "difference",
    "guide",
    "judge",
    "label_efficiency",
    "markdown_row",
    "markdown_table",
    "mean_iou",
    "patient_differences",
    "read_methods",
    "study",
    "write_report",
    "write_summary",
]
