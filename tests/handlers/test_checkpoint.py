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
from tests.helpers.training import assert_same, make_batches, make_network, make_trainer, weights


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
    spatial_dims = kwargs.pop("spatial_dims", 2)
    network = kwargs.pop("network", None) or make_network(spatial_dims)
    settings = {"method": "supmix", "patch_size": [8, 8], **kwargs.pop("settings", {})}
    overrides, images = kwargs.pop("overrides", None), kwargs.pop("images", None)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, 4 * epochs, power=0.9)
    batches = make_batches(4, spatial_dims=spatial_dims)
    trainer = make_trainer(batches, network, optimizer=optimizer, max_epochs=epochs, **kwargs)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: scheduler.step())
    score = Score(scores or [0.1 * (i + 1) for i in range(epochs)])
    trainer.add_event_handler(Events.EPOCH_COMPLETED, score.validate)
    save_dict = {"optimizer": optimizer, "lr_scheduler": scheduler}
    handler = CheckpointHandler(folder, save_dict, score.engine, resume, settings, overrides=overrides, images=images)
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
    names = {"student", "teacher", "optimizer", "lr_scheduler", "trainer", "evaluator", "settings", "processes"} | {
        "parts",
        "init_from",
        "versions",
    }
    assert set(last) == names
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


def test_a_training_is_resumed_with_its_images_alone(tmp_path, caplog):
    images = {"labeled": {"a": "of 3 bytes"}, "unlabeled": {"b": "of 2 bytes", "c": "of 1 bytes"}, "val": {}}
    trainer, _ = make(tmp_path, images=images)
    trainer.add_event_handler(Events.EPOCH_COMPLETED(once=1), lambda e: e.terminate())
    trainer.run()
    before = (tmp_path / "states" / "last.pt").read_bytes()
    for others, message in (
        ({**images, "unlabeled": {"b": "of 2 bytes", "d": ""}}, r"unlabeled images: 1 added \(d\), 1 removed \(c\)"),
        ({**images, "labeled": {"a": "of 4 bytes"}}, "labeled images: a was of 3 bytes, and is of 4 bytes"),
        ({**images, "val": {"x": ""}}, r"validation images: 1 added \(x\)"),
    ):
        with pytest.raises(ValueError, match=rf"on other images than those that are listed now \({message}\): restore"):
            make(tmp_path, resume=True, images=others)[0].run()
        assert (tmp_path / "states" / "last.pt").read_bytes() == before
    trainer, _ = make(tmp_path, resume=True, images=images)
    trainer.run()
    assert trainer.state.iteration == 12 and "go on: a step sees" not in caplog.text


def test_another_number_of_processes_is_told(tmp_path, caplog):
    make(tmp_path)[0].run()
    state = torch.load(tmp_path / "states" / "last.pt", weights_only=True)
    torch.save({**state, "processes": 2}, tmp_path / "states" / "last.pt")
    make(tmp_path, resume=True)[0].run()
    assert "2 processes trained so far, 1 go on" in caplog.text


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
        ({"epochs": 2}, "has done 3 epochs, more than max_epochs=2: give a larger number to go on"),
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


def rates(trainer) -> list[float]:
    """The learning rate of each step that the trainer takes."""
    found: list[float] = []
    trainer.add_event_handler(Events.ITERATION_STARTED, lambda: found.append(trainer.optimizer.param_groups[0]["lr"]))
    return found


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_finished_training_goes_on_longer(tmp_path, caplog, spatial_dims):
    caplog.set_level("INFO")
    make(tmp_path, spatial_dims=spatial_dims)[0].run()
    model, end = ((tmp_path / name).read_bytes() for name in ("models/model.pt", "states/last.pt"))
    trainer, handler = make(tmp_path, epochs=5, resume=True, spatial_dims=spatial_dims)
    used = rates(trainer)
    trainer.run()
    assert "after iteration 12: it goes on from epoch 3 of 3 to 5." in caplog.text
    assert trainer.state.iteration == 20 and used == pytest.approx([1e-2 * (1 - t / 20) ** 0.9 for t in range(12, 20)])
    assert (tmp_path / "models" / "model.pt").read_bytes() != model and handler.evaluator.state.best_metric == 0.5
    whole = {name: weights(module) for name, module in (("student", trainer.network), ("teacher", trainer.teacher))}

    # the same again, killed after the fourth epoch: the same weights
    for path in (tmp_path / "states").glob("*.pt"):
        path.unlink()
    (tmp_path / "states" / "last.pt").write_bytes(end)
    trainer, _ = make(tmp_path, epochs=5, resume=True, spatial_dims=spatial_dims)
    trainer.add_event_handler(Events.EPOCH_COMPLETED(once=4), lambda e: e.terminate())
    trainer.run()
    assert trainer.state.iteration == 16
    trainer, _ = make(tmp_path, epochs=5, resume=True, spatial_dims=spatial_dims)
    trainer.run()
    assert_same(weights(trainer.network), whole["student"])
    assert_same(weights(trainer.teacher), whole["teacher"])
    before = (tmp_path / "states" / "last.pt").read_bytes()
    trainer, _ = make(tmp_path, epochs=5, resume=True, spatial_dims=spatial_dims)
    trainer.run()  # finished: nothing more is done
    assert (tmp_path / "states" / "last.pt").read_bytes() == before


@pytest.mark.parametrize("epochs", [2, 6])
def test_a_stopped_training_gets_another_end(tmp_path, caplog, epochs):
    caplog.set_level("INFO")
    trainer, _ = make(tmp_path, epochs=4)
    trainer.add_event_handler(Events.ITERATION_STARTED(once=6), lambda: os.kill(os.getpid(), signal.SIGTERM))
    trainer.run()
    trainer, _ = make(tmp_path, epochs=epochs, resume=True, scores=[0.1] * 6)
    used = rates(trainer)
    trainer.run()
    total = 4 * epochs
    assert f"after iteration 6: it goes on from epoch 1 of 4 to {epochs}." in caplog.text
    expected = [1e-2 * (1 - t / total) ** 0.9 for t in range(6, total)]
    # a list of batches has no place to go on within an epoch, so ignite takes it from its start
    assert trainer.state.iteration == total and used == pytest.approx(expected)


def test_overrides_that_changed_are_refused(tmp_path, monkeypatch):
    config = tmp_path / "train.yaml"
    config.write_text("lr_scheduler: {power: 0.9}\nloss: a\n")

    def type_command(values: dict) -> None:
        words = [f"--{name}={value}" for name, value in values.items()]
        monkeypatch.setattr("sys.argv", ["/monai/bundle/__main__.py", "run", "--config_file", str(config), *words])

    type_command({"lr_scheduler#power": 2})
    make(tmp_path / "run", overrides={"lr_scheduler#power": 2})[0].run()
    last = tmp_path / "run" / "states" / "last.pt"
    assert torch.load(last, weights_only=True)["settings"]["overrides"] == {"lr_scheduler#power": 2}
    for other, message in (
        ({"lr_scheduler#power": 1}, "lr_scheduler#power=2, this one has lr_scheduler#power=1"),
        ({}, "lr_scheduler#power=2, this one has lr_scheduler#power=0.9"),
        ({"lr_scheduler#power": 2, "loss": "b"}, "loss=a, this one has loss=b"),
        ({"lr_scheduler#power": 2, "loss#x": 1}, "loss#x=None, this one has loss#x=1"),
    ):
        type_command({"lr_scheduler#power": 2})
        with pytest.raises(ValueError, match=f"is of a training with {message}: give the same value"):
            make(tmp_path / "run", resume=True, overrides=other)[0].run()
    # what the configuration has, as a training's own does, need not be given; and is kept for the next
    for text, same in (
        ("lr_scheduler: {power: 0.9}", {"lr_scheduler#power": 2}),
        ("lr_scheduler: {power: 2}", {}),
        ("lr_scheduler: {power: 0.9}\nlr_scheduler#power: 2", {}),
        ("lr_scheduler: {power: 0.9}", {"lr_scheduler#power": 2}),
    ):
        config.write_text(f"{text}\nloss: a\n")
        type_command(same)
        trainer, handler = make(tmp_path / "run", resume=True, overrides=same)
        trainer.run()
        assert handler.settings["overrides"] == {"lr_scheduler#power": 2}
    # of another program nothing is known
    monkeypatch.setattr("sys.argv", ["script.py"])
    make(tmp_path / "run", resume=True)[0].run()
    with pytest.raises(ValueError, match="lr_scheduler#power=2, this one has lr_scheduler#power=1"):
        make(tmp_path / "run", resume=True, overrides={"lr_scheduler#power": 1})[0].run()


def test_the_teacher_s_warmup_is_that_of_the_start(tmp_path):
    make(tmp_path, teacher_warmup=False)[0].run()
    trainer, _ = make(tmp_path, resume=True)
    trainer.run()
    assert trainer.teacher_warmup is False


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
