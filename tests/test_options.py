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

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from monai_sscm.bundle import bundle_names, find_bundle
from monai_sscm.options import OPTIONS, Options

#: good values of each option, as objects and as the text of a command line, with what they become
GOOD = {
    "num_labeled": [(2, 2), (0, 0), ("2", 2), (None, None), ("null", None), (3.0, 3)],
    "spatial_dims": [(2, 2), ("3", 3)],
    "class_names": [
        (["background", "vessel"], ["background", "vessel"]),
        (("a", "b"), ["a", "b"]),
        ("[background,artery,main vein]", ["background", "artery", "main vein"]),
        ("['a','b']", ["a", "b"]),
        ("background, main vein,artery", ["background", "main vein", "artery"]),
    ],
    "ignore_index": [(255, 255), ("-1", -1), ("null", None), (None, None)],
    "init_from": [("runs/first", "runs/first"), ("null", None)],
    "group_pattern": [("(p[0-9]+)_", "(p[0-9]+)_"), ("None", None)],
    "paste_classes": [(1, [1]), ("[1,2]", [1, 2]), ("1", [1]), ("foreground", "foreground"), ((0, 2), [0, 2])],
    "zoom": [("0.5", 0.5), (1, 1.0)],
    "patch_size": [("[32,32]", [32, 32]), ((32, 16, 8), [32, 16, 8])],
    "channels": [("[8,16]", [8, 16])],
    "strides": [("[2,2]", [2, 2]), ("2,2", [2, 2]), ([[2, 2, 1], 2], [[2, 2, 1], 2]), ("[[2,1]]", [[2, 1]]), (2, [2])],
    "spacing": [(None, None), ("[1,0.5,3]", [1.0, 0.5, 3.0]), ("1,0.5,3", [1.0, 0.5, 3.0])],
    "intensity_range": [("[-1000,200]", [-1000.0, 200.0]), ("null", None)],
    "mirror_axes": [("[]", []), ((0, 2), [0, 2])],
    "turn": [("false", False)],
    "resume": [("true", True), ("False", False), (True, True)],
    "dataset_dir": [(2024, "2024"), ("data", "data")],
    "device": [("cpu", torch.device("cpu")), (torch.device("cpu"), torch.device("cpu"))],
    "amp": [(None, None), ("false", False)],
    "learning_rate": [("1e-3", 0.001), (0.1, 0.1)],
    "teacher_decay": [(0, 0.0), ("0.999", 0.999)],
    "shortest_side": [("null", None), (960, 960)],
    "field_of_view": [("null", None), ("find", "find")],
    "input": [("a.png", "a.png"), ("['a.png','b.png']", ["a.png", "b.png"]), (None, None), (7, "7")],
    "part": [("test", "test")],
}

#: values that no option of the kind takes
BAD = {
    "num_labeled": ["two", -1, 1.5, True, [2], "nan"],
    "spatial_dims": [1, 4, "2d", None],
    "in_channels": [0, None, "rgb"],
    "class_names": ["vessel", "vessel,", "a,,b", "a,a", ["one"], ["a", "a"], "[a", [["a"], ["b"]], 3, None],
    "ignore_index": ["none of them", 1.5, True, [255]],
    "init_from": [True, ["a", "b"]],
    "group_pattern": ["p[0-9]+", "(p", 3.5],
    "paste_classes": [-1, "vessel", [1, 1], [1.5], [], None],
    "paste_prob": [1.1, -0.1, "half"],
    "paste_margin": [-1, 2.5],
    "zoom": [0, -1, "big", float("inf"), float("nan")],
    "patch_size": [32, [0, 32], "[32,]x", [1, 2, 3, 4], ["a", "b"]],
    "channels": [[16], "big", [0, 1], None],
    "strides": [[], [0], ["a"], [[2, 0]], None],
    "spacing": [1.0, [1, 0], [1, 2, 3, 4], "mm"],
    "intensity_range": [[1, 1], [3, 1], 5, ["a", "b"]],
    "mirror_axes": [[3], [0, 0], "x", None],
    "batch_size": [0, "four"],
    "max_epochs": [0, -3, "ten", None],
    "learning_rate": ["abc", 0, -1],
    "seed": [-1, 2**32, "a"],
    "resume": ["yes", 1, None],
    "device": ["gpu", "cuda:99", 3.5],
    "teacher_decay": [1, 1.5, -0.1],
    "confidence_weighting": ["pixels", None],
    "part": ["valid", None],
    "weights": ["mean"],
    "overlap": [1.0],
    "slab": [0],
    "dataset_dir": [True, None, ["a"]],
    "save_overlays": ["1"],
}


@pytest.mark.parametrize(("name", "given", "expected"), [(n, *pair) for n, pairs in GOOD.items() for pair in pairs])
def test_text_and_objects_become_one_value(name, given, expected):
    value = Options(**{name: given})[name]
    assert value == expected and type(value) is type(expected)


@pytest.mark.parametrize(("name", "given"), [(n, value) for n, values in BAD.items() for value in values])
def test_wrong_values_are_refused_in_a_sentence(name, given):
    with pytest.raises(ValueError, match=f"^`{name}` must ") as error:
        Options(**{name: given})
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


def test_every_option_refuses_what_is_no_value_at_all():
    for name in OPTIONS:
        for value in (object(), {"a": 1}, "", [None]):
            with pytest.raises(ValueError, match=f"^`{name}` must "):
                Options(**{name: value})


@pytest.mark.parametrize("name", OPTIONS)
def test_whatever_is_typed_is_taken_or_refused_in_a_sentence(name):
    """Never by an error from inside a library."""
    texts = ["", " ", "null", "1e400", "nan", "0x10", "[", "]", "[[]]", "{}", "[1,2", "{a: b}", "@seed", "$1/0", "---"]
    texts += [
        "a\nb",
        "\0",
        "\udcff",
        "数",
        "(",
        "(?P<x>",
        "cuda:99",
        "meta",
        "9" * 20,
        "9" * 5000,
        "x" * 5000,
        "&a [*a]",
    ]
    texts += [
        "!!python/object:os.system",
        "2024-01-01",
        "[2024-01-01]",
        "[null]",
        "[true]",
        "1:30",
        "[" * 3000,
        "-",
        "- 1",
    ]
    objects = [None, True, 10**5000, [], [[]], {}, object(), b"x", {1}, (1, "a"), range(3), float("inf"), lambda: 1]
    objects += [
        np.float32(2),
        np.array([1, 2]),
        np.array([]),
        torch.tensor([1.0, 2.0]),
        Path("a"),
        [object()],
        iter([1]),
    ]
    for value in [*texts, *objects]:
        try:
            Options(**{name: value})
        except ValueError as error:
            assert str(error).startswith(f"`{name}` must be ") and len(str(error)) < 700, str(error)[:300]


def test_options_that_contradict_each_other():
    with pytest.raises(ValueError, match=r"`patch_size` must be multiples of 16, .* got \[100, 30\]: take \[96, 32\]"):
        Options(patch_size=[100, 30], size_multiple=16)
    # of the strides where nothing else is said, axis by axis
    Options(patch_size=[32, 32, 5], spatial_dims=3, strides=[[2, 2, 1], [2, 2, 1]])
    message = r"must be multiples of \[4, 4, 2\], axis by axis, .* got \[32, 30, 5\]: take \[32, 32, 4\]"
    with pytest.raises(ValueError, match=message):
        Options(patch_size=[32, 30, 5], spatial_dims=3, strides=[[2, 2, 1], 2])
    with pytest.raises(ValueError, match="must be multiples of 4, since"):
        Options(patch_size=[32, 30], strides=[2, 2])
    with pytest.raises(ValueError, match=r"Each list in `strides` must have 3 numbers, .* got \[\[2, 2\]\]"):
        Options(strides=[[2, 2]], spatial_dims=3)
    with pytest.raises(ValueError, match="`strides` must have one item fewer than `channels`, .8, 16, 32., got"):
        Options(strides=[2], channels=[8, 16, 32])
    with pytest.raises(ValueError, match="`mirror_axes` must be axes from 0 to 1"):
        Options(mirror_axes=[2], spatial_dims=2)
    with pytest.raises(ValueError, match="`size` and `spacing` both say how large"):
        Options(size=[8, 8], spacing=[1, 1], spatial_dims=2)
    with pytest.raises(ValueError, match=r"`patch_size` must have 3 numbers, as `spatial_dims` says, got \[32, 32\]"):
        Options(patch_size=[32, 32], spatial_dims=3)
    with pytest.raises(ValueError, match=r"`paste_classes` are indices of `class_names`, from 0 to 1, got \[2\]"):
        Options(paste_classes=[2], class_names=["a", "b"])


def test_options_are_a_mapping_and_have_attributes():
    options = Options(zoom=0.5, my_own="as it is", resume="true")
    assert dict(options) == {"zoom": 0.5, "my_own": "as it is", "resume": True} and len(options) == 3
    assert options.zoom == options["zoom"] == 0.5
    assert options.kept() == {"zoom": 0.5, "my_own": "as it is"}  # a resumed training need not agree on `resume`
    with pytest.raises(AttributeError, match="There is no option 'zooms' among zoom, my_own, resume"):
        _ = options.zooms


@pytest.mark.parametrize("bundle", bundle_names())
def test_every_option_of_the_bundles_is_declared_and_used(bundle):
    for file in ("train", "evaluate", "inference"):
        with open(f"{find_bundle(bundle)}/configs/{file}.yaml") as config:
            text = config.read()
        parsed = yaml.safe_load(text)
        names = set(parsed.get("options", parsed.get("+options"))) - {"_target_", "size_multiple"}
        assert names <= set(OPTIONS), names - set(OPTIONS)
        if file != "evaluate":
            unused = [name for name in names if f"@options.{name}" not in text]
            # what a training keeps of its own images, and the name of its folder
            assert unused == [], unused


def test_what_was_typed_is_taken_where_the_command_line_made_a_number_of_it(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/lib/monai/bundle/__main__.py", "run", "--output_dir", "2024_01_15", "--seed=7"])
    assert Options(output_dir=20240115, seed=7)._values == {"output_dir": "2024_01_15", "seed": 7}
    monkeypatch.setattr("sys.argv", ["/bin/host", "--output_dir", "2024_01_15"])
    assert Options(output_dir=20240115).output_dir == "20240115"


def test_an_input_that_is_there_is_a_path_whatever_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "[a]_scan.png").touch()
    assert Options(input="[a]_scan.png").input == "[a]_scan.png"
