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

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import (
        bundle,
        command_line,
        data,
        datasets,
        engines,
        errors,
        evaluation,
        handlers,
        inferers,
        io,
        losses,
        methods,
        metrics,
        networks,
        options,
        review,
        study,
        templates,
        transforms,
    )

__all__ = [
    "bundle",
    "command_line",
    "data",
    "datasets",
    "engines",
    "errors",
    "evaluation",
    "handlers",
    "inferers",
    "io",
    "losses",
    "methods",
    "metrics",
    "networks",
    "options",
    "review",
    "study",
    "templates",
    "transforms",
]


def __getattr__(name: str) -> Any:
    """Import a subpackage when it is first used: PyTorch and MONAI take seconds, which ``--help`` does not need."""
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    if name == "__version__":
        return _version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("monai_sscm")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"
