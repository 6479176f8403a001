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

"""The documentation site: ``python -m sphinx -W -n docs docs/_build``."""

from __future__ import annotations

import sys
from pathlib import Path

import monai_sscm

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_ext"))

project = "monai_sscm"
author = "monai_sscm contributors"
copyright = "monai_sscm contributors, Apache 2.0"
version = release = monai_sscm.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "cli_reference",
    "copied_pages",
    "method_reference",
    "option_reference",
    "public_names",
]
exclude_patterns = ["_build", "_ext", "pypi.md"]
nitpicky = True
smartquotes = False  # options are pasted from the pages: two hyphens stay two

html_theme = "furo"
html_title = f"monai_sscm {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
templates_path: list[str] = []

autodoc_member_order = "alphabetical"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_use_unqualified_type_names = True

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
# the notebooks are kept executed, and tests/test_tutorials.py executes them again
nb_execution_mode = "off"
