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

import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import distributed

from monai_sscm.errors import is_ours
from monai_sscm.networks import load_checkpoint, unwrap

__all__ = ["CheckpointHandler", "check_writable", "save_checkpoint"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_logger = logging.getLogger(__name__)


def check_writable(folder: str | Path) -> str:
    """
    Make a folder for results, and see that files can be written to it: now, and not after an hour of training.

    Args:
        folder: the folder.

    Returns:
        the folder.

    Raises:
        OSError: when it cannot be made or written to.

    Example:
        >>> import tempfile
        >>> from monai_sscm.handlers import check_writable
        >>> folder = tempfile.mkdtemp() + "/run"
        >>> check_writable(folder) == folder
        True
    """
    probe = Path(folder) / f".writable_{os.getpid()}"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as e:
        raise OSError(
            f"The folder {str(folder)!r} cannot be written to ({e.strerror}): set `output_dir` to one that can."
        ) from e
    return str(folder)


def save_checkpoint(state: Mapping[str, Any], path: str | Path, previous: str | Path | None = None) -> None:
    """
    Write a checkpoint whole or not at all: to a temporary file, to the disk, and only then under its name.

    Args:
        state: what ``torch.save`` and ``torch.load(weights_only=True)`` take.
        path: its name. A file of this name stays until the new one is complete. Its folder is made where it is missing.
        previous: name under which that file is kept then. None: it is replaced.

    Raises:
        OSError: when it cannot be written, as on a full disk.

    Example:
        >>> import os, tempfile
        >>> import torch
        >>> from monai_sscm.handlers import save_checkpoint
        >>> folder = tempfile.mkdtemp()
        >>> save_checkpoint({"weight": torch.ones(2)}, folder + "/last.pt")
        >>> os.listdir(folder)
        ['last.pt']
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.is_file():
            os.replace(path, previous)
        os.replace(part, path)
    except BaseException as e:
        part.unlink(missing_ok=True)
        # torch.save makes a RuntimeError of some failures to write
        if isinstance(e, (OSError, RuntimeError)):
            raise OSError(
                f"The checkpoint {str(path)!r} cannot be written ({_in_short(e)}): free space on the disk or see to "
                "the folder; then --resume true goes on from the last checkpoint that was written."
            ) from e
        raise
    if os.name == "posix":  # the names are on the disk only when their folder is
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


class CheckpointHandler:
    """
    Handler of a :py:class:`monai_sscm.engines.SemiSupervisedTrainer`: saves all there is after every epoch, keeps the
    best model, goes on exactly where a training stopped, and leaves in order when it is told to stop.

    Files in ``save_dir``, each written by :py:func:`save_checkpoint`:

    - ``last.pt``: everything, for going on and as the result: ``student``, ``teacher``, ``trainer`` (counters,
      discriminator and its optimizer, gradient scaler), ``evaluator`` (its best metric) and what ``save_dict`` names;
    - ``previous.pt``: the ``last.pt`` before it, in case the last is damaged;
    - ``best.pt``: ``student`` and ``teacher`` when the evaluator's key metric was best, and ``settings``.

    On SIGTERM and Ctrl-C the trainer finishes the step, or the validation that it is in, saves and stops; a second
    signal ends it at once. With a :py:class:`monai_sscm.data.SemiSupervisedLoader` the training then goes on from that
    very step, else from the start of the epoch's data. On a CPU, a training that was killed at any moment and resumed
    ends with the same weights, bit for bit, as one that never stopped.

    Put it behind the handlers that change what is saved, such as a learning rate's or a validation's, so that what they
    do after an epoch or a step is saved too.

    Args:
        save_dir: folder to write to.
        save_dict: what has a state to be saved besides trainer, student and teacher: the optimizer and its scheduler.
        evaluator: engine that validates; its best metric is saved, and the best model kept. None: none.
        resume: whether to go on from the newest good checkpoint in ``save_dir``, if there is one. False sets an earlier
            training in ``save_dir`` aside, into the folder ``earlier``.
        settings: plain values that the training depends on; it is resumed only where they are the same. Besides, for
            the same weights to the last bit, the number of worker and of training processes must stay as it was.

    Raises:
        OSError: when the folder cannot be written to.
        ValueError: when a checkpoint cannot be resumed from, see ``attach``.

    Example:
        >>> from monai_sscm.handlers import CheckpointHandler
        >>> handler = CheckpointHandler(save_dir, {"optimizer": optimizer}, evaluator)  # doctest: +SKIP
        >>> trainer = SemiSupervisedTrainer(..., train_handlers=[..., handler])  # doctest: +SKIP
        >>> trainer.run()  # doctest: +SKIP
        >>> handler.leave()  # ends the process if a signal stopped the training  # doctest: +SKIP
    """

    def __init__(
        self,
        save_dir: str | Path,
        save_dict: Mapping[str, Any],
        evaluator: Engine | None = None,
        resume: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.save_dir = Path(check_writable(save_dir))
        self.save_dict = dict(save_dict)
        self.evaluator = evaluator
        self.resume = resume
        self.settings = dict(settings or {})
        self.signal: signal.Signals | None = None
        self._handlers_before: dict[signal.Signals, Any] = {}

    def attach(self, engine: Any) -> None:
        """
        Args:
            engine: the trainer.
        """
        self.trainer = engine
        self._rank = _rank()
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._iteration_completed)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)
        engine.add_event_handler(Events.COMPLETED, self._restore_signals)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._exception_raised)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._see_to_folder)
            self.evaluator.add_event_handler(Events.COMPLETED, self._keep_best)

    def leave(self) -> None:
        """
        End the process if a signal stopped the training, with the signal's exit status (130 or 143).

        Raises:
            SystemExit: then.
        """
        state = self.trainer.state
        if self.signal is None or state.iteration == state.max_epochs * state.epoch_length:
            return
        if self._rank == 0:
            print(
                f"Stopped by {self.signal.name} after iteration {state.iteration}, saved to "
                f"{str(self.save_dir / 'last.pt')!r}: the same training with --resume true goes on from here.",
                file=sys.stderr,
            )
        raise SystemExit(128 + self.signal)

    def _start(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._handlers_before = {s: signal.signal(s, self._told) for s in _SIGNALS}
        self._process = os.getpid()
        if self._rank == 0:
            for half_written in self.save_dir.glob("*.pt.part"):
                half_written.unlink(missing_ok=True)
        names = [self.save_dir / name for name in ("last.pt", "previous.pt", "best.pt")]
        found = [path for path in names[:2] if path.is_file()]
        if self.resume and found:
            self._load(found)
        elif self.resume:
            _logger.info(
                f"There is no checkpoint in {str(self.save_dir)!r} yet: the training starts from the beginning."
            )
        elif self._rank == 0 and any(path.is_file() for path in names):
            earlier = self.save_dir / "earlier"
            earlier.mkdir(exist_ok=True)
            for path in names:
                if path.is_file():
                    os.replace(path, earlier / path.name)
            _logger.warning(
                f"{str(self.save_dir)!r} holds an earlier training, which is now in {str(earlier)!r}. To go on with it "
                "instead, stop this one, move its files back and add --resume true."
            )

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
                f"No checkpoint in {str(self.save_dir)!r} can be read ({', '.join(p.name for p in paths)}): leave out "
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
        settings = state.get("settings", {})
        trainer, theirs = self.trainer, {**(settings if isinstance(settings, Mapping) else {}), **state["trainer"]}
        ours = {
            "seed": trainer.seed,
            "max_epochs": trainer.state.max_epochs,
            "epoch_length": trainer.state.epoch_length,
        }
        for name, value in {**self.settings, **ours}.items():
            if theirs.get(name) != value:
                raise ValueError(
                    f"The checkpoint {str(path)!r} is of a training with {name}={theirs.get(name)}, this one has "
                    f"{name}={value}: give the same value to resume, or another `output_dir` to start anew."
                )
        best = state.get("evaluator")
        if self.evaluator is not None and not all(
            isinstance(best.get(name), (int, float)) for name in ("best_metric", "best_metric_epoch")
        ):
            raise ValueError(f"The checkpoint {str(path)!r} has no best metric: name another folder as `output_dir`.")
        for name, x in objects.items():
            try:
                x.load_state_dict(state[name])
            except Exception as e:
                raise ValueError(
                    f"The {name} in the checkpoint {str(path)!r} is not of this training's network and settings: "
                    f"resume with those it was started with, or name another `output_dir`. ({_in_short(e)})"
                ) from e
        for damaged in paths[: paths.index(path)]:
            # out of the way, or it would become the previous checkpoint in place of the good one
            if _rank() == 0:
                os.replace(damaged, damaged.with_suffix(".damaged"))
        if self.evaluator is not None:
            self.evaluator.state.best_metric = float(best["best_metric"])
            self.evaluator.state.best_metric_epoch = int(best["best_metric_epoch"])
        _logger.info(f"Resumed {str(path)!r} after iteration {self.trainer.state.iteration}.")

    def _objects(self) -> dict[str, Any]:
        student = unwrap(self.trainer.network)
        return {"student": student, "teacher": self.trainer.teacher, **self.save_dict, "trainer": self.trainer}

    def _save(self) -> None:
        if _rank() > 0:
            return
        state: dict[str, Any] = {name: x.state_dict() for name, x in self._objects().items()}
        state["settings"] = self.settings
        if self.evaluator is not None:
            best = self.evaluator.state
            state["evaluator"] = {
                "best_metric": float(best.best_metric),
                "best_metric_epoch": int(best.best_metric_epoch),
            }
        save_checkpoint(state, self.save_dir / "last.pt", previous=self.save_dir / "previous.pt")

    def _keep_best(self, evaluator: Any) -> None:
        if _rank() == 0 and evaluator.state.best_metric_epoch == evaluator.state.epoch:
            student, teacher = unwrap(self.trainer.network).state_dict(), self.trainer.teacher.state_dict()
            best = {"student": student, "teacher": teacher, "settings": self.settings}
            save_checkpoint(best, self.save_dir / "best.pt")

    def _see_to_folder(self) -> None:
        """Make the folder again if somebody removed it, so that the night's work has a place to go to."""
        if self._rank == 0 and not self.save_dir.is_dir():
            _logger.warning(f"The folder {str(self.save_dir)!r} was removed during the training: it is made again.")
            self.save_dir.mkdir(parents=True, exist_ok=True)

    def _iteration_completed(self) -> None:
        self._see_to_folder()
        # gradients may wait for the rest of their group; at the end of an epoch, validation comes first
        trainer = self.trainer
        if trainer.between_steps and trainer.state.iteration % trainer.state.epoch_length and self._is_told():
            self._save()
            trainer.terminate()

    def _epoch_completed(self) -> None:
        self._save()
        if self._is_told():
            self.trainer.terminate()

    def _told(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a process that loads images: the training ends it
            return
        self.signal = signal.Signals(number)
        if not _distributed():  # torchrun passes on what the terminal has sent already
            self._restore_signals()
        if _rank() == 0:
            print(f"\n{self.signal.name}: stopping after this step or validation.", file=sys.stderr, flush=True)

    def _is_told(self) -> bool:
        """Whether to stop; the same answer in every process, although signals reach them at different steps."""
        if _distributed():
            told = torch.tensor(int(self.signal or 0), device=self.trainer.state.device)
            distributed.all_reduce(told, distributed.ReduceOp.MAX)
            self.signal = signal.Signals(int(told)) if int(told) else None
        return self.signal is not None

    def _restore_signals(self) -> None:
        for s, before in self._handlers_before.items():
            signal.signal(s, before)
        self._handlers_before = {}

    def _exception_raised(self, error: BaseException) -> None:
        self._restore_signals()
        if isinstance(error, OSError) and not is_ours(error):
            raise OSError(
                f"The training ended after iteration {self.trainer.state.iteration} because a file cannot be written "
                f"or read ({_in_short(error)}): free space on the disk or see to the folder; then --resume true goes "
                f"on from the last checkpoint in {str(self.save_dir)!r}."
            ) from error
        raise error


def _in_short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _rank() -> int:
    return distributed.get_rank() if _distributed() else 0
