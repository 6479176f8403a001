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

"""Masks by a bundle: MONAI Label's task for bundles, with the masks of ``monai-sscm predict``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferType
from monailabel.tasks.infer.bundle import BundleInferTask

from lib.masks import write_mask

__all__ = ["SemiSupervisedInferTask"]


class SemiSupervisedInferTask(BundleInferTask):
    """
    Segments an image by a bundle's own ``preprocessing``, ``inferer`` and ``postprocessing``.

    These bring the mask back to the stored grid, so that nothing is restored after them, and the file is written on
    that grid: pictures have rows and columns here, where MONAI Label's writer expects columns and rows.

    Args:
        path: folder of the bundle.
        conf: configuration of the app.
    """

    def __init__(self, path: str, conf: dict[str, str]) -> None:
        self._settings = Path(path) / "models" / "settings.json"
        self._seen = self._read_settings()
        super().__init__(path, conf, type=InferType.SEGMENTATION, add_post_restore=False)
        if self.is_valid():
            metadata = json.loads((Path(path) / "configs" / "metadata.json").read_text("utf-8"))
            mask = metadata["network_data_format"]["post_processed_outputs"][self.key_pred]
            # a network for slices segments volumes
            self.dimension = len(mask["spatial_shape"])

    def is_current(self) -> bool:
        """Whether there are weights, and images are seen as those that are there now see them."""
        return bool(self.is_valid()) and self._seen == self._read_settings()

    def _read_settings(self) -> bytes:
        return self._settings.read_bytes() if self._settings.is_file() else b""

    def run_pre_transforms(self, data: dict[str, Any], transforms: Sequence[Callable]) -> dict[str, Any]:
        """The bundle's own, without the path beside the image: MONAI's ``Spacingd`` takes it for metadata and fails."""
        path = data.pop("image_path", None)
        data = super().run_pre_transforms(data, transforms)
        return {**data, "image_path": path}

    def writer(self, data: dict[str, Any], extension: str | None = None, dtype: Any = None) -> tuple[Any, Any]:
        """The mask as a file, or as an array where the client wants none."""
        result = data.get(self.output_json_key, {})
        pred = data[self.output_label_key]
        if not data.get("result_write_to_file", True):
            return pred[0].cpu().numpy(), result
        path = write_mask(
            data[self.input_key],
            pred,
            self.bundle_config.get_parsed_content("class_names"),
            extension or data.get("result_extension"),
            dtype or data.get("result_dtype"),
            data.get("result_compress", False),
        )
        return path, result
