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

"""``monai-sscm phantoms``: procedural images with exact masks."""

from __future__ import annotations

from typing import Any

from .arguments import add_command, positive_int

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the command ``phantoms``."""
    parser = add_command(
        subparsers, "phantoms", "write procedural fundus photographs or chest CT with exact masks, to try things out"
    )
    parser.add_argument("output_dir", help="folder to write to")
    parser.add_argument("--kind", choices=["vessel", "chest"], default="vessel", help="photographs, or CT scans")
    parser.add_argument("--num_train", type=int, default=12, help="images for training")
    parser.add_argument("--num_val", type=int, default=2, help="images for validation")
    parser.add_argument("--num_test", type=int, default=2, help="images for testing")
    parser.add_argument("--size", type=positive_int, default=256, help="height and width in pixels")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first image")
    parser.set_defaults(func=run)


def run(kind: str, output_dir: str, **values: Any) -> None:
    """Run the command, see :py:func:`monai_sscm.datasets.write_vessel_phantoms` and ``write_chest_phantoms``."""
    from monai_sscm.datasets import write_chest_phantoms, write_vessel_phantoms
    from monai_sscm.handlers import check_writable

    write = write_chest_phantoms if kind == "chest" else write_vessel_phantoms
    write(check_writable(output_dir), **values)
