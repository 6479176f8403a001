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

"""Semi-supervised medical image segmentation for MONAI: supervised ClassMix and a feature discriminator."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from . import bundle, data, engines, errors, handlers, inferers, losses, networks, transforms

__all__ = ["bundle", "data", "engines", "errors", "handlers", "inferers", "losses", "networks", "transforms"]

try:
    __version__ = version("monai_sscm")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"
