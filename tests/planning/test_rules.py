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


"""What is decided for what was seen, with fingerprints that are made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from monai_sscm.planning import ClassSeen, Fingerprint, Hardware, Plan, make_plan

CPU = Hardware("cpu", "a CPU", 2, 16.0)
GPU = Hardware("cuda", "a GPU", 8, 64.0, 80.0, True)
BACKGROUND = ClassSeen("background", 0.9, 4, 10_000, None, None)


def organ(name: str = "organ", share: float = 0.1, **values: Any) -> ClassSeen:
    usual = {"masks": 4, "smallest": 500, "thickness": 20.0, "elongation": 1.5}
    return ClassSeen(name=name, share=share, **(usual | values))


def pictures(*size: int, **values: Any) -> Fingerprint:
    seen = Fingerprint(
        dataset_dir="data",
        layout="folders",
        counts={"labeled": 4, "unlabeled": 20, "val": 0, "test": 0},
        patients=24,
        group_pattern=None,
        pictures=True,
        channels=1,
        channel_names=None,
        sizes={name: list(size or (500, 400)) for name in ("min", "median", "max")},
        spacing=None,
        spacing_spread=None,
        percentiles=[[0.0, 100.0, 250.0]],
        foreground_percentiles=[[10.0, 110.0, 220.0]],
        hounsfield=False,
        classes=[BACKGROUND, organ()],
        looked_at={"images": 24, "masks": 4},
    )
    return replace(seen, **values)


def volumes(*size: int, spacing: tuple[float, ...] = (1.0, 1.0, 1.0), **values: Any) -> Fingerprint:
    values = {"spacing": list(spacing), "spacing_spread": [1.0] * 3, **values}
    return pictures(*(size or (60, 60, 60)), pictures=False, **values)


def value(plan: Plan, name: str) -> Any:
    return plan.values[name].value


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        (pictures(), "pictures"),
        (volumes(), "volumes"),
        (volumes(60, 60, 30, spacing=(1, 1, 2.9)), "volumes"),
        (volumes(60, 60, 30, spacing=(1, 1, 3)), "slices"),
        (volumes(200, 200, 15), "slices"),
        (volumes(20, 20, 15), "volumes"),
        (volumes(10, 200, 200, spacing=(5, 1, 1)), "volumes"),  # slices are axial
    ],
)
def test_kind(seen, kind):
    assert make_plan(seen, CPU).kind == kind


def test_dimensions_are_the_users_choice():
    assert make_plan(volumes(), CPU, {"spatial_dims": 2}).kind == "slices"
    assert make_plan(volumes(60, 60, 9, spacing=(1, 1, 9)), CPU, {"spatial_dims": 3}).kind == "volumes"
    with pytest.raises(ValueError, match="the images are pictures"):
        make_plan(pictures(), CPU, {"spatial_dims": 3})


@pytest.mark.parametrize(
    ("size", "thickness", "elongation", "zoom"),
    [
        ((1000, 1024), 20, 1, 1.0),
        ((2048, 4000), 20, 1, 0.38),  # 768 / 2048
        ((2048, 4000), 9, 60, 0.5),  # thin lines: 1024 / 2048
        ((4096, 4096), 3, 60, 0.5),  # which keep 1.5 pixels
        ((4096, 4096), 1, 60, 1.0),
    ],
)
def test_zoom(size, thickness, elongation, zoom):
    classes = [BACKGROUND, organ(thickness=float(thickness), elongation=float(elongation))]
    assert value(make_plan(pictures(*size, classes=classes), CPU), "zoom") == zoom


def test_spacing_is_set_where_it_differs_or_a_crop_would_see_too_little():
    same = make_plan(volumes(60, 60, 60, spacing=(0.8, 0.8, 1.0), spacing_spread=[1.0, 1.01, 1.0]), CPU)
    assert value(same, "spacing") is None
    other = make_plan(volumes(60, 60, 60, spacing=(0.8, 0.8, 1.0), spacing_spread=[1.0, 1.02, 1.0]), CPU)
    assert value(other, "spacing") == [0.8, 0.8, 1.0]
    large = make_plan(volumes(400, 400, 200, spacing=(0.8, 0.8, 1.5)), CPU)
    assert value(large, "spacing") == [1.6, 1.6, 1.6] and "coarser" in large.values["spacing"].reason
    fine = [BACKGROUND, organ(thickness=3.0)]
    assert value(make_plan(volumes(400, 400, 200, spacing=(0.8, 0.8, 1.5), classes=fine), CPU), "spacing") is None
    slices = make_plan(volumes(100, 100, 10, spacing=(1, 1, 10), spacing_spread=[1.2, 1.2, 2.0]), CPU)
    assert value(slices, "spacing") == [1, 1]
    assert value(make_plan(volumes(400, 400, 200, spacing=(0.8, 0.8, 1.5)), GPU), "spacing") is None


def test_hounsfield_units_are_windowed():
    seen = volumes(hounsfield=True, foreground_percentiles=[[-120.4, 60.0, 210.2]])
    assert value(make_plan(seen, CPU), "intensity_range") == [-121, 211]
    assert value(make_plan(volumes(), CPU), "intensity_range") is None
    assert "intensity_range" not in make_plan(pictures(), CPU).values


@pytest.mark.parametrize("hardware", [CPU, GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize(
    "seen",
    [
        pictures(30, 30), pictures(10, 600), pictures(3, 3), pictures(5000, 4000), pictures(9, 4000), volumes(),
        volumes(35, 50, 35), volumes(512, 512, 100, spacing=(0.7, 0.7, 2.0)), volumes(100, 100, 9, spacing=(1, 1, 10)),
        volumes(8, 8, 8), volumes(10, 300, 300, spacing=(5, 1, 1)),
    ],
)  # fmt: skip
def test_the_network_fits_the_crops(seen, hardware):
    plan = make_plan(seen, hardware)
    patch, strides, channels = (value(plan, name) for name in ("patch_size", "strides", "channels"))
    dims = 3 if plan.kind == "volumes" else 2
    assert len(patch) == dims and len(channels) == len(strides) + 1 <= 5
    left = list(patch)
    for stride in strides:
        stride = [stride] * dims if isinstance(stride, int) else stride
        assert all(side % s == 0 and (s == 1 or side // s >= 4) for side, s in zip(left, stride))
        left = [side // s for side, s in zip(left, stride)]
    assert all(side <= max(8, size) for side, size in zip(patch, seen.sizes["median"]))
    assert value(plan, "feature_channels") in channels[:2] and value(plan, "batch_size") >= 2


def test_a_gpu_sees_and_learns_more():
    small, large = (make_plan(pictures(1000, 1000), hardware) for hardware in (CPU, GPU))
    assert value(small, "patch_size") == [192, 192] and value(large, "patch_size") == [512, 512]
    assert value(small, "channels")[0] < value(large, "channels")[0]
    assert value(small, "max_epochs") < value(large, "max_epochs")
    assert 5 < small.minutes <= 46 and 5 < large.minutes <= 125


def test_values_follow_from_those_that_were_chosen():
    plan = make_plan(volumes(60, 60, 60), CPU, {"patch_size": [20, 36, 36], "epoch_length": 10, "max_epochs": 3})
    assert value(plan, "strides") == [2, 2] and len(value(plan, "channels")) == 3  # 20 is halved twice
    assert value(plan, "rampup_steps") == 6 and plan.values["max_epochs"].reason == "as you chose"
    plan = make_plan(volumes(60, 60, 60), CPU, {"strides": [2, 2, 2, 2]})
    assert value(plan, "patch_size") == [48, 48, 48] and len(value(plan, "channels")) == 5
    assert value(make_plan(pictures(), CPU, {"seed": 7}), "seed") == 7


@pytest.mark.parametrize(
    ("seen", "axes", "turn"),
    [
        (pictures(), [0, 1], True),
        (pictures(classes=[BACKGROUND, organ("left lung"), organ("right lung")]), [0], False),
        (pictures(classes=[BACKGROUND, organ("kidney_L")]), [0], False),
        (pictures(classes=[BACKGROUND, organ("bright leftover")]), [0, 1], True),
        (pictures(fixed_axes=[0]), [1], False),
        (volumes(), [0], False),  # 4 masks tell nothing
        (volumes(classes=[BACKGROUND, organ("a"), organ("b")]), [], False),
        (volumes(looked_at={"masks": 20}), [0, 1, 2], False),
        (volumes(looked_at={"masks": 20}, fixed_axes=[1, 2]), [0], False),
        (volumes(looked_at={"masks": 20}, classes=[BACKGROUND, organ("Left_Atrium")]), [1, 2], False),
        (volumes(60, 60, 9, spacing=(1, 1, 9), looked_at={"masks": 20}, fixed_axes=[0, 2]), [1], False),
    ],
)
def test_what_has_a_side_is_not_mirrored(seen, axes, turn):
    plan = make_plan(seen, CPU)
    assert (value(plan, "mirror_axes"), value(plan, "turn")) == (axes, turn)
    assert plan.values["mirror_axes"].reason


def test_pasted_classes_are_small_and_there():
    classes = [BACKGROUND, organ("lung", 0.4), organ("lesion", 0.02), organ("absent", 0.0, masks=0, thickness=None)]
    plan = make_plan(pictures(classes=classes), CPU)
    assert value(plan, "paste_classes") == [2]
    assert plan.values["paste_classes"].reason == "lung (40 %) would cover too much; no mask has absent"
    assert any("no mask has the class absent" in warning for warning in plan.warnings)
    assert value(make_plan(pictures(classes=[BACKGROUND, organ(share=0.4)]), CPU), "paste_classes") == [1]


def test_thin_lines_are_pasted_with_their_surroundings():
    thin = [BACKGROUND, organ(thickness=6.0, elongation=40.0)]
    assert value(make_plan(pictures(classes=thin), CPU), "paste_margin") == 10
    assert value(make_plan(pictures(32, 32, classes=thin), CPU), "paste_margin") == 4
    assert value(make_plan(pictures(), CPU), "paste_margin") == 0


def test_crops_have_rare_classes_in_them():
    rare = [BACKGROUND, organ(share=0.001)]
    plan = make_plan(pictures(1000, 1000, classes=rare), CPU)
    assert value(plan, "labeled_crop") == value(plan, "donor_crop") == "with_classes"
    usual = make_plan(pictures(1000, 1000), CPU)
    assert value(usual, "labeled_crop") == "anywhere" and "crop_ratios" not in usual.values
    assert value(make_plan(pictures(100, 100, classes=rare), CPU), "labeled_crop") == "anywhere"  # it is all of it
    assert value(plan, "crop_ratios").startswith("$[@num_classes - 1]")


@pytest.mark.parametrize(("slices", "crop"), [(0.8, "anywhere"), (0.05, "with_classes")])
def test_crops_of_slices_have_what_most_slices_have(slices, crop):
    small = [BACKGROUND, organ(share=0.01, slices=slices)]
    plan = make_plan(volumes(120, 120, 10, spacing=(1, 1, 10), classes=small), CPU)
    assert plan.kind == "slices" and value(plan, "labeled_crop") == value(plan, "donor_crop") == crop


def test_donors_are_aligned_where_classes_have_their_place():
    assert value(make_plan(volumes(fixed_axes=[1]), CPU), "align_donors") is True
    assert value(make_plan(volumes(), CPU), "align_donors") is False
    rare = [BACKGROUND, organ(share=0.001)]
    plan = make_plan(volumes(200, 200, 100, fixed_axes=[1], classes=rare), CPU)
    assert (value(plan, "donor_crop"), value(plan, "align_donors")) == ("with_classes", False)


def test_the_method_needs_unlabeled_images():
    without = {"labeled": 4, "unlabeled": 0, "val": 2, "test": 0}
    plan = make_plan(pictures(counts=without), CPU)
    assert value(plan, "method") == "supervised_augmented" and "no images without masks" in plan.values["method"].reason
    assert value(make_plan(pictures(), CPU), "method") == "supmix_cutmix"
    assert value(plan, "max_epochs") < value(make_plan(pictures(), CPU), "max_epochs")


def test_thin_lines_are_learned_from_masks_alone():
    vessel = ClassSeen("vessel", 0.08, 4, 5_000, 6.0, 500.0)
    plan = make_plan(pictures(classes=[BACKGROUND, vessel]), CPU)
    assert value(plan, "method") == "supervised_augmented" and "--method supmix_cutmix" in plan.values["method"].reason
    chosen = make_plan(pictures(classes=[BACKGROUND, vessel]), CPU, {"method": "supmix_cutmix"})
    assert value(chosen, "max_epochs") > value(plan, "max_epochs")


def test_images_that_do_not_fit_into_memory_are_loaded_by_workers():
    many = {"labeled": 4, "unlabeled": 100_000, "val": 0, "test": 0}
    plan = make_plan(pictures(1000, 1000, counts=many), GPU)
    assert value(plan, "num_workers") > 0 and value(plan, "cache_gigabytes") <= 13
    assert value(make_plan(pictures(), CPU), "num_workers") == 0


def test_validation_takes_little_of_the_time():
    counts = {"labeled": 4, "unlabeled": 20, "val": 500, "test": 0}
    plan = make_plan(pictures(1000, 1000, counts=counts), CPU)
    epochs, interval = value(plan, "max_epochs"), value(plan, "val_interval")
    assert 1 <= epochs // interval <= 10
    assert plan.minutes < 3 * make_plan(pictures(1000, 1000), CPU).minutes


def test_precision_is_what_the_hardware_computes_with():
    assert value(make_plan(pictures(), replace(GPU, half=False)), "amp") is False
    assert value(make_plan(pictures(), GPU), "amp") is None
    assert value(make_plan(pictures(), CPU), "amp") is False
    fast = make_plan(pictures(500, 500), replace(CPU, half=True))
    assert value(fast, "amp") is True and fast.minutes < make_plan(pictures(500, 500), CPU).minutes


def test_thick_slices_are_not_tilted():
    assert value(make_plan(pictures(), CPU), "rotate_range") == [20]
    assert value(make_plan(volumes(), CPU), "rotate_range") == [20]
    assert value(make_plan(volumes(60, 60, 30, spacing=(1, 1, 2)), CPU), "rotate_range") == [0, 0, 20]
    assert value(make_plan(volumes(60, 60, 30, spacing=(1, 1, 9)), CPU), "rotate_range") == [20]  # slice by slice


def test_more_views_take_longer():
    seconds = []
    for method in ("supervised", "supmix", "supmix_sufd", "supmix_cutmix"):
        plan = make_plan(pictures(500, 500), CPU, {"method": method, "max_epochs": 60})
        seconds.append(plan.minutes)
    assert seconds[0] < seconds[1] == seconds[2] < seconds[3]


def test_the_summary_says_patients_that_were_found_and_not_too_many_classes():
    many = [BACKGROUND, *(organ(f"organ_{i}", 0.001) for i in range(40))]
    lines = make_plan(volumes(classes=many, group_pattern="(p[0-9]+)"), CPU).summary().splitlines()
    assert "Patients:    (p[0-9]+): file names show 24 patients for 24 images; each stays on one side" in lines
    assert lines[2].endswith("organ_9 0.1 %, ... (41 in all)") and max(map(len, lines)) < 250
    assert "Spacing:     as stored: all volumes have 1 x 1 x 1 mm" in lines
    assert any(line.startswith("Intensities: standardized: no Hounsfield") for line in lines)


def test_the_summary_says_what_was_found_chosen_and_why():
    seen = pictures(guessed=[("a.png", "a_manual.png")], passed_over={"notes.txt": "no image"})
    plan = make_plan(seen, CPU)
    lines = plan.summary().splitlines()
    assert 10 <= len(lines) <= 13
    assert lines[0] == ("Found:       4 labeled images and 20 unlabeled in data; 0 for validation, 0 for testing")
    assert lines[3] == "Kind:        pictures, 2D: the images are pictures"
    assert "about" in lines[-3] and "minutes on a CPU" in lines[-3]
    assert lines[-2].startswith("Note:        1 mask matched by a guess, such as a.png with a_manual.png: look at")
    assert lines[-1] == "Note:        not used: notes.txt (no image)" and plan.warnings == []
    usual = make_plan(pictures(guessed=[("im/a.nii.gz", "im/a_seg.nii.gz"), ("b.png", "b_Mask.png")]), CPU)
    assert usual.notes == []


def test_the_summary_is_in_plain_words():
    def line(seen: Fingerprint, start: str) -> str:
        return next(line for line in make_plan(seen, CPU).summary().splitlines() if line.startswith(start))

    assert line(pictures(patients=9), "Found").startswith(
        "Found:       4 labeled images and 20 unlabeled of 9 patients"
    )
    assert "4 labeled images (of which 4 in part) and 20 unlabeled in" in line(pictures(partial=4), "Found")
    assert line(pictures(), "Mirrored") == "Mirrored:    up-down and left-right: no class has a side"
    assert line(pictures(fixed_axes=[0, 1]), "Mirrored").startswith(
        "Mirrored:    not at all: not up-down and left-right"
    )
    assert value(make_plan(pictures(), CPU), "group_pattern") is None
    assert make_plan(pictures(), CPU).values["group_pattern"].reason == "24 images, each taken for one patient"


@pytest.mark.parametrize("method", ["supmix_sufd", "mean_teacher"])
def test_methods_that_need_images_without_masks_are_refused_where_there_are_none(method):
    seen = pictures(counts={"labeled": 4, "unlabeled": 0, "val": 0, "test": 0})
    with pytest.raises(ValueError, match=f"--method {method} learns from .* --method supervised or supervised_augment"):
        make_plan(seen, CPU, {"method": method})
    assert make_plan(seen, CPU, {"method": "supmix_labeled"}).values["method"].value == "supmix_labeled"
    partly = replace(seen, partial=1)
    assert make_plan(partly, CPU, {"method": method}).values["method"].value == method
    assert value(make_plan(partly, CPU), "method") == "supmix_cutmix"
