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

"""The entry point of ``monai-sscm`` and of ``python -m monai_sscm``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

import monai_sscm

from . import bundle, demo, evaluate, export, phantoms, plan, predict, prepare, study, suggest, train
from .arguments import CommandParser

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Run one of the commands.

    Args:
        arguments: words of the command line. None: those of this process.

    Raises:
        SystemExit: with status 2 for a wrong command line, 130 after Ctrl-C, 0 after ``--help`` or ``--version``.

    Example:
        >>> import tempfile
        >>> from monai_sscm.cli.main import main
        >>> main(["phantoms", tempfile.mkdtemp(), "--num_train", "1", "--size", "32"])
    """
    parser = _parser()
    values = vars(parser.parse_args(arguments))
    command = values.pop("func", None)
    if command is None:
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    try:
        from monai_sscm.errors import install_error_hook

        install_error_hook()
        # warnings of all, and what this package says besides
        logging.basicConfig(format="%(levelname)s: %(message)s")
        logging.getLogger("monai_sscm").setLevel(logging.INFO)
        command(**values)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("monai-sscm", description="Semi-supervised segmentation for MONAI.")
    parser.add_argument("--version", action="version", version=f"monai-sscm {monai_sscm.__version__}")
    subparsers = parser.add_subparsers(metavar="command", parser_class=CommandParser)
    for command in (train, predict, evaluate, suggest, export, plan, demo, study, prepare, bundle, phantoms):
        command.add_parser(subparsers)
    return parser
