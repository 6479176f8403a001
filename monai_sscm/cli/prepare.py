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
    parser.add_argument("dataset", choices=["chase_db1", "hippocampus"])
    parser.add_argument(
        "--from", dest="source", metavar="FILE_OR_FOLDER", help="what you have already; else it is downloaded"
    )
    parser.add_argument("--output_dir", help="folder to write to; else data/ and the data set's name")
    parser.add_argument("--url", help="where to download it from; else from its publisher")
    parser.set_defaults(func=run)


def run(dataset: str, output_dir: str | None, source: str | None, url: str | None) -> None:
    """
    Run the command, see :py:func:`monai_sscm.datasets.prepare_chase_db1` and
    :py:func:`monai_sscm.datasets.prepare_hippocampus`.
    """
    from monai_sscm import datasets

    given = {"output_dir": output_dir, "source": source, "url": url}
    prepare = getattr(datasets, f"prepare_{dataset}")
    print(prepare(**{name: value for name, value in given.items() if value is not None}))
