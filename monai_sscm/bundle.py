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

"""The bundles that come with the package: where they are, and a copy to work on."""

from __future__ import annotations

import shutil
from pathlib import Path

from monai_sscm import bundles

__all__ = ["bundle_names", "copy_bundle", "find_bundle"]


def bundle_names() -> list[str]:
    """
    Names of the bundles that come with the package.

    Example:
        >>> from monai_sscm.bundle import bundle_names
        >>> "chase_vessel_segmentation" in bundle_names()
        True
    """
    return sorted(path.parent.parent.name for path in _root().glob("*/configs/metadata.json"))


def find_bundle(name: str) -> str:
    """
    The folder of a bundle that comes with the package.

    Args:
        name: name of the bundle.

    Raises:
        ValueError: when there is none of this name.

    Example:
        >>> from pathlib import Path
        >>> from monai_sscm.bundle import find_bundle
        >>> (Path(find_bundle("chase_vessel_segmentation")) / "configs" / "inference.yaml").is_file()
        True
    """
    if name not in bundle_names():
        raise ValueError(f"There is no bundle {name!r}: choose one of {', '.join(bundle_names())}.")
    return str(_root() / name)


def copy_bundle(name: str, folder: str | Path) -> str:
    """
    Copy a bundle, to change its configuration. The copy is run in its folder, as MONAI's bundles are, and has weights
    of its own.

    Args:
        name: name of the bundle.
        folder: folder that becomes the copy; must not exist.

    Returns:
        the folder.

    Raises:
        ValueError: when there is no such bundle.
        FileExistsError: when the folder exists.
    """
    source = find_bundle(name)
    if Path(folder).exists():
        raise FileExistsError(f"{str(folder)!r} exists: choose a folder that does not.")
    shutil.copytree(source, folder)
    for config in Path(folder).glob("configs/*.yaml"):
        lines = config.read_text("utf-8").splitlines(keepends=True)
        # not the package's folder, wherever the copy is run
        own = ("bundle_root: .\n" if line.startswith("bundle_root:") else line for line in lines)
        config.write_text("".join(own), "utf-8")
    return str(folder)


def _root() -> Path:
    return Path(next(iter(bundles.__path__)))
