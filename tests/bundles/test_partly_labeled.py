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

"""Bundles trained on images that are labelled in part: scribbles, some slices of a volume, some of the classes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from ignite.engine import Events
from nibabel.orientations import axcodes2ornt, ornt_transform
from PIL import Image

from monai_sscm.datasets import write_chest_phantoms
from monai_sscm.errors import root_cause
from tests.helpers.bundles import BUNDLES, SMALL, workflow
from tests.helpers.training import differ

pytestmark = pytest.mark.slow


def train(data: Path, output_dir: Path, *names: str, **values):
    """Train, and hand on the trainer with its weights."""
    run = workflow(data, output_dir, *names, **values)
    try:
        run.initialize()
        run.run()
        run.finalize()
    except Exception as error:
        raise root_cause(error) from None
    return run.parser


def model(output_dir: Path) -> dict[str, torch.Tensor]:
    return torch.load(output_dir / "models" / "model.pt", weights_only=True)


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change a mask in its file."""
    if path.suffix == ".png":
        Image.fromarray(change(np.array(Image.open(path)))).save(path)
    else:
        scan = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(change(np.asarray(scan.dataobj).copy()), scan.affine, scan.header), path)


def scribble(source: Path, folder: Path, value: int) -> Path:
    """A copy of a data set in whose masks most pixels have a value that stands for nothing."""

    def change(mask: np.ndarray) -> np.ndarray:
        mask[np.random.RandomState(0).rand(*mask.shape) > 0.3] = value
        return mask

    shutil.copytree(source, folder)
    for path in (folder / "labels").iterdir():
        rewrite(path, change)
    return folder


@pytest.mark.parametrize(
    ("bundle", "method"),
    [
        ("chase_vessel_segmentation", "supmix_sufd"),
        ("chase_vessel_segmentation", "bcp"),
        ("hippocampus_mr_segmentation", "supmix_sufd"),
    ],
)
def test_scribbles(phantoms, tmp_path, bundle, method):
    values = {"bundle": bundle, "method": method, "num_labeled": None, "paste_margin": 2}
    values["labeled_crop"] = "with_classes"
    for value in (7, 130):
        data = scribble(phantoms[bundle], tmp_path / f"data_{value}", value)
        parser = train(data, tmp_path / f"run_{value}", ignore_index=value, **values)
    # all are labelled in part, so all are learned from without their masks too
    assert len(parser.get_parsed_content("train#unlabeled_dataset")) == 5
    assert not differ(model(tmp_path / "run_7"), model(tmp_path / "run_130"))
    train(data, tmp_path / "other", ignore_index=130, **values, seed=1)
    assert differ(model(tmp_path / "run_7"), model(tmp_path / "other"))
    with pytest.raises(ValueError, match="If 130 stands for pixels that do not count, set `ignore_index` to it"):
        train(data, tmp_path / "none", **values)
    # the scores are of the other pixels; the weights know the value
    train(data, tmp_path / "run_130", "evaluate", part="test", bundle=bundle)
    rows = (tmp_path / "run_130" / "evaluation_test_teacher" / "images.csv").read_text().splitlines()
    columns = [name for name in rows[0].split(",") if "_as_" in name]
    pixels, classes = (64 * 64, 2) if bundle == "chase_vessel_segmentation" else (24 * 32 * 20, 3)
    assert len(rows) == 4 and len(columns) == classes**2
    for row in rows[1:]:
        counted = sum(int(float(x)) for x in row.split(",")[-(classes**2) :])
        assert 0.25 * pixels < counted < 0.35 * pixels


# the chest is larger than a hippocampus
AS_STORED = {"hippocampus_mr_segmentation": {"spacing": None}}


def volumes(folder: Path, axes: str, changed: Callable[[int], list[int]]) -> dict[str, list[dict]]:
    """
    Four scans with the list of them, which says that a slice near the beginning and the middle one are labelled.

    Args:
        axes: where the stored axes go to, such as "LPS".
        changed: from the number of slices, which are other ones in the masks.
    """
    write_chest_phantoms(folder, num_train=3, num_val=1, num_test=0, size=64, num_slices=16)
    for path in [*(folder / "images").iterdir(), *(folder / "labels").iterdir()]:
        scan = nibabel.load(path)
        turn = ornt_transform(nibabel.io_orientation(scan.affine), axcodes2ornt(axes))
        nibabel.save(scan.as_reoriented(turn), path)
    items = []
    for path in sorted((folder / "labels").iterdir()):
        length = nibabel.load(path).shape[-1]

        def change(mask: np.ndarray, slices: list[int] = changed(length)) -> np.ndarray:  # noqa: B008
            mask[..., slices] = (mask[..., slices] + 1) % 3
            return mask

        rewrite(path, change)
        item = {"image": str(folder / "images" / path.name), "label": str(path), "group": path.name}
        items.append({**item, "labeled_slices": [1, length // 2]})
    return {"labeled": items[:3], "unlabeled": [], "val": items[3:], "test": []}


@pytest.mark.parametrize(
    ("bundle", "axes"),
    [
        ("covid19_ct_segmentation", "LPS"),
        ("covid19_ct_segmentation", "SAR"),
        ("hippocampus_mr_segmentation", "LPS"),
        ("hippocampus_mr_segmentation", "SAR"),
    ],
)
def test_listed_slices_of_volumes(tmp_path, bundle, axes):
    """As a user gives them, in a list of data, along the last stored axis; validation scores the listed ones alone."""
    scores, models = [], []
    values = {"bundle": bundle, "num_labeled": None, **AS_STORED.get(bundle, {})}
    changes = {
        "as_it_is": lambda n: [],
        "others": lambda n: [i for i in range(n) if i not in (1, n // 2)],
        "listed": lambda n: [n // 2],
    }
    for name, changed in changes.items():
        datalist = volumes(tmp_path / name, axes, changed)
        parser = train(tmp_path / name, tmp_path / f"run_{name}", datalist=datalist, **values)
        scores.append(parser.get_parsed_content("validate#evaluator").state.metrics)
        models.append(model(tmp_path / f"run_{name}"))
    assert not differ(models[0], models[1]) and scores[0] == scores[1]
    assert differ(models[0], models[2]) and scores[0] != scores[2]


@pytest.mark.parametrize("bundle", ["covid19_ct_segmentation", "hippocampus_mr_segmentation"])
def test_classes_that_a_mask_lacks(tmp_path, bundle):
    datalist = volumes(tmp_path / "data", "LPS", lambda n: [])
    for item in datalist["labeled"]:
        del item["labeled_slices"]
    label = Path(datalist["labeled"][0]["label"])
    datalist["labeled"][0]["unlabeled_classes"] = [2]
    values = {
        "bundle": bundle,
        "num_labeled": None,
        "num_workers": 0,
        "datalist": datalist,
        **AS_STORED.get(bundle, {}),
    }
    rewrite(label, lambda mask: np.where(np.arange(mask.shape[0])[:, None, None] == 30, 2, mask).astype(mask.dtype))
    with pytest.raises(ValueError, match="lacks class 2, but pixels of it are there"):
        train(tmp_path / "data", tmp_path / "refused", **values)
    rewrite(label, lambda mask: np.where(mask == 2, 0, mask).astype(mask.dtype))
    parser = train(tmp_path / "data", tmp_path / "run", **values)
    dataset = parser.get_parsed_content("train#dataset")
    found = {tuple(torch.as_tensor(dataset[0]["label"]).unique().tolist()) for _ in range(8)}
    assert all(0 not in labels and 2 not in labels for labels in found) and any(255 in labels for labels in found)
    assert len(parser.get_parsed_content("train#unlabeled_dataset")) == 1


@pytest.mark.parametrize("bundle", sorted(SMALL))
def test_a_training_starts_from_weights_and_goes_on_without_them(phantoms, tmp_path, bundle):
    other = tmp_path / "other.pt"
    run = workflow(phantoms[bundle], tmp_path / "a", bundle=bundle, seed=5)
    run.initialize()
    state = run.parser.get_parsed_content("network").state_dict()
    torch.save({"state_dict": {"module." + name: value for name, value in state.items()}}, other)
    for name in ("a", "b"):
        run = workflow(phantoms[bundle], tmp_path / name, bundle=bundle, init_from=str(other))
        run.initialize()
        trainer = run.parser.get_parsed_content("train#trainer")
        assert not differ(trainer.network.state_dict(), state) and not differ(trainer.teacher.state_dict(), state)
        assert trainer.teacher_warmup is False
        if name == "b":
            trainer.add_event_handler(Events.EPOCH_COMPLETED(once=1), lambda engine: engine.terminate())
        run.run()
    other.unlink()
    train(phantoms[bundle], tmp_path / "b", bundle=bundle, init_from=str(other), resume=True)
    assert not differ(model(tmp_path / "a"), model(tmp_path / "b"))
    with pytest.raises(FileNotFoundError, match="There are no weights '.*other.pt'"):
        train(phantoms[bundle], tmp_path / "c", bundle=bundle, init_from=str(other))


def test_weights_of_a_shipped_bundle_and_of_a_training(vessel_phantoms, tmp_path):
    run = workflow(vessel_phantoms, tmp_path / "a", init_from="chase_vessel_segmentation")
    run.initialize()
    shipped = torch.load(BUNDLES / "chase_vessel_segmentation" / "models" / "model.pt", weights_only=True)
    assert not differ(run.parser.get_parsed_content("network").state_dict(), shipped)
    # a teacher with a random layer has to forget it soon
    last = list(shipped)[-1]
    (tmp_path / "c" / "models").mkdir(parents=True)
    torch.save({**shipped, last: torch.ones(7)}, tmp_path / "c" / "models" / "model.pt")
    run = workflow(vessel_phantoms, tmp_path / "b", init_from=str(tmp_path / "c"))
    run.initialize()
    assert run.parser.get_parsed_content("not_initialized") == [last]
    assert run.parser.get_parsed_content("train#trainer").teacher_warmup is True
