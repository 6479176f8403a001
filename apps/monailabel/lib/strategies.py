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
"""What to annotate next."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.tasks.activelearning.random import Random

from lib.bundles import training_folder
from lib.datalist import semi_supervised_lists
from monai_sscm.review import suggest

__all__ = ["Suggest", "suggested_images"]

_logger = logging.getLogger(__name__)
_NUMBER, _AMONG = 20, 60


class Suggest(Strategy):
    """
    The image that would help the last training of a bundle most, as ``monai-sscm suggest`` finds it; before there is
    a training, any.

    The first request after a training looks at up to 60 images without annotation, and keeps the 20 that would help
    most; the next ones take from these, and then any.

    Args:
        bundles: folders of the bundles by the names under which they are served. A request may name one as ``model``,
            else it is the one that was trained last.
    """

    def __init__(self, bundles: Mapping[str, str]) -> None:
        super().__init__("The image whose annotation would help the last training most")
        self.bundles = bundles

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Choose an image: its id, or nothing where all are annotated."""
        free = datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels"))
        ids = {os.path.realpath(datastore.get_image_uri(image_id)): image_id for image_id in free}
        annotated = datastore.datalist()
        names = [request["model"]] if request.get("model") in self.bundles else self.bundles
        weights = [Path(training_folder(self.bundles[name])) / "models" / "model.pt" for name in names]
        trained = [path for path in weights if path.is_file()]
        if ids and trained and annotated:
            run = max(trained, key=lambda path: path.stat().st_mtime).parents[1]
            studies = str(getattr(datastore, "_datastore_path", "."))
            lists = semi_supervised_lists(annotated, list(ids), studies)
            for image in suggested_images(run, lists):
                if image in ids:
                    return {"id": ids[image]}
        result: dict[str, Any] = Random()(request, datastore)
        return result


def suggested_images(run: Path, lists: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """
    The files of the images that would help most, the first first; looked for where the training is newer than the
    last answer.

    Args:
        run: folder of a training.
        lists: images with and without annotation, ``labeled`` and ``unlabeled``.
    """
    table = run / "suggestions.csv"
    if not table.is_file() or table.stat().st_mtime < (run / "models" / "model.pt").stat().st_mtime:
        try:
            suggest(run, _NUMBER, among=_AMONG, datalist=lists)
        except SystemExit as e:  # some could not be read
            _logger.warning(str(e))
    if not table.is_file():
        return []
    with open(table, encoding="utf-8", newline="") as file:
        return [os.path.realpath(row["image"]) for row in csv.DictReader(file)]
