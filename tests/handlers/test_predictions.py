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

import resource
import subprocess
import sys

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.transforms import LoadImage, Orientation
from PIL import Image

from monai_sscm.datasets import chest_phantom
from monai_sscm.handlers import PredictionSaver
from monai_sscm.io import VolumeReader
from monai_sscm.io.writing import read_label_descriptions

NAMES = ["background", "a", "b"]
AFFINE = np.array([[0.0, -0.4, 0, 7], [0.3, 0, 0, -5], [0, 0, -2, 1], [0, 0, 0, 1]])


def logits_of(mask: np.ndarray) -> torch.Tensor:
    return 4 * torch.nn.functional.one_hot(torch.as_tensor(mask).long(), len(NAMES)).movedim(-1, 0).float()


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_a_turned_volume_is_refused_until_it_is_inverted(tmp_path, kind):
    """Of any reader, whatever way the volume was turned since: the mask marks the same voxels of the file."""
    stored = np.random.RandomState(0).randint(0, 3, (5, 6, 4)).astype(np.uint8)
    nibabel.save(kind(stored, AFFINE), tmp_path / "volume.nii")
    loaded = LoadImage(ensure_channel_first=True)(tmp_path / "volume.nii")
    for code in ("RAS", "LPI", "SAL"):
        turn = Orientation(axcodes=code, labels=None)
        image = turn(loaded)
        saver = PredictionSaver(tmp_path / code, NAMES, probabilities=True)
        pred = MetaTensor(logits_of(image[0].numpy()), meta=image.meta, applied_operations=image.applied_operations)
        with pytest.raises(ValueError, match=r"'.*volume.nii' has the size .* not on the grid .* by Invertd"):
            saver.save("v", image, pred)
        assert not list((tmp_path / code).iterdir())
        saver.save("v", image, turn.inverse(pred))
        mask = nibabel.load(tmp_path / code / "v_seg.nii.gz")
        assert (np.asarray(mask.dataobj) == stored).all() and np.allclose(mask.affine, AFFINE)
        prob = nibabel.load(tmp_path / code / "v_prob.nii.gz")
        assert (prob.get_fdata().argmax(-1) == stored).all() and np.allclose(prob.affine, AFFINE)
        labels = (tmp_path / code / "labels.txt").read_text()
        assert [line.split()[-1] for line in labels.splitlines()] == ['"background"', '"a"', '"b"']


@pytest.mark.parametrize("name", ["v.nii.gz", "v.mha", "v.nrrd"])
def test_a_volume_s_mask_lies_where_the_volume_does(tmp_path, name):
    volume = sitk.GetImageFromArray(np.random.RandomState(0).randint(0, 3, (4, 5, 6)).astype(np.uint8))
    volume.SetSpacing((0.7, 0.8, 5.0))
    volume.SetOrigin((-1.5, 2.5, 3.5))
    volume.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))
    sitk.WriteImage(volume, str(tmp_path / name))
    image = LoadImage(reader=VolumeReader(mask=True), dtype=None, ensure_channel_first=True)(tmp_path / name)
    PredictionSaver(tmp_path / "out", NAMES).save("v", image, image.as_tensor())
    suffix = {"v.nii.gz": "_seg.nii.gz", "v.mha": "_seg.mha", "v.nrrd": ".seg.nrrd"}[name]
    mask = sitk.ReadImage(str(tmp_path / "out" / f"v{suffix}"))
    assert (sitk.GetArrayFromImage(mask) == sitk.GetArrayFromImage(volume)).all()
    for ours, theirs in (
        (mask.GetSpacing(), volume.GetSpacing()),
        (mask.GetOrigin(), volume.GetOrigin()),
        (mask.GetDirection(), volume.GetDirection()),
    ):
        assert np.allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("names", "colors"), [(NAMES[:2], [(255, 255, 255)]), (NAMES, None)])
def test_pictures_have_a_palette(tmp_path, names, colors):
    mask = np.array([[0, 1, 1], [1, 0, len(names) - 1]])
    image = MetaTensor(torch.rand(3, 2, 3), meta={"filename_or_obj": "photo.jpg"})
    logits = logits_of(mask)[: len(names)]
    PredictionSaver(tmp_path, names, probabilities=True, overlays=True).save("in/photo", image, logits)
    picture = Image.open(tmp_path / "in" / "photo_seg.png")
    assert picture.mode == "P" and (np.asarray(picture) == mask).all()
    palette = np.array(picture.getpalette()).reshape(-1, 3)[: len(names)].tolist()
    assert palette[0] == [0, 0, 0] and len({tuple(color) for color in palette}) == len(names)
    assert read_label_descriptions(tmp_path / "labels.txt") == names
    assert colors is None or [tuple(color) for color in palette[1:]] == colors
    prob = np.asarray(Image.open(tmp_path / "in" / "photo_prob_a.png")) / 65535
    assert np.abs(prob - logits.softmax(0)[1].numpy()).max() < 1e-5
    assert sorted(p.name for p in (tmp_path / "in").iterdir()) == [
        "photo_overlay.png",
        *(f"photo_prob_{name}.png" for name in sorted(names, key=lambda n: f"{n}.png")),
        "photo_seg.png",
    ]


def test_overlays_show_the_window_and_the_slice_with_most_of_the_mask(tmp_path):
    volume = torch.linspace(-2000, 2000, 6 * 5 * 4).reshape(1, 6, 5, 4)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    meta = {"filename_or_obj": "v.mha", "geometry": {"spacing": [1] * 3, "origin": [0] * 3, "direction": np.eye(3)}}
    meta |= {"affine": affine, "original_affine": affine, "spatial_shape": (6, 5, 4)}
    mask = torch.zeros(1, 6, 5, 4, dtype=torch.uint8)
    mask[0, 1, 2, 0] = mask[0, 4, :2, 2] = 1
    image = MetaTensor(volume, affine=torch.as_tensor(affine), meta=meta)
    PredictionSaver(tmp_path, NAMES, overlays=True, window=(-500, 500)).save("v", image, mask)
    picture = np.asarray(Image.open(tmp_path / "v_overlay.png")).astype(int)
    grey = ((volume[0, ..., 2].clamp(-500, 500) + 500) / 1000 * 255).T.numpy()
    outside = mask[0, ..., 2].T.numpy() == 0
    assert picture.shape == (5, 6, 3) and np.abs(picture[outside] - grey[outside][:, None]).max() <= 1.5
    assert (np.ptp(picture[~outside], axis=-1) > 10).all()


def test_a_volume_of_unknown_place_is_refused(tmp_path):
    image = MetaTensor(torch.zeros(1, 4, 5, 3), meta={"filename_or_obj": "volume.mha"})
    with pytest.raises(ValueError, match="'volume.mha' is a volume whose place in space is not known: read it by"):
        PredictionSaver(tmp_path, NAMES).save("v", image, torch.zeros(1, 4, 5, 3, dtype=torch.uint8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "why"), [("a.nii.gz", "File too large)"), ("a.mha", ""), ("a.nrrd", "File too large)")]
)
def test_a_full_disk_leaves_no_half_file(tmp_path, name, why):
    """A limit on the size of files stands in for a full disk: the system refuses to write on, as there."""
    sitk.WriteImage(sitk.GetImageFromArray(chest_phantom(200, 6, 0)[0].transpose()), str(tmp_path / name))
    # a mask of noise does not compress
    torch.manual_seed(0)
    script = f"""
import resource, sys, torch
from monai.transforms import LoadImage
from monai_sscm.io import VolumeReader
from monai_sscm.io.writing import read_label_descriptions
from monai_sscm.handlers import PredictionSaver
image = LoadImage(reader=VolumeReader(), dtype=None, ensure_channel_first=True)({str(tmp_path / name)!r})
mask = torch.randint(0, 3, image.shape, dtype=torch.uint8)
saver = PredictionSaver({str(tmp_path / "out")!r}, ["background", "a", "b"])
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, {resource.getrlimit(resource.RLIMIT_FSIZE)[1]}))
try:
    saver.save("a", image, mask, image)
except OSError as error:
    print(error)
    sys.exit(3)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 3, done.stderr[-2000:]
    assert f"cannot be written ({why}" in done.stdout and "make room" in done.stdout
    assert list((tmp_path / "out").iterdir()) == []


def test_what_an_earlier_run_left_is_removed(tmp_path, caplog):
    """Of images that are written anew; of others, everything stays, and so does a table that is no table of scores."""
    for name in ("a", "a_prob_b", "c"):
        picture = MetaTensor(torch.zeros(1, 4, 5), meta={"filename_or_obj": f"{name}.png", "spatial_shape": [4, 5]})
        mask = torch.zeros(1, 4, 5, dtype=torch.uint8)
        saver = PredictionSaver(tmp_path, NAMES, probabilities=True, overlays=True)
        saver.save(name, picture, logits_of(mask[0].numpy()))
    (tmp_path / "metrics.csv").write_text("case,class,dice,iou\n")
    before = {path.name for path in tmp_path.iterdir()}
    engine = Engine(lambda engine, batch: [{"image": picture, "pred": mask}])
    PredictionSaver(tmp_path, NAMES, overlays=True).attach(engine)
    engine.run([[{"name": "a"}]])
    removed = [*(f"a_prob_{name}.png" for name in NAMES), "metrics.csv"]
    assert before - {path.name for path in tmp_path.iterdir()} == set(removed)
    told = [record.getMessage() for record in caplog.records if "masks: " in record.getMessage()]
    assert [text.partition("masks: ")[2] for text in told] == [
        "a_prob_a.png, a_prob_b.png, a_prob_background.png, metrics.csv."
    ]
    (tmp_path / "metrics.csv").write_text("name,value\n")
    engine.run([[{"name": "a"}]])
    again = [record for record in caplog.records if "masks: " in record.getMessage()]
    assert (tmp_path / "metrics.csv").exists() and len(again) == 1
