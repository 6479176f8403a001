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

"""What all mixes share: batches and samples, random numbers, containers, devices and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from monai_sscm.transforms import ClassMixd, CutMixSegd, SupervisedClassMix, SupervisedClassMixd
from tests.helpers.mixing import KEYS, OUT, SIZES, make_batch, make_supmix


@pytest.mark.parametrize(("spatial_dims", "spatial"), SIZES)
@pytest.mark.parametrize("classes", [(1,), "random_half"])
@pytest.mark.parametrize("prob", [1.0, 0.5])
def test_batch_equals_its_samples_in_a_row(spatial_dims, spatial, classes, prob):
    batch = make_batch(spatial, b=6, donors=6)
    whole = make_supmix(spatial_dims, classes, prob=prob).set_random_state(7)(batch)
    one = make_supmix(spatial_dims, classes, prob=prob).set_random_state(7)
    for i in range(6):
        single = one({key: value[i] for key, value in batch.items()})
        for key in (*OUT, "mixed_mask"):
            assert torch.equal(single[key], whole[key][i]), key


def test_prob_is_drawn_for_every_sample():
    batch = make_batch((4, 4), b=400, donors=400)
    mask = make_supmix(2, "foreground", prob=0.3).set_random_state(0)(batch)["mixed_mask"]
    assert 0.22 < mask.flatten(1).any(1).float().mean() < 0.38
    assert not make_supmix(2, prob=0.0)(batch)["mixed_mask"].any()


def test_random_state():
    batch = make_batch((8, 8))
    mix = make_supmix(2, "random_half")
    a = [mix(batch)["mixed_mask"] for _ in [mix.set_random_state(5)] * 3]
    b = [mix(batch)["mixed_mask"] for _ in [mix.set_random_state(5)] * 3]
    assert all(torch.equal(x, y) for x, y in zip(a, b))
    # a Compose hands its seed on to the mixer, and the same draw can be used again
    compose = Compose([mix])
    masks = [compose.set_random_state(s)(batch)["mixed_mask"] for s in (1, 1, 2)]
    assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])
    array = SupervisedClassMix("random_half", 3, 2)
    args = ((batch["unlabeled_image"],), (batch["image"],), batch["label"])
    assert torch.equal(array(*args)[1], array(*args, randomize=False)[1])
    with pytest.raises(ValueError, match="randomize"):
        array((batch["unlabeled_image"][:2],), (batch["image"],), batch["label"], randomize=False)


@pytest.mark.parametrize("container", ["numpy", "tensor", "meta"])
@pytest.mark.parametrize("kind", ["supmix", "classmix", "cutmix"])
def test_container_types_and_metadata(container, kind):
    batch = make_batch((8, 6))
    affine = torch.diag(torch.tensor([2.0, 3.0, 1.0, 1.0]))

    def convert(key: str, x: torch.Tensor):
        if container == "numpy":
            return x.numpy()
        if container == "meta":
            return MetaTensor(x, affine=affine * (1 + key.startswith(("unl", "pseudo"))), meta={"from": key})
        return x

    data = {key: convert(key, value) for key, value in batch.items()}
    mix = {
        "supmix": make_supmix(2),
        "classmix": ClassMixd(
            KEYS, "pseudo_label", num_classes=3, spatial_dims=2, output_keys=OUT, mask_key="mixed_mask"
        ),
        "cutmix": CutMixSegd(KEYS, spatial_dims=2, output_keys=OUT, mask_key="mixed_mask"),
    }[kind].set_random_state(0)
    out = mix(data)
    plain = mix.set_random_state(0)(batch)
    for key, out_key in (*zip(KEYS, OUT), ("unlabeled_image", "mixed_mask")):
        assert type(out[out_key]) is type(data[key])
        np.testing.assert_array_equal(np.asarray(out[out_key]), plain[out_key].numpy())
        if container == "meta":
            assert out[out_key].meta["from"] == key  # the receiver's, not the donor's
            assert torch.equal(out[out_key].affine.float(), affine * 2)


def test_collated_metatensors_stay_batches():
    from monai.data import decollate_batch, list_data_collate

    samples = [
        {"unlabeled_image": MetaTensor(torch.rand(1, 4, 4), meta={"name": f"u{i}"}), "image": torch.rand(1, 4, 4)}
        | {"label": torch.ones(1, 4, 4)}
        for i in range(3)
    ]
    mix = SupervisedClassMixd("unlabeled_image", ("image",), "label", (1,), 2, 2, output_keys="mixed_image")
    out = decollate_batch(mix(list_data_collate(samples)))
    assert [sample["mixed_image"].meta["name"] for sample in out] == ["u0", "u1", "u2"]


def test_dtypes_of_the_receiver_stay():
    batch = make_batch((8, 8))
    batch["unlabeled_image"] = batch["unlabeled_image"].to(torch.float16)
    batch["label"] = batch["label"].to(torch.float32)  # as most MONAI pipelines give labels
    out = make_supmix(2)(batch)
    assert out["mixed_image"].dtype == torch.float16 and out["mixed_label"].dtype == torch.int64


def test_class_mix_of_a_single_sample_is_the_sample():
    batch = make_batch((8, 8), b=1)
    for data in (batch, {key: value[0] for key, value in batch.items()}):
        for mix in (ClassMixd(KEYS, "pseudo_label", num_classes=3, spatial_dims=2), CutMixSegd(KEYS, spatial_dims=2)):
            out = mix(data)
            assert all(torch.equal(out[key], data[key]) for key in KEYS)


@pytest.mark.parametrize("layout", ["index", "one_hot"])
@pytest.mark.parametrize("classes", [(1,), "random_half", "foreground"])
def test_nothing_waits_for_the_device(monkeypatch, layout, classes):
    """On the meta device there is nothing to read, and what would read is forbidden."""

    def forbidden(*args, **kwargs):
        raise AssertionError("a value was read back from the device")

    batch = {key: value.to("meta") for key, value in make_batch((8, 8)).items()}
    if layout == "one_hot":
        batch["label"] = torch.empty(4, 3, 8, 8, device="meta")
        batch["pseudo_label"] = torch.empty(4, 3, 8, 8, device="meta")
    for name in ("item", "cpu", "numpy", "tolist", "nonzero", "unique", "__bool__", "__index__", "__int__"):
        monkeypatch.setattr(torch.Tensor, name, forbidden)
    for name in ("nonzero", "unique", "equal", "argwhere", "bincount"):
        monkeypatch.setattr(torch, name, forbidden)
    for mix in (
        make_supmix(2, classes),
        make_supmix(2, classes, margin=1, ignore_index=2),
        ClassMixd(KEYS, "pseudo_label", classes, num_classes=3, spatial_dims=2, output_keys=OUT, mask_key="mixed_mask"),
        CutMixSegd(KEYS, spatial_dims=2, output_keys=OUT, mask_key="mixed_mask"),
    ):
        out = mix(batch)
        assert out["mixed_image"].device.type == "meta" and out["mixed_image"].shape == (4, 3, 8, 8)
        assert out["mixed_mask"].shape == (4, 1, 8, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": torch.zeros(4, 2, 8, 8)}, "one channel"),
        ({"label": torch.ones(4, 3, 8, 8), "pseudo_label": torch.ones(4, 3, 8, 8)}, "multi-label"),
        ({"label": torch.full((4, 1, 8, 8), 255)}, "value 255.*MaskToIndexd"),
        ({"label": torch.full((4, 1, 8, 8), -1)}, "value -1"),
        ({"image": torch.zeros(4, 3, 8, 9)}, "spatial size"),
        ({"image": torch.zeros(4, 1, 8, 8)}, "channels"),
        ({"image": torch.zeros(3, 8, 8)}, "samples"),
        ({"unlabeled_image": torch.zeros(2, 3, 8, 8)}, "differ in length"),
        ({key: torch.zeros(8, 8) for key in ("image", "label", *KEYS)}, "spatial_dims=2"),
        ({key: torch.zeros(1, 1, 1, 8, 8) for key in ("image", "label", *KEYS)}, "spatial_dims=2"),
    ],
)
def test_refused_data(change, message):
    with pytest.raises(ValueError, match=message):
        make_supmix(2)({**make_batch((8, 8)), **change})


def test_missing_keys():
    batch = make_batch((8, 8))
    del batch["pseudo_weight"]
    with pytest.raises(KeyError):
        make_supmix(2)(batch)
    out = make_supmix(2, allow_missing_keys=True)(batch)
    assert "mixed_image" in out and "mixed_weight" not in out
    # what is cut from is needed whatever may be missing
    with pytest.raises(KeyError, match="label"):
        make_supmix(2, allow_missing_keys=True)({k: v for k, v in batch.items() if k != "label"})
    assert make_supmix(2, allow_missing_keys=True)({"other": 1}) == {"other": 1}
