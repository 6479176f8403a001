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

"""Training of a bundle on what is annotated so far, and on the images that are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.tasks.train.bundle import BundleTrainTask

from lib.bundles import publish, served_view, training_folder
from lib.datalist import annotation_fault, semi_supervised_lists

__all__ = ["SemiSupervisedTrainTask"]

_LOADER = "CheckpointLoader"


class SemiSupervisedTrainTask(BundleTrainTask):
    """
    Trains a bundle: images with a final annotation are labelled, all others are unlabelled.

    The training has a folder of its own, ``training`` in the bundle's; when it is over, its result becomes the
    bundle's ``models/model.pt``, which is served, and which the next training starts from.

    Args:
        path: folder of the bundle.
        conf: configuration of the app.
    """

    def __init__(self, path: str, conf: dict[str, str]) -> None:
        super().__init__(path, conf)
        self._lists: dict[str, list[dict[str, Any]]] = {}
        self._studies = ""

    def config(self) -> dict[str, Any]:
        """What a client may choose: all annotations are learned from, for as long as the bundle says."""
        options: dict[str, Any] = super().config()
        return {**options, "max_epochs": self.bundle_config.get("max_epochs"), "val_split": 0.0, "resume": False}

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train, and serve the result."""
        defaults = {name: self.config()[name] for name in ("max_epochs", "val_split", "resume")}
        result: dict[str, Any] = super().__call__({**defaults, **request}, datastore)
        publish(self.bundle_path)
        return result

    def _fetch_datalist(self, request: dict[str, Any], datastore: Datastore) -> list[dict[str, Any]]:
        class_names = self.bundle_config.get("class_names")
        for image_id in datastore.get_labeled_images():
            info = datastore.get_label_info(image_id, DefaultLabelTag.FINAL)
            fault = annotation_fault(image_id, info.get("params", info).get("label_info"), class_names)
            if fault is not None:
                raise ValueError(fault)
        others = [datastore.get_image_uri(image_id) for image_id in datastore.get_unlabeled_images()]
        self._studies = str(getattr(datastore, "_datastore_path", "."))
        self._lists = semi_supervised_lists(
            datastore.datalist(),
            others,
            self._studies,
            self.bundle_config.get("group_pattern"),
            float(request["val_split"]),
        )
        self._resume = bool(request["resume"])
        return self._lists["labeled"]

    def _partition_datalist(
        self, datalist: list[dict[str, Any]], request: dict[str, Any], shuffle: bool = False
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        return datalist, self._lists["val"]  # by patients

    def _load_checkpoint(self, model_pytorch: str, pretrained: bool, train_handlers: list[dict[str, Any]]) -> None:
        # the handlers are those of the last training too
        train_handlers[:] = [handler for handler in train_handlers if handler.get("_target_") != _LOADER]
        self._from_served = pretrained and Path(model_pytorch).is_file()
        if self._from_served:
            super()._load_checkpoint(model_pytorch, pretrained, train_handlers)

    def _update_overrides(self, overrides: dict[str, Any]) -> dict[str, Any]:
        overrides |= {
            "datalist": self._lists,
            "dataset_dir": self._studies,
            "max_epochs": overrides[self.const.key_train_trainer_max_epochs()],
            "output_dir": training_folder(self.bundle_path),
            "resume": self._resume,
        }
        if self._from_served:
            overrides |= served_view(self.bundle_path)
        if not self._lists["unlabeled"]:
            overrides["method"] = "supervised_augmented"  # nothing is left that others learn from
        return overrides
