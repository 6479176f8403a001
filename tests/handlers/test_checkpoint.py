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

import os
import signal
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator
from torch import nn

from monai_sscm.handlers import CheckpointHandler
from monai_sscm.networks import training_settings
from tests.helpers.training import make_batches, make_network, make_trainer


class Score:
    """A stand-in for an evaluator, whose scores are given."""

    def __init__(self, scores: list[float]) -> None:
        self.scores = scores
        self.engine = SupervisedEvaluator("cpu", [{"image": torch.zeros(1, 1, 8, 8)}], nn.Identity())

    def validate(self, trainer) -> None:
        state = self.engine.state
        score = self.scores[trainer.state.epoch - 1]
        state.epoch = trainer.state.epoch
        if score > state.best_metric:
            state.best_metric, state.best_metric_epoch = score, state.epoch
        self.engine.fire_event(Events.COMPLETED)


def make(folder: Path, epochs: int = 3, resume: bool = False, scores: list[float] | None = None, **kwargs):
    network = kwargs.pop("network", None) or make_network()
    settings = {"method": "supmix", "patch_size": [8, 8], **kwargs.pop("settings", {})}
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    trainer = make_trainer(make_batches(4), network, optimizer=optimizer, max_epochs=epochs, **kwargs)
    score = Score(scores or [0.1, 0.2, 0.3, 0.4][:epochs])
    trainer.add_event_handler(Events.EPOCH_COMPLETED, score.validate)
    handler = CheckpointHandler(folder, {"optimizer": optimizer}, score.engine, resume, settings)
    handler.attach(trainer)
    return trainer, handler


def test_files_and_their_contents(tmp_path):
    trainer, _ = make(tmp_path, scores=[0.3, 0.5, 0.4])
    at_best = {}
    trainer.add_event_handler(
        Events.EPOCH_COMPLETED(once=2),
        lambda: at_best.update({k: v.clone() for k, v in trainer.teacher.state_dict().items()}),
    )
    trainer.run()
    assert sorted(os.listdir(tmp_path / "states")) == ["best.pt", "last.pt", "previous.pt"]
    last, previous, best = (
        torch.load(tmp_path / "states" / f"{n}.pt", weights_only=True) for n in ("last", "previous", "best")
    )
    assert set(last) == {"student", "teacher", "optimizer", "trainer", "evaluator", "settings"}
    assert set(best) == {"student", "teacher", "settings"}
    assert last["settings"] == best["settings"] == {"method": "supmix", "patch_size": [8, 8]}
    assert last["trainer"]["iteration"] == 12 and previous["trainer"]["iteration"] == 8
    assert last["evaluator"] == {"best_metric": 0.5, "best_metric_epoch": 2}
    for name, value in trainer.teacher.state_dict().items():
        assert torch.equal(last["teacher"][name], value)
        assert torch.equal(best["teacher"][name], at_best[name])


def test_a_worse_epoch_after_resume_does_not_replace_the_best(tmp_path):
    trainer, _ = make(tmp_path, scores=[0.3, 0.9, 0.4, 0.5], epochs=4)
    trainer.add_event_handler(Events.EPOCH_COMPLETED(once=2), lambda e: e.terminate())
    trainer.run()
    best = (tmp_path / "states" / "best.pt").read_bytes()
    trainer, handler = make(tmp_path, scores=[0.3, 0.9, 0.4, 0.5], epochs=4, resume=True)
    trainer.run()
    assert trainer.state.iteration == 16 and handler.evaluator.state.best_metric == 0.9
    assert (tmp_path / "states" / "best.pt").read_bytes() == best


def test_resume_takes_the_newest_that_is_good(tmp_path, caplog):
    trainer, _ = make(tmp_path)
    trainer.run()
    whole = (tmp_path / "states" / "last.pt").read_bytes()
    expected = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damage in (whole[: len(whole) // 2], b"", b"no checkpoint at all", whole[:-1000] + b"\0" * 1000, flipped):
        (tmp_path / "states" / "last.pt").write_bytes(damage)
        trainer, _ = make(tmp_path, resume=True)
        epochs: list[int] = []
        trainer.add_event_handler(Events.EPOCH_STARTED, lambda e: epochs.append(e.state.epoch))
        trainer.run()
        assert epochs == [3] and "last.pt' cannot be read: it is damaged" in caplog.text
        for name, value in trainer.network.state_dict().items():
            assert torch.equal(value, expected[name])
        assert sorted(os.listdir(tmp_path / "states")) == ["best.pt", "last.damaged", "last.pt", "previous.pt"]
        assert torch.load(tmp_path / "states" / "previous.pt", weights_only=True)["trainer"]["iteration"] == 8
    (tmp_path / "states" / "last.pt").write_bytes(b"")
    (tmp_path / "states" / "previous.pt").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"No checkpoint in .* can be read \(last.pt, previous.pt\): leave out --resume"
    ):
        make(tmp_path, resume=True)[0].run()


def test_resume_where_there_is_nothing_starts_from_the_beginning(tmp_path):
    trainer, _ = make(tmp_path / "new", resume=True)
    trainer.run()
    assert trainer.state.iteration == 12 and (tmp_path / "new" / "states" / "last.pt").is_file()


def test_resume_of_a_finished_training_changes_nothing(tmp_path):
    make(tmp_path)[0].run()
    before = (tmp_path / "states" / "last.pt").read_bytes()
    trainer, _ = make(tmp_path, resume=True)
    trainer.run()
    assert trainer.state.iteration == 12 and (tmp_path / "states" / "last.pt").read_bytes() == before


def test_an_earlier_training_is_set_aside(tmp_path, caplog):
    names = ["models/model.pt", "states/best.pt", "states/last.pt", "states/previous.pt"]
    make(tmp_path)[0].run()
    assert "holds an earlier training" not in caplog.text and sorted(os.listdir(tmp_path)) == ["models", "states"]
    before = {name: (tmp_path / name).read_bytes() for name in names}
    for number in ("1", "2"):  # no file of an earlier training is lost
        make(tmp_path, seed=int(number))[0].run()
        assert "holds an earlier training, which is now in" in caplog.text and "--resume true" in caplog.text
        assert sorted(os.listdir(tmp_path / "earlier")) == ["1", "2"][: int(number)]
        assert {name: (tmp_path / "earlier" / "1" / name).read_bytes() for name in names} == before
        assert torch.load(tmp_path / "states" / "last.pt", weights_only=True)["trainer"]["seed"] == int(number)


def test_the_model_is_the_teacher_at_the_end_with_its_settings(tmp_path):
    trainer, handler = make(tmp_path)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: written.append((tmp_path / "models").exists()))
    written: list[bool] = []
    trainer.run()
    assert written == [False] * 3 and sorted(os.listdir(tmp_path / "models")) == ["model.pt", "settings.json"]
    model = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(model[name], value) for name, value in trainer.teacher.state_dict().items())
    assert training_settings(tmp_path / "models" / "model.pt") == handler.settings != {}


def test_the_model_follows_each_epoch_where_asked_for(tmp_path):
    trainer, handler = make(tmp_path)
    handler.update_model = True
    models: list[dict] = []
    trainer.add_event_handler(
        Events.EPOCH_COMPLETED,
        lambda: models.append(torch.load(tmp_path / "models" / "model.pt", weights_only=True)),
    )
    trainer.run()
    name = next(iter(models[0]))
    assert len(models) == 3 and not torch.equal(models[0][name], models[1][name])


def test_resume_with_or_without_a_discriminator_is_refused(tmp_path):
    make(tmp_path)[0].run()
    with pytest.raises(ValueError, match=r"with no discriminator, this one has one"):
        make(tmp_path, resume=True, sufd=True)[0].run()
    make(tmp_path, sufd=True)[0].run()
    with pytest.raises(ValueError, match=r"with a discriminator, this one has none"):
        make(tmp_path, resume=True)[0].run()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 5}, "training with max_epochs=3, this one has max_epochs=5"),
        ({"seed": 7}, "training with seed=0, this one has seed=7"),
        ({"settings": {"method": "classmix"}}, "training with method=supmix, this one has method=classmix"),
        ({"settings": {"patch_size": [8, 9]}}, r"with patch_size=\[8, 8\], this one has patch_size=\[8, 9\]"),
        ({"settings": {"new": 1}}, "training with new=None, this one has new=1"),
    ],
)
def test_resume_with_other_settings_is_refused(tmp_path, change, message):
    make(tmp_path)[0].run()
    with pytest.raises(ValueError, match=message):
        make(tmp_path, resume=True, **change)[0].run()


def test_resume_with_another_network_is_refused(tmp_path):
    make(tmp_path)[0].run()
    with pytest.raises(ValueError, match=r"The student in the checkpoint .*last.pt' is not of this training's network"):
        make(tmp_path, resume=True, network=make_network(norm="batch"))[0].run()


@pytest.mark.parametrize("state", [{"a": torch.ones(2)}, [1, 2], {"student": {}, "teacher": {}}])
def test_resume_from_a_foreign_checkpoint_is_refused(tmp_path, state):
    (tmp_path / "states").mkdir()
    torch.save(state, tmp_path / "states" / "last.pt")
    with pytest.raises(ValueError, match=r"last.pt' has no .*: it was not saved by a training"):
        make(tmp_path, resume=True)[0].run()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("accumulation", [1, 3])
def test_a_signal_saves_and_stops_at_a_step(tmp_path, capsys, number, accumulation):
    before = signal.getsignal(number)
    trainer, handler = make(tmp_path, accumulation_steps=accumulation)
    trainer.add_event_handler(Events.ITERATION_STARTED(once=5), lambda: os.kill(os.getpid(), number))
    trainer.run()
    stopped_at = 5 if accumulation == 1 else 7  # 5, 6 and 7 share a step
    assert trainer.state.iteration == stopped_at and signal.getsignal(number) is before
    assert torch.load(tmp_path / "states" / "last.pt", weights_only=True)["trainer"]["iteration"] == stopped_at
    with pytest.raises(SystemExit) as stopped:
        handler.exit_if_stopped()
    assert stopped.value.code == 128 + number
    last_line = capsys.readouterr().err.splitlines()[-1]
    assert last_line.startswith(f"Stopped by {signal.Signals(number).name} after iteration {stopped_at}, saved to")
    assert "--resume true" in last_line


def test_a_signal_in_the_last_step_of_an_epoch_waits_for_the_validation(tmp_path):
    trainer, _ = make(tmp_path)
    trainer.add_event_handler(Events.ITERATION_STARTED(once=4), lambda: os.kill(os.getpid(), signal.SIGTERM))
    trainer.run()
    assert trainer.state.iteration == 4
    state = torch.load(tmp_path / "states" / "last.pt", weights_only=True)
    assert state["trainer"]["iteration"] == 4 and state["evaluator"]["best_metric_epoch"] == 1


def test_a_second_signal_stops_at_once(tmp_path, request):
    # as in a terminal; a shell lets what it starts in the background ignore Ctrl-C
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    trainer, _ = make(tmp_path)

    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    trainer.add_event_handler(Events.ITERATION_STARTED(once=6), twice)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert torch.load(tmp_path / "states" / "last.pt", weights_only=True)["trainer"]["iteration"] == 4


def test_an_error_leaves_the_last_checkpoint_and_the_signals_as_they_were(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    trainer, handler = make(tmp_path)

    def fail() -> None:
        raise ZeroDivisionError

    trainer.add_event_handler(Events.ITERATION_STARTED(once=6), fail)
    with pytest.raises(ZeroDivisionError):
        trainer.run()
    assert signal.getsignal(signal.SIGTERM) is before
    assert torch.load(tmp_path / "states" / "last.pt", weights_only=True)["trainer"]["iteration"] == 4
    handler.exit_if_stopped()  # nothing to do: no signal came


@pytest.mark.parametrize(
    ("name", "value"),
    [("trainer", None), ("trainer", []), ("settings", 3), ("evaluator", None), ("evaluator", {})]
    + [("evaluator", {"best_metric": "a", "best_metric_epoch": 1}), ("student", torch.zeros(2)), ("optimizer", "x")],
)
def test_entries_of_another_kind_are_refused_before_anything_is_loaded(tmp_path, name, value):
    trainer, _ = make(tmp_path)
    trainer.run()
    state = torch.load(tmp_path / "states" / "last.pt", weights_only=True)
    torch.save({**state, name: value}, tmp_path / "states" / "last.pt")
    trainer, _ = make(tmp_path, resume=True)
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    with pytest.raises(ValueError, match="The checkpoint '.*last.pt'"):
        trainer.run()
    assert all(torch.equal(v, before[k]) for k, v in trainer.network.state_dict().items())
