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


"""``monai-sscm plan``: a bundle for a data set, without training it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from .arguments import add_command

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the command ``plan``."""
    parser = add_command(
        subparsers,
        "plan",
        "look at a data set, and write a bundle that is planned for it",
        "any value of the training, such as --max_epochs 60",
    )
    parser.add_argument("dataset_dir", metavar="FOLDER", help="folder of the data set, or the JSON file of a data list")
    parser.add_argument("--to", metavar="BUNDLE", required=True, help="folder that becomes the bundle")
    parser.set_defaults(func=run)


def run(dataset_dir: str, to: str, options: Mapping[str, str]) -> None:
    """Run the command, see :py:func:`monai_sscm.planning.plan_bundle`."""
    from monai_sscm.planning import plan_bundle

    print(plan_bundle(dataset_dir, to, options).summary())
    print(f"\nWritten: {to}, with all reasons in {to}/docs/plan.md. Train it:")
    print(f"monai-sscm train {shlex.quote(dataset_dir)} --output_dir {shlex.quote(to)}")
