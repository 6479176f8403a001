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

"""
Semi-supervised segmentation in MONAI Label: a few annotated images, and all the others that are not annotated yet.

Start it with ``monailabel start_server --app apps/monailabel --studies IMAGES --conf models NAME_OR_FOLDER``.
"""

from __future__ import annotations

import logging
from typing import Any

from lib.bundles import served_bundles
from lib.infers import SemiSupervisedInferTask
from lib.strategies import Suggest
from lib.trainers import SemiSupervisedTrainTask
from monailabel.interfaces.app import MONAILabelApp
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random

import monai_sscm

_logger = logging.getLogger(__name__)


class SemiSupervisedApp(MONAILabelApp):
    """
    Serves bundles of monai_sscm, and trains them on annotated and other images.

    Args:
        app_dir: folder of this file.
        studies: folder of the images, or the address of a DICOM server.
        conf: ``models``, names of shipped bundles or folders of others, with commas between them; all that are shipped
            where there is none.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.bundles = served_bundles(conf.get("models", ""), app_dir)
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="Semi-supervised segmentation (monai_sscm)",
            description="Learns from annotated images and from those that are not annotated yet",
            version=monai_sscm.__version__,
        )

    def init_infers(self) -> dict[str, Any]:
        """A task for each bundle; one without weights yet is valid after its first training."""
        return {name: SemiSupervisedInferTask(path, self.conf) for name, path in self.bundles.items()}

    def init_trainers(self) -> dict[str, Any]:
        """A training for each bundle."""
        return {name: SemiSupervisedTrainTask(path, self.conf) for name, path in self.bundles.items()}

    def init_strategies(self) -> dict[str, Any]:
        """What to annotate next."""
        return {"suggest": Suggest(self.bundles), "random": Random(), "first": First()}

    def info(self) -> dict[str, Any]:
        """What clients are told of the app."""
        self._add_trained()
        info: dict[str, Any] = super().info()
        return info

    def infer(self, request: dict[str, Any], datastore: Any = None) -> dict[str, Any]:
        """Segment an image."""
        self._add_trained()
        result: dict[str, Any] = super().infer(request, datastore)
        return result

    def _add_trained(self) -> None:
        """Serve bundles anew that have had no weights before, or now have some that see images in another way."""
        for name, task in self._infers.items():
            if not task.is_current():
                self._infers[name] = SemiSupervisedInferTask(self.bundles[name], self.conf)
