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

"""Clients of a federation, by MONAI's own MonaiAlgo."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems, ModelType
from monai.fl.utils.exchange_object import ExchangeObject

from monai_sscm.datasets import write_vessel_phantoms
from tests.helpers.bundles import BUNDLES
from tests.helpers.training import assert_same, differ

FILES = ["configs/train.yaml", "configs/federated.yaml"]
ROUNDS = 3
VALUES = {
    "max_epochs": ROUNDS,  # one a round
    "epoch_length": 2,
    "val_interval": 9,
    "batch_size": 2,
    "patch_size": [32, 32],
    "channels": [4, 8],
    "strides": [2],
    "feature_layer": "model.1.submodule",
    "feature_channels": 8,
    "zoom": 1.0,
    "rampup_steps": 1,
    "device": "cpu",
}


def client(root: Path, seed: int, bundle: str = "chase_vessel_segmentation", evaluate: bool = True, **values):
    """A client with images, and a copy of the bundle without weights, of its own."""
    write_vessel_phantoms(root / "data", num_train=3, num_val=1, num_test=1, size=64, seed=seed)
    shutil.copytree(BUNDLES / bundle, root / "bundle", ignore=shutil.ignore_patterns("models"))
    values = {**VALUES, "dataset_dir": str(root / "data"), **values}
    algo = MonaiAlgo(
        str(root / "bundle"),
        config_train_filename=FILES,
        train_kwargs=dict(values),
        config_evaluate_filename=FILES if evaluate else None,
        eval_kwargs=dict(values),
    )
    algo.initialize({ExtraItems.CLIENT_NAME: root.name})
    return algo


def weights_of(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """Two clients, three rounds of averaging, and what was seen in them."""
    root = tmp_path_factory.mktemp("federation")
    clients = [client(root / name, seed, num_labeled=1) for name, seed in (("a", 0), ("b", 100))]
    rates: list[list[float]] = [[], []]
    teachers: list[list[dict]] = [[], []]
    for algo, own_rates, own_teachers in zip(clients, rates, teachers, strict=True):
        trainer = algo.trainer
        trainer.add_event_handler(
            Events.ITERATION_STARTED,
            lambda engine, own_rates=own_rates: own_rates.append(engine.optimizer.param_groups[0]["lr"]),
        )
        trainer.add_event_handler(
            Events.STARTED,
            lambda engine, own_teachers=own_teachers: own_teachers.append(weights_of(engine.teacher)),
        )
    weights = weights_of(clients[0].trainer.network)
    sent = []
    scores = []
    for _ in range(ROUNDS):
        sent.append(weights)
        updates = []
        for algo in clients:
            algo.train(ExchangeObject(weights={name: value.clone() for name, value in weights.items()}))
            updates.append(algo.get_weights().weights)
        weights = {
            name: value + sum(update[name] for update in updates) / len(updates) for name, value in weights.items()
        }
        scores.append([algo.evaluate(ExchangeObject(weights=weights)).metrics for algo in clients])
    return root, clients, rates, teachers, sent, weights, scores


def test_the_learning_rate_falls_over_all_rounds(federation):
    _, clients, rates, *_ = federation
    steps = ROUNDS * VALUES["epoch_length"]
    expected = [0.001 * (1 - step / steps) ** 0.9 for step in range(steps)]
    assert rates[0] == pytest.approx(expected) and rates[1] == pytest.approx(expected)
    assert [algo.trainer.state.iteration for algo in clients] == [steps, steps]


def test_the_teacher_follows_the_aggregated_weights(federation):
    _, clients, _, teachers, sent, *_ = federation
    for own in teachers:
        assert len(own) == ROUNDS
        for teacher, weights in zip(own, sent, strict=True):
            assert_same(teacher, weights)
    # the clients' images differ, and so does what they learned; in the round the teacher moved on
    networks = [weights_of(algo.trainer.network) for algo in clients]
    assert differ(networks[0], networks[1]) and differ(sent[0], sent[1])
    assert differ(weights_of(clients[0].trainer.teacher), sent[-1])


def test_the_models_are_the_trained_ones(federation):
    root, clients, *_ = federation
    for algo in clients:
        best, final = (
            algo.get_weights({ExtraItems.MODEL_TYPE: kind}).weights
            for kind in (ModelType.BEST_MODEL, ModelType.FINAL_MODEL)
        )
        assert_same(best, algo.trainer.teacher.state_dict())
        assert_same(final, algo.trainer.network.state_dict())
    for name in "ab":
        # nothing is set aside between rounds, and the configuration is as it came
        assert not (root / name / "bundle" / "earlier").exists()
        for file in FILES:
            text = (root / name / "bundle" / file).read_text()
            assert text == (BUNDLES / "chase_vessel_segmentation" / file).read_text()


def test_evaluation_sees_what_training_saw(federation):
    """The scores of the host's evaluation are those of the training's own validation, with the same weights."""
    _, clients, *_, weights, scores = federation
    for algo, of_client in zip(clients, scores[-1], strict=True):
        algo.trainer.teacher.load_state_dict(weights)
        evaluator = algo.train_workflow.parser.get_parsed_content("validate#evaluator")
        evaluator.run()
        assert evaluator.state.metrics == pytest.approx(of_client, nan_ok=True) and "mean_iou" in of_client
    # each client scores its own images
    assert scores[-1][0] != scores[-1][1]


def test_rounds_beyond_the_schedule_are_refused(federation):
    _, clients, *_, weights, _ = federation
    with pytest.raises(ValueError, match="ends after 4 epochs, but the learning rate falls to 0 over `max_epochs`=3"):
        clients[0].train(ExchangeObject(weights=weights))
    for algo in clients:
        algo.finalize()


@pytest.mark.parametrize("method", ["mean_teacher", "fixmatch"])
def test_a_client_without_any_label(tmp_path, method):
    values = {"num_labeled": 0, "supervised_weight": 0.0, "confidence_threshold": 0.0, "max_epochs": 1}
    algo = client(tmp_path, 7, evaluate=False, method=method, **values)
    shutil.rmtree(tmp_path / "data" / "labels")  # none is opened, none need be there
    (tmp_path / "data" / "split.json").unlink(missing_ok=True)
    before = weights_of(algo.trainer.network)
    algo.train(ExchangeObject(weights=before))
    assert algo.trainer.state.optimizer_steps == 2 and algo.trainer.state.output["pred"].shape[0] == 0
    assert float(algo.trainer.state.output["supervised_loss"]) == 0
    assert float(algo.trainer.state.output["unsupervised_loss"]) > 0
    assert differ(before, weights_of(algo.trainer.network))
    algo.finalize()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"method": "supmix", "supervised_weight": 0.0},
            "no donor images: the method pastes from labeled ones; a client of",
        ),
        ({"method": "fixmatch"}, "no labeled images, and `supervised_weight` is not 0: set it to 0, with a method"),
    ],
)
def test_what_needs_labels_is_refused(tmp_path, values, sentence):
    with pytest.raises((ValueError, RuntimeError)) as error:
        algo = client(tmp_path, 7, evaluate=False, num_labeled=0, **values)
        algo.train(ExchangeObject(weights=weights_of(algo.trainer.network)))
    chain = [error.value, error.value.__cause__, getattr(error.value.__cause__, "__cause__", None)]
    assert sentence in " ".join(map(str, chain))
