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

"""The whole step, a second way and case by case."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from ignite.engine import Events
from monai.data import MetaTensor
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.losses import DeepSupervisionLoss, DiceCELoss
from torch import nn

from monai_sscm.engines import PseudoLabeler, Ramp, SemiSupervisedEvents, View
from monai_sscm.losses import WeightedCELoss, WeightedDeepSupervisionLoss, WeightedDiceCELoss, WeightedMSELoss
from monai_sscm.networks import FeatureDropout, make_teacher
from monai_sscm.transforms import ClassMixd, CutMixSegd, ForEachStreamd, RandBatchAffined, RandStrongIntensity
from tests.helpers.training import (
    KEYS,
    OUT,
    assert_same,
    differ,
    make_batch,
    make_batches,
    make_network,
    make_trainer,
    supmix,
    weights,
)


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
        pseudo_labeler=PseudoLabeler(0.55),
        adversarial_interval=2,
    )
    student, judge = make_network(spatial_dims), copy.deepcopy(trainer.feature_alignment.discriminator)
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
    for ours, plain in (
        (trainer.network, student),
        (trainer.teacher, teacher),
        (trainer.feature_alignment.discriminator, judge),
    ):
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
            View(
                mix=ClassMixd(KEYS, "pseudo_label", num_classes=2, spatial_dims=2, output_keys=OUT),
                loss=WeightedDiceCELoss(**ignore),
            ),
        ],
        pseudo_labeler=PseudoLabeler(1.0 if case == "nothing confident" else 0.5),
        # MONAI's losses have no label to ignore
        **({"loss_function": WeightedCELoss(255)} if case == "all ignored" else {}),
    )
    losses: list[float] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: losses.append(float(e.state.output["loss"])))
    trainer.run()
    assert trainer.state.optimizer_steps == 6 and all(math.isfinite(loss) for loss in losses)
    modules = [trainer.network, trainer.teacher] + ([trainer.feature_alignment.discriminator] if sufd else [])
    assert all(v.isfinite().all() for module in modules for v in module.state_dict().values())


@pytest.mark.parametrize(
    "mix",
    [
        ClassMixd(KEYS, "pseudo_label", num_classes=2, spatial_dims=2, output_keys=OUT),
        CutMixSegd(KEYS, spatial_dims=2, output_keys=OUT),
    ],
)
def test_a_batch_of_one_that_nothing_can_be_pasted_onto_is_told(mix):
    trainer = make_trainer(make_batches(1, unlabeled=1), views=[View(mix=mix, loss=WeightedCELoss())])
    with pytest.warns(UserWarning, match="A batch of one image has no other to paste from"):
        trainer.run()


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


def test_the_batch_is_transformed_before_the_teacher_and_the_views_see_it():
    def darker(batch: dict) -> dict:
        return {key: value - 1 if "image" in key else value for key, value in batch.items()}

    batches = make_batches(2)
    views = [View(mix=supmix(), loss=WeightedCELoss())]
    given = make_trainer(batches, views=views, batch_transform=darker)
    before = make_trainer([darker(batch) for batch in batches], views=views)
    for trainer in (given, before):
        trainer.run()
    for a, b in zip(given.network.parameters(), before.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(given.state.output["image"], batches[1]["image"] - 1)
    assert torch.equal(given.state.pseudo["unlabeled_image"], batches[1]["unlabeled_image"] - 1)


def test_a_random_batch_transform_is_seeded_by_the_iteration():
    move = RandBatchAffined(["image", "label"], 2, mode=["bilinear", "nearest"], prob=1.0, allow_missing_keys=True)

    def images(seed: int, n: int = 2) -> list[torch.Tensor]:
        seen = []
        trainer = make_trainer(make_batches(1) * n, batch_transform=ForEachStreamd([move]), seed=seed)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(e.state.output["image"]))
        trainer.run()
        return seen

    first, again, other = images(0), images(0), images(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1]) and not torch.equal(first[0], other[0])


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


def test_to_kwargs_reach_all_images():
    network = make_network().double()
    views = [View(mix=supmix(), loss=WeightedCELoss())]
    trainer = make_trainer(make_batches(1), network, views=views, to_kwargs={"dtype": torch.double})
    trainer.run()
    assert trainer.state.optimizer_steps == 1


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
        ({"adversarial_interval": 0, "sufd": True}, "adversarial_interval"),
        ({"discriminator": nn.Identity()}, "discriminator_optimizer"),
        ({"sufd": True, "discriminator": None}, "discriminator"),
        ({"sufd": True, "feature_layer": None}, "feature_layer"),
        ({"sufd": True, "feature_layer": "decoder"}, "model.1.submodule"),
        ({"sufd": True, "compile": True}, "compile"),
        ({"sufd": True, "network": torch.compile(make_network(), backend="eager")}, "compile"),
        ({"accumulation_steps": 0}, "accumulation_steps"),
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
