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

"""One trainer for all semi-supervised methods that are a teacher, a list of views and, maybe, a discriminator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from typing import Any

import torch
from monai.engines.utils import IterationEvents
from monai.transforms import Randomizable
from torch import nn
from torch.optim.optimizer import Optimizer

from monai_sscm.networks import make_teacher, unwrap, update_teacher

from .batch import (
    StepOutput,
    concatenate,
    detach,
    heads_of,
    labeled_of,
    num_samples,
    plain_tensors,
    rows_of,
    take_rows,
)
from .feature_alignment import FeatureAlignment, one_alignment
from .guarded_step import GuardedStep
from .keys import SemiSupervisedEvents
from .keys import SemiSupervisedKeys as Keys
from .pseudo_labeler import PseudoLabeler
from .resumable import ResumableTrainer
from .view import View, weight_at

__all__ = ["SemiSupervisedTrainer"]


class SemiSupervisedTrainer(ResumableTrainer):
    """
    Semi-supervised segmentation with a teacher, views of the unlabelled batch and a feature discriminator.

    A step, see ``_iteration``: the teacher, an exponential moving average of the student, labels the unlabelled
    images; every view mixes and augments them; labelled images and all views go through the student in one pass; the
    losses add up to ``supervised_weight * supervised + sum(weight * view) + adversarial_weight * adversarial``; the
    student steps, the discriminator steps on the same features detached, and the teacher follows. Only the teacher (or
    the student) is needed afterwards.

    Without views and discriminator this is supervised training with an exponential moving average.

    The loader brings ``image`` and ``label``, and ``unlabeled_image`` where a view or the discriminator needs it; see
    :py:class:`monai_sscm.data.SemiSupervisedLoader`. Networks give logits with a channel for every class, background
    included, or, with deep supervision, a list of them with the full size first (or, as ``DynUNet``, a stack, which
    becomes a list); the losses must take lists then, see :py:class:`monai_sscm.losses.WeightedDeepSupervisionLoss`. All
    images of a batch have one size.

    After a step ``state.output`` holds the labelled image, label and prediction, and every loss by its name:
    ``loss`` (their weighted sum), ``supervised_loss``, ``unsupervised_loss``, ``view_0_loss`` and so on, and where the
    discriminator ran ``adversarial_loss``, ``discriminator_loss`` and ``discriminator_accuracy`` (on fresh crops,
    before it learns from them). ``state.pseudo`` holds the unlabelled images with the teacher's pseudo-labels,
    confidences and weights, ``state.views`` a dictionary for each view whose weight is not 0: ``image``, ``target``,
    ``weight``, ``mask`` and ``pred``.

    Mano, Saito, Hotta, "Accuracy Improvement of Semi-Supervised Segmentation Using Supervised ClassMix and
    Sup-Unsup Feature Discriminator", VISAPP 2025.

    Args:
        device, max_epochs, train_data_loader, network, optimizer, loss_function: as in
            :py:class:`monai.engines.SupervisedTrainer`. ``loss_function`` is that of the labelled batch.
        views: views of the unlabelled batch; none for supervised training. A view whose weight is 0 in an iteration is
            left out of it.
        supervised_weight: factor of the loss of the labelled batch: a number, or a callable of the iteration. 0 where
            views alone bring what is labelled, as in BCP, or nothing is labelled.
        teacher: the teacher, so that a configuration can name it elsewhere; made by
            :py:func:`monai_sscm.networks.make_teacher`. None: a copy of the network. It is copied anew when a run
            starts with other weights in the network than this trainer left there.
        teacher_decay: share of the teacher that stays at a step, in [0, 1).
        teacher_warmup: whether it is ``min(1 - 1 / (t + 1), teacher_decay)`` in the first steps t = 0, 1, ..., so that
            the teacher soon forgets random weights. False for a teacher that was trained before.
        batch_transform: dictionary transform of the whole batch on the device, before the teacher and the views see it:
            the geometry and the mild changes that labelled, unlabelled and donor images all get. None: none.
        pseudo_labeler: from the teacher's logits to pseudo-labels and their weights. None:
            :py:class:`monai_sscm.engines.PseudoLabeler` with its defaults. One that has a ``state_dict`` is saved with
            the trainer.
        discriminator, discriminator_optimizer, feature_layer, adversarial_weight, adversarial_interval: arguments of
            a :py:class:`monai_sscm.engines.FeatureAlignment`, in its order. Without a discriminator there is none.
        feature_alignment: one that is ready-made, in place of the five.
        guarded_step: takes or skips the optimizers' steps. None: :py:class:`monai_sscm.engines.GuardedStep` with its
            defaults.
        seed: seed of the views' random transforms and of torch's generators (dropout), see
            :py:class:`monai_sscm.engines.ResumableTrainer`.
        iteration_update: refused; the step is what this class is.
        compile: whether to compile the student with ``torch.compile``. Not with a discriminator or a view's
            ``perturb``, which need the layers' outputs.
        kwargs: further arguments of :py:class:`monai_sscm.engines.ResumableTrainer` and ``SupervisedTrainer``, such as
            ``amp``, ``inferer`` and ``train_handlers``. ``prepare_batch`` must return image and label alone. With
            ``accumulation_steps`` the discriminator and the teacher move when the student does.

    Raises:
        ValueError: when an argument cannot keep its meaning, or arguments contradict each other; and in training, when
            the gradients of 50 steps in a row are not finite.

    Example:
        >>> import torch
        >>> from monai.losses import DiceCELoss
        >>> from monai.networks.nets import UNet
        >>> from monai_sscm.engines import SemiSupervisedTrainer, View
        >>> from monai_sscm.losses import WeightedCELoss
        >>> from monai_sscm.networks import FeatureDiscriminator
        >>> from monai_sscm.transforms import SupervisedClassMixd
        >>> batch = {"image": torch.rand(2, 1, 32, 32), "label": torch.randint(0, 2, (2, 1, 32, 32))}
        >>> batch["unlabeled_image"] = torch.rand(2, 1, 32, 32)
        >>> network = UNet(spatial_dims=2, in_channels=1, out_channels=2, channels=(4, 8, 16), strides=(2, 2))
        >>> discriminator = FeatureDiscriminator(spatial_dims=2, in_channels=4)
        >>> mix = SupervisedClassMixd(
        ...     keys=("unlabeled_image", "pseudo_label", "pseudo_weight"), donor_keys=("image", "label", None),
        ...     label_key="label", classes=(1,), num_classes=2, spatial_dims=2,
        ...     output_keys=("mixed_image", "mixed_label", "mixed_weight"),
        ... )
        >>> trainer = SemiSupervisedTrainer(
        ...     device="cpu",
        ...     max_epochs=1,
        ...     train_data_loader=[batch, batch],
        ...     network=network,
        ...     optimizer=torch.optim.AdamW(network.parameters(), 1e-3),
        ...     loss_function=DiceCELoss(softmax=True, to_onehot_y=True),
        ...     views=[View(mix=mix, loss=WeightedCELoss())],
        ...     discriminator=discriminator,
        ...     discriminator_optimizer=torch.optim.Adam(discriminator.parameters(), 1e-4),
        ...     feature_layer="model.1.submodule",
        ...     decollate=False,
        ... )
        >>> trainer.run()
        >>> trainer.state.optimizer_steps, trainer.teacher.training
        (2, False)
    """

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        train_data_loader: Iterable,
        network: nn.Module,
        optimizer: Optimizer,
        loss_function: Callable,
        views: Sequence[View] = (),
        supervised_weight: float | Callable[[int], float] = 1.0,
        teacher: nn.Module | None = None,
        teacher_decay: float = 0.99,
        teacher_warmup: bool = True,
        batch_transform: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] | None = None,
        pseudo_labeler: Callable[[torch.Tensor], dict[str, torch.Tensor]] | None = None,
        discriminator: nn.Module | None = None,
        discriminator_optimizer: Optimizer | None = None,
        feature_layer: str | None = None,
        adversarial_weight: float | Callable[[int], float] = 0.01,
        adversarial_interval: int = 1,
        feature_alignment: FeatureAlignment | None = None,
        guarded_step: GuardedStep | None = None,
        seed: int = 0,
        iteration_update: Callable | None = None,
        compile: bool = False,
        **kwargs: Any,
    ) -> None:
        if iteration_update is not None:
            raise ValueError(
                "`iteration_update` would replace the semi-supervised step: subclass SemiSupervisedTrainer instead."
            )
        if not 0 <= teacher_decay < 1:
            raise ValueError(f"`teacher_decay` must lie in [0, 1), got {teacher_decay!r}.")
        parts = (discriminator, discriminator_optimizer, feature_layer, adversarial_weight, adversarial_interval)
        feature_alignment = one_alignment(feature_alignment, *parts)
        if compile and (feature_alignment is not None or any(view.perturb is not None for view in views)):
            raise ValueError(
                "`compile` cannot be combined with a discriminator or a view's `perturb`, which need layers' outputs."
            )
        if teacher is not None and unwrap(teacher) is unwrap(network):
            raise ValueError(
                "`teacher` is the network itself: it must be a copy, see monai_sscm.networks.make_teacher."
            )

        # set before the handlers are attached, which may look for them
        self.views = tuple(views)
        self.supervised_weight = supervised_weight
        self.teacher = make_teacher(network) if teacher is None else teacher
        self.teacher_decay = teacher_decay
        self.teacher_warmup = teacher_warmup
        self.batch_transform = batch_transform
        self.pseudo_labeler = PseudoLabeler() if pseudo_labeler is None else pseudo_labeler
        self.feature_alignment = feature_alignment
        self.guarded_step = GuardedStep() if guarded_step is None else guarded_step
        if feature_alignment is not None:
            feature_alignment.attach(network)

        required = (device, max_epochs, train_data_loader, network, optimizer, loss_function)
        super().__init__(*required, seed=seed, compile=compile, **kwargs)
        self.teacher.to(self.state.device).requires_grad_(False).eval()
        self.state.pseudo = {}
        self.state.views = []

    def run(self) -> None:  # type: ignore[override]
        """Run the training; the student carries the hook for its features only while this lasts."""
        with nullcontext() if self.feature_alignment is None else self.feature_alignment.feature_tap:
            super().run()

    def _weights_loaded(self) -> None:
        # the teacher of a trained student has nothing to forget
        self.teacher.load_state_dict(unwrap(self.network).state_dict())
        self.teacher_warmup = False

    def state_dict(self) -> dict[str, Any]:  # type: ignore[override]
        """
        The engine's state, its counters, the gradient scaler, the teacher, and the discriminator with its optimizer.

        Saving the trainer, the network and its optimizer and scheduler saves the lot; a checkpoint is sound after the
        last iteration of an accumulation group, when no gradients wait.
        """
        alignment = {} if self.feature_alignment is None else self.feature_alignment.state_dict()
        own = {"teacher": self.teacher.state_dict(), "teacher_warmup": self.teacher_warmup}
        return {**super().state_dict(), **own, **alignment}

    def load_state_dict(self, state_dict: Mapping) -> None:
        """
        Take up what :py:meth:`state_dict` gave.

        Args:
            state_dict: the state.
        """
        state = dict(state_dict)
        self.teacher.load_state_dict(state.pop("teacher"))
        self.teacher_warmup = state.pop("teacher_warmup", self.teacher_warmup)
        alignment = {name: state.pop(name) for name in ("discriminator", "discriminator_optimizer") if name in state}
        if bool(alignment) != (self.feature_alignment is not None):
            article, pronoun = ("a", "none") if alignment else ("no", "one")
            raise ValueError(f"The state is of a training with {article} discriminator, this one has {pronoun}.")
        if self.feature_alignment is not None:
            self.feature_alignment.load_state_dict(alignment)
        super().load_state_dict(state)

    def _random_transforms(self) -> list[Randomizable]:
        transforms: list[Any] = [self.batch_transform, *(t for view in self.views for t in (view.mix, view.augment))]
        return [t for t in transforms if isinstance(t, Randomizable)]

    def _iteration(self, engine: SemiSupervisedTrainer, batchdata: dict[str, torch.Tensor]) -> dict:  # type: ignore[override]
        """
        One step of training, read from top to bottom.

        Args:
            engine: this trainer.
            batchdata: batch by key, see :py:class:`monai_sscm.engines.SemiSupervisedKeys`.

        Returns:
            ``state.output``.
        """
        first, last = self._accumulation()
        image, label, batch = self._prepare(batchdata)
        if self.batch_transform is not None:
            batch = self.batch_transform(batch)
            image, label = batch[Keys.IMAGE], batch[Keys.LABEL]
        output = StepOutput({Keys.IMAGE: image, Keys.LABEL: label})
        engine.state.output = output
        iteration = engine.state.iteration
        alignment = self.feature_alignment

        for module in self._modules():
            module.train()
        if first:
            self._open_group()

        # 1. the teacher labels the unlabelled images
        engine.state.pseudo = {}
        if Keys.UNLABELED_IMAGE in batch and self.views:
            with self._precision():
                engine.state.pseudo = self._pseudo_label(batch[Keys.UNLABELED_IMAGE])
            batch.update(engine.state.pseudo)
            self._fire(SemiSupervisedEvents.PSEUDO_LABEL_COMPLETED)

        # 2. every view mixes and augments them in its own way
        weights = {i: weight_at(view.weight, iteration) for i, view in enumerate(self.views)}
        weights = {i: weight for i, weight in weights.items() if weight}
        views = [self.views[i].build(batch) for i in weights]
        engine.state.views = views

        with self._precision():
            # 3. labelled images and all views go through the student in one pass
            images = [batch[Keys.IMAGE], *(view["image"] for view in views)]
            rows = rows_of(images)
            with ExitStack() as perturbations:
                for i, rows_of_view in zip(weights, rows[1:], strict=True):
                    perturb = self.views[i].perturb
                    if perturb is not None:
                        perturbations.enter_context(perturb(self.network, rows_of_view))
                pred = heads_of(self.inferer(concatenate(images), self.network), images[0].ndim)
            features = None if alignment is None else alignment.feature_tap.read()
            output["pred"] = take_rows(pred, rows[0])
            for view, rows_of_view in zip(views, rows[1:], strict=True):
                view["pred"] = take_rows(pred, rows_of_view)
            engine.fire_event(IterationEvents.FORWARD_COMPLETED)

            # 4. the losses
            supervised = torch.zeros((), device=self.state.device)
            if len(batch[Keys.LABEL]):  # or a client of a federation has no labels
                supervised = self.loss_function(output["pred"], batch[Keys.LABEL]).mean()
            unsupervised = torch.zeros_like(supervised)
            for (i, weight), view in zip(weights.items(), views, strict=True):
                loss = self.views[i].loss(view["pred"], view["target"], view["weight"]).mean()  # type: ignore[misc]
                output[f"view_{i}_loss"] = loss.detach()
                unsupervised = unsupervised + weight * loss
            total = weight_at(self.supervised_weight, iteration) * supervised + unsupervised
            output[Keys.SUPERVISED_LOSS] = supervised.detach()
            output[Keys.UNSUPERVISED_LOSS] = unsupervised.detach()

            if alignment is not None and features is not None and alignment.is_due(iteration):
                of_labeled, of_unlabeled = alignment.features(features, batch)
                adversarial = alignment.adversarial_loss(of_unlabeled)
                total = total + alignment.factor(iteration) * adversarial
                output[Keys.ADVERSARIAL_LOSS] = adversarial.detach()
            output["loss"] = total
        engine.fire_event(IterationEvents.LOSS_COMPLETED)

        # 5. gradients of the student, then of the discriminator on the same features, detached
        self._backward(total)
        if alignment is not None and alignment.is_due(iteration):
            with self._precision():
                output.update(alignment.discriminator_step(of_labeled.detach(), of_unlabeled.detach()))
            self._backward(output[Keys.DISCRIMINATOR_LOSS])
            output[Keys.DISCRIMINATOR_LOSS] = output[Keys.DISCRIMINATOR_LOSS].detach()
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)

        # 6. student, discriminator and teacher move, or none of them
        if last:
            self._close_group()

        output["loss"] = total.detach()
        for item in (output, *views):
            item["pred"] = detach(item["pred"])
        # what is not of the labelled batch's length would be padded with None when it is decollated
        engine.state.batch = {k: v for k, v in batchdata.items() if num_samples(v) == len(batch[Keys.IMAGE])}
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

    def _prepare(
        self, batchdata: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Image and label as ``prepare_batch`` gives them, and the whole batch as plain tensors on the device."""
        if batchdata is None:
            raise ValueError("Must provide batch data for current iteration.")
        prepared = self.prepare_batch(batchdata, self.state.device, self.non_blocking, **self.to_kwargs)
        image, label = labeled_of(prepared, batchdata, weight_at(self.supervised_weight, self.state.iteration))
        whole = {**batchdata, Keys.IMAGE.value: image, Keys.LABEL.value: label}
        return image, label, plain_tensors(whole, self.state.device, self.non_blocking, self.to_kwargs)

    @torch.no_grad()
    def _pseudo_label(self, unlabeled: torch.Tensor) -> dict[str, torch.Tensor]:
        """Pseudo-label, probabilities, confidence and weight of unlabelled images, by the teacher."""
        logits = self.inferer(unlabeled, self.teacher)
        logits = logits if isinstance(logits, torch.Tensor) else logits[0]
        return {Keys.UNLABELED_IMAGE.value: unlabeled, **self.pseudo_labeler(logits)}

    def _open_group(self) -> None:
        """Before the first iteration that leads to an optimizer step."""
        self.optimizer.zero_grad(set_to_none=self.optim_set_to_none)
        if self.feature_alignment is not None:
            self.feature_alignment.optimizer.zero_grad(set_to_none=True)
        self.guarded_step.open(self._modules())

    def _close_group(self) -> None:
        """Move student, discriminator and teacher, or, where a gradient is not finite, leave all as they were."""
        alignment = [] if self.feature_alignment is None else [self.feature_alignment.optimizer]
        if self.guarded_step.close([self.optimizer, *alignment], self.state.iteration, self.scaler):
            warmup = 1 - 1 / (self.state.optimizer_steps + 1) if self.teacher_warmup else 1.0
            update_teacher(self.teacher, self.network, min(warmup, self.teacher_decay))
            self._fire(SemiSupervisedEvents.OPTIMIZER_STEP_COMPLETED)
        else:
            self._fire(SemiSupervisedEvents.OPTIMIZER_STEP_SKIPPED)
            self.guarded_step.check(self.state.iteration)

    def _modules(self) -> list[nn.Module]:
        """What learns by gradients."""
        return [self.network] + ([] if self.feature_alignment is None else [self.feature_alignment.discriminator])
