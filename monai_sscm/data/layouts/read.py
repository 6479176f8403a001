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

"""Finding out which layout a data set's folder has."""

from __future__ import annotations

from pathlib import Path

from monai_sscm.io.files import LABEL_FOLDERS

from .beside import read_beside
from .decathlon import read_decathlon
from .files import read_json
from .folders import read_folders
from .json_list import find_json_list, read_json_list
from .layout import Layout
from .nnunet import is_nnunet, read_nnunet
from .split import apply_split, read_split

__all__ = ["read_layout"]


def read_layout(dataset_dir: str | Path, folders: bool = False, train_on_test_images: bool = False) -> Layout:
    """
    Find out which layout a data set has, and what is in it.

    - ``"folders"``: ``images/`` and ``labels/``, where a mask has the name of its image or the name with more behind an
      underscore (``a_mask.png`` for ``a.jpg``), and ``unlabeled_images/`` if there are more images;
    - ``"datalist"``: a JSON file, or a folder with one such (``datalist.json``), as MONAI and Auto3DSeg have them:
      ``{"training": [{"image": path, "label": path, "fold": 1}, ...], "validation": [...], "testing": [...]}``, with
      paths relative to the file's folder, or to the folder that the list names as ``dataroot``. Where no validation
      list is given and there are several folds, fold 0 validates as far as it has masks. Entries may have ``group``,
      the patient, and the ``extras`` of :py:class:`monai_sscm.data.layouts.Case`; an ``image`` may be a list of files,
      its channels;
    - ``"decathlon"``: ``imagesTr/`` and ``labelsTr/``, with or without the ``dataset.json`` of the Medical Segmentation
      Decathlon, ``imagesTs/`` and ``unlabeled_images/`` if there are more images;
    - ``"nnunet"``: the same with a file for each channel, ``case_0000.nii.gz``, as nnU-Net has it;
    - ``"beside"``: images with their masks beside them, ``a.png`` and ``a_mask.png``, in one folder or in folders
      within it.

    An image without a mask is unlabelled. ``split.json`` in the folder, ``{"train": [names], "val": [names], "test":
    [names]}`` with names without suffix, puts images into parts; ``"kept_together": [[names], ...]`` in it lists the
    images of each patient.

    Args:
        dataset_dir: folder of the data set, or the JSON file of a data list.
        folders: whether a folder counts as an image, named as the folder, such as a DICOM series.
        train_on_test_images: whether test images without masks may be trained on as unlabelled ones.

    Returns:
        the layout with all cases.

    Raises:
        FileNotFoundError: when the folder or a file that it names is missing.
        ValueError: when it has no known layout, or contradicts itself.

    Example:
        >>> import os, tempfile
        >>> from PIL import Image
        >>> from monai_sscm.data.layouts import read_layout
        >>> folder = tempfile.mkdtemp()
        >>> for name in ("a", "a_mask", "b"):
        ...     Image.new("L", (8, 8)).save(f"{folder}/{name}.png")
        >>> layout = read_layout(folder)
        >>> layout.kind, [(case.name, case.label is not None) for case in layout.cases]
        ('beside', [('a', True), ('b', False)])
    """
    root = Path(dataset_dir)
    if root.is_file():
        if root.suffix.lower() != ".json":
            raise ValueError(f"{str(root)!r} is a file: set `dataset_dir` to a folder, or to a data list in JSON.")
        return read_json_list(root, train_on_test_images)
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {str(root)!r}: set `dataset_dir` to the folder of the data set.")
    layout = _read_folder(root, folders, train_on_test_images)
    split = None if layout.kind == "datalist" else read_split(root, None)
    return layout if split is None else apply_split(layout, split)


def _read_folder(root: Path, folders: bool, use_test: bool) -> Layout:
    if (root / "datalist.json").is_file():
        return read_json_list(root / "datalist.json", use_test)
    if (root / "imagesTr").is_dir():
        path = root / "dataset.json"
        description = read_json(path) if path.is_file() else None
        if not isinstance(description, (dict, type(None))):
            raise ValueError(f'{str(path)!r} must be {{"labels": ..., "training": [...]}}: mend it, or take it away.')
        if is_nnunet(root, description):
            return read_nnunet(root, description, use_test)
        return read_decathlon(root, description, folders, use_test)
    if (root / "images").is_dir() and any((root / name).is_dir() for name in LABEL_FOLDERS):
        return read_folders(root, folders)
    json_list = find_json_list(root)
    layout = read_json_list(json_list, use_test) if json_list else read_beside(root)
    if layout is None:
        raise FileNotFoundError(
            f"No masks are found in {str(root)!r}: the data set needs the folders 'images' and 'labels', or 'imagesTr' "
            "and 'labelsTr' as the Decathlon and nnU-Net have them, or masks beside the images (a.png, a_mask.png), or "
            "a data list in JSON."
        )
    return layout
