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

import copy
import io
import math

import pytest
import torch
from ignite.engine import Events
from monai.data import Dataset, MetaTensor
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.losses import DeepSupervisionLoss, DiceCELoss
from monai.networks.nets import UNet
from torch import nn

from monai_sscm.data import SemiSupervisedLoader
from monai_sscm.engines import Ramp, SemiSupervisedEvents, SemiSupervisedTrainer, View
from monai_sscm.losses import WeightedCELoss, WeightedDeepSupervisionLoss, WeightedDiceCELoss, WeightedMSELoss
from monai_sscm.networks import FeatureDiscriminator, FeatureDropout, make_teacher
from monai_sscm.transforms import ClassMixd, CutMixSegd, RandStrongIntensity, SupervisedClassMixd

KEYS = ("unlabeled_image", "pseudo_label", "pseudo_weight")
OUT = ("mixed_image", "mixed_label", "mixed_weight")


def make_network(spatial_dims: int = 2, norm: str = "instance") -> nn.Module:
    torch.manual_seed(0)
    return UNet(spatial_dims, 1, 2, channels=(4, 8, 16), strides=(2, 2), norm=norm)


def make_batch(seed: int, labeled: int = 2, unlabeled: int = 2, spatial_dims: int = 2, size: int = 16) -> dict:
    g = torch.Generator().manual_seed(seed)
    space = (size,) * spatial_dims
    label = (torch.rand((labeled, 1, *space), generator=g) > 0.7).long()
    return {
        "image": torch.rand((labeled, 1, *space), generator=g) + label,
        "label": label,
        "unlabeled_image": torch.rand((unlabeled, 1, *space), generator=g) * 2,
    }


def make_batches(n: int, **kwargs) -> list[dict]:
    return [make_batch(i, **kwargs) for i in range(n)]


def supmix(spatial_dims: int = 2, **kwargs) -> SupervisedClassMixd:
    return SupervisedClassMixd(
        KEYS,
        ("image", "label", None),
        "label",
        (1,),
        2,
        spatial_dims,
        output_keys=OUT,
        mask_key="mixed_mask",
        **kwargs,
    )


def make_trainer(batches: list[dict], network: nn.Module | None = None, sufd: bool = False, epochs: int = 1, **kwargs):
    network = make_network() if network is None else network
    if sufd:
        torch.manual_seed(1)
        discriminator = FeatureDiscriminator(batches[0]["image"].ndim - 2, in_channels=4, channels=8)
        kwargs = {
            "discriminator": discriminator,
            "discriminator_optimizer": torch.optim.Adam(discriminator.parameters(), 1e-3),
            "feature_layer": "model.1.submodule",
            "adversarial_weight": 0.1,
            **kwargs,
        }
    return SemiSupervisedTrainer(
        **{
            "device": "cpu",
            "max_epochs": epochs,
            "train_data_loader": batches,
            "network": network,
            "optimizer": torch.optim.SGD(network.parameters(), 0.05),
            "loss_function": DiceCELoss(softmax=True, to_onehot_y=True),
            "decollate": False,
            **kwargs,
        }
    )


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], exact: bool = True) -> None:
    assert list(a) == list(b)
    for name in a:
        torch.testing.assert_close(a[name], b[name], **({"rtol": 0, "atol": 0} if exact else {}), msg=name)


def differ(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_without_views_it_is_monai_s_supervised_trainer(norm):
    batches = make_batches(5)
    trainer = make_trainer(batches, make_network(norm=norm), epochs=2)
    trainer.run()
    network = make_network(norm=norm)
    SupervisedTrainer(
        "cpu",
        2,
        batches,
        network,
        torch.optim.SGD(network.parameters(), 0.05),
        DiceCELoss(softmax=True, to_onehot_y=True),
        decollate=False,
    ).run()
    assert_same(weights(trainer.network), weights(network))


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("unlabeled", [2, 3])
def test_supmix_and_sufd_step_by_step_in_plain_pytorch(spatial_dims, unlabeled):
    """The whole method a second way: a bare loop, three passes in place of one, masks from the formula."""
    batches = make_batches(6, spatial_dims=spatial_dims, unlabeled=unlabeled)
    trainer = make_trainer(
        batches,
        make_network(spatial_dims),
        sufd=True,
        views=[View(mix=supmix(spatial_dims), loss=WeightedCELoss(), weight=Ramp(2.0, 4))],
        teacher_decay=0.6,
        confidence_threshold=0.55,
        adversarial_interval=2,
    )
    student, judge = make_network(spatial_dims), copy.deepcopy(trainer.discriminator)
    teacher = copy.deepcopy(student).eval()
    optimizer, judge_optimizer = torch.optim.SGD(student.parameters(), 0.05), torch.optim.Adam(judge.parameters(), 1e-3)
    trainer.run()

    bce = nn.functional.binary_cross_entropy
    for t, batch in enumerate(batches, start=1):
        x_l, y_l, x_u = batch["image"], batch["label"], batch["unlabeled_image"]
        with torch.no_grad():
            prob = teacher(x_u).softmax(1)
        confidence, pseudo = prob.max(1, keepdim=True)
        weight = torch.stack([(c >= 0.55).float().mean() for c in confidence]).view(-1, *(1,) * (x_u.ndim - 1))
        donor = torch.arange(unlabeled) % 2
        m = (y_l[donor] == 1).float()
        x_m = m * x_l[donor] + (1 - m) * x_u
        y_m = (m * y_l[donor] + (1 - m) * pseudo).long()
        w_m = m + (1 - m) * weight
        loss = DiceCELoss(softmax=True, to_onehot_y=True)(student(x_l), y_l)
        ce = nn.functional.cross_entropy(student(x_m), y_m[:, 0], reduction="none")
        ramp = 2.0 * torch.exp(torch.tensor(-5.0 * max(0.0, 1 - t / 4) ** 2))
        loss = loss + ramp * (w_m[:, 0] * ce).sum() / ce.numel()
        features = []
        handle = student.get_submodule("model.1.submodule").register_forward_hook(lambda m, i, o: features.append(o))
        student(x_l), student(x_u)
        handle.remove()
        if t % 2 == 0:
            fooled = judge(features[1]).sigmoid()
            loss = loss + 0.1 * 2 * bce(fooled, torch.ones_like(fooled))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if t % 2 == 0:
            judge_optimizer.zero_grad()
            of_l, of_u = judge(features[0].detach()).sigmoid(), judge(features[1].detach()).sigmoid()
            (0.5 * bce(of_l, torch.ones_like(of_l)) + 0.5 * bce(of_u, torch.zeros_like(of_u))).backward()
            judge_optimizer.step()
        decay = min(1 - 1 / t, 0.6)  # t - 1 steps came before
        with torch.no_grad():
            for a, b in zip(teacher.parameters(), student.parameters()):
                a.copy_(decay * a + (1 - decay) * b)

    assert trainer.state.optimizer_steps == 6
    for ours, plain in ((trainer.network, student), (trainer.teacher, teacher), (trainer.discriminator, judge)):
        for (name, a), b in zip(ours.state_dict().items(), plain.state_dict().values()):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=name)


def test_one_student_pass_and_an_evaluating_teacher():
    passes = []
    network = make_network(norm="batch")
    trainer = make_trainer(
        make_batches(3, labeled=2, unlabeled=3),
        network,
        views=[
            View(mix=supmix(), augment=RandStrongIntensity(2), loss=WeightedCELoss()),
            View(target="pseudo_prob", loss=WeightedMSELoss()),
        ],
    )
    network.register_forward_hook(lambda m, args, out: passes.append(("student", len(args[0]), m.training)))
    trainer.teacher.register_forward_hook(lambda m, args, out: passes.append(("teacher", len(args[0]), m.training)))
    trainer.run()
    assert passes == [("teacher", 3, False), ("student", 8, True)] * 3
    # buffers are the student's own, not an average
    for (name, a), b in zip(trainer.teacher.named_buffers(), network.buffers()):
        assert torch.equal(a, b), name


def test_output_views_and_pseudo_labels_for_handlers():
    seen = {}

    def keep(engine):
        seen.update(output=dict(engine.state.output), views=engine.state.views, pseudo=engine.state.pseudo)

    trainer = make_trainer(
        make_batches(2, labeled=2, unlabeled=3),
        sufd=True,
        views=[View(mix=supmix(), loss=WeightedCELoss(), weight=0.5), View(loss=WeightedCELoss(), weight=2.0)],
    )
    trainer.add_event_handler(Events.ITERATION_COMPLETED, keep)
    trainer.run()
    out = {str(k): v for k, v in seen["output"].items()}
    assert set(out) == {
        *("image", "label", "pred", "loss", "supervised_loss", "unsupervised_loss", "view_0_loss", "view_1_loss"),
        *("adversarial_loss", "discriminator_loss", "discriminator_accuracy"),
    }
    assert out["pred"].shape == (2, 2, 16, 16)
    assert not any(v.requires_grad for v in out.values())
    total = out["supervised_loss"] + 0.5 * out["view_0_loss"] + 2 * out["view_1_loss"] + 0.1 * out["adversarial_loss"]
    torch.testing.assert_close(out["loss"], total)
    assert [view["pred"].shape[0] for view in seen["views"]] == [3, 3]
    assert seen["views"][0]["mask"].dtype == torch.bool and seen["views"][1]["mask"] is None
    assert (seen["views"][0]["weight"][seen["views"][0]["mask"]] == 1).all()
    prob = seen["pseudo"]["pseudo_prob"]
    torch.testing.assert_close(prob.sum(1), torch.ones(3, 16, 16))
    assert torch.equal(seen["pseudo"]["pseudo_label"], prob.argmax(1, keepdim=True))
    assert not prob.requires_grad


def test_pixel_weighting():
    trainer = make_trainer(make_batches(1), views=[View(loss=WeightedCELoss())], confidence_weighting="pixel")
    trainer.confidence_threshold = 0.6
    trainer.run()
    pseudo = trainer.state.pseudo
    assert torch.equal(pseudo["pseudo_weight"], (pseudo["pseudo_confidence"] >= 0.6).float())


def test_no_gradient_crosses_between_student_and_discriminator():
    trainer = make_trainer(make_batches(1), sufd=True)
    batch = make_batch(0)
    with trainer.feature_tap as tap:
        trainer.network(batch["image"])
        labeled = tap.read()
        unlabeled = tap.forward_until(batch["unlabeled_image"])
    trainer._fool(unlabeled).backward()
    assert all(p.grad is None for p in trainer.discriminator.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in trainer.network.parameters())
    assert all(p.requires_grad for p in trainer.discriminator.parameters())
    trainer.network.zero_grad(set_to_none=True)
    trainer._judge(labeled.detach(), unlabeled.detach())["discriminator_loss"].backward()
    assert all(p.grad is None for p in trainer.network.parameters())
    assert all(p.grad is not None for p in trainer.discriminator.parameters())


def test_in_a_step_the_student_s_loss_leaves_the_discriminator_alone():
    """Whose optimizer stands still stands still, whatever the other one does."""
    for frozen in ("student", "discriminator"):
        trainer = make_trainer(make_batches(3), sufd=True, views=[View(mix=supmix(), loss=WeightedCELoss())])
        optimizer = trainer.optimizer if frozen == "student" else trainer.discriminator_optimizer
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        before = weights(trainer.network), weights(trainer.discriminator)
        trainer.run()
        still = before[0] if frozen == "student" else before[1]
        moved = trainer.discriminator if frozen == "student" else trainer.network
        assert_same(still, weights(trainer.network if frozen == "student" else trainer.discriminator))
        assert differ(before[1] if frozen == "student" else before[0], weights(moved))


def class_content_loss(trainer: SemiSupervisedTrainer, steps: int) -> float:
    """Discriminator loss, late in training, when labelled and unlabelled images are the same images."""
    losses = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(float(engine.state.output["discriminator_loss"]))
    )
    trainer.run()
    return sum(losses[-steps // 4 :]) / (steps // 4)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_discriminator_cannot_learn_from_class_content_alone(norm):
    """
    Labelled and unlabelled images are drawn from the same images, the classes are plain to see in the features and a
    class is pasted at every step: the discriminator has nothing to learn. That the setting could show a leak is shown
    by a discriminator that is told "pasted = labelled".
    """
    steps = 120
    batches = []
    for i in range(steps):
        # two independent draws of one distribution
        a, b = make_batch(2 * i, labeled=8), make_batch(2 * i + 1, labeled=8)
        batches.append({"image": a["image"], "label": a["label"], "unlabeled_image": b["image"]})
    network = make_network(norm=norm)
    trainer = make_trainer(
        batches,
        network,
        sufd=True,
        optimizer=torch.optim.SGD(network.parameters(), 0.0),
        views=[View(mix=supmix(), loss=WeightedCELoss())],
    )
    leaky = copy.deepcopy(trainer.discriminator)
    assert class_content_loss(trainer, steps) > 0.68  # log 2 = 0.693

    optimizer = torch.optim.Adam(leaky.parameters(), 1e-3)
    losses = []
    for batch in batches:
        mask = batch["label"].bool()
        mixed = torch.where(mask, batch["image"], batch["unlabeled_image"])
        with trainer.feature_tap as tap:
            trainer.network(mixed)
            logits = leaky(tap.read().detach())
        target = nn.functional.interpolate(mask.float(), logits.shape[2:], mode="area")
        loss = nn.functional.binary_cross_entropy_with_logits(
            logits, target, weight=0.5 * (target / target.mean() + (1 - target) / (1 - target).mean())
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert sum(losses[-steps // 4 :]) / (steps // 4) < 0.66


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("where", ["image", "unlabeled_image"])
def test_a_step_with_nan_moves_nothing(norm, where):
    batches = make_batches(4)
    batches[2][where] = batches[2][where].clone()
    batches[2][where][0, 0, 3, 3] = float("nan")
    trainer = make_trainer(
        batches, make_network(norm=norm), sufd=True, views=[View(mix=supmix(), loss=WeightedCELoss())]
    )
    states = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda e: states.append([weights(m) for m in (e.network, e.teacher, e.discriminator)]),
    )
    fired = []
    trainer.add_event_handler(SemiSupervisedEvents.OPTIMIZER_STEP_SKIPPED, lambda e: fired.append(e.state.iteration))
    with pytest.warns(UserWarning, match="Iteration 3: a gradient is NaN"):
        trainer.run()
    for before, after in zip(states[1], states[2]):
        assert_same(before, after)
    assert differ(states[2][0], states[3][0]) and differ(states[2][1], states[3][1])
    assert fired == [3] and trainer.state.skipped_steps == 1 and trainer.state.optimizer_steps == 3
    assert all(torch.isfinite(v).all() for v in weights(trainer.teacher).values())


@pytest.mark.filterwarnings("ignore:Iteration")
def test_gradients_that_stay_nan_end_the_training_with_advice():
    batches = make_batches(60)
    for batch in batches[5:]:
        batch["image"] = batch["image"] * float("nan")
    trainer = make_trainer(batches)
    with pytest.raises(ValueError, match=r"50 steps in a row, up to iteration 55, .* lower the learning rate"):
        trainer.run()
    assert trainer.state.optimizer_steps == 5
    assert all(value.isfinite().all() for value in trainer.teacher.state_dict().values())


@pytest.mark.filterwarnings("ignore:A batch of one image")
@pytest.mark.parametrize("sufd", [False, True])
@pytest.mark.parametrize(
    "case", ["no class to paste", "one class everywhere", "nothing confident", "all ignored", "one"]
)
def test_degenerate_batches_keep_all_weights_finite(case, sufd):
    number = 1 if case == "one" else 2
    batches = make_batches(6, labeled=number, unlabeled=number)
    if case in ("no class to paste", "one class everywhere", "all ignored"):
        for batch in batches:
            batch["label"] = torch.full_like(batch["label"], {"n": 0, "o": 1, "a": 255}[case[0]])
    ignore = {"ignore_index": 255} if case == "all ignored" else {}
    trainer = make_trainer(
        batches,
        sufd=sufd,
        views=[
            View(mix=supmix(**ignore), augment=RandStrongIntensity(2), loss=WeightedCELoss(**ignore)),
            View(mix=ClassMixd(KEYS, "pseudo_label", 2, 2, output_keys=OUT), loss=WeightedDiceCELoss(**ignore)),
        ],
        confidence_threshold=1.0 if case == "nothing confident" else 0.5,
        # MONAI's losses have no label to ignore
        **({"loss_function": WeightedCELoss(255)} if case == "all ignored" else {}),
    )
    losses: list[float] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: losses.append(float(e.state.output["loss"])))
    trainer.run()
    assert trainer.state.optimizer_steps == 6 and all(math.isfinite(loss) for loss in losses)
    modules = [trainer.network, trainer.teacher] + [trainer.discriminator] * sufd
    assert all(v.isfinite().all() for module in modules for v in module.state_dict().values())


@pytest.mark.parametrize(
    "mix", [ClassMixd(KEYS, "pseudo_label", 2, 2, output_keys=OUT), CutMixSegd(KEYS, 2, output_keys=OUT)]
)
def test_a_batch_of_one_that_nothing_can_be_pasted_onto_is_told(mix):
    trainer = make_trainer(make_batches(1, unlabeled=1), views=[View(mix=mix, loss=WeightedCELoss())])
    with pytest.warns(UserWarning, match="A batch of one image has no other to paste from"):
        trainer.run()


def test_accumulation_equals_one_large_batch():
    big = make_batches(3, labeled=4, unlabeled=4)
    small = [{k: v[i : i + 2] for k, v in batch.items()} for batch in big for i in (0, 2)]
    # losses that are means over samples
    common = {"loss_function": WeightedCELoss(), "sufd": True}
    view = [View(mix=supmix(), loss=WeightedCELoss())]
    one = make_trainer(big, views=view, **common)
    many = make_trainer(small, views=view, accumulation_steps=2, **common)
    one.run()
    many.run()
    assert one.state.optimizer_steps == many.state.optimizer_steps == 3
    for a, b in ((one.network, many.network), (one.teacher, many.teacher), (one.discriminator, many.discriminator)):
        assert_same(weights(a), weights(b), exact=False)


def test_nan_in_one_batch_skips_the_whole_group():
    batches = make_batches(4)
    batches[0]["image"] = batches[0]["image"] * float("nan")
    trainer = make_trainer(batches, sufd=True, accumulation_steps=2)
    before = weights(trainer.network)
    states = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: states.append(weights(e.network)))
    with pytest.warns(UserWarning, match="Iteration 2"):
        trainer.run()
    assert_same(before, states[1])
    assert differ(states[1], states[3])
    assert trainer.state.optimizer_steps == 1 and trainer.state.skipped_steps == 1


def test_accumulation_flushes_at_the_end_of_an_epoch():
    trainer = make_trainer(make_batches(5), accumulation_steps=2, epochs=2)
    trainer.run()
    assert trainer.state.optimizer_steps == 6  # 2 + 2 + 1 iterations, twice


def test_teacher_decay_warms_up():
    trainer = make_trainer(make_batches(3), teacher_decay=0.9)
    expected, decays = {k: v.double() for k, v in weights(trainer.teacher).items()}, (0.0, 0.5, 2 / 3)

    def follow(engine):
        decay = decays[engine.state.iteration - 1]
        for k, v in engine.network.state_dict().items():
            expected[k] = decay * expected[k] + (1 - decay) * v.double()

    trainer.add_event_handler(SemiSupervisedEvents.OPTIMIZER_STEP_COMPLETED, follow)
    trainer.run()
    for k, v in trainer.teacher.state_dict().items():
        torch.testing.assert_close(v.double(), expected[k], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "make_view",
    [
        lambda: View(mix=ClassMixd(KEYS, "pseudo_label", 2, 2, output_keys=OUT), loss=WeightedCELoss()),
        lambda: View(mix=CutMixSegd(KEYS, 2, output_keys=OUT), augment=RandStrongIntensity(2), loss=WeightedCELoss()),
        lambda: View(target="pseudo_prob", augment=RandStrongIntensity(2), loss=WeightedMSELoss(), weight=0.1),
        lambda: View(mix=supmix(prob=0.5), augment=RandStrongIntensity(2), loss=WeightedCELoss()),
    ],
)
def test_methods_are_reproducible_and_seeded_by_epoch(make_view):
    def run(seed: int, epochs: int) -> tuple[dict, list]:
        trainer = make_trainer(make_batches(3), views=[make_view()], epochs=epochs, seed=seed, confidence_threshold=0.5)
        images = []
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: images.append(e.state.views[0]["image"]))
        trainer.run()
        return weights(trainer.network), images

    (a, images), (b, _), (c, _) = run(0, 2), run(0, 2), run(1, 2)
    assert_same(a, b)
    assert differ(a, c)
    assert not torch.equal(images[0], images[3])  # another epoch, another draw


def test_a_view_of_weight_zero_is_left_out():
    """BCP's first stage: one view, then two others, without a supervised loss of its own."""
    views = [
        View(loss=WeightedCELoss(), weight=lambda t: float(t <= 2)),
        View(mix=supmix(), loss=WeightedCELoss(), weight=lambda t: 0.5 * (t > 2)),
        View(mix=supmix(), augment=RandStrongIntensity(2), loss=WeightedCELoss(), weight=lambda t: float(t > 2)),
    ]
    trainer = make_trainer(make_batches(4), views=views, supervised_weight=0.0)
    seen, passes = [], []

    def look(engine) -> None:
        output = engine.state.output
        seen.append(([key for key in output if key.startswith("view")], len(engine.state.views)))
        of_views = 0.5 * output["view_1_loss"] + output["view_2_loss"] if len(seen) > 2 else output["view_0_loss"]
        torch.testing.assert_close(output["loss"], of_views)
        torch.testing.assert_close(output["unsupervised_loss"], of_views)
        assert output["supervised_loss"] > 0

    trainer.network.register_forward_hook(lambda module, args, out: passes.append(len(args[0])))
    trainer.add_event_handler(Events.ITERATION_COMPLETED, look)
    trainer.run()
    assert seen == [(["view_0_loss"], 1)] * 2 + [(["view_1_loss", "view_2_loss"], 2)] * 2
    assert passes == [4, 4, 6, 6]  # two labelled images, and two of each view


def test_supervised_weight_scales_the_supervised_loss_alone():
    losses = []
    for weight in (1.0, 0.25, lambda t: 0.25 * t):
        trainer = make_trainer(make_batches(1), views=[View(mix=supmix(), loss=WeightedCELoss())])
        trainer.supervised_weight = weight
        trainer.run()
        output = trainer.state.output
        losses.append([float(output[key]) for key in ("loss", "supervised_loss", "unsupervised_loss")])
    assert losses[0][0] == pytest.approx(losses[0][1] + losses[0][2])
    assert losses[1][0] == pytest.approx(0.25 * losses[0][1] + losses[0][2]) and losses[1] == losses[2]


def test_features_of_one_view_are_perturbed():
    """UniMatch's third view: the same images with and without dropped channels, in one pass."""
    perturb = FeatureDropout(["model.0", "model.1.submodule"])
    views = [View(loss=WeightedCELoss()), View(perturb=perturb, loss=WeightedCELoss())]
    trainer = make_trainer(make_batches(1), views=views)
    before = copy.deepcopy(trainer.network)
    trainer.run()
    plain, perturbed = (seen["pred"] for seen in trainer.state.views)
    assert torch.equal(trainer.state.views[0]["image"], trainer.state.views[1]["image"])
    torch.testing.assert_close(plain, before(make_batch(0)["unlabeled_image"]))
    assert not torch.allclose(plain, perturbed, atol=1e-3)
    assert not any(module._forward_hooks for module in trainer.network.modules())
    with pytest.raises(ValueError, match="perturb"):
        make_trainer(make_batches(1), views=views, compile=True)


def test_resume_from_the_trainer_s_state():
    """Saving "trainer", network and optimizers at the end of an epoch is enough, and loads with weights_only=True."""

    def make(epochs: int):
        return make_trainer(
            make_batches(4),
            sufd=True,
            epochs=epochs,
            views=[View(mix=supmix(prob=0.5), augment=RandStrongIntensity(2), loss=WeightedCELoss())],
        )

    def parts(t):
        return {"trainer": t, "network": t.network, "optimizer": t.optimizer}

    whole, first, second = make(3), make(3), make(3)
    whole.run()
    file = io.BytesIO()
    first.add_event_handler(
        Events.EPOCH_COMPLETED(once=1), lambda e: torch.save({k: v.state_dict() for k, v in parts(e).items()}, file)
    )
    first.run()
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    for name, part in parts(second).items():
        part.load_state_dict(saved[name])
    second.run()
    assert second.state.iteration == 12 and second.state.optimizer_steps == 12
    for a, b in zip(parts(whole).values(), parts(second).values()):
        if isinstance(a, nn.Module):
            assert_same(weights(a), weights(b))
    assert_same(weights(whole.teacher), weights(second.teacher))
    assert_same(weights(whole.discriminator), weights(second.discriminator))


def test_counters_and_events_in_order():
    order = []
    trainer = make_trainer(make_batches(2), sufd=True, views=[View(mix=supmix(), loss=WeightedCELoss())])
    for event in (*SemiSupervisedEvents, *IterationEvents):
        if event.name not in ("INNER_ITERATION_STARTED", "INNER_ITERATION_COMPLETED"):
            trainer.add_event_handler(event, lambda engine, event=event: order.append(event.name))
    trainer.run()
    assert order == 2 * [
        "PSEUDO_LABEL_COMPLETED",
        "FORWARD_COMPLETED",
        "LOSS_COMPLETED",
        "BACKWARD_COMPLETED",
        "OPTIMIZER_STEP_COMPLETED",
        "MODEL_COMPLETED",
    ]
    assert (trainer.state.pseudo_labels, trainer.state.optimizer_steps, trainer.state.skipped_steps) == (2, 2, 0)


def test_lists_of_events_that_a_user_passes_are_left_alone():
    names, attributes = ["mine"], {"mine": "mine_count"}
    trainer = make_trainer(make_batches(1), event_names=names, event_to_attr=attributes)
    assert names == ["mine"] and attributes == {"mine": "mine_count"} and trainer.state.mine_count == 0


def test_decollate_with_unequal_batches_and_metatensors():
    batches = make_batches(2, labeled=2, unlabeled=3)
    for batch in batches:
        batch["image"] = MetaTensor(batch["image"], meta={"name": "a"})
    trainer = make_trainer(batches, sufd=True, views=[View(mix=supmix(), loss=WeightedCELoss())], decollate=True)
    trainer.run()
    assert [set(map(str, item)) >= {"image", "label", "pred", "loss"} for item in trainer.state.output] == [True, True]
    assert trainer.state.output[0]["pred"].shape == (2, 16, 16)
    assert isinstance(trainer.state.output[0]["image"], MetaTensor)
    assert len(trainer.state.batch) == 2 and all(v is not None for item in trainer.state.batch for v in item.values())


class TwoHeads(nn.Module):
    """Deep supervision: a list of outputs, the full size first, in training and in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        x = self.body(x)
        return [self.head(x), self.head(nn.functional.avg_pool2d(x, 2))]


def test_deep_supervision():
    torch.manual_seed(0)
    trainer = make_trainer(
        [{**batch, "label": batch["label"].float()} for batch in make_batches(3)],
        TwoHeads(),
        loss_function=DeepSupervisionLoss(DiceCELoss(softmax=True, to_onehot_y=True)),
        views=[View(mix=supmix(), loss=WeightedDeepSupervisionLoss(WeightedCELoss()))],
    )
    before = weights(trainer.network)
    trainer.run()
    assert differ(before, weights(trainer.network))
    assert [p.shape[-1] for p in trainer.state.output["pred"]] == [16, 8]


def test_mixed_precision_on_the_cpu_is_bfloat16():
    dtypes = []
    network = make_network()
    trainer = make_trainer(
        make_batches(3), network, sufd=True, views=[View(mix=supmix(), loss=WeightedCELoss())], amp=True
    )
    network.model[0].register_forward_hook(lambda m, a, out: dtypes.append(out.dtype))
    plain = make_trainer(make_batches(3), sufd=True, views=[View(mix=supmix(), loss=WeightedCELoss())])
    trainer.run()
    plain.run()
    assert set(dtypes) == {torch.bfloat16} and not trainer.scaler.is_enabled()
    for name, value in trainer.network.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, plain.network.state_dict()[name], rtol=0.1, atol=0.02)


def test_student_carries_no_hook_outside_a_run():
    trainer = make_trainer(make_batches(1), sufd=True)
    layer = trainer.network.get_submodule("model.1.submodule")
    inside = []
    trainer.add_event_handler(Events.ITERATION_STARTED, lambda e: inside.append(len(layer._forward_hooks)))
    trainer.run()
    assert inside == [1] and not layer._forward_hooks
    broken = make_trainer([{"image": torch.rand(1, 1, 16, 16)}], sufd=True)
    with pytest.raises(ValueError, match="needs 'image' and 'label'"):
        broken.run()
    assert not broken.network.get_submodule("model.1.submodule")._forward_hooks


def test_a_trained_teacher_is_kept():
    network = make_network()
    teacher = make_teacher(network)
    with torch.no_grad():
        for p in teacher.parameters():
            p.add_(1.0)
    trainer = make_trainer(make_batches(1), network, teacher=teacher, teacher_warmup=False)
    trainer.run()
    for a, b in zip(teacher.parameters(), network.parameters()):
        assert ((a - b).abs() > 0.9).all()


def test_discriminator_with_statistics_and_frozen_parts():
    batches = make_batches(3)
    batches[1]["unlabeled_image"] = batches[1]["unlabeled_image"] * float("nan")
    torch.manual_seed(0)
    discriminator = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)).eval()
    discriminator[0].requires_grad_(False)
    trainer = make_trainer(
        batches,
        sufd=True,
        discriminator=discriminator,
        discriminator_optimizer=torch.optim.Adam(discriminator[2].parameters(), 1e-3),
    )
    with pytest.warns(UserWarning, match="Iteration 2"):
        trainer.run()
    assert discriminator.training and torch.isfinite(discriminator[1].running_mean).all()
    assert discriminator[1].num_batches_tracked > 0
    assert [p.requires_grad for p in discriminator.parameters()] == [False, False, True, True, True, True]


def test_to_kwargs_reach_all_images():
    network = make_network().double()
    views = [View(mix=supmix(), loss=WeightedCELoss())]
    trainer = make_trainer(make_batches(1), network, views=views, to_kwargs={"dtype": torch.double})
    trainer.run()
    assert trainer.state.optimizer_steps == 1


def test_epoch_length_is_the_loader_s():
    data = Dataset([{k: v[0] for k, v in make_batch(0).items() if k != "unlabeled_image"}])
    loader = SemiSupervisedLoader(data, batch_size=2, epoch_length=3)
    trainer = make_trainer(make_batches(1), train_data_loader=loader)
    trainer.run()
    assert trainer.state.iteration == 3
    with pytest.raises(ValueError, match="epoch_length"):
        make_trainer(make_batches(1), train_data_loader=loader, epoch_length=2)


def test_a_teacher_may_be_passed_in():
    network = make_network()
    teacher = make_teacher(network)
    trainer = make_trainer(make_batches(1), network, teacher=teacher)
    trainer.run()
    assert trainer.teacher is teacher
    assert_same(weights(teacher), weights(network))  # the first step's decay is 0


def test_compiled_student_without_discriminator():
    network = make_network()
    plain = make_trainer(make_batches(2), views=[View(mix=supmix(), loss=WeightedCELoss())])
    compiled = make_trainer(
        make_batches(2),
        network,
        views=[View(mix=supmix(), loss=WeightedCELoss())],
        compile=True,
        compile_kwargs={"backend": "eager"},
    )
    plain.run()
    compiled.run()
    assert_same(weights(plain.network), weights(network), exact=False)
    assert_same(weights(plain.teacher), weights(compiled.teacher), exact=False)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"iteration_update": lambda engine, batch: None}, "iteration_update"),
        ({"teacher_decay": 1.0}, "teacher_decay"),
        ({"confidence_weighting": "class"}, "confidence_weighting"),
        ({"adversarial_interval": 0, "sufd": True}, "adversarial_interval"),
        ({"discriminator": nn.Identity()}, "discriminator_optimizer"),
        ({"sufd": True, "discriminator": None}, "discriminator"),
        ({"sufd": True, "feature_layer": None}, "feature_layer"),
        ({"sufd": True, "feature_layer": "decoder"}, "model.1.submodule"),
        ({"sufd": True, "compile": True}, "compile"),
        ({"sufd": True, "network": torch.compile(make_network(), backend="eager")}, "compile"),
        ({"accumulation_steps": 0}, "accumulation_steps"),
        ({"confidence_threshold": 95}, "confidence_threshold"),
    ],
)
def test_refused_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_trainer(make_batches(1), **kwargs)


def test_teacher_must_not_be_the_student():
    network = make_network()
    with pytest.raises(ValueError, match="copy"):
        make_trainer(make_batches(1), network, teacher=network)


@pytest.mark.parametrize(
    ("batch", "kwargs", "message"),
    [
        ({"image": torch.rand(2, 1, 16, 16), "label": torch.zeros(2, 1, 16, 16)}, {}, "unlabeled_image"),
        ({**make_batch(0), "unlabeled_image": torch.rand(2, 1, 32, 32)}, {}, "Crop all to the same size"),
        (make_batch(0), {"network": nn.Conv2d(1, 1, 1)}, "out_channels"),
        (make_batch(0), {"prepare_batch": lambda b, *a, **k: (b["image"], b["label"], (), {})}, "prepare_batch"),
    ],
)
def test_refused_batches(batch, kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_trainer([batch], views=[View(loss=WeightedCELoss())], **kwargs).run()


def test_mix_that_writes_elsewhere():
    mix = SupervisedClassMixd(KEYS, ("image", "label", None), "label", (1,), 2, 2)
    with pytest.raises(ValueError, match="output_keys"):
        make_trainer(make_batches(1), views=[View(mix=mix, loss=WeightedCELoss())]).run()


def test_view_checks_itself():
    with pytest.raises(ValueError, match="mixed_label"):
        View(mix=supmix(), loss=WeightedMSELoss(), target="pseudo_prob")
    with pytest.raises(ValueError, match="loss"):
        View()
    with pytest.raises(ValueError, match="target"):
        View(loss=WeightedCELoss(), target="label")
    assert Ramp(1.5)(0) == 1.5 and Ramp(1.0, 10)(0) == pytest.approx(math.exp(-5))
