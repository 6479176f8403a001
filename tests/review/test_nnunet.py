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

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from monai_sscm.cli.main import main
from monai_sscm.data.layouts import read_layout
from monai_sscm.review import export_nnunet, read_run
from monai_sscm.review.nnunet import _write_volume


def read(path: Path) -> np.ndarray:
    return np.array(Image.open(path)) if path.suffix == ".png" else np.asarray(nibabel.load(path).dataobj)


@pytest.mark.parametrize("kind", ["pictures", "volumes"])
def test_a_raw_data_set(runs, tmp_path, kind, capsys):
    main(["export", str(runs[kind]), "--as", "nnunet", "--output_dir", str(tmp_path), "--device", "cpu"])
    folder = next(tmp_path.iterdir())
    assert folder.name == f"Dataset501_{'photographs' if kind == 'pictures' else 'organs'}"
    assert "nnUNetv2_plan_and_preprocess -d 501" in capsys.readouterr().out
    about = json.loads((folder / "dataset.json").read_text())
    ignored = 2 if kind == "pictures" else 3
    assert about["labels"]["ignore"] == ignored == max(about["labels"].values())
    assert len(about["channel_names"]) == (3 if kind == "pictures" else 1)
    ending = about["file_ending"]
    with open(folder / "cases.csv", newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    items = {item["name"]: item for item in read_run(runs[kind]).images("labeled", "unlabeled", "val", "test")}
    assert rows.keys() == items.keys()
    assert about["numTraining"] == sum(row["kind"] != "test" for row in rows.values())
    for name, row in rows.items():
        part = "Ts" if row["kind"] == "test" else "Tr"
        label = folder / f"labels{part}" / f"{name}{ending}"
        image = folder / f"images{part}" / f"{name}_0000{ending}"
        mask, pixels = read(label), read(image)
        assert np.array_equal(pixels, read(Path(items[name]["image"])))
        assert mask.shape == pixels.shape[:2] if kind == "pictures" else mask.shape == pixels.shape
        if ending == ".png":
            assert Image.open(label).mode == "L"
        else:
            a, b = sitk.ReadImage(str(image)), sitk.ReadImage(str(label))
            assert a.GetSpacing() == b.GetSpacing() and a.GetDirection() == b.GetDirection()
        if row["kind"] == "pseudo-label":
            assert 0 < (mask == ignored).mean() < 1 and mask.max() == ignored
            assert float(row["ignored"]) == pytest.approx((mask == ignored).mean(), abs=1e-4)
        else:
            true = read(Path(items[name]["label"]))
            assert np.array_equal(mask, true > 0 if kind == "pictures" else true)
    layout = read_layout(folder)  # and our own reader takes it
    assert layout.ignore_index == ignored
    with pytest.raises(FileExistsError, match="Dataset501_.* exists: choose another --number"):
        export_nnunet(runs[kind], tmp_path)


def test_channels_and_other_formats_become_files_of_their_own(tmp_path):
    array = np.random.RandomState(0).rand(4, 5, 6, 2).astype(np.float32)
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "a.nii.gz")
    _write_volume(str(tmp_path / "a.nii.gz"), tmp_path, "b")
    for i in range(2):
        found = nibabel.load(tmp_path / f"b_{i:04}.nii.gz")
        assert np.array_equal(np.asarray(found.dataobj), array[..., i]) and np.allclose(found.affine, affine)
    volume = sitk.GetImageFromArray(array[..., 0].transpose())
    volume.SetSpacing((0.5, 0.7, 2.0))
    volume.SetOrigin((3.0, -4.0, 5.0))
    sitk.WriteImage(volume, str(tmp_path / "c.mha"))
    _write_volume(str(tmp_path / "c.mha"), tmp_path, "c")
    found = sitk.ReadImage(str(tmp_path / "c_0000.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(volume))
    assert np.allclose(found.GetSpacing(), volume.GetSpacing()) and np.allclose(found.GetOrigin(), volume.GetOrigin())
