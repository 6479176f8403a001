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

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from monai_sscm.transforms import (
    ClassMix,
    ClassMixD,
    ClassMixd,
    ClassMixDict,
    CutMixSeg,
    CutMixSegD,
    CutMixSegd,
    CutMixSegDict,
    SupervisedClassMix,
    SupervisedClassMixD,
    SupervisedClassMixd,
    SupervisedClassMixDict,
)

SIZES = [(2, (9, 7)), (2, (16, 16)), (3, (5, 6, 7))]
KEYS = ("unlabeled_image", "pseudo_label", "pseudo_weight")
OUT = ("mixed_image", "mixed_label", "mixed_weight")


def one_hot(label: torch.Tensor, num_classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(label[:, 0].long(), num_classes).movedim(-1, 1)


def make_batch(spatial: tuple[int, ...], b: int = 4, donors: int = 4, channels: int = 3, k: int = 3, seed: int = 0):
    g = torch.Generator().manual_seed(seed)
    return {
        "image": torch.rand((donors, channels, *spatial), generator=g) + 10,
        "label": torch.randint(0, k, (donors, 1, *spatial), generator=g),
        "unlabeled_image": torch.rand((b, channels, *spatial), generator=g),
        "pseudo_label": torch.randint(0, k, (b, 1, *spatial), generator=g),
        "pseudo_weight": torch.rand((b, 1, *spatial), generator=g) * 0.5,
    }


def make_supmix(spatial_dims: int, classes=(1, 2), num_classes: int = 3, **kwargs) -> SupervisedClassMixd:
    return SupervisedClassMixd(
        keys=KEYS,
        donor_keys=("image", "label", None),
        label_key="label",
        classes=classes,
        num_classes=num_classes,
        spatial_dims=spatial_dims,
        output_keys=OUT,
        mask_key="mixed_mask",
        **kwargs,
    )


@pytest.mark.parametrize(("spatial_dims", "spatial"), SIZES)
@pytest.mark.parametrize("classes", [(1,), (2,), (1, 2), (0, 2), "foreground"])
@pytest.mark.parametrize("donors", [4, 3, 1, 6])
@pytest.mark.parametrize("layout", ["index", "one_hot"])
def test_supervised_class_mix_pixel_by_pixel(spatial_dims, spatial, classes, donors, layout):
    batch = make_batch(spatial, donors=donors)
    expected = {key: batch[key].clone().numpy() for key in KEYS}
    pasted = {1, 2} if classes == "foreground" else set(classes)
    mask = np.zeros((4, 1, *spatial), dtype=bool)
    for i in range(4):
        for where in np.ndindex(*spatial):
            if int(batch["label"][(i % donors, 0, *where)]) in pasted:
                at = (i, slice(None), *where)
                expected["unlabeled_image"][at] = batch["image"][(i % donors, slice(None), *where)]
                expected["pseudo_label"][at] = batch["label"][(i % donors, slice(None), *where)]
                expected["pseudo_weight"][at] = 1.0
                mask[(i, 0, *where)] = True
    if layout == "one_hot":
        batch["label"] = one_hot(batch["label"], 3)
        batch["pseudo_label"] = one_hot(batch["pseudo_label"], 3)
        expected["pseudo_label"] = one_hot(torch.as_tensor(expected["pseudo_label"]), 3).numpy()
    out = make_supmix(spatial_dims, classes)(batch)
    for key, out_key in zip(KEYS, OUT):
        np.testing.assert_array_equal(out[out_key].numpy(), expected[key])
        assert out[out_key].dtype == batch[key].dtype
    np.testing.assert_array_equal(out["mixed_mask"].numpy(), mask)
    assert out["mixed_mask"].dtype == torch.bool


@pytest.mark.parametrize(("spatial_dims", "spatial"), SIZES)
@pytest.mark.parametrize("layout", ["index", "one_hot"])
@pytest.mark.parametrize("ignore_index", [None, 0])
def test_the_margin_is_pasted_with_its_true_labels(spatial_dims, spatial, layout, ignore_index):
    batch = make_batch(spatial)
    batch["label"][1] = 0  # nothing to widen
    batch["label"][0] = 0
    batch["label"][(0, 0, *(n // 2 for n in spatial))] = 2
    label = batch["label"]
    if layout == "one_hot":
        batch["label"], batch["pseudo_label"] = one_hot(label, 3), one_hot(batch["pseudo_label"], 3)
    out = make_supmix(spatial_dims, (2,), margin=2, ignore_index=ignore_index)(batch)
    mask = np.zeros((4, 1, *spatial), dtype=bool)
    for i, _, *where in np.argwhere(label.numpy() == 2):
        mask[(i, 0, *(slice(max(w - 2, 0), w + 3) for w in where))] = True
    if ignore_index is not None:
        mask &= label.numpy() != ignore_index
    np.testing.assert_array_equal(out["mixed_mask"].numpy(), mask)
    for key, donor, out_key in zip(KEYS[:2], ("image", "label"), OUT):
        assert torch.equal(out[out_key], torch.where(torch.as_tensor(mask), batch[donor], batch[key]).to(batch[key]))


def test_inputs_are_left_alone_and_keys_are_overwritten_only_on_request():
    batch = make_batch((8, 8))
    before = {key: value.clone() for key, value in batch.items()}
    out = make_supmix(2)(batch)
    assert all(torch.equal(batch[key], before[key]) and out[key] is batch[key] for key in before)
    overwrite = SupervisedClassMixd(KEYS, ("image", "label", None), "label", (1,), 3, 2)(batch)
    assert not torch.equal(overwrite["unlabeled_image"], before["unlabeled_image"])
    assert torch.equal(batch["unlabeled_image"], before["unlabeled_image"])
    assert set(overwrite) == set(before)


def test_donor_without_the_class_leaves_the_receiver():
    batch = make_batch((8, 8))
    batch["label"][1] = 0
    out = make_supmix(2, classes=(1, 2))(batch)
    assert torch.equal(out["mixed_image"][1], batch["unlabeled_image"][1])
    assert torch.equal(out["mixed_weight"][1], batch["pseudo_weight"][1])
    assert not out["mixed_mask"][1].any() and out["mixed_mask"][0].any()


@pytest.mark.parametrize("ignore_index", [255, -1, 2])
def test_ignored_pixels_are_never_pasted(ignore_index):
    batch = make_batch((16, 16))
    batch["label"][:, :, :4] = ignore_index
    for classes in ("foreground", "random_half"):
        mix = make_supmix(2, classes=classes, ignore_index=ignore_index).set_random_state(0)
        for _ in range(5):
            mask = mix(batch)["mixed_mask"]
            assert not mask[batch["label"] == ignore_index].any()
    with pytest.raises(ValueError, match="ignore_index"):
        make_supmix(2, classes=(1, 2), ignore_index=2)


@pytest.mark.parametrize("num_classes", [2, 3, 4, 5, 8])
def test_random_half_draws_floor_of_half_without_replacement(num_classes):
    label = torch.arange(num_classes).repeat(6, 1, 4, 4)[..., :num_classes]
    label[0] = 1  # a single class: nothing is pasted
    mix = SupervisedClassMix("random_half", num_classes, spatial_dims=2).set_random_state(3)
    image = torch.zeros(6, 1, *label.shape[2:])
    seen = set()
    for _ in range(60):
        _, mask = mix((image,), (image,), label)
        assert not mask[0].any()
        for i in range(1, 6):
            pasted = set(label[i][mask[i]].tolist())
            seen |= pasted
            assert len(pasted) == num_classes // 2
            assert torch.equal(mask[i], torch.isin(label[i], torch.tensor(sorted(pasted))))
    assert seen == set(range(num_classes))  # the background, too, is drawn


def test_random_half_is_uniform():
    label = torch.arange(4).repeat(100, 1, 1, 1)
    mix = SupervisedClassMix("random_half", 4, spatial_dims=2).set_random_state(0)
    masks = torch.cat([mix((label.float(),), (None,), label)[1] for _ in range(20)])
    share = masks.float().mean(0).flatten()
    assert ((share - 0.5).abs() < 4 * 0.5 / 2000**0.5).all()


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
        "classmix": ClassMixd(KEYS, "pseudo_label", 3, 2, output_keys=OUT, mask_key="mixed_mask"),
        "cutmix": CutMixSegd(KEYS, 2, output_keys=OUT, mask_key="mixed_mask"),
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


@pytest.mark.parametrize("classes", ["random_half", (1,), "foreground"])
@pytest.mark.parametrize(("spatial_dims", "spatial"), SIZES)
def test_class_mix_takes_from_the_next_sample(classes, spatial_dims, spatial):
    batch = make_batch(spatial, b=5)
    mix = ClassMixd(
        KEYS, "pseudo_label", 3, spatial_dims, classes, output_keys=OUT, mask_key="mixed_mask"
    ).set_random_state(0)
    out = mix(batch)
    for i in range(5):
        mask = out["mixed_mask"][i]
        donor_label = batch["pseudo_label"][(i + 1) % 5]
        pasted = torch.unique(donor_label[mask]).tolist()
        expected = {"random_half": 1, (1,): 1, "foreground": 2}[classes]
        assert len(pasted) == expected
        assert torch.equal(mask, torch.isin(donor_label, torch.tensor(pasted)))
        for key, out_key in zip(KEYS, OUT):
            donor = batch[key][(i + 1) % 5]
            assert torch.equal(out[out_key][i], torch.where(mask, donor, batch[key][i]))


def test_class_mix_of_a_single_sample_is_the_sample():
    batch = make_batch((8, 8), b=1)
    for data in (batch, {key: value[0] for key, value in batch.items()}):
        for mix in (ClassMixd(KEYS, "pseudo_label", 3, 2), CutMixSegd(KEYS, 2)):
            out = mix(data)
            assert all(torch.equal(out[key], data[key]) for key in KEYS)


@pytest.mark.parametrize(("spatial_dims", "spatial"), [(2, (64, 48)), (3, (32, 24, 40)), (2, (1, 7))])
@pytest.mark.parametrize("area", [0.5, (0.02, 0.4), 1.0])
def test_cut_mix_box(spatial_dims, spatial, area):
    image = torch.arange(8.0).view(8, 1, *(1,) * spatial_dims).expand(8, 1, *spatial)
    mix = CutMixSeg(spatial_dims, area).set_random_state(0)
    low, high = (area, area) if isinstance(area, float) else area
    shares = []
    for _ in range(10):
        (mixed,), mask = mix((image,))
        for i in range(8):
            where = mask[i, 0].nonzero()
            begin, end = where.min(0).values, where.max(0).values + 1
            assert len(where) == (end - begin).prod()  # the true pixels fill a box
            assert torch.equal(mixed[i], torch.where(mask[i], image[(i + 1) % 8], image[i]))
            shares.append(len(where) / mask[i, 0].numel())
    if min(spatial) > 1:  # sides are rounded to pixels
        assert low - 0.06 < min(shares) and max(shares) < high + 0.06
        assert np.std(shares) < 0.03 if isinstance(area, float) else np.std(shares) > 0.05


@pytest.mark.parametrize(("spatial_dims", "spatial"), [(2, (90, 60)), (3, (30, 24, 36))])
@pytest.mark.parametrize("max_aspect", [1.0, 2.0, 3.3])
def test_cut_mix_box_is_no_longer_than_it_may_be(spatial_dims, spatial, max_aspect):
    mix = CutMixSeg(spatial_dims, area=4 / 9, max_aspect=max_aspect).set_random_state(0)
    aspects = []
    for mask in torch.cat([mix((torch.zeros(16, 1, *spatial),))[1] for _ in range(6)]):
        where = mask[0].nonzero()
        sides = (where.max(0).values + 1 - where.min(0).values) / torch.tensor(spatial)
        assert sides.prod() == pytest.approx(4 / 9, abs=0.08)
        aspects.append(float(sides.max() / sides.min()))
    # sides are rounded to pixels; no side is longer than the image's
    most = min(max_aspect, 9 / 4)
    assert max(aspects) < most * 1.12
    if max_aspect > 1:
        assert max(aspects) > 1 + 0.6 * (most - 1) and np.mean(aspects) < 0.9 * most


@pytest.mark.parametrize("donors", [4, 3])
def test_cut_mix_from_labelled_donors(donors):
    """BCP: receiver i takes donor i, or i mod their number; a None stands for 1."""
    batch = make_batch((9, 8), donors=donors)
    keys, donor_keys = KEYS, ("image", "label", None)
    mix = CutMixSegd(keys, 2, output_keys=OUT, mask_key="mask", donor_keys=donor_keys, max_aspect=1.0)
    out = mix.set_random_state(0)(batch)
    mask = out["mask"]
    assert 0.3 < mask.float().mean() < 0.7
    for key, donor_key, output_key in zip(keys, donor_keys, OUT, strict=True):
        for i in range(4):
            donor = 1.0 if donor_key is None else batch[donor_key][i % donors].to(batch[key].dtype)
            donor = torch.as_tensor(donor, dtype=batch[key].dtype)
            assert torch.equal(out[output_key][i], torch.where(mask[i], donor, batch[key][i]))
    # a single image can be pasted onto where the donors are others
    assert CutMixSeg(2)((torch.zeros(1, 1, 8, 8),), donor=(torch.ones(1, 1, 8, 8),))[0][0].sum() > 0
    with pytest.raises(ValueError, match="donor key"):
        CutMixSegd(KEYS, 2, donor_keys=("image",))
    with pytest.raises(ValueError, match="donor or None"):
        CutMixSeg(2)((torch.zeros(2, 1, 8, 8),), donor=(None, None))
    with pytest.raises(ValueError, match="max_aspect"):
        CutMixSeg(2, max_aspect=0.5)


def test_cut_mix_reaches_every_corner():
    mix = CutMixSeg(2, area=(0.05, 0.3)).set_random_state(0)
    reached = torch.cat([mix((torch.zeros(64, 1, 9, 9),))[1] for _ in range(40)]).float().mean(0)[0]
    assert (reached > 0).all()
    assert abs(float(reached[0, 0] - reached[8, 8])) < 0.03


def test_cut_mix_batch_draws_as_samples_do():
    batch_mix, sample_mix = (CutMixSeg(2).set_random_state(1) for _ in range(2))
    _, masks = batch_mix((torch.zeros(5, 1, 12, 12),))
    assert all(torch.equal(masks[i], sample_mix((torch.zeros(1, 12, 12),))[1]) for i in range(5))


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
        ClassMixd(KEYS, "pseudo_label", 3, 2, classes, output_keys=OUT, mask_key="mixed_mask"),
        CutMixSegd(KEYS, 2, output_keys=OUT, mask_key="mixed_mask"),
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


@pytest.mark.parametrize(
    "kwargs",
    [
        {"classes": ()},
        {"classes": (3,)},
        {"classes": (-1,)},
        {"classes": (1, 1)},
        {"classes": "all"},
        {"num_classes": 1, "classes": (0,)},
        {"prob": 1.5},
        {"spatial_dims": 4},
        {"margin": -1},
    ],
)
def test_refused_arguments(kwargs):
    with pytest.raises(ValueError):
        SupervisedClassMix(**{"classes": (1,), "num_classes": 3, "spatial_dims": 2, **kwargs})


def test_refused_keys():
    with pytest.raises(ValueError, match="donor key"):
        SupervisedClassMixd(KEYS, ("image", "label"), "label", (1,), 3, 2)
    with pytest.raises(ValueError, match="output key"):
        ClassMixd(KEYS, "pseudo_label", 3, 2, output_keys=("a", "b"))
    with pytest.raises(ValueError, match="area"):
        CutMixSeg(2, area=0.0)


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


def test_aliases():
    assert SupervisedClassMixD is SupervisedClassMixDict is SupervisedClassMixd
    assert ClassMixD is ClassMixDict is ClassMixd and CutMixSegD is CutMixSegDict is CutMixSegd
    assert ClassMix.__call__.__doc__
