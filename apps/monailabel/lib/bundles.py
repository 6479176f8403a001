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

"""Which bundles are served, and how a training's result becomes what is served. MONAI Label is not needed here."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from monai_sscm.bundle import bundle_names, copy_bundle, find_bundle
from monai_sscm.networks import training_settings

__all__ = ["publish", "served_bundles", "served_view", "training_folder"]


def served_bundles(models: str, app_dir: str | Path) -> dict[str, str]:
    """
    The folders of the bundles that an app serves.

    Args:
        models: names of bundles of the package, or folders of others, with commas between them; empty for all of the
            package. Those of the package are copied into ``model`` of the app, where they are trained on.
        app_dir: folder of the app.

    Returns:
        folders by the names under which they are served.

    Raises:
        ValueError: when there is no such bundle, or two have one name.
    """
    names = [name.strip() for name in models.split(",") if name.strip()] or bundle_names()
    folders: dict[str, str] = {}
    for name in names:
        if name in bundle_names():
            folder = Path(app_dir) / "model" / name
            if not folder.is_dir():
                folder.parent.mkdir(parents=True, exist_ok=True)
                copy_bundle(name, folder)
        else:
            folder = Path(find_bundle(name))
        if folder.name in folders:
            raise ValueError(f"Two bundles are named {folder.name!r}: rename the folder of one.")
        folders[folder.name] = str(folder)
    return folders


def training_folder(bundle: str | Path) -> str:
    """The folder that a bundle is trained in: not its own, whose weights are served meanwhile."""
    return str(Path(bundle) / "training")


def publish(bundle: str | Path) -> str:
    """
    Serve the result of a bundle's last training. The weights before it stay, as ``models/model_before.pt``.

    Args:
        bundle: folder of the bundle.

    Returns:
        the file that is served.

    Raises:
        FileNotFoundError: when the training did not end with a result.
    """
    results, models = Path(training_folder(bundle)) / "models", Path(bundle) / "models"
    if not (results / "model.pt").is_file():
        raise FileNotFoundError(f"The training in {training_folder(bundle)!r} has no result: its log says why.")
    models.mkdir(exist_ok=True)
    if (models / "model.pt").is_file():
        _replace(models / "model.pt", models / "model_before.pt")
    # the settings first: weights are read anew when their file changes
    for name in ("settings.json", "model.pt"):
        _replace(results / name, models / name)
    return str(models / "model.pt")


def served_view(bundle: str | Path) -> dict[str, Any]:
    """
    Values of a bundle's ``train.yaml`` with which a training that starts from the weights that are served sees images
    as these did, and has their network: those that ``inference.yaml`` takes from their settings.

    Args:
        bundle: folder of the bundle.
    """
    files = (Path(bundle) / "configs" / f"{name}.yaml" for name in ("inference", "train"))
    inference, train = (yaml.safe_load(path.read_text("utf-8")) for path in files)
    settings = training_settings(Path(bundle) / "models" / "model.pt")
    seen = [name for name, value in inference.items() if value == f"$@trained.get('{name}')"]
    return {name: settings[name] for name in seen if name in settings and name in train and name != "class_names"}


def _replace(source: Path, target: Path) -> None:
    """Copy a file over another, which stays whole until the copy is."""
    part = target.with_name(target.name + ".part")
    shutil.copyfile(source, part)
    os.replace(part, target)
