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

"""``monai-sscm export``: a training's images and masks for another program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .arguments import add_command, positive_int

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> None:
    """Add the command ``export``."""
    parser = add_command(
        subparsers,
        "export",
        "write a training's images with masks and pseudo-labels for another program, such as nnU-Net",
        "any value of inference.yaml, such as --device cpu",
    )
    parser.add_argument("run_dir", metavar="RUN", help="folder of a finished training")
    parser.add_argument("--as", dest="kind", choices=("nnunet",), required=True, help="what for")
    parser.add_argument("--output_dir", help="folder of raw data sets; else $nnUNet_raw, or nnUNet_raw here")
    parser.add_argument("--number", type=positive_int, default=501, help="of the data set, up to 999")
    parser.set_defaults(func=run)


def run(run_dir: str, kind: str, output_dir: str | None, number: int, options: Mapping[str, str]) -> None:
    """
    Run the command, see :py:func:`monai_sscm.review.export_nnunet`.

    Args:
        run_dir: folder of a finished training.
        kind: the other program, ``"nnunet"``.
        output_dir: folder of raw data sets. None: nnU-Net's.
        number: of the data set.
        options: values of inference.yaml, as text.
    """
    from monai_sscm.review import export_nnunet

    folder = export_nnunet(run_dir, output_dir, number, options)
    print(f"Written: {folder}, which cases have masks and which pseudo-labels in {folder / 'cases.csv'}.")
    print(f"Next: nnUNetv2_plan_and_preprocess -d {number} --verify_dataset_integrity")
