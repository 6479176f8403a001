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

"""What a person reads while a network is trained, evaluated or used."""

from __future__ import annotations

import logging
import math
import shlex
import sys
import time
from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import torch
from ignite import distributed as idist
from ignite.engine import Engine, Events
from tqdm import tqdm

from monai_sscm.metrics import text_table

__all__ = ["PredictionProgress", "ScoreTable", "TrainingProgress"]

_logger = logging.getLogger(__name__)


class TrainingProgress:
    """
    Handler of a :py:class:`monai_sscm.engines.SemiSupervisedTrainer`: says what is trained on, then a line an epoch
    with loss, score and time left, and at the end what was written and how to use it. On a terminal a bar shows the
    steps of the epoch. It warns of a class that no labeled mask in memory has.

    Put it behind the handlers that resume, validate and save. Under ``torch.distributed`` the first process speaks.

    Args:
        datalist: lists of images by ``labeled``, ``unlabeled`` and ``val``.
        class_names: names of the classes in the order of their indices, background first.
        method: name of the method.
        output_dir: folder of the training.
        evaluator: engine that validates. None: there are no validation images.

    Example:
        >>> from monai_sscm.handlers import TrainingProgress
        >>> files = {"labeled": [{}] * 3, "unlabeled": [{}] * 13, "val": []}
        >>> TrainingProgress(files, ["background", "vessel"], "supmix_sufd", "runs/first").summary(steps=1500)
        '3 labeled, 13 unlabeled, no validation images (the last step is the result); method supmix_sufd, 1500 steps'
    """

    def __init__(
        self,
        datalist: Mapping[str, Sized],
        class_names: Sequence[str],
        method: str,
        output_dir: str | Path,
        evaluator: Engine | None = None,
    ) -> None:
        self.counts = {part: len(datalist[part]) for part in ("labeled", "unlabeled", "val")}
        self.class_names = tuple(class_names)
        self.method = method
        self.output_dir = Path(output_dir)
        self.evaluator: Any = evaluator
        self._bar: tqdm | None = None
        self._losses: list[torch.Tensor] = []

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: the trainer.
        """
        if idist.get_rank() > 0:
            return
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._count_step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end_epoch)
        engine.add_event_handler(Events.COMPLETED, self._end)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._close_bar)

    def summary(self, steps: int, unlabeled_used: bool = True) -> str:
        """
        What is trained on, in a line.

        Args:
            steps: of the whole training.
            unlabeled_used: whether the method learns from unlabeled images.
        """
        unlabeled = f"{self.counts['unlabeled']} unlabeled"
        if self.counts["unlabeled"] and not unlabeled_used:
            unlabeled += " (not used by this method)"
        validation = f"{self.counts['val']} validation images"
        if not self.counts["val"]:
            validation = "no validation images (the last step is the result)"
        return f"{self.counts['labeled']} labeled, {unlabeled}, {validation}; method {self.method}, {steps} steps"

    def _start(self, engine: Any) -> None:
        state = engine.state
        streams = getattr(engine.data_loader, "streams", {})
        steps = state.max_epochs * state.epoch_length
        text = self.summary(steps, not streams or "unlabeled_" in streams)
        print(text + f", resumed after iteration {state.iteration}" * (state.iteration > 0), flush=True)
        if "" in streams:
            self._warn_of_missing_classes(streams[""].dataset)
        self._first_iteration, self._begin = state.iteration, time.perf_counter()

    def _warn_of_missing_classes(self, dataset: Any) -> None:
        masks = [torch.as_tensor(item["label"]) for item in getattr(dataset, "cached", [])]
        if not masks:
            return
        missing = [
            name for i, name in enumerate(self.class_names) if not any(bool((mask == i).any()) for mask in masks)
        ]
        if missing:
            masks_seen = "labeled mask" if len(masks) == len(dataset) else f"labeled mask of the {len(masks)} in memory"
            _logger.warning(
                f"No {masks_seen} has the class{'es' * (len(missing) > 1)} {', '.join(map(repr, missing))}: the "
                "network cannot learn it. Label an image with it, or leave it out of `class_names`."
            )

    def _start_epoch(self, engine: Any) -> None:
        state = engine.state
        self._losses = []
        done = state.iteration % state.epoch_length
        self._bar = _bar(state.epoch_length, f"epoch {state.epoch}/{state.max_epochs}", done)

    def _count_step(self, engine: Any) -> None:
        output = engine.state.output
        loss = (output[0] if isinstance(output, list) else output)["loss"]
        self._losses.append(torch.as_tensor(loss).detach().float())  # not waited for
        if self._bar is not None:
            self._bar.update()

    def _end_epoch(self, engine: Any) -> None:
        self._close_bar()
        state = engine.state
        parts = [f"epoch {state.epoch}/{state.max_epochs}"]
        if self._losses:
            parts.append(f"loss {float(torch.stack(self._losses).mean()):.3f}")
        if self.evaluator is not None and self.evaluator.state.epoch == state.epoch:
            parts.append(self._score(self.evaluator.state.metrics))
        left = state.max_epochs * state.epoch_length - state.iteration
        if left:
            seconds = (time.perf_counter() - self._begin) / max(1, state.iteration - self._first_iteration)
            parts.append(f"{_duration(seconds * left)} left")
        print(", ".join(part for part in parts if part), flush=True)

    def _score(self, metrics: Mapping[str, float]) -> str:
        scores = {name: metrics.get(f"dice_{name}", math.nan) for name in self.class_names[1:]}
        if len(scores) > 3:
            scores = {"mean": float(torch.tensor(list(scores.values())).nanmean())}
        return ", ".join(f"{name} Dice {100 * score:.1f}" for name, score in scores.items()) + " (validation)"

    def _end(self, engine: Any) -> None:
        self._close_bar()
        state = engine.state
        if state.iteration < state.max_epochs * state.epoch_length:
            return
        best = ""
        if self.evaluator is not None and (self.output_dir / "states" / "best.pt").is_file():
            epoch = getattr(self.evaluator.state, "best_metric_epoch", None)
            best = f"; the best in validation (epoch {epoch}): {self.output_dir / 'states' / 'best.pt'}"
        took = _duration(time.perf_counter() - self._begin)
        print(f"Trained in {took}. The result: {self.output_dir / 'models' / 'model.pt'}{best}.")
        print(
            f"Next: monai-sscm predict IMAGES --model {shlex.quote(str(self.output_dir))} --output_dir masks, "
            "then monai-sscm evaluate masks LABELS",
            flush=True,
        )

    def _close_bar(self, engine: Any = None, error: BaseException | None = None) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if error is not None:
            raise error


class PredictionProgress:
    """
    Handler of an evaluator that segments images: a line an image, on a terminal a bar, and where the masks are.

    The evaluator decollates its batches, and a sample has ``name``, see :py:func:`monai_sscm.io.inference_datalist`.
    Put it behind the :py:class:`monai_sscm.handlers.PredictionSaver`.

    Args:
        num_images: how many images there are.
        output_dir: folder of the masks.
    """

    def __init__(self, num_images: int, output_dir: str | Path) -> None:
        self.num_images = num_images
        self.output_dir = str(output_dir)
        self._bar: tqdm | None = None
        self._num_done = 0

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: the evaluator.
        """
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._end)

    def _start(self) -> None:
        self._num_done = 0
        self._bar = _bar(self.num_images, "images")

    def __call__(self, engine: Any) -> None:
        """
        Args:
            engine: the evaluator.
        """
        for item in engine.state.batch:
            self._num_done += 1
            if self._bar is not None:
                self._bar.update()
            else:
                print(f"{self._num_done}/{self.num_images} {item['name']}", flush=True)

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.close()
        masks = "mask is" if self._num_done == 1 else "masks are"
        print(f"{self._num_done} {masks} in {self.output_dir!r}.", flush=True)


class ScoreTable:
    """
    Handler of an evaluator: prints a table of the classes with Dice and IoU in %, and distances where there are any.

    Under ``torch.distributed`` the first process prints.

    Args:
        class_names: names of the classes in the order of their indices.
        output_dir: folder of the scores, which is named below the table.

    Example:
        >>> from monai_sscm.handlers import ScoreTable
        >>> metrics = {"dice_background": 0.99, "iou_background": 0.98, "dice_vessel": 0.7, "iou_vessel": 0.54}
        >>> print(ScoreTable(["background", "vessel"], "scores").table(metrics))
        class       Dice, %  IoU, %
        background     99.0    98.0
        vessel         70.0    54.0
    """

    def __init__(self, class_names: Sequence[str], output_dir: str | Path) -> None:
        self.class_names = tuple(class_names)
        self.output_dir = str(output_dir)

    def attach(self, engine: Engine) -> None:
        """
        Args:
            engine: the evaluator.
        """
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        """
        Args:
            engine: the evaluator.
        """
        print(f"{self.table(engine.state.metrics)}\nScores of every image are in {self.output_dir!r}.", flush=True)

    def table(self, metrics: Mapping[str, float]) -> str:
        """
        The table.

        Args:
            metrics: ``dice_<class>`` and ``iou_<class>`` in [0, 1], and perhaps ``hd95_<class>`` in mm.
        """
        columns = [("Dice, %", "dice", 100), ("IoU, %", "iou", 100), ("HD95, mm", "hd95", 1)]
        columns = [column for column in columns if any(f"{column[1]}_{name}" in metrics for name in self.class_names)]
        rows = [["class", *(title for title, _, _ in columns)]]
        for name in self.class_names:
            scores = (factor * metrics.get(f"{kind}_{name}", math.nan) for _, kind, factor in columns)
            rows.append([name, *("" if math.isnan(score) else f"{score:.1f}" for score in scores)])
        return text_table(rows)


def _bar(total: int, description: str, initial: int = 0) -> tqdm | None:
    """A bar that goes away at its end; None where nobody looks at it."""
    if not sys.stderr.isatty():
        return None
    return tqdm(total=total, initial=initial, desc=description, leave=False)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
