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

import csv

import numpy as np
import pytest
from PIL import Image

from monai_sscm.cli.main import main
from monai_sscm.io.writing import write_label_descriptions


def test_a_table_and_a_file(tmp_path, capsys):
    """Two photographs: of one a lesion is missed, of the other half of it is found."""
    for folder in ("masks", "labels"):
        (tmp_path / folder).mkdir()
    for name, rows in (("a", 0), ("b", 4)):
        for folder, ours in (("masks", rows), ("labels", 8)):
            mask = np.zeros((16, 16), np.uint8)
            mask[4 : 4 + ours, 4:8] = 255 if folder == "labels" else 1
            Image.fromarray(mask).save(tmp_path / folder / f"{name}{'_seg' * (folder == 'masks')}.png")
    words = ["evaluate", str(tmp_path / "masks"), str(tmp_path / "labels"), "--class_names", "[nothing, lesion]"]
    main([*words, "--output_dir", str(tmp_path / "scores")])
    lines = capsys.readouterr().out.splitlines()
    heading = "class   cases  Dice, %  IoU, %  HD95, pixels  pooled: Dice, %  IoU, %  missed in  invented in"
    assert lines[0] == heading
    assert lines[1].split() == ["lesion", "2", "33.3", "25.0", "4.0", "40.0", "25.0", "1", "0"]
    assert lines[2] == f"Scores of every case are in {str(tmp_path / 'scores' / 'metrics.csv')!r}."
    with open(tmp_path / "scores" / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["class"], row["dice"], row["hd95"]) for row in rows] == [
        ("a", "lesion", "0.0", "nan"),
        ("b", "lesion", rows[1]["dice"], "4.0"),
    ]
    assert float(rows[1]["dice"]) == pytest.approx(2 / 3)
    main(words)
    assert (tmp_path / "masks" / "metrics.csv").read_text() == (tmp_path / "scores" / "metrics.csv").read_text()


def test_a_part_and_names_that_predict_wrote(tmp_path, capsys):
    for name in "ab":
        for folder in ("images", "labels"):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 1).save(tmp_path / "data" / folder / f"{name}.png")
    (tmp_path / "data" / "split.json").write_text('{"train": ["a"], "test": ["b"]}')
    (tmp_path / "masks").mkdir()
    Image.new("L", (8, 8), 1).save(tmp_path / "masks" / "b_seg.png")
    write_label_descriptions(["background", "main vein"], tmp_path / "masks" / "labels.txt")
    words = ["evaluate", str(tmp_path / "masks"), str(tmp_path / "data")]
    with pytest.raises(FileNotFoundError, match="1 of 2 true masks have no prediction .* give --part if they are of"):
        main(words)
    main([*words, "--part", "test"])
    assert capsys.readouterr().out.splitlines()[1].split()[:4] == ["main", "vein", "1", "100.0"]
    main([*words, "--part", "test", "--class_names", "nothing,vessel"])
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["vessel", "1", "100.0"]
