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

import logging
import math

import pytest
import torch
from ignite.engine import Engine, Events

from monai_sscm.data import BoundedCacheDataset, SemiSupervisedLoader
from monai_sscm.handlers import PredictionProgress, ScoreTable, TrainingProgress

NAMES = ["background", "vessel", "tumor"]


class Trainer(Engine):
    """Takes a loader as a trainer does, and has its output."""

    def __init__(self, masks: list[list[int]], output=None) -> None:
        super().__init__(lambda engine, batch: output or {"loss": torch.tensor(float(engine.state.iteration))})
        items = [{"image": torch.zeros(1, 2), "label": torch.tensor([mask])} for mask in masks]
        self.data_loader = SemiSupervisedLoader(BoundedCacheDataset(items, lambda item: item), batch_size=1)


def train(trainer: Trainer, handler: TrainingProgress, max_epochs: int = 2) -> None:
    handler.attach(trainer)
    trainer.run([0] * 4, max_epochs=max_epochs)


def progress(folder="run", val: int = 0, evaluator=None) -> TrainingProgress:
    files = {"labeled": [{}] * 3, "unlabeled": [{}] * 13, "val": [{}] * val, "test": []}
    return TrainingProgress(files, NAMES, "supmix_sufd", folder, evaluator)


def test_lines_of_a_training_without_validation(capsys, tmp_path):
    train(Trainer([[0, 1], [2, 0]]), progress(tmp_path / "my run"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "3 labeled, 13 unlabeled (not used by this method), no validation images (the last step is the result); "
        "method supmix_sufd, 8 steps"
    )
    assert lines[1] == "epoch 1/2, loss 2.500, 1 s left" and lines[2] == "epoch 2/2, loss 6.500"
    assert lines[3] == f"Trained in 1 s. The result: {tmp_path / 'my run' / 'models' / 'model.pt'}."
    assert lines[4].startswith(f"Next: monai-sscm predict IMAGES --model '{tmp_path / 'my run'}' ")
    assert len(lines) == 5


def test_the_score_stands_in_the_line_of_its_epoch(capsys, tmp_path):
    evaluator = Engine(lambda engine, batch: None)
    trainer = Trainer([[0, 1], [2, 0]], output=[{"loss": torch.tensor(0.5)}])

    def validate(engine):
        evaluator.run([0], max_epochs=engine.state.epoch)
        evaluator.state.metrics = {"dice_background": 0.9, "dice_vessel": 0.712, "dice_tumor": math.nan}
        evaluator.state.best_metric_epoch = 2

    trainer.add_event_handler(Events.EPOCH_COMPLETED(every=2), validate)
    best = tmp_path / "states" / "best.pt"
    best.parent.mkdir()
    best.touch()
    train(trainer, progress(tmp_path, val=4, evaluator=evaluator))
    lines = capsys.readouterr().out.splitlines()
    assert "4 validation images; method" in lines[0]
    assert "Dice" not in lines[1]
    assert lines[2] == "epoch 2/2, loss 0.500, vessel Dice 71.2, tumor Dice nan (validation)"
    assert lines[3].endswith(f"; the best in validation (epoch 2): {best}.")


def test_many_classes_are_one_mean():
    handler = TrainingProgress({"labeled": [], "unlabeled": [], "val": []}, list("abcde"), "x", "run")
    scores = {"dice_b": 0.2, "dice_c": 0.4, "dice_d": math.nan, "dice_e": 0.6}
    assert handler._score(scores) == "mean Dice 40.0 (validation)"


@pytest.mark.parametrize(("masks", "missing"), [([[0, 1], [1, 255]], "class 'tumor'"), ([[0, 1], [2, 1]], None)])
def test_a_class_that_no_mask_has_is_named(caplog, masks, missing):
    with caplog.at_level(logging.WARNING, "monai_sscm"):
        train(Trainer(masks), progress())
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == (
        [f"No labeled mask has the {missing}"] if missing else []
    )


def test_masks_that_are_not_in_memory_are_not_blamed(caplog):
    trainer = Trainer([[0, 1]])
    item = {"image": torch.zeros(1, 2), "label": torch.tensor([[0, 1]])}
    few = BoundedCacheDataset([item] * 4, lambda item: item, cache_gigabytes=70 / 2**30)
    assert len(few.cached) == 2
    trainer.data_loader = SemiSupervisedLoader(few, batch_size=1)
    with caplog.at_level(logging.WARNING, "monai_sscm"):
        train(trainer, progress())
    assert "No labeled mask of the 2 in memory has the class 'tumor'" in caplog.text


def test_a_training_that_is_stopped_names_no_result(capsys):
    trainer = Trainer([[1, 2]])
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=6), trainer.terminate)
    train(trainer, progress())
    assert "The result" not in capsys.readouterr().out


def test_a_bar_on_a_terminal_alone(capsys, monkeypatch):
    train(Trainer([[1, 2]]), progress())
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    train(Trainer([[1, 2]]), progress())
    printed = capsys.readouterr()
    assert "epoch 1/2:" in printed.err and "epoch 2/2, loss" in printed.out


def test_images_that_are_segmented_are_counted(capsys, monkeypatch):
    def segment() -> str:
        engine = Engine(lambda engine, batch: None)
        PredictionProgress(3, "masks").attach(engine)
        engine.run([[{"name": "a/b"}], [{"name": "c"}]])
        return capsys.readouterr().out

    assert segment() == "1/3 a/b\n2/3 c\n2 masks are in 'masks'.\n"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert segment() == "2 masks are in 'masks'.\n"


def test_scores_are_a_table(capsys):
    engine = Engine(lambda engine, batch: None)
    ScoreTable(NAMES, "scores").attach(engine)
    metrics = {"mean_iou": 0.5} | {f"{kind}_{name}": 0.5 for kind in ("dice", "iou") for name in NAMES}
    metrics |= {"hd95_vessel": 3.25, "hd95_tumor": math.nan}
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: engine.state.metrics.update(metrics))
    ScoreTable(NAMES, "scores").attach(engine)
    engine.run([0])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("  ")[-1].strip() == "HD95, mm"
    assert lines[1].split() == ["background", "50.0", "50.0"]
    assert lines[2].split() == ["vessel", "50.0", "50.0", "3.2"] and lines[3].split() == ["tumor", "50.0", "50.0"]
    assert lines[4] == "Scores of every image are in 'scores'."
