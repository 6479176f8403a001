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


"""
What makes each method, once, for every bundle, for scripts and for a study.

A method is a YAML file here, of what it adds to supervised training:

- ``title``: its name in tables;
- ``streams``: which it loads besides the labeled images, ``unlabeled`` and ``donor``;
- ``views``: of the unlabeled batch, see :py:class:`monai_sscm.engines.View`;
- ``pseudo_labeler``, ``supervised_weight``: in place of the bundle's, if any;
- ``align_donors``: false where donors are never cropped in the place of what they are pasted onto;
- ``discriminator``: true where features of unlabeled images are made to look like those of labeled ones (SUFD).

The bundles' configurations have all of them under ``methods``, where ``--method`` chooses.
"""

from __future__ import annotations

from .build import build_method
from .library import METHODS, Method, choose, method_file

__all__ = ["METHODS", "Method", "build_method", "choose", "method_file"]
