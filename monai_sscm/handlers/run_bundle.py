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


"""The folder of a training as a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite import distributed as idist
from ignite.engine import Engine, Events

from monai_sscm.bundle import write_run

__all__ = ["RunBundleWriter"]


class RunBundleWriter:
    """
    Handler of a trainer: makes the training's folder a bundle when it starts, see
    :py:func:`monai_sscm.bundle.write_run`.

    Put it behind the :py:class:`monai_sscm.handlers.CheckpointHandler`: what that refuses to resume changes no file.

    Args:
        bundle_root: folder of the bundle that is trained.
        options: its options.

    Example:
        >>> from monai_sscm.handlers import RunBundleWriter
        >>> writer = RunBundleWriter("my_bundle", {"output_dir": "runs/first", "dataset_dir": "data"})
    """

    def __init__(self, bundle_root: str | Path, options: Mapping[str, Any]) -> None:
        self.bundle_root = bundle_root
        self.options = options

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self) -> None:
        if idist.get_rank() == 0:
            write_run(self.bundle_root, self.options)
