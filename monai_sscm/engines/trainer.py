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

import itertools
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer, Workflow, default_metric_cmp_fn, default_prepare_batch
from monai.engines.utils import IterationEvents
from monai.inferers import Inferer
from monai.transforms import Randomizable, Transform
from monai.utils import convert_to_tensor
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.optimizer import Optimizer

from monai_sscm.data import SemiSupervisedLoader
from monai_sscm.losses import adversarial_loss, discriminator_loss
from monai_sscm.networks import FeatureTap, make_teacher, unwrap, update_teacher

from .keys import SemiSupervisedEvents
from .keys import SemiSupervisedKeys as Keys
from .view import View

__all__ = ["SemiSupervisedTrainer"]

_COUNTERS = {
    SemiSupervisedEvents.PSEUDO_LABEL_COMPLETED: "pseudo_labels",
    SemiSupervisedEvents.OPTIMIZER_STEP_COMPLETED: "optimizer_steps",
    SemiSupervisedEvents.OPTIMIZER_STEP_SKIPPED: "skipped_steps",
}

# more than a gradient scaler needs to find its scale
_MOST_SKIPPED = 50


class SemiSupervisedTrainer(SupervisedTrainer):
    """
    Semi-supervised segmentation with a teacher, views of the unlabelled batch and a feature discriminator.

    A step, see :py:meth:`_iteration`: the teacher, an exponential moving average of the student, labels the unlabelled
    images; every view mixes and augments them; labelled images and all views go through the student in one pass; the
    losses add up to ``supervised_weight * supervised + sum(weight * view) + adversarial_weight * adversarial``; the
    student steps, the discriminator steps on the same features detached, and the teacher follows. Only the teacher (or
    the student) is needed afterwards.

    Without views and discriminator this is supervised training with an exponential moving average.

    The loader brings ``image`` and ``label``, and ``unlabeled_image`` where a view or the discriminator needs it; see
    :py:class:`monai_sscm.data.SemiSupervisedLoader`. Networks give logits with a channel for every class, background
    included, or, with deep supervision, a list of them with the full size first; the losses must take lists then, see
    :py:class:`monai_sscm.losses.WeightedDeepSupervisionLoss`. All images of a batch have one size.

    After a step ``state.output`` holds the labelled image, label and prediction, and every loss by its name:
    ``loss`` (their weighted sum), ``supervised_loss``, ``unsupervised_loss``, ``view_0_loss`` and so on, and where the
    discriminator ran ``adversarial_loss``, ``discriminator_loss`` and ``discriminator_accuracy`` (on fresh crops,
    before it learns from them). ``state.pseudo`` holds the unlabelled images with the teacher's pseudo-labels,
    confidences and weights, ``state.views`` a dictionary for each view whose weight is not 0: ``image``, ``target``,
    ``weight``, ``mask`` and ``pred``.

    Mano, Saito, Hotta, "Accuracy Improvement of Semi-Supervised Segmentation Using Supervised ClassMix and
    Sup-Unsup Feature Discriminator", VISAPP 2025.

    Args:
        device, max_epochs, train_data_loader, network, optimizer, loss_function, epoch_length, non_blocking: as in
            :py:class:`monai.engines.SupervisedTrainer`. ``loss_function`` is that of the labelled batch.
        views: views of the unlabelled batch; none for supervised training. A view whose weight is 0 in an iteration is
            left out of it.
        supervised_weight: factor of the loss of the labelled batch: a number, or a callable of the iteration. 0 where
            views alone bring what is labelled, as in BCP.
        teacher: the teacher, so that a configuration can name it elsewhere; made by
            :py:func:`monai_sscm.networks.make_teacher`. None: a copy of the network.
        teacher_decay: share of the teacher that stays at a step, in [0, 1).
        teacher_warmup: whether it is ``min(1 - 1 / (t + 1), teacher_decay)`` in the first steps t = 0, 1, ..., so that
            the teacher soon forgets random weights. False for a teacher that was trained before.
        confidence_threshold: the teacher's highest probability from which a pixel counts as confident.
        confidence_weighting: the pseudo-label's weight: ``"image"``, the share of confident pixels of the image on all
            its pixels; ``"pixel"``, 1 on confident pixels and 0 elsewhere.
        discriminator: network from a feature map to logits, positive for labelled images, such as
            :py:class:`monai_sscm.networks.FeatureDiscriminator`. None: none.
        discriminator_optimizer: its optimizer.
        feature_layer: name of the student's layer whose output the discriminator sees.
        adversarial_weight: factor of the adversarial loss: a number, or a callable of the iteration.
        adversarial_interval: the discriminator is asked, and learns, every so many iterations; the adversarial loss is
            multiplied by this number.
        seed: seed of the views' random transforms and of torch's generators (dropout), which are seeded anew before
            every iteration from it, the iteration and the rank. So a run that is stopped and taken up again, see
            :py:class:`monai_sscm.handlers.CheckpointHandler`, ends as if it had not been stopped.
        prepare_batch, inferer, postprocessing, key_train_metric, additional_metrics, metric_cmp_fn, train_handlers,
            event_names, event_to_attr, decollate, optim_set_to_none, to_kwargs, accumulation_steps: as in
            ``SupervisedTrainer``. ``prepare_batch`` must return image and label alone. With ``accumulation_steps`` the
            discriminator and the teacher move when the student does. ``optim_set_to_none`` is True unless told
            otherwise, as in PyTorch: gradients need not be set to zero and added to.
        amp: automatic mixed precision on the device's own type: float16 with a gradient scaler on CUDA, bfloat16 on the
            CPU, unless ``amp_kwargs`` names a ``dtype``.
        amp_kwargs: arguments of ``torch.autocast``.
        compile, compile_kwargs: whether to compile the student with ``torch.compile``. Not with a discriminator, whose
            view of the features a compiled network does not guarantee.
        iteration_update: refused; the step is what this class is.

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
        >>> batch = {
        ...     "image": torch.rand(2, 1, 32, 32),
        ...     "label": torch.randint(0, 2, (2, 1, 32, 32)),
        ...     "unlabeled_image": torch.rand(2, 1, 32, 32),
        ... }
        >>> network = UNet(spatial_dims=2, in_channels=1, out_channels=2, channels=(4, 8, 16), strides=(2, 2))
        >>> discriminator = FeatureDiscriminator(spatial_dims=2, in_channels=4)
        >>> mix = SupervisedClassMixd(
        ...     keys=("unlabeled_image", "pseudo_label", "pseudo_weight"),
        ...     donor_keys=("image", "label", None),
        ...     label_key="label",
        ...     classes=(1,),
        ...     num_classes=2,
        ...     spatial_dims=2,
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
        epoch_length: int | None = None,
        non_blocking: bool = False,
        views: Sequence[View] = (),
        supervised_weight: float | Callable[[int], float] = 1.0,
        teacher: nn.Module | None = None,
        teacher_decay: float = 0.99,
        teacher_warmup: bool = True,
        confidence_threshold: float = 0.95,
        confidence_weighting: str = "image",
        discriminator: nn.Module | None = None,
        discriminator_optimizer: Optimizer | None = None,
        feature_layer: str | None = None,
        adversarial_weight: float | Callable[[int], float] = 0.01,
        adversarial_interval: int = 1,
        seed: int = 0,
        prepare_batch: Callable = default_prepare_batch,
        iteration_update: Callable | None = None,
        inferer: Inferer | None = None,
        postprocessing: Transform | None = None,
        key_train_metric: dict | None = None,
        additional_metrics: dict | None = None,
        metric_cmp_fn: Callable = default_metric_cmp_fn,
        train_handlers: Sequence | None = None,
        amp: bool = False,
        event_names: list | None = None,
        event_to_attr: dict | None = None,
        decollate: bool = True,
        optim_set_to_none: bool = True,
        to_kwargs: dict | None = None,
        amp_kwargs: dict | None = None,
        compile: bool = False,
        compile_kwargs: dict | None = None,
        accumulation_steps: int = 1,
    ) -> None:
        if iteration_update is not None:
            raise ValueError(
                "`iteration_update` would replace the semi-supervised step: subclass SemiSupervisedTrainer instead."
            )
        if not 0 <= teacher_decay < 1:
            raise ValueError(f"`teacher_decay` must lie in [0, 1), got {teacher_decay!r}.")
        if not 0 <= confidence_threshold <= 1:
            raise ValueError(f"`confidence_threshold` is a probability in [0, 1], got {confidence_threshold!r}.")
        if confidence_weighting not in ("image", "pixel"):
            raise ValueError(f"`confidence_weighting` must be 'image' or 'pixel', got {confidence_weighting!r}.")
        if adversarial_interval < 1:
            raise ValueError(f"`adversarial_interval` must be at least 1, got {adversarial_interval!r}.")
        alone = (discriminator is None) != (discriminator_optimizer is None)
        if alone or (discriminator is not None and feature_layer is None):
            raise ValueError(
                "`discriminator` needs `discriminator_optimizer` and `feature_layer`; without it, leave them out."
            )
        if discriminator is not None and (compile or any(hasattr(m, "_orig_mod") for m in network.modules())):
            raise ValueError(
                "A discriminator cannot be combined with `compile`: layers of compiled networks are not tapped."
            )
        if compile and any(view.perturb is not None for view in views):
            raise ValueError("A view's `perturb` cannot be combined with `compile`: it would not reach the layers.")
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
        self.confidence_threshold = confidence_threshold
        self.confidence_weighting = confidence_weighting
        self.discriminator = discriminator
        self.discriminator_optimizer = discriminator_optimizer
        self.feature_tap = FeatureTap(network, feature_layer) if discriminator is not None and feature_layer else None
        self.adversarial_weight = adversarial_weight
        self.adversarial_interval = adversarial_interval
        self.seed = seed
        self._saved_buffers: list[torch.Tensor] = []
        self._skipped_in_a_row = 0

        super().__init__(
            device=device,
            max_epochs=max_epochs,
            train_data_loader=train_data_loader,
            network=network,
            optimizer=optimizer,
            loss_function=loss_function,
            epoch_length=epoch_length,
            non_blocking=non_blocking,
            prepare_batch=prepare_batch,
            inferer=inferer,
            postprocessing=postprocessing,
            key_train_metric=key_train_metric,
            additional_metrics=additional_metrics,
            metric_cmp_fn=metric_cmp_fn,
            train_handlers=train_handlers,
            amp=amp,
            event_names=[*(event_names or []), SemiSupervisedEvents],
            event_to_attr={**(event_to_attr or {}), **_COUNTERS},
            decollate=decollate,
            optim_set_to_none=optim_set_to_none,
            to_kwargs=to_kwargs,
            amp_kwargs=amp_kwargs,
            compile=compile,
            compile_kwargs=compile_kwargs,
            accumulation_steps=accumulation_steps,
        )
        if isinstance(train_data_loader, SemiSupervisedLoader) and self.state.epoch_length != len(train_data_loader):
            raise ValueError(
                f"`epoch_length` is {self.state.epoch_length}, but the loader's epochs have {len(train_data_loader)} "
                "batches: set it in the loader, whose orders and seeds go by its own epochs."
            )
        self.teacher.to(self.state.device).requires_grad_(False).eval()
        self.state.pseudo = {}
        self.state.views = []
        if amp:
            half = self.amp_kwargs.get("dtype", torch.get_autocast_dtype(self.state.device.type)) == torch.float16
            self.scaler = torch.amp.GradScaler(self.state.device.type, enabled=half)
        self.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        self.add_event_handler(Events.ITERATION_STARTED, self._seed)

    def run(self) -> None:
        """Run the training; the student carries the hook for its features only while this lasts."""
        with ExitStack() as stack:
            if self.feature_tap is not None:
                stack.enter_context(self.feature_tap)
            # not Trainer.run, which would replace the gradient scaler and lose its state
            Workflow.run(self)

    def state_dict(self) -> dict[str, Any]:  # type: ignore[override]
        """
        The engine's state, its counters, the teacher, the discriminator with its optimizer, and the gradient scaler.

        Saving the trainer, the network and its optimizer and scheduler saves the lot; a checkpoint is sound after the
        last iteration of an accumulation group, when no gradients wait.
        """
        state: dict[str, Any] = dict(super().state_dict())
        state.update({name: getattr(self.state, name) for name in _COUNTERS.values()})
        state["seed"] = self.seed
        state["teacher"] = self.teacher.state_dict()
        state["scaler"] = {} if self.scaler is None else self.scaler.state_dict()
        if self.discriminator is not None and self.discriminator_optimizer is not None:
            state["discriminator"] = unwrap(self.discriminator).state_dict()
            state["discriminator_optimizer"] = self.discriminator_optimizer.state_dict()
        return state

    def load_state_dict(self, state_dict: Mapping) -> None:
        """Take up what :py:meth:`state_dict` gave."""
        state = dict(state_dict)
        state.pop("seed")
        self.teacher.load_state_dict(state.pop("teacher"))
        scaler = state.pop("scaler")
        if self.scaler is not None and scaler:
            self.scaler.load_state_dict(scaler)
        if ("discriminator" in state) != (self.discriminator is not None):
            one, other = ("a", "none") if "discriminator" in state else ("no", "one")
            raise ValueError(f"The state is of a training with {one} discriminator, this one has {other}.")
        if self.discriminator is not None and self.discriminator_optimizer is not None:
            unwrap(self.discriminator).load_state_dict(state.pop("discriminator"))
            self.discriminator_optimizer.load_state_dict(state.pop("discriminator_optimizer"))
        for name in _COUNTERS.values():
            setattr(self.state, name, state.pop(name))
        super().load_state_dict(state)

    def _start_epoch(self) -> None:
        """Tell the loader which epoch comes, and how many of its batches were used before a stop."""
        if isinstance(self.data_loader, SemiSupervisedLoader):
            used = self.state.iteration - (self.state.epoch - 1) * len(self.data_loader)
            self.data_loader.set_epoch(self.state.epoch, start=used)

    def _seed(self) -> None:
        """Make what is random in an iteration depend on seed, iteration and rank, not on what ran before."""
        sequence = np.random.SeedSequence([self.seed, self.state.iteration, self.state.rank])
        transforms = [t for view in self.views for t in (view.mix, view.augment) if isinstance(t, Randomizable)]
        of_torch, *of_transforms = sequence.generate_state(1 + len(transforms)).tolist()
        torch.manual_seed(of_torch)
        for transform, seed in zip(transforms, of_transforms, strict=True):
            transform.set_random_state(seed=seed)

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
        output: dict[str, Any] = {Keys.IMAGE: image, Keys.LABEL: label}
        engine.state.output = output
        num_labeled = len(batch[Keys.IMAGE])
        iteration = engine.state.iteration
        ask_discriminator = self.discriminator is not None and iteration % self.adversarial_interval == 0

        self.network.train()
        if self.discriminator is not None:
            self.discriminator.train()
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
        weights = {i: _at(view.weight, iteration) for i, view in enumerate(self.views)}
        weights = {i: weight for i, weight in weights.items() if weight}
        engine.state.views = [self._see(self.views[i], batch) for i in weights]

        with self._precision():
            # 3. labelled images and all views go through the student in one pass
            images = [batch[Keys.IMAGE], *(seen["image"] for seen in engine.state.views)]
            rows = _rows(images)
            with ExitStack() as perturbed:
                for i, here in zip(weights, rows[1:], strict=True):
                    if self.views[i].perturb is not None:
                        perturbed.enter_context(self.views[i].perturb(self.network, here))
                pred = self.inferer(_concatenate(images), self.network)
            features = None if self.feature_tap is None else self.feature_tap.read()
            output["pred"] = _slice(pred, rows[0])
            for seen, here in zip(engine.state.views, rows[1:], strict=True):
                seen["pred"] = _slice(pred, here)
            engine.fire_event(IterationEvents.FORWARD_COMPLETED)

            # 4. the losses
            supervised = self.loss_function(output["pred"], batch[Keys.LABEL]).mean()
            unsupervised = torch.zeros_like(supervised)
            for (i, weight), seen in zip(weights.items(), engine.state.views, strict=True):
                loss = self.views[i].loss(seen["pred"], seen["target"], seen["weight"]).mean()  # type: ignore[misc]
                output[f"view_{i}_loss"] = loss.detach()
                unsupervised = unsupervised + weight * loss
            total = _at(self.supervised_weight, iteration) * supervised + unsupervised
            output[Keys.SUPERVISED_LOSS] = supervised.detach()
            output[Keys.UNSUPERVISED_LOSS] = unsupervised.detach()

            if ask_discriminator:
                labeled, unlabeled = self._features(features, batch, num_labeled)
                adversarial = self._fool(unlabeled)
                total = total + _at(self.adversarial_weight, iteration) * self.adversarial_interval * adversarial
                output[Keys.ADVERSARIAL_LOSS] = adversarial.detach()
            output["loss"] = total
        engine.fire_event(IterationEvents.LOSS_COMPLETED)

        # 5. gradients of the student, then of the discriminator on the same features, detached
        self._backward(total)
        if ask_discriminator:
            with self._precision():
                output.update(self._judge(labeled.detach(), unlabeled.detach()))
            self._backward(output[Keys.DISCRIMINATOR_LOSS])
            output[Keys.DISCRIMINATOR_LOSS] = output[Keys.DISCRIMINATOR_LOSS].detach()
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)

        # 6. student, discriminator and teacher move, or none of them
        if last:
            self._close_group()

        output["loss"] = total.detach()
        output["pred"] = _detach(output["pred"])
        for seen in engine.state.views:
            seen["pred"] = _detach(seen["pred"])
        # what is not of the labelled batch's length would be padded with None when it is decollated
        engine.state.batch = {k: v for k, v in batchdata.items() if _length(v) == num_labeled}
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.state.device.type, enabled=self.amp, **self.amp_kwargs)

    def _prepare(
        self, batchdata: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Image and label as ``prepare_batch`` gives them, and the whole batch as plain tensors on the device."""
        if batchdata is None:
            raise ValueError("Must provide batch data for current iteration.")
        prepared = self.prepare_batch(batchdata, self.state.device, self.non_blocking, **self.to_kwargs)
        if len(prepared) != 2:
            raise ValueError(
                "`prepare_batch` must return image and label alone: further network arguments would not fit the one "
                "pass of labelled images and views."
            )
        image, label = prepared
        if image is None or label is None:
            raise ValueError(f"The labelled batch needs 'image' and 'label', it has {list(batchdata)}.")
        tensors = {k: v for k, v in batchdata.items() if isinstance(v, torch.Tensor)}
        tensors.update({Keys.IMAGE.value: image, Keys.LABEL.value: label})
        # metadata would cost up to a fifth of a small step
        batch = {
            k: convert_to_tensor(v, track_meta=False).to(
                self.state.device, non_blocking=self.non_blocking, **(self.to_kwargs if v.is_floating_point() else {})
            )
            for k, v in tensors.items()
        }
        return image, label, batch

    @torch.no_grad()
    def _pseudo_label(self, unlabeled: torch.Tensor) -> dict[str, torch.Tensor]:
        """Pseudo-label, probabilities, confidence and weight of unlabelled images, by the teacher."""
        logits = self.inferer(unlabeled, self.teacher)
        logits = logits if isinstance(logits, torch.Tensor) else logits[0]
        if logits.shape[1] < 2:
            raise ValueError(
                f"The network gives {logits.shape[1]} channel; pseudo-labels need one for each class, background "
                "included: build it with `out_channels` = number of classes, at least 2."
            )
        prob = logits.float().softmax(1)
        confidence, pseudo_label = prob.max(1, keepdim=True)
        weight = (confidence >= self.confidence_threshold).float()
        if self.confidence_weighting == "image":
            weight = weight.flatten(1).mean(1).view(-1, *(1,) * (weight.ndim - 1)).expand_as(weight)
        return {
            Keys.UNLABELED_IMAGE.value: unlabeled,
            Keys.PSEUDO_LABEL.value: pseudo_label,
            Keys.PSEUDO_PROB.value: prob,
            Keys.PSEUDO_CONFIDENCE.value: confidence,
            Keys.PSEUDO_WEIGHT.value: weight,
        }

    @torch.no_grad()
    def _see(self, view: View, batch: dict[str, torch.Tensor]) -> dict[str, Any]:
        """The batch as the view shows it to the student."""
        if view.mix is not None:
            mixed = view.mix(batch)
            if Keys.MIXED_IMAGE not in mixed or Keys.MIXED_LABEL not in mixed:
                raise ValueError(
                    "A view's mix must write 'mixed_image' and 'mixed_label': set its "
                    "output_keys=('mixed_image', 'mixed_label', 'mixed_weight')."
                )
            image, target = mixed[Keys.MIXED_IMAGE], mixed[Keys.MIXED_LABEL]
            weight, mask = mixed.get(Keys.MIXED_WEIGHT), mixed.get(Keys.MIXED_MASK)
        elif Keys.UNLABELED_IMAGE in batch:
            image, target = batch[Keys.UNLABELED_IMAGE], batch[view.target]
            weight, mask = batch[Keys.PSEUDO_WEIGHT], None
        else:
            raise ValueError(f"A view needs 'unlabeled_image', the batch has {list(batch)}.")
        if view.augment is not None:
            image = view.augment(image)
        return {"image": image, "target": target, "weight": weight, "mask": mask}

    def _features(
        self, features: torch.Tensor, batch: dict[str, torch.Tensor], num_labeled: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Features of the labelled and of the unlabelled images, both as the loader brings them.

        Never of the mixed images: where something was pasted is where a class is, so a discriminator that is told so,
        or that sees the surroundings, learns to tell the classes apart and not the images.
        """
        if Keys.UNLABELED_IMAGE not in batch:
            raise ValueError(f"The discriminator needs 'unlabeled_image', the batch has {list(batch)}.")
        tap = self.feature_tap
        assert tap is not None
        if not any(isinstance(module, _BatchNorm) for module in tap.network.modules()):
            return features[:num_labeled], tap.forward_until(batch[Keys.UNLABELED_IMAGE])
        # statistics of different batches would give away which is which: both go through together
        both = tap.forward_until(_concatenate([batch[Keys.IMAGE], batch[Keys.UNLABELED_IMAGE]]))
        return both[:num_labeled], both[num_labeled:]

    def _fool(self, unlabeled: torch.Tensor) -> torch.Tensor:
        """The adversarial loss, whose gradient goes through the discriminator and not into it."""
        discriminator = unwrap(self.discriminator)  # type: ignore[arg-type]
        learning = [p for p in discriminator.parameters() if p.requires_grad]
        for p in learning:
            p.requires_grad_(False)
        logits = discriminator(unlabeled)
        for p in learning:
            p.requires_grad_(True)
        return adversarial_loss(logits)

    def _judge(self, labeled: torch.Tensor, unlabeled: torch.Tensor) -> dict[str, Any]:
        """The discriminator's loss and accuracy."""
        logits = self.discriminator(torch.cat([labeled, unlabeled]))  # type: ignore[misc]
        of_labeled, of_unlabeled = logits[: len(labeled)], logits[len(labeled) :]
        with torch.no_grad():
            accuracy = 0.5 * ((of_labeled > 0).float().mean() + (of_unlabeled < 0).float().mean())
        return {
            Keys.DISCRIMINATOR_LOSS.value: discriminator_loss(of_labeled, of_unlabeled),
            Keys.DISCRIMINATOR_ACCURACY.value: accuracy,
        }

    @property
    def between_steps(self) -> bool:
        """Whether no gradients wait for further iterations of their accumulation group."""
        return self.state.iteration == 0 or self._accumulation()[1]

    def _accumulation(self) -> tuple[bool, bool]:
        """Whether this iteration is the first, and whether it is the last, of those that share an optimizer step."""
        length = self.state.epoch_length
        position = self.state.iteration - 1 if length is None else (self.state.iteration - 1) % length
        first = position % self.accumulation_steps == 0
        last = (position + 1) % self.accumulation_steps == 0 or position + 1 == length
        return first, last

    def _backward(self, loss: torch.Tensor) -> None:
        loss = loss / self.accumulation_steps
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def _open_group(self) -> None:
        """Before the first iteration that leads to an optimizer step."""
        self.optimizer.zero_grad(set_to_none=self.optim_set_to_none)
        if self.discriminator_optimizer is not None:
            self.discriminator_optimizer.zero_grad(set_to_none=True)
        self._saved_buffers = [buffer.clone() for buffer in self._buffers()]

    def _buffers(self) -> list[torch.Tensor]:
        """Running statistics and the like of student and discriminator, which a forward pass changes."""
        modules = [self.network] if self.discriminator is None else [self.network, self.discriminator]
        return [buffer for module in modules for buffer in module.buffers()]

    def _close_group(self) -> None:
        """Move student, discriminator and teacher, or, where a gradient is not finite, leave all as they were."""
        moving = [self.optimizer]
        if self.discriminator_optimizer is not None and _gradients(self.discriminator_optimizer):
            moving.append(self.discriminator_optimizer)
        gradients = [g for optimizer in moving for g in _gradients(optimizer)]
        if self.scaler is not None:
            for optimizer in moving:
                self.scaler.unscale_(optimizer)
        # the norm after DDP's reduction is the same on every rank, and so is the decision
        if bool(torch.nn.utils.get_total_norm(gradients).isfinite()):
            for optimizer in moving:
                optimizer.step() if self.scaler is None else self.scaler.step(optimizer)
            self._skipped_in_a_row = 0
            warmup = 1 - 1 / (self.state.optimizer_steps + 1) if self.teacher_warmup else 1.0
            update_teacher(self.teacher, self.network, min(warmup, self.teacher_decay))
            self._fire(SemiSupervisedEvents.OPTIMIZER_STEP_COMPLETED)
        else:
            for buffer, saved in zip(self._buffers(), self._saved_buffers, strict=True):
                buffer.copy_(saved)
            # a gradient scaler that looks for its scale overflows now and then, but not on and on
            self._skipped_in_a_row += 1
            if self.scaler is None or not self.scaler.is_enabled() or self._skipped_in_a_row % 10 == 0:
                warnings.warn(
                    f"Iteration {self.state.iteration}: a gradient is NaN or infinite, so this step is skipped "
                    f"({self._skipped_in_a_row} in a row). If this goes on, look for NaN in the images, lower the "
                    "learning rate or clip the gradients."
                )
            self._fire(SemiSupervisedEvents.OPTIMIZER_STEP_SKIPPED)
            if self._skipped_in_a_row >= _MOST_SKIPPED:
                raise ValueError(
                    f"The gradients of {_MOST_SKIPPED} steps in a row, up to iteration {self.state.iteration}, are NaN "
                    "or infinite: nothing is learned any more. The weights are those before. Look for NaN in the "
                    "images, lower the learning rate, clip the gradients, or turn mixed precision off."
                )
        if self.scaler is not None:
            self.scaler.update()

    def _fire(self, event: SemiSupervisedEvents) -> None:
        name = _COUNTERS[event]
        setattr(self.state, name, getattr(self.state, name) + 1)
        self.fire_event(event)


def _at(weight: float | Callable[[int], float], iteration: int) -> float:
    """A weight that is a number or a function of the iteration."""
    return weight(iteration) if callable(weight) else weight


def _length(value: Any) -> int:
    """Number of samples of an entry of a batch; 0 where it has none."""
    if isinstance(value, torch.Tensor):
        return len(value) if value.ndim else 0
    return len(value) if hasattr(value, "__len__") else 0


def _concatenate(images: list[torch.Tensor]) -> torch.Tensor:
    shapes = {tuple(image.shape[1:]) for image in images}
    if len(shapes) > 1:
        raise ValueError(
            f"Labelled images and views go through the network together, but their shapes (channels first) differ: "
            f"{sorted(shapes)}. Crop all to the same size."
        )
    return images[0] if len(images) == 1 else torch.cat([image.to(images[0].dtype) for image in images])


def _rows(images: list[torch.Tensor]) -> list[slice]:
    """Where each is when all are put one behind the other."""
    ends = itertools.accumulate(len(image) for image in images)
    return [slice(end - len(image), end) for image, end in zip(images, ends, strict=True)]


def _slice(pred: Any, rows: slice) -> Any:
    """Samples of a prediction: a tensor, or a list of them as networks with deep supervision give."""
    return pred[rows] if isinstance(pred, torch.Tensor) else [_slice(p, rows) for p in pred]


def _detach(pred: Any) -> Any:
    return pred.detach() if isinstance(pred, torch.Tensor) else [_detach(p) for p in pred]


def _gradients(optimizer: Optimizer) -> list[torch.Tensor]:
    return [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
