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

"""``monai-sscm bundle``: where a shipped bundle is, or a copy of it."""

from __future__ import annotations

from typing import Any

from monai_sscm.bundle import bundle_names, copy_bundle, find_bundle

from .arguments import add_command

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the command ``bundle``."""
    parser = add_command(subparsers, "bundle", "print the folder of a shipped bundle, or copy it to change it")
    parser.add_argument("name", choices=bundle_names())
    parser.add_argument("--to", metavar="FOLDER", help="folder that becomes the copy")
    parser.set_defaults(func=run)


def run(name: str, to: str | None) -> None:
    """Run the command, see :py:func:`monai_sscm.bundle.copy_bundle`."""
    from monai_sscm.errors import raised_here

    try:
        print(find_bundle(name) if to is None else copy_bundle(name, to))
    except OSError as e:
        if raised_here(e):
            raise
        raise OSError(f"The copy {to!r} cannot be written ({e.strerror or e}): choose another folder.") from e
