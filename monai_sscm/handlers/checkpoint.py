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

"""Checkpoints that survive a kill at any moment, and training that goes on from them as if nothing had been."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from ignite import distributed as idist
from ignite.engine import Engine, Events
from torch.optim.lr_scheduler import PolynomialLR

from monai_sscm.errors import one_line, raised_here
from monai_sscm.io.writing import write_whole
from monai_sscm.networks import load_checkpoint, unwrap

from .run_folder import claim_folder, is_claimed, release_folder, set_aside
from .same_training import check_agreement, describe_training
from .saving import check_writable, save_checkpoint

__all__ = ["CheckpointHandler", "has_checkpoint"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_logger = logging.getLogger(__name__)


class CheckpointHandler:
    """
    Handler of a :py:class:`monai_sscm.engines.SemiSupervisedTrainer`: saves all there is after every epoch, keeps the
    best model, goes on exactly where a training stopped, and ends it in order on a signal.

    Files in ``save_dir``, each written whole or not at all:

    - ``models/model.pt``: the result, the teacher's weights at the last step, and ``models/settings.json``;
    - ``states/last.pt``: everything, for going on: ``student``, ``teacher``, ``trainer`` (counters, discriminator and
      its optimizer, gradient scaler), ``evaluator`` (its best metric), what ``save_dict`` names, and what
      ``monai_sscm.handlers.same_training.describe_training`` says;
    - ``states/previous.pt``: the ``last.pt`` before it, in case the last is damaged;
    - ``states/best.pt``: ``student`` and ``teacher`` when the evaluator's key metric was best, and ``settings``.

    On SIGTERM and Ctrl-C the trainer finishes the step, or the validation that it is in, saves and stops; a second
    signal ends it at once. With a :py:class:`monai_sscm.data.SemiSupervisedLoader` the training then goes on from that
    very step, else from the start of the epoch's data. On a CPU, a training that was killed at any moment and resumed
    ends with the same weights, bit for bit, as one that never stopped.

    A training goes on longer, finished or not, if it is resumed with more epochs: from the checkpoint on, a
    ``PolynomialLR`` among ``save_dict`` follows its curve over the new number of steps, and the result is replaced at
    the new end.

    Put it behind the handlers that change what is saved, such as a learning rate's or a validation's, so that what they
    do after an epoch or a step is saved too.

    Args:
        save_dir: folder to write to.
        save_dict: what has a state to be saved besides trainer, student and teacher: the optimizer and its scheduler.
        evaluator: engine that validates; its best metric is saved, and the best model kept. None: none.
        resume: whether to go on from the newest good checkpoint in ``save_dir``, if there is one. False sets an earlier
            training in ``save_dir`` aside, see :py:func:`monai_sscm.handlers.set_aside`.
        settings: plain values that the training depends on; it is resumed only where they are the same. Besides, for
            the same weights to the last bit, the number of worker and of training processes must stay as it was.
        update_model: whether ``models/model.pt`` follows after each epoch, and is not written at the end alone.
        images: what :py:func:`monai_sscm.data.listed_images` says of the images that the training learns from and
            chooses by; it is resumed only with the same. None: it is not known.
        overrides: what else the command line sets, see :py:func:`monai_sscm.command_line.other_overrides`; kept among
            the settings, as ``overrides``. A resumed training must have the same, in its command or its configuration.
        init_from: weights that the training starts from, as :py:func:`monai_sscm.bundle.find_weights` finds them; it is
            resumed only with the same, or with None. None: random ones.

    Raises:
        OSError: when the folder cannot be written to.

    The run itself raises ``ValueError`` when another process trains in the folder, or there is no checkpoint that this
    training goes on from.

    Example:
        >>> from monai_sscm.handlers import CheckpointHandler
        >>> handler = CheckpointHandler(save_dir, {"optimizer": optimizer}, evaluator)  # doctest: +SKIP
        >>> trainer = SemiSupervisedTrainer(..., train_handlers=[..., handler])  # doctest: +SKIP
        >>> trainer.run()  # doctest: +SKIP
        >>> handler.exit_if_stopped()  # ends the process if a signal stopped the training  # doctest: +SKIP
    """

    def __init__(
        self,
        save_dir: str | Path,
        save_dict: Mapping[str, Any],
        evaluator: Engine | None = None,
        resume: bool = False,
        settings: Mapping[str, Any] | None = None,
        update_model: bool = False,
        overrides: Mapping[str, Any] | None = None,
        images: Mapping[str, Mapping[str, str]] | None = None,
        init_from: str | Path | None = None,
    ) -> None:
        self.save_dir = Path(check_writable(save_dir))
        self.states = self.save_dir / "states"
        self.models = self.save_dir / "models"
        self.save_dict = dict(save_dict)
        self.evaluator: Any = evaluator
        self.resume = resume
        self.settings = {**(settings or {}), **({"overrides": dict(overrides)} if overrides else {})}
        self.images = images
        self.init_from = init_from
        self.update_model = update_model
        self.signal: signal.Signals | None = None
        self._handlers_before: dict[signal.Signals, Any] = {}
        self._started = False

    def attach(self, engine: Any) -> None:
        """
        Args:
            engine: the trainer.
        """
        self.trainer = engine
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._iteration_completed)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)
        engine.add_event_handler(Events.COMPLETED, self._completed)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._exception_raised)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._remake_folder)
            self.evaluator.add_event_handler(Events.COMPLETED, self._keep_best)

    def exit_if_stopped(self) -> None:
        """
        End the process if a signal stopped the training, with the signal's exit status (130 or 143).

        Raises:
            SystemExit: then.
        """
        state = self.trainer.state
        if self.signal is None or self._is_finished():
            return
        if idist.get_rank() == 0:
            print(
                f"Stopped by {self.signal.name} after iteration {state.iteration}, saved to "
                f"{str(self.states / 'last.pt')!r}: the same training with --resume true goes on from here.",
                file=sys.stderr,
            )
        raise SystemExit(128 + self.signal)

    def _start(self) -> None:
        if not is_claimed(self.save_dir):
            claim_folder(self.save_dir, logs=False)
        if threading.current_thread() is threading.main_thread():
            self._handlers_before = {s: signal.signal(s, self._on_signal) for s in _SIGNALS}
        self._process = os.getpid()
        # those of others too, such as TensorBoard's, which does not make it again
        self._folders = [self.save_dir, *(path for path in self.save_dir.iterdir() if path.is_dir())]
        if idist.get_rank() == 0:
            for half_written in self.save_dir.glob("*/*.part"):
                half_written.unlink(missing_ok=True)
        if self._started:  # the trainer runs on, as in the next round of a federation
            return
        self._started = True
        found = _checkpoints(self.save_dir)
        self._about = describe_training(self.settings, self.images, self.init_from)
        self.settings = self._about["settings"]
        if self.resume and found:
            self._load(found)
        elif self.resume:
            _logger.info(f"There is no checkpoint in {str(self.states)!r} yet: the training starts from the beginning.")
        elif idist.get_rank() == 0:
            set_aside(self.save_dir)

    def _load(self, paths: list[Path]) -> None:
        """Take up the first of the checkpoints that can be read."""
        for path in paths:
            try:
                state = load_checkpoint(path)
            except (ValueError, FileNotFoundError) as e:
                _logger.warning(f"{e} Looking for the one before it.")
                continue
            break
        else:
            raise ValueError(
                f"No checkpoint in {str(self.states)!r} can be read ({', '.join(p.name for p in paths)}): leave out "
                "--resume true to start from the beginning, or restore them from a copy."
            )
        objects = self._objects()
        needed = [*objects] + ["evaluator"] * (self.evaluator is not None)
        missing = [
            name for name in needed if not isinstance(state, Mapping) or not isinstance(state.get(name), Mapping)
        ]
        if missing:
            raise ValueError(
                f"The checkpoint {str(path)!r} has no {', '.join(missing)}: it was not saved by a training that can be "
                "resumed. Name another folder as `output_dir`."
            )
        check_agreement(path, state, self._about, self.trainer)
        best = state.get("evaluator")
        if self.evaluator is not None and not all(
            isinstance(best.get(name), (int, float)) for name in ("best_metric", "best_metric_epoch")
        ):
            raise ValueError(f"The checkpoint {str(path)!r} has no best metric: name another folder as `output_dir`.")
        trainer = self.trainer
        max_epochs, before = trainer.state.max_epochs, state["trainer"].get("max_epochs")
        state["trainer"] = {**state["trainer"], "max_epochs": max_epochs}
        for name, x in objects.items():
            try:
                total = getattr(x, "total_iters", 0)
                x.load_state_dict(state[name])
                if isinstance(x, PolynomialLR) and max_epochs != before:
                    _follow(x, total)
            except Exception as e:
                raise ValueError(
                    f"The {name} in the checkpoint {str(path)!r} is not of this training's network and settings: "
                    f"resume with those it was started with, or name another `output_dir`. ({one_line(e)})"
                ) from e
        for damaged in paths[: paths.index(path)]:
            # out of the way, or it would become the previous checkpoint in place of the good one
            if idist.get_rank() == 0:
                os.replace(damaged, damaged.with_suffix(".damaged"))
        if self.evaluator is not None:
            self.evaluator.state.best_metric = float(best["best_metric"])
            self.evaluator.state.best_metric_epoch = int(best["best_metric_epoch"])
        done = f"Resumed {str(path)!r} after iteration {trainer.state.iteration}"
        longer = f": it goes on from epoch {trainer.state.epoch} of {before} to {max_epochs}"
        _logger.info(f"{done}{longer if max_epochs != before else ''}.")

    def _objects(self) -> dict[str, Any]:
        student = unwrap(self.trainer.network)
        return {"student": student, "teacher": self.trainer.teacher, **self.save_dict, "trainer": self.trainer}

    def _save(self) -> None:
        if idist.get_rank() > 0:
            return
        state: dict[str, Any] = {name: x.state_dict() for name, x in self._objects().items()}
        state |= self._about
        if self.evaluator is not None:
            best = self.evaluator.state
            state["evaluator"] = {
                "best_metric": float(best.best_metric),
                "best_metric_epoch": int(best.best_metric_epoch),
            }
        save_checkpoint(state, self.states / "last.pt", previous=self.states / "previous.pt")

    def _write_model(self) -> None:
        if idist.get_rank() > 0:
            return
        save_checkpoint(self.trainer.teacher.state_dict(), self.models / "model.pt")
        settings = json.dumps(self.settings, indent=2) + "\n"
        write_whole(self.models / "settings.json", lambda part: part.write_text(settings, "utf-8"))

    def _is_finished(self) -> bool:
        state = self.trainer.state
        return bool(state.iteration == state.max_epochs * state.epoch_length)

    def _keep_best(self, evaluator: Any) -> None:
        if idist.get_rank() == 0 and evaluator.state.best_metric_epoch == evaluator.state.epoch:
            student, teacher = unwrap(self.trainer.network).state_dict(), self.trainer.teacher.state_dict()
            best = {"student": student, "teacher": teacher, "settings": self.settings}
            save_checkpoint(best, self.states / "best.pt")

    def _remake_folder(self) -> None:
        """Make the folder again if somebody removed it, so that the night's work has a place to go to."""
        if idist.get_rank() == 0 and not self.save_dir.is_dir():
            _logger.warning(f"The folder {str(self.save_dir)!r} was removed during the training: it is made again.")
            for folder in self._folders:
                folder.mkdir(parents=True, exist_ok=True)
            release_folder(self.save_dir)
            claim_folder(self.save_dir)

    def _iteration_completed(self) -> None:
        self._remake_folder()
        # gradients may wait for the rest of their group; at the end of an epoch, validation comes first
        trainer = self.trainer
        if trainer.between_steps and trainer.state.iteration % trainer.state.epoch_length and self._stop_requested():
            self._save()
            trainer.terminate()

    def _epoch_completed(self) -> None:
        self._save()
        if self.update_model:
            self._write_model()
        if self._stop_requested():
            self.trainer.terminate()

    def _completed(self) -> None:
        if self._is_finished():
            self._write_model()
            if self.evaluator is not None and self.evaluator.state.best_metric_epoch < 1:
                _logger.warning(
                    "No epoch was validated, so there is no states/best.pt: the last step is the result. A "
                    "`val_interval` of at most `max_epochs` validates."
                )
        self._restore_signals()
        release_folder(self.save_dir)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a process that loads images: the training ends it
            return
        self.signal = signal.Signals(number)
        if idist.get_world_size() == 1:  # torchrun passes on what the terminal has sent already
            self._restore_signals()
        if idist.get_rank() == 0:
            print(f"\n{self.signal.name}: stopping after this step or validation.", file=sys.stderr, flush=True)

    def _stop_requested(self) -> bool:
        """Whether to stop; the same answer in every process, although signals reach them at different steps."""
        if idist.get_world_size() > 1:
            number = int(idist.all_reduce(int(self.signal or 0), "MAX"))
            self.signal = signal.Signals(number) if number else None
        return self.signal is not None

    def _restore_signals(self) -> None:
        for s, before in self._handlers_before.items():
            signal.signal(s, before)
        self._handlers_before = {}

    def _exception_raised(self, error: BaseException) -> None:
        self._restore_signals()
        release_folder(self.save_dir)
        if isinstance(error, OSError) and not raised_here(error):
            raise OSError(
                f"The training ended after iteration {self.trainer.state.iteration} because a file cannot be written "
                f"or read ({one_line(error)}): free space on the disk or see to the folder; then --resume true goes "
                f"on from the last checkpoint in {str(self.states)!r}."
            ) from error
        raise error


def has_checkpoint(folder: str | Path) -> bool:
    """
    Whether there is a checkpoint to go on from in the folder of a training.

    Args:
        folder: the folder.

    Example:
        >>> import tempfile
        >>> from monai_sscm.handlers import has_checkpoint
        >>> has_checkpoint(tempfile.mkdtemp())
        False
    """
    return bool(_checkpoints(Path(folder)))


def _checkpoints(folder: Path) -> list[Path]:
    """The newest first."""
    paths = [folder / "states" / name for name in ("last.pt", "previous.pt")]
    return [path for path in paths if path.is_file()]


def _follow(scheduler: PolynomialLR, total: int) -> None:
    """Let a scheduler go on from its step as if it had had this number of steps from the start."""
    scheduler.total_iters = total
    factor = (1 - min(1, scheduler.last_epoch / total)) ** scheduler.power
    for group, rate in zip(scheduler.optimizer.param_groups, scheduler.base_lrs, strict=True):
        group["lr"] = rate * factor
    scheduler._last_lr = [group["lr"] for group in scheduler.optimizer.param_groups]
