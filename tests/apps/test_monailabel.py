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

"""The parts of MONAI Label's app that need no MONAI Label, and, where it is installed, the app."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.transforms import LoadImage
from PIL import Image

from monai_sscm.bundle import bundle_names
from monai_sscm.io import PictureReader, VolumeReader
from tests.helpers.volumes import oblique_volume

APP = Path(__file__).parents[2] / "apps" / "monailabel"
CLASSES = ["background", "Ground-Glass", "consolidation"]


@pytest.fixture(autouse=True)
def path_of_the_app(monkeypatch):
    monkeypatch.syspath_prepend(str(APP))
    yield
    for name in [name for name in sys.modules if name == "lib" or name.startswith("lib.")]:
        del sys.modules[name]


@pytest.mark.parametrize("path", sorted(APP.rglob("*.py")), ids=lambda path: path.name)
def test_importing_a_file_only_defines(path):
    """MONAI Label imports main.py wherever it runs: nothing is read, made or started by that."""
    for node in ast.parse(path.read_text("utf-8")).body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        allowed = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.Assign)
        assert is_docstring or isinstance(node, allowed), f"line {node.lineno}"


def test_what_is_not_annotated_is_unlabeled(tmp_path):
    from lib.datalist import semi_supervised_lists

    names = [f"p{patient}_{i}.nii.gz" for patient in range(3) for i in range(2)]
    images = [str(tmp_path / name) for name in names]
    for name in names:
        (tmp_path / name).write_text(name)
        (tmp_path / f"{name}.mask").write_text(name)
    annotated = [{"image": path, "label": f"{path}.mask"} for path in images[:4]]
    lists = semi_supervised_lists(annotated, images[4:], str(tmp_path))
    pairs = [{key: item[key] for key in ("image", "label")} for item in lists["labeled"]]
    assert sorted(pairs, key=lambda item: item["image"]) == annotated and not lists["val"]
    assert [item["image"] for item in lists["unlabeled"]] == images[4:]
    assert all("label" not in item and "group" in item for item in lists["unlabeled"])
    # both images of a patient validate, or none
    lists = semi_supervised_lists(annotated, images[4:], str(tmp_path), "(p[0-9])_", val_split=0.5)
    assert sorted({item["group"] for part in ("labeled", "val") for item in lists[part]}) == ["p0", "p1"]
    assert [len(lists[part]) for part in ("labeled", "val", "unlabeled")] == [2, 2, 2]
    with pytest.raises(ValueError, match="No image is annotated yet"):
        semi_supervised_lists([], images, str(tmp_path))


def test_segments_in_another_order_than_the_classes_are_refused():
    from lib.datalist import annotation_fault

    right = [{"name": "ground-glass", "idx": 1}, {"name": "consolidation", "idx": 2}]
    assert annotation_fault("a", right, CLASSES) is None
    assert annotation_fault("a", None, CLASSES) is None
    assert annotation_fault("a", [{"name": "another name", "idx": 1}], CLASSES) is None
    fault = annotation_fault("a", [{"name": "consolidation", "idx": 1}], CLASSES)
    assert "'a' has the value 1 for 'consolidation', which the model has as 2" in fault


def test_bundles_are_copied_once_and_their_results_are_served(tmp_path):
    from lib.bundles import publish, served_bundles, served_view, training_folder

    served = served_bundles("", tmp_path)
    assert sorted(served) == bundle_names() and Path(served["chase_vessel_segmentation"]).parent == tmp_path / "model"
    bundle = Path(served["chase_vessel_segmentation"])
    # a training that starts from these weights sees images as they did, whatever train.yaml says
    view = served_view(bundle)
    settings = json.loads((bundle / "models" / "settings.json").read_text())
    assert view == {name: settings[name] for name in view} and {"zoom", "channels", "patch_size"} <= set(view)
    with pytest.raises(FileNotFoundError, match="has no result"):
        publish(bundle)
    results = Path(training_folder(bundle)) / "models"
    results.mkdir(parents=True)
    for name, text in (("model.pt", "new"), ("settings.json", "{}")):
        (results / name).write_text(text)
    shipped = (bundle / "models" / "model.pt").read_bytes()
    assert Path(publish(bundle)).read_text() == "new"
    assert (bundle / "models" / "model_before.pt").read_bytes() == shipped
    assert not list(bundle.glob("models/*.part"))
    again = Path(served_bundles("chase_vessel_segmentation", tmp_path)[bundle.name])
    assert (again / "models" / "model.pt").read_text() == "new"
    with pytest.raises(ValueError, match="Two bundles are named"):
        served_bundles(f"chase_vessel_segmentation,{bundle}", tmp_path)
    with pytest.raises(ValueError, match="There is no bundle 'nothing'"):
        served_bundles("nothing", tmp_path)


@pytest.mark.parametrize("extension", [None, ".nrrd", ".nii.gz", ".mha"])
@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
def test_masks_of_volumes_lie_where_these_do(tmp_path, suffix, extension):
    from lib.masks import write_mask

    path = tmp_path / f"scan{suffix}"
    volume = sitk.DICOMOrient(oblique_volume(slices=3), "PIR")
    sitk.WriteImage(volume, str(path))
    image = LoadImage(reader=VolumeReader(), ensure_channel_first=True)(str(path))
    pred = (torch.as_tensor(np.asarray(image)) > 0).to(torch.uint8)
    written = write_mask(image, pred, CLASSES, extension, dtype="uint16")
    assert written.endswith(extension or suffix)
    mask = sitk.ReadImage(written)
    assert mask.GetPixelID() == sitk.sitkUInt16
    assert np.array_equal(sitk.GetArrayFromImage(mask), sitk.GetArrayFromImage(volume) > 0)
    for ours, theirs in ((mask.GetOrigin(), volume.GetOrigin()), (mask.GetDirection(), volume.GetDirection())):
        assert np.allclose(ours, theirs, atol=1e-3)


def test_masks_of_pictures_have_grey_levels_in_rows_and_columns(tmp_path):
    from lib.masks import write_mask

    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photograph.png")
    image = LoadImage(reader=PictureReader(), ensure_channel_first=True)(str(tmp_path / "photograph.png"))
    pred = torch.zeros(1, 20, 30, dtype=torch.uint8)
    pred[0, 3, 25] = 2
    with Image.open(write_mask(image, pred, CLASSES)) as mask:
        assert mask.mode == "L" and np.array_equal(np.asarray(mask), pred[0])


def test_the_app_is_what_label_looks_for():
    if importlib.util.find_spec("monailabel") is None:
        pytest.skip("MONAI Label is not installed")
    from monailabel.utils.others.class_utils import get_class_of_subclass_from_file

    assert (
        get_class_of_subclass_from_file("main", str(APP / "main.py"), "MONAILabelApp").__name__ == "SemiSupervisedApp"
    )
