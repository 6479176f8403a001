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

"""``monai-sscm prepare``: a public data set in the folders that a bundle reads."""

from __future__ import annotations

from typing import Any

from .arguments import add_command

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the command ``prepare``."""
    parser = add_command(
        subparsers, "prepare", "bring a public data set into the folders that a bundle reads, and verify it"
    )
    parser.add_argument("dataset", choices=["chase_db1"])
    parser.add_argument(
        "--from", dest="source", metavar="ZIP_OR_FOLDER", help="what you have already; else it is downloaded"
    )
    parser.add_argument("--output_dir", default="data/chase_db1", help="folder to write to")
    parser.add_argument("--url", help="where to download it from; else from its publisher")
    parser.set_defaults(func=run)


def run(dataset: str, output_dir: str, source: str | None, url: str | None) -> None:
    """Run the command, see :py:func:`monai_sscm.datasets.prepare_chase_db1`."""
    from monai_sscm.datasets import CHASE_DB1_URL, prepare_chase_db1

    assert dataset == "chase_db1"
    print(prepare_chase_db1(output_dir, source, url or CHASE_DB1_URL))
