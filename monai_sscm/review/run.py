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


"""A finished training, as what comes after it needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from monai_sscm.bundle import opened_config
from monai_sscm.data.layouts.files import file_names
from monai_sscm.data.listing import first_file
from monai_sscm.io.files import CHANNEL_NAME

if TYPE_CHECKING:
    from monai.bundle import ConfigWorkflow

__all__ = ["MASK_ENDINGS", "TrainingRun", "find_mask", "read_run"]

#: how names of masks end, as :py:class:`monai_sscm.handlers.PredictionSaver` writes them
MASK_ENDINGS = ("_seg.png", "_seg.nii.gz", "_seg.mha", ".seg.nrrd")


@dataclass(frozen=True)
class TrainingRun:
    """
    A training's folder and the images that it was trained on.

    Args:
        root: the folder, a bundle.
        weights: file of its result.
        config: values of its ``train.yaml``.
        datalist: its images by ``labeled``, ``unlabeled``, ``val`` and ``test``.
    """

    root: Path
    weights: Path
    config: Mapping[str, Any]
    datalist: Mapping[str, Sequence[Mapping[str, Any]]]

    def images(self, *parts: str) -> list[dict[str, Any]]:
        """
        The images of some parts as ``inference.yaml`` takes them, ``{"image": path, "name": name}``, with the other
        keys of their items. An image of which a training sees slices one by one is there once.
        """
        items: dict[str, dict[str, Any]] = {}
        for part in parts:
            for item in self.datalist[part]:
                items.setdefault(str(item["image"]), {**item, "part": part})
        root = Path(str(self.config["dataset_dir"]))
        names = file_names(
            (first_file(item["image"]) for item in items.values()), root.parent if root.is_file() else root
        )
        named = []
        for name, item in zip(names, items.values(), strict=True):
            match = CHANNEL_NAME.fullmatch(name)
            named.append({**item, "name": match[1] if match else name})
        return named

    @contextmanager
    def inference(self, images: Sequence[Mapping[str, Any]], **values: Any) -> Iterator[ConfigWorkflow]:
        """
        Its ``inference.yaml`` for some images.

        Args:
            images: what :py:meth:`images` gives.
            values: further values of the configuration.
        """
        datalist = [{"image": item["image"], "name": item["name"]} for item in images]
        values = {"datalist": datalist, "checkpoint": str(self.weights), **values}
        with opened_config([self.root / "configs" / "inference.yaml"], values) as workflow:
            yield workflow


def read_run(folder: str | Path, datalist: Mapping[str, Sequence[Mapping[str, Any]]] | None = None) -> TrainingRun:
    """
    Read a finished training.

    Args:
        folder: its folder.
        datalist: images that a host has, in place of those that its configuration lists.

    Raises:
        ValueError: when it is none, is not finished, or is of an earlier version.
        FileNotFoundError: when its data set is not there.
    """
    root = Path(folder)
    config = root / "configs" / "train.yaml"
    weights = root / "models" / "model.pt"
    if not config.is_file():
        raise ValueError(f"{str(folder)!r} is no training: give the folder that `monai-sscm train` wrote.")
    if not weights.is_file():
        raise ValueError(f"The training in {str(folder)!r} is not finished: go on with it by its command.")
    values = yaml.safe_load(config.read_text("utf-8"))
    data = Path(str(values["dataset_dir"]))
    if not (data.is_absolute() and data.exists()):
        raise FileNotFoundError(
            f"The data set {str(data)!r} of the training in {str(folder)!r} is not there: set `dataset_dir` in "
            f"{str(config)!r} to where it is now."
        )
    inference = root / "configs" / "inference.yaml"
    if not inference.is_file() or "quality" not in yaml.safe_load(inference.read_text("utf-8")):
        raise ValueError(
            f"The training in {str(folder)!r} is of an earlier version: plan one by `monai-sscm plan`, and copy its "
            "configs/inference.yaml here."
        )
    if datalist is None:
        with opened_config([config], {}) as workflow:
            datalist = workflow.parser.get_parsed_content("datalist")
    return TrainingRun(root, weights, values, datalist)


def find_mask(folder: str | Path, name: str) -> Path:
    """
    The mask of an image that was segmented.

    Args:
        folder: folder of the masks.
        name: of the image.

    Raises:
        FileNotFoundError: when there is none.
    """
    for ending in MASK_ENDINGS:
        path = Path(folder) / f"{name}{ending}"
        if path.is_file():
            return path
    raise FileNotFoundError(f"There is no mask of {name!r} in {str(folder)!r}: segment the image again.")
