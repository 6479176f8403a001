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

"""``monai-sscm predict``: segment images with one trained network or several."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .arguments import add_command

__all__ = ["add_parser", "run"]

_logger = logging.getLogger(__name__)
_RESULT = Path("models") / "model.pt"
# what says how images are seen, first of all
_VIEW = ("spatial_dims", "in_channels", "class_names")
# values of inference.yaml that are no matter of what the networks see: the first's are taken
_NO_MATTER = (
    *("input", "output_dir", "save_probabilities", "save_overlays", "quality", "checkpoint", "weights", "bundle_name"),
    *("overlap", "sw_batch_size", "slab", "device", "amp"),
)


def add_parser(subparsers: Any) -> None:
    """Add the command ``predict``."""
    parser = add_command(
        subparsers,
        "predict",
        "segment images: masks of the format, size and geometry of each",
        "any value of inference.yaml, such as --save_overlays true, --save_probabilities true, --device cpu; "
        "--quality false leaves out quality.csv, and is faster",
    )
    parser.add_argument("input", nargs="+", metavar="INPUT", help="images, a folder of images, or a list (.txt)")
    parser.add_argument(
        "--model",
        nargs="+",
        required=True,
        metavar="RUN_OR_BUNDLE",
        help="folder of a training, name or folder of a bundle, or a file of weights in one, such as "
        "RUN/states/last.pt; of several, the mean of their probabilities counts",
    )
    parser.add_argument("--output_dir", required=True, metavar="OUT", help="folder for the masks")
    parser.set_defaults(func=run)


def run(input: Sequence[str], model: Sequence[str], output_dir: str, options: Mapping[str, str]) -> None:
    """
    Run the command.

    Args:
        input: an image, a folder or a list; or several images.
        model: trainings, bundles or files of weights in them.
        output_dir: folder for the masks.
        options: values of inference.yaml, as text.

    Raises:
        ValueError: when a model is none, or two do not see images alike.
        SystemExit: with status 1 when an image was left out.
    """
    from monai_sscm.bundle import run_config
    from monai_sscm.networks import training_settings

    found = [_find(name) for name in model]
    configs = [root / "configs" / "inference.yaml" for root, _ in found]
    weights = [str(path) for _, path in found]
    values: dict[str, Any] = {"checkpoint": weights[0] if len(weights) == 1 else weights, **options}
    if "checkpoint" not in options:
        for path in weights:
            _check_finished(Path(path))
        if len(weights) > 1:
            settings = training_settings(weights)
            for name in _VIEW:
                settings.get(name)  # refuses to give one in which they differ
    for config in configs[1:]:
        _check_alike(configs[0], config)
    if "quality" in _read(configs[0]):  # bundles of earlier versions cannot say
        values = {"quality": "true", **values}
        is_result = (
            len(found) == 1 and found[0][1] == found[0][0] / _RESULT and not {"checkpoint", "weights"} & {*options}
        )
        if is_result and values["quality"].strip().lower() == "true":
            _calibrate(found[0][0])
    values |= {"input": input[0] if len(input) == 1 else list(input), "output_dir": output_dir}
    run_config([configs[0]], values)


def _find(name: str) -> tuple[Path, Path]:
    """The bundle and the weights that are meant."""
    from monai_sscm.bundle import bundle_names, find_bundle

    path = Path(name)
    root = path.resolve().parents[1] if path.is_file() else path
    if name in bundle_names():
        root = Path(find_bundle(name))
    if not (root / "configs" / "inference.yaml").is_file():
        raise ValueError(
            f"There is no model {name!r}: give the folder of a training or of a bundle, or one of "
            f"{', '.join(bundle_names())}."
        )
    return root, path.resolve() if path.is_file() else root / _RESULT


def _calibrate(root: Path) -> None:
    from monai_sscm.metrics import Calibration
    from monai_sscm.review import calibrate

    found = calibrate(root)
    if not isinstance(found, Calibration):
        _logger.info(f"The quality of masks is known in ranks only: {found}.")


def _check_finished(weights: Path) -> None:
    if weights.is_file():
        return
    root = weights.parents[1]
    last = root / "states" / "last.pt"
    if last.is_file():
        raise ValueError(
            f"The training in {str(root)!r} is not finished: go on with it by its command, or give {str(last)!r} as "
            "`--model` to use the network as it is."
        )
    raise ValueError(f"The bundle {str(root)!r} has no weights yet: train it by `monai-sscm train` first.")


def _read(config: Path) -> dict[str, Any]:
    import yaml

    values: dict[str, Any] = yaml.safe_load(config.read_text("utf-8"))
    return values


def _check_alike(first: Path, other: Path) -> None:
    """Refuse configurations that read, show or segment images in different ways."""
    a, b = _read(first), _read(other)
    different = [name for name in {**a, **b} if name not in _NO_MATTER and a.get(name) != b.get(name)]
    if different:
        raise ValueError(
            f"{str(first)!r} and {str(other)!r} differ in `{different[0]}`: the probabilities of two networks can be "
            "averaged only where both see images alike."
        )
