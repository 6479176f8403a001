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

"""Masks lie where their volumes do, however these are stored, by `predict`, `monai.bundle run` and by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.bundle import ConfigParser, run
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from torch import nn

from monai_sscm.cli.main import main
from monai_sscm.datasets import chest_phantom
from monai_sscm.errors import root_cause
from monai_sscm.templates import render_configs
from tests.helpers.volumes import oblique_volume

SUFFIXES = {".nii.gz": "_seg.nii.gz", ".mha": "_seg.mha", ".nrrd": ".seg.nrrd"}
SETTINGS = {
    "volumes": {"spatial_dims": 3, "spacing": [1.1, 1.0, 4.0], "patch_size": [32, 32, 8]},
    "slices": {"spatial_dims": 2, "spacing": [1.1, 1.0], "patch_size": [32, 32], "size": None},
    "ct_slices": {
        "spatial_dims": 2,
        "size": [40, 40],
        "spacing": None,
        "patch_size": [32, 32],
        "intensity_range": [-1000, 200],
    },
}
SETTINGS["covid19_ct_segmentation"] = SETTINGS["ct_slices"]  # looks for the lungs first


def edges(dims: int) -> nn.Module:
    """A network that finds one side of things: what gets brighter along each axis. Turned images would differ."""
    network = (nn.Conv3d if dims == 3 else nn.Conv2d)(1, 2, 3, padding=1)
    weight = torch.zeros_like(network.weight)
    for axis in range(dims):
        ends = [[1] * dims, [1] * dims]
        ends[0][axis], ends[1][axis] = 0, 2
        for end, sign in zip(ends, (-1.0, 1.0), strict=True):
            weight[(1, 0, *end)] = sign * (axis + 1)
    network.load_state_dict({"weight": weight, "bias": torch.tensor([0.3, 0.0])})
    return network


def a_bundle(folder: Path, kind: str) -> str:
    """A bundle of this kind, whose weights are those of the network above; its inference configuration."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    for name, text in render_configs(kind).items():
        (folder / "configs" / name).write_text(text, "utf-8")
    network = edges(SETTINGS[kind]["spatial_dims"])
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    settings = {"in_channels": 1, "class_names": ["background", "edge"], "intensity_range": None, **SETTINGS[kind]}
    depth = {"channels": [8, 16], "strides": [2]}
    (folder / "models" / "settings.json").write_text(json.dumps({**settings, **depth}))
    return str(folder / "configs" / "inference.yaml")


def overrides(config: str, kind: str) -> dict:
    target = f"torch.nn.Conv{SETTINGS[kind]['spatial_dims']}d"
    network = {"_target_": target, "in_channels": 1, "out_channels": 2, "kernel_size": 3, "padding": 1}
    return {"bundle_root": str(Path(config).parents[1]), "device": torch.device("cpu"), "network_def": network}


def by_hand(config: str, kind: str, paths: list[Path]) -> list[torch.Tensor]:
    """What a host does with the configuration's own transforms, network and inferer."""
    parser = ConfigParser()
    parser.read_config(config)
    parser.update(overrides(config, kind))
    pre, post, inferer = (parser.get_parsed_content(name) for name in ("preprocessing", "postprocessing", "inferer"))
    network = edges(SETTINGS[kind]["spatial_dims"])
    masks = []
    for batch in DataLoader(Dataset([{"image": str(path)} for path in paths], pre), batch_size=1):
        with torch.no_grad():
            batch["pred"] = inferer(batch["image"], network)
        masks += [post(item)["pred"] for item in decollate_batch(batch)]
    return masks


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a * b).sum() / (a.sum() + b.sum()))


@pytest.mark.parametrize("kind", SETTINGS)
def test_masks_lie_where_volumes_do(tmp_path, kind):
    volume, truth = chest_phantom(48, 6, 0)
    upright, oblique = oblique_volume(), oblique_volume()
    upright.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, 1))
    assert (sitk.GetArrayFromImage(upright).transpose() == volume).all()
    scans = {
        f"{name}_{code}": sitk.DICOMOrient(image, code)
        for name, image in (("upright", upright), ("oblique", oblique))
        for code in ("LPS", "RAS", "PIR", "LAS", "SAL")
    }
    suffixes = [list(SUFFIXES)[i % 3] for i in range(len(scans))]
    paths = [tmp_path / "in" / f"{name}{suffix}" for name, suffix in zip(scans, suffixes, strict=True)]
    paths[0].parent.mkdir()
    for path, scan in zip(paths, scans.values(), strict=True):
        sitk.WriteImage(scan, str(path))
    config = a_bundle(tmp_path / "bundle", kind)
    run(
        config_file=config,
        input=str(tmp_path / "in"),
        output_dir=str(tmp_path / "out"),
        logging_file=False,
        initialize=[],
        **overrides(config, kind),
    )
    network = json.dumps(overrides(config, kind)["network_def"])
    words = ["--output_dir", str(tmp_path / "command"), "--device", "cpu", "--network_def", network]
    main(["predict", str(tmp_path / "in"), "--model", str(tmp_path / "bundle"), *words])
    hands = by_hand(config, kind, paths)
    first = None
    for (name, scan), suffix, hand in zip(scans.items(), suffixes, hands, strict=True):
        mask, other = (sitk.ReadImage(str(tmp_path / way / f"{name}{SUFFIXES[suffix]}")) for way in ("out", "command"))
        for image in (mask, other):
            assert image.GetSize() == scan.GetSize()
            for ours, theirs in (
                (image.GetSpacing(), scan.GetSpacing()),
                (image.GetOrigin(), scan.GetOrigin()),
                (image.GetDirection(), scan.GetDirection()),
            ):
                assert np.allclose(ours, theirs, rtol=0, atol=1e-4)
        array = sitk.GetArrayFromImage(mask).transpose()
        assert (sitk.GetArrayFromImage(other).transpose() == array).all(), name
        assert isinstance(hand, MetaTensor) and hand.shape == (1, *array.shape)
        assert (hand[0].numpy() == array).all(), name
        turned = sitk.GetArrayFromImage(sitk.DICOMOrient(mask, "LPS")).transpose()
        assert 0.01 < turned.mean() < 0.6
        first = turned if first is None else first
        assert dice(turned, first) > 0.999 and abs(dice(turned, truth > 0) - dice(first, truth > 0)) < 0.001


def test_a_prediction_that_was_not_inverted_is_refused(tmp_path):
    """Leaving the postprocessing out is no silent mistake."""
    (tmp_path / "in").mkdir()
    sitk.WriteImage(sitk.DICOMOrient(oblique_volume(), "RAS"), str(tmp_path / "in" / "a.nii.gz"))
    config = a_bundle(tmp_path / "bundle", "slices")
    with pytest.raises(RuntimeError) as error:
        run(
            config_file=config,
            input=str(tmp_path / "in"),
            output_dir=str(tmp_path / "out"),
            logging_file=False,
            initialize=[],
            postprocessing={"_target_": "Compose", "transforms": []},
            **overrides(config, "slices"),
        )
    assert "not on the grid of the stored image" in str(root_cause(error.value))
    assert not list((tmp_path / "out").iterdir())
