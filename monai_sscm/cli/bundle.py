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

"""``monai-sscm bundle``: where a shipped bundle is, a copy of it, or any bundle as a place of models asks for it."""

from __future__ import annotations

from typing import Any

from monai_sscm.bundle import bundle_names, copy_bundle, find_bundle
from monai_sscm.publishing import FORMS, publish_bundle

from .arguments import add_command

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the command ``bundle``."""
    parser = add_command(subparsers, "bundle", "print the folder of a shipped bundle, or copy it to change it")
    parser.add_argument("name", help=f"{', '.join(bundle_names())}, or the folder of a bundle, such as a training's")
    parser.add_argument("--to", metavar="FOLDER", help="folder that becomes the copy")
    parser.add_argument(
        "--as",
        dest="form",
        choices=FORMS,
        help="write it for MONAI's model zoo or for Hugging Face: JSON beside YAML, their README, no folders of yours",
    )
    parser.set_defaults(func=run)


def run(name: str, to: str | None, form: str | None) -> None:
    """Run the command: :py:func:`monai_sscm.bundle.copy_bundle`, :py:func:`monai_sscm.publishing.publish_bundle`."""
    from monai_sscm.errors import raised_here

    if form is not None and to is None:
        raise ValueError(f"`--as {form}` writes a folder: name it by `--to FOLDER`.")
    try:
        if to is None:
            print(find_bundle(name))
        else:
            print(copy_bundle(name, to) if form is None else publish_bundle(name, to, form))
    except OSError as e:
        if raised_here(e):
            raise
        raise OSError(f"The copy {to!r} cannot be written ({e.strerror or e}): choose another folder.") from e
