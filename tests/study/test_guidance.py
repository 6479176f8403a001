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

"""A verdict on a folder: planned, dealt into folds, trained, judged; the trainings are made up but for one test's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from monai_sscm.cli.main import main
from monai_sscm.datasets import vessel_phantom, write_vessel_phantoms
from monai_sscm.io.files import image_name
from monai_sscm.study import Study, guide
from monai_sscm.study.guidance import CONTROL

TINY = {"channels": "4,8", "strides": "2", "max_epochs": "1", "epoch_length": "4"}


def write_eyes(folder: Path, patients: int, unlabeled: int = 3) -> Path:
    """Two photographs of each patient, with masks, and one without; photographs of other patients, without."""
    for part in ("images", "labels", "unlabeled_images"):
        (folder / part).mkdir(parents=True)
    for seed in range(patients + unlabeled):
        for side in "LRX" if seed < patients else "X":
            image, mask = vessel_phantom(32, 10 * seed + ord(side))
            where = "unlabeled_images" if side == "X" else "images"
            Image.fromarray(image).save(folder / where / f"p{seed}_{side}.png")
            if side != "X":
                Image.fromarray(mask * 255).save(folder / "labels" / f"p{seed}_{side}.png")
    return folder


@pytest.fixture
def made_up(monkeypatch):
    """Makes results up: by how many points the method is ahead, by patient; -1 for a training that fails."""
    gains: dict[str, float] = {}
    trained: list[tuple[str, list[str], list[str], list[str]]] = []
    real = Study._train_and_score

    def score(self, run):
        if gains.get("real") == self.output_dir.name:
            return real(self, run)
        lists = self._datalist({"num_labeled": run.num_labeled, "seed": run.seed})
        groups = [sorted({item["group"] for item in lists[part]}) for part in ("labeled", "unlabeled", "test")]
        trained.append((run.method, *groups))
        if gains.get("fails") == self.output_dir.name:
            raise OSError("no room")
        images = {}
        for item in lists["test"]:
            right = 50 + (gains.get(item["group"], gains.get("all", 0)) if run.method != CONTROL else 0)
            images[image_name(item["image"])] = [[900, 0], [100 - right, right]]
        row = {
            "method": run.method,
            "num_labeled": run.num_labeled,
            "seed": run.seed,
            "settings": self._settings(run.method),
            "num_validation": 0,
            "last": {"mean_iou": 0.5},
            "images": images,
            "patients": {image_name(item["image"]): item["group"] for item in lists["test"]},
            "curves": {"pseudo_weight": [[1, 0.5], [2, 0.6]]},
            "seconds": 60,
            "peak_memory_mb": 100,
            "versions": {"python": "3.11"},
        }
        with open(self.results_file, "a") as file:
            file.write(json.dumps(row) + "\n")
        return row

    monkeypatch.setattr(Study, "_train_and_score", score)
    return gains, trained


def test_patients_are_held_out_in_turn_and_a_gain_is_shown(made_up, tmp_path, capsys):
    gains, trained = made_up
    gains |= {f"p{k}": 10 + k for k in range(6)}
    data = write_eyes(tmp_path / "eyes", patients=6)
    verdict = guide(data, tmp_path / "out", hours=0.3, values=TINY)
    assert verdict.outcome == "ahead" and verdict.counts == "6 of 6 folds" and verdict.seeds == 1
    # Dice of 50 + 10 + k right pixels of 100, by hand
    expected = [100 * (2 * r / (100 + r) - 2 * 50 / 150) for r in range(60, 66)]
    assert list(verdict.patients.values()) == pytest.approx(expected)
    for _, labeled, unlabeled, scored in trained:
        assert len(scored) == 1 and scored[0] not in labeled and scored[0] not in unlabeled
        assert set(labeled) | set(scored) == {f"p{k}" for k in range(6)} and {"p6", "p7", "p8"} < set(unlabeled)
    assert [t[0] for t in trained] == ["supmix_cutmix", CONTROL] * 6
    page = (tmp_path / "out" / "verdict.md").read_text()
    assert page.startswith(f"# Verdict on eyes\n\n**{verdict.headline} (")
    assert f"monai-sscm train {data} " in page and "--method" not in page.partition("## Differences")[0]
    report = (tmp_path / "out" / "report.html").read_text()
    assert (
        "<h1>Verdict on eyes</h1>" in report
        and verdict.headline in report
        and "12 trainings, 0.2 hours" in report
        and "12 images" in report
    )
    assert "Compared: SupMix + CutMix and supervised + augmented batch. 6 patients" in capsys.readouterr().out
    # again: nothing is trained, the same is said; other values, or other images, are refused
    count = len(trained)
    assert guide(data, tmp_path / "out", hours=0.3, values=TINY) == verdict and len(trained) == count
    with pytest.raises(ValueError, match="choose another folder"):
        guide(data, tmp_path / "out", values={**TINY, "max_epochs": "2"})
    (data / "labels" / "p0_L.png").unlink()
    with pytest.raises(ValueError, match="have changed since"):
        guide(data, tmp_path / "out", values=TINY)


def test_behind_with_few_patients_names_the_other_command_and_claims_nothing(made_up, tmp_path, capsys):
    gains, _ = made_up
    gains["all"] = -20
    data = write_eyes(tmp_path / "my eyes", patients=3)
    verdict = guide(data, tmp_path / "out", hours=0.15, values=TINY)
    assert verdict.interval is None and verdict.headline.startswith("Not shown with 3 patients: -")
    assert "ahead in 0 of 3 folds" in verdict.headline
    assert "So few patients, 3, cannot show a difference" in capsys.readouterr().out
    page = (tmp_path / "out" / "verdict.md").read_text()
    command = re.search(r"```bash\n(.*)\n```", page)[1]
    assert command.startswith(f"monai-sscm train '{data}' --channels 4,8") and command.endswith(f"--method {CONTROL}")


def test_test_images_are_scored_where_there_are_some(made_up, tmp_path):
    gains, trained = made_up
    gains["all"] = 5
    write_vessel_phantoms(tmp_path / "data", num_train=4, num_val=1, num_test=5, size=32)
    for name in ("phantom_03", "phantom_04"):
        (tmp_path / "data" / "labels" / f"{name}.png").unlink()
    verdict = guide(tmp_path / "data", tmp_path / "out", hours=1, values=TINY)
    assert verdict.outcome == "ahead" and verdict.folds == {} and verdict.counts == "5 of 5 patients"
    assert len(trained) == 6 and all(len(scored) == 5 and len(labeled) == 2 for _, labeled, _, scored in trained)
    lines = (tmp_path / "out" / "fold_1" / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["seed"] for line in lines] == [0, 0, 1, 1, 2, 2]


def test_a_fold_that_fails_is_told_and_the_others_are_judged(made_up, tmp_path):
    gains = made_up[0]
    gains |= {"all": 10, "fails": "fold_2"}
    data = write_eyes(tmp_path / "eyes", patients=3)
    with pytest.raises(ChildProcessError, match=r"2 of 6 trainings failed; .*fold_2.*tries again"):
        guide(data, tmp_path / "out", hours=0.15, values=TINY)
    page = (tmp_path / "out" / "verdict.md").read_text()
    assert "Scored so far: 2 of 3 pairs" in page and "ahead in 2 of 2 folds" in page
    gains["fails"] = None
    assert guide(data, tmp_path / "out", hours=0.15, values=TINY).counts == "3 of 3 folds"


def test_where_there_is_nothing_to_compare_it_says_so_before_any_training(made_up, tmp_path):
    data = write_eyes(tmp_path / "eyes", patients=2, unlabeled=0)
    for path in (data / "unlabeled_images").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="There is nothing to compare: .* no images without masks") as refused:
        guide(data, tmp_path / "out", values=TINY)
    assert f"monai-sscm train {data}" in str(refused.value) and not (tmp_path / "out" / "bundle").exists()
    one = write_eyes(tmp_path / "one", patients=1)
    with pytest.raises(ValueError, match="One patient alone has masks"):
        guide(one, tmp_path / "out", values=TINY)
    with pytest.raises(ValueError, match="0.01 hours are too few"):
        guide(write_eyes(tmp_path / "two", patients=2), tmp_path / "out", hours=0.01, values=TINY)
    # without the held-out patient nothing would be left that has no mask
    with pytest.raises(ValueError, match="there are no images without masks to train on"):
        lonely = write_eyes(tmp_path / "lonely", patients=2, unlabeled=0)
        (lonely / "unlabeled_images" / "p1_X.png").unlink()
        guide(lonely, tmp_path / "out2", values=TINY)
    assert made_up[1] == []


def test_the_command_trains_for_real(made_up, tmp_path, monkeypatch):
    """One of two folds is trained."""
    gains, _ = made_up
    gains |= {"real": "fold_1", "all": 3}
    data = write_eyes(tmp_path / "eyes", patients=2)
    monkeypatch.chdir(tmp_path)
    main(["study", str(data), "--hours", "0.5", "--jobs", "2", "--values", *(f"{k}={v}" for k, v in TINY.items())])
    root = tmp_path / "runs" / "study_eyes"
    rows = [json.loads(line) for line in (root / "fold_1" / "results.jsonl").read_text().splitlines()]
    assert {row["method"] for row in rows} == {"supmix_cutmix", CONTROL}
    for row in rows:
        assert len(row["images"]) == 2 and len(set(row["patients"].values())) == 1 and row["num_labeled"] == 2
        assert row["settings"]["values"]["max_epochs"] == "1" and row["last"]["mean_iou"] > 0
    report = (root / "report.html").read_text()
    assert "Not shown with 2 patients" in report and "data:image/jpeg" in report
    assert not (root / ".lock").exists()
