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

"""CHASE_DB1, retinal vessels: its preparation and its lists."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from monai_sscm.data import semi_supervised_datalist
from monai_sscm.data.layouts.files import list_images

from .download import download, files_by_name, whole_folder

__all__ = ["CHASE_DB1_SPLIT", "CHASE_DB1_URL", "chase_db1_datalist", "prepare_chase_db1"]

#: CHASE_DB1 by child: both eyes of a child are on one side.
CHASE_DB1_SPLIT: dict[str, list[str]] = json.loads(Path(__file__).with_name("chase_db1_split.json").read_text("utf-8"))

#: The child in a CHASE_DB1 file name; the whole name of another image, such as an unlabelled one beside them.
CHASE_DB1_PATIENT = r"(?:Image_(?=\d+[LR]))?((?<=Image_)\d+|.+)"

#: Where Kingston University London publishes CHASE_DB1, under CC BY 4.0.
CHASE_DB1_URL = "https://researchinnovation.kingston.ac.uk/files/40659508/CHASEDB1.zip"

_SHA256 = Path(__file__).with_name("chase_db1.sha256")
_FOLDERS = {".jpg": "images", "_1stHO.png": "labels", "_2ndHO.png": "labels_2nd_observer"}


def chase_db1_datalist(
    dataset_dir: str | Path,
    num_labeled: int | None = None,
    seed: int = 0,
    group_pattern: str | None = None,
    val_fraction: float = 0.0,
    train_on_test_images: bool = False,
) -> dict[str, list[dict[str, Any]]]:
    """
    List CHASE_DB1: 28 fundus photographs of 14 children, split by child into 16 train, 4 validation and 8 test images.

    The folder holds ``images/Image_01L.jpg`` and so on, and ``labels/Image_01L_1stHO.png``. A data set of other images
    is listed as by :py:func:`monai_sscm.data.semi_supervised_datalist`, so the same bundle serves your own fundus
    photographs. A ``split.json`` in the folder replaces :py:data:`CHASE_DB1_SPLIT`.

    Args:
        dataset_dir: the folder.
        num_labeled: how many of the training images keep their masks, from as many children as possible. None: all.
        seed: chooses them.
        group_pattern: of your own images, the regular expression whose first group is the patient in a file name.
        val_fraction: of your own images, the share of the patients that validates.
        train_on_test_images: of your own images, whether test images without masks are trained on as unlabelled ones.

    Returns, Raises: as :py:func:`monai_sscm.data.semi_supervised_datalist`.
    """
    images = Path(dataset_dir) / "images"
    known = {name for part in CHASE_DB1_SPLIT.values() for name in part}
    if images.is_dir() and known & set(list_images(images)):
        # with some of its images missing it is CHASE_DB1 still: better an error than test children among the training
        return semi_supervised_datalist(dataset_dir, num_labeled, seed, CHASE_DB1_PATIENT, CHASE_DB1_SPLIT)
    return semi_supervised_datalist(
        dataset_dir,
        num_labeled,
        seed,
        group_pattern,
        val_fraction=val_fraction,
        train_on_test_images=train_on_test_images,
    )


def prepare_chase_db1(
    output_dir: str | Path = "data/chase_db1", source: str | Path | None = None, url: str = CHASE_DB1_URL
) -> str:
    """
    Download CHASE_DB1, verify every file by its SHA-256, and lay it out as :py:func:`chase_db1_datalist` reads it.

    Writes ``images/Image_01L.jpg``, ``labels/Image_01L_1stHO.png``, ``labels_2nd_observer/Image_01L_2ndHO.png`` and so
    on for 28 photographs. The folder appears only when all files are complete and verified.

    Args:
        output_dir: folder to write to.
        source: the zip file as published, or a folder with its files, at any depth. None: download it.
        url: where to download it from.

    Returns:
        the folder.

    Raises:
        OSError: when the source cannot be downloaded or read, or the folder cannot be written to.
        ValueError: when files are missing in the source or are not the published ones.
    """
    lines = [line.split() for line in _SHA256.read_text().splitlines()]
    digests = {name: digest for digest, name in lines}
    with whole_folder(output_dir) as (laid_out, temporary):
        if source is None:
            source = temporary / "CHASEDB1.zip"
            download(url, source)
        with files_by_name(Path(source), set(digests)) as found:
            missing = sorted(set(digests) - set(found))
            if missing:
                raise ValueError(
                    f"{str(source)!r} lacks {len(missing)} of the {len(digests)} files of CHASE_DB1, such as "
                    f"{missing[0]!r}: download it anew, or unpack all of it."
                )
            for name, digest in digests.items():
                try:
                    content = found[name].read_bytes()
                except Exception:  # a damaged zip can fail in any way
                    content = b""
                if hashlib.sha256(content).hexdigest() != digest:
                    raise ValueError(
                        f"{name!r} of {str(source)!r} is not the published file (its SHA-256 differs): it was changed "
                        "or cut off, so download it anew."
                    )
                folder = laid_out / next(folder for end, folder in _FOLDERS.items() if name.endswith(end))
                folder.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
    return str(output_dir)
