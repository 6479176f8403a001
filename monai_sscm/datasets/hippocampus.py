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

"""Hippocampus (Medical Segmentation Decathlon, Task04): small MR volumes, and their preparation."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import nibabel

from .download import download, whole_folder

__all__ = ["HIPPOCAMPUS_URL", "hippocampus_part", "prepare_hippocampus"]

#: Where MONAI's copy of the Decathlon is public, under CC BY-SA 4.0.
HIPPOCAMPUS_URL = "https://msd-for-monai.s3-us-west-2.amazonaws.com/Task04_Hippocampus.tar"

_MD5 = "9d24dba78a72977dbd1d2e110310f31b"  # the published sum; MONAI checks the same
_NAME = re.compile(r"hippocampus_\d{3}\.nii\.gz")
_FOLDERS = ("imagesTr", "labelsTr", "imagesTs")
_MAX_BYTES = 2**24  # of a volume; they have some 100 kB
_DESCRIPTION = {
    "name": "Hippocampus",
    "reference": "Medical Segmentation Decathlon, Task04 (http://medicaldecathlon.com)",
    "licence": "CC BY-SA 4.0",
    "tensorImageSize": "3D",
    "modality": {"0": "MRI"},
    "labels": {"0": "background", "1": "anterior", "2": "posterior"},
}


def hippocampus_part(name: str) -> str:
    """
    The part that a case is in: ``train`` (about 60 % of the cases), ``val`` (15 %) or ``test`` (25 %).

    It depends on the name alone, so that a case is in the same part whatever other cases there are.

    Args:
        name: name of the case, without suffix.

    Example:
        >>> from monai_sscm.datasets import hippocampus_part
        >>> [hippocampus_part(f"hippocampus_{number:03}") for number in (1, 3, 4, 6)]
        ['test', 'test', 'train', 'val']
    """
    share = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32
    return "train" if share < 0.6 else "val" if share < 0.75 else "test"


def prepare_hippocampus(
    output_dir: str | Path = "data/hippocampus", source: str | Path | None = None, url: str = HIPPOCAMPUS_URL
) -> str:
    """
    Download the hippocampus volumes, verify them, and lay them out as a folder of the Decathlon.

    Writes ``imagesTr/``, ``labelsTr/``, ``imagesTs/`` (if the source has it), ``dataset.json`` and, with the parts of
    :py:func:`hippocampus_part`, ``split.json``. The folder appears only when all is complete and verified.

    Args:
        output_dir: folder to write to.
        source: the tar file as published; or a folder with ``imagesTr/`` and ``labelsTr/`` of all or some of its cases,
            or with such a folder in it. None: download it.
        url: where to download it from.

    Returns:
        the folder.

    Raises:
        OSError: when the source cannot be downloaded or read, or the folder cannot be written to.
        ValueError: when the tar file is not the published one, a volume is damaged, or a mask is missing or of
            another size.
    """
    with whole_folder(output_dir) as (laid_out, temporary):
        if source is None:
            source = temporary / "Task04_Hippocampus.tar"
            download(url, source)
        source = Path(source)
        for folder, name, content in _files_of_folder(source) if source.is_dir() else _files_of_tar(source):
            (laid_out / folder).mkdir(parents=True, exist_ok=True)
            (laid_out / folder / name).write_bytes(content)
        _describe(laid_out, source)
    return str(output_dir)


def _files_of_folder(source: Path) -> Iterator[tuple[str, str, bytes]]:
    """The volumes below a folder: the folder, name and content of each."""
    roots = [path.parent for path in (source / "imagesTr", *sorted(source.rglob("imagesTr"))) if path.is_dir()]
    for folder in _FOLDERS if roots else ():
        for path in sorted((roots[0] / folder).glob("*")):
            if _NAME.fullmatch(path.name):
                yield folder, path.name, path.read_bytes()


def _files_of_tar(source: Path) -> Iterator[tuple[str, str, bytes]]:
    """The volumes in the published tar file; nothing else in it is read, and nothing is unpacked by its path."""
    if not source.is_file():
        raise FileNotFoundError(
            f"There is no {str(source)!r}: give the data set's tar file, or the folder of its files."
        )
    if hashlib.md5(source.read_bytes(), usedforsecurity=False).hexdigest() != _MD5:
        raise ValueError(
            f"{str(source)!r} is not the published file (its MD5 differs): it was changed or cut off, so download it "
            "anew, or give a folder with 'imagesTr' and 'labelsTr'."
        )
    with tarfile.open(source) as archive:
        for member in archive:
            folder, name = Path(member.name).parent.name, Path(member.name).name
            if folder in _FOLDERS and _NAME.fullmatch(name) and member.isfile() and member.size < _MAX_BYTES:
                content = archive.extractfile(member)
                assert content is not None
                yield folder, name, content.read()


def _describe(root: Path, source: Path) -> None:
    """Write ``dataset.json`` and ``split.json``, when every volume is intact and has a mask of its size."""
    names = {folder: sorted(path.name for path in (root / folder).glob("*")) for folder in _FOLDERS}
    if not names["imagesTr"]:
        raise ValueError(
            f"{str(source)!r} has no 'imagesTr' with files such as 'hippocampus_001.nii.gz': check --from."
        )
    alone = sorted(set(names["imagesTr"]) ^ set(names["labelsTr"]))
    if alone:
        raise ValueError(f"{alone[0]!r} of {str(source)!r} is in 'imagesTr' or 'labelsTr' alone: add the other.")
    for name in names["imagesTr"]:
        shapes = [_shape(root / folder / name, source) for folder in ("imagesTr", "labelsTr")]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{name!r} of {str(source)!r} has the size {shapes[0]}, and its mask {shapes[1]}.")
    for name in names["imagesTs"]:
        _shape(root / "imagesTs" / name, source)
    training = [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names["imagesTr"]]
    description = {**_DESCRIPTION, "training": training, "test": [f"./imagesTs/{name}" for name in names["imagesTs"]]}
    (root / "dataset.json").write_text(json.dumps(description, indent=1))
    split: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for name in names["imagesTr"]:
        case = name.removesuffix(".nii.gz")
        split[hippocampus_part(case)].append(case)
    (root / "split.json").write_text(json.dumps(split, indent=1))


def _shape(path: Path, source: Path) -> tuple[int, ...]:
    """The size of a volume that can be read to its end."""
    try:
        return nibabel.load(path).get_fdata().shape  # type: ignore[attr-defined]
    except Exception as e:  # a damaged file can fail in any way
        name = f"{path.parent.name}/{path.name}"
        raise ValueError(f"{name!r} of {str(source)!r} is damaged ({e}): replace it with a good copy.") from e
