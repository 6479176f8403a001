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

"""
Throw damaged files, odd values and odd data sets at what reads them, and whole command lines at the commands.

    python benchmarks/fuzz.py [--cases 10000] [--commands 50] [--seed 0]

A case is good if it is taken, or refused in one sentence of this package. It is a fault if anything else is raised, if
it takes more than 10 seconds, or if files are lost. A command is good too if it ends with status 0 and its result is
there, or with another and a last line that says why. Every second command is given up to three values that a user may
well type, and must take them. Faults are printed, each with the seed of its case.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from PIL import Image

from monai_sscm.cli import main as cli
from monai_sscm.data import semi_supervised_datalist
from monai_sscm.datasets import write_vessel_phantoms
from monai_sscm.errors import one_line, raised_here, root_cause
from monai_sscm.io import PictureReader, VolumeReader
from monai_sscm.methods import METHODS
from monai_sscm.options import OPTIONS, Options
from monai_sscm.study import markdown_table

RESULTS = Path(__file__).parent / "results" / "fuzz.json"
SECONDS = 10
ODD = [
    *(
        "",
        " ",
        "null",
        "None",
        "true",
        "0",
        "-1",
        "1e400",
        "nan",
        "inf",
        "0x10",
        "1_000",
        "1,5",
        "[",
        "]",
        "[]",
        "[[]]",
    ),
    *(
        "{}",
        "[1,2",
        "{a: b}",
        "@seed",
        "$1/0",
        "$None",
        "---",
        "!!python/object:os.system",
        "a\nb",
        "\0",
        "\udcff",
        "é",
    ),
    *("数", "(", "(a", "(?P<x>", "[0-9]+", "cpu", "cuda:99", "mps", "meta", "1e-3", "99999999999999999999", "[a,b]"),
    *("[1,2,3,4,5]", "[32,32]", "../..", "/", "x" * 5000, "&a [*a]", "&a [*a, *a]", "- 1", "2024-01-01", "[null]"),
    *("[true,false]", "1:30", "~", "0.1.2", "2", "[1,2]", "[2,2]", "[16,16,16]", "[[2,2,1],2]", "0.5", "3"),
]
OBJECTS: list[Any] = [
    None,
    True,
    -1,
    0,
    1.5,
    float("nan"),
    float("inf"),
    10**30,
    [],
    [[]],
    {},
    {"a": 1},
    object(),
    b"x",
    {1},
]
OBJECTS += [[None], ["a", 1], [[1, 2], 3], (1, 2), range(3), np.float32(2), np.array([1, 2]), lambda: 1]


def mutate(data: bytes, draw: random.Random) -> bytes:
    """The bytes of a file with one to three faults."""
    content = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        # most faults matter in the header
        place = draw.randrange(max(1, min(len(content), draw.choice([16, 400, len(content) or 1]))))
        kind = draw.randrange(6)
        if kind == 0 and content:
            content[place : place + 1] = bytes([draw.randrange(256)])
        elif kind == 1:
            del content[place:]
        elif kind == 2:
            content[place : place + draw.randint(1, 64)] = bytes(draw.randint(0, 64))
        elif kind == 3:
            content[place:place] = draw.randbytes(draw.randint(1, 64))
        elif kind == 4:
            content[place : place + 4] = draw.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"])
        else:
            content += draw.randbytes(draw.randint(1, 2000))
    return bytes(content)


def write_originals(folder: Path) -> list[Path]:
    """One good file of each kind."""
    random_ = np.random.RandomState(0)
    colors = Image.fromarray(random_.randint(0, 256, (20, 30, 3)).astype(np.uint8))
    for name in ("rgb.png", "rgb.jpg", "rgb.tif", "rgb.bmp"):
        colors.save(folder / name)
    colors.convert("P").save(folder / "palette.png")
    colors.convert("L").save(folder / "gray.png")
    Image.fromarray(random_.randint(0, 60000, (20, 30)).astype(np.uint16)).save(folder / "deep.png")
    volume = sitk.GetImageFromArray(random_.randint(-1000, 1000, (4, 10, 12)).astype(np.int16))
    for name in ("scan.nii", "scan.nii.gz", "scan.mha", "scan.nrrd"):
        sitk.WriteImage(volume, str(folder / name))
    sitk.WriteImage(volume[:, :, 0], str(folder / "slice.dcm"))
    return sorted(folder.iterdir())


def read_damaged(folder: Path, originals: list[Path], draw: random.Random) -> None:
    original = draw.choice(originals)
    path = folder / ("damaged" + "".join(original.suffixes))
    path.write_bytes(mutate(original.read_bytes(), draw))
    if original.suffix in (".png", ".jpg", ".tif", ".bmp"):
        reader: Any = PictureReader(palette=draw.choice(["indices", "colors"]))
    else:
        reader = VolumeReader(mask=draw.random() < 0.5)
    array, _ = reader.get_data(reader.read(str(path)))
    if array.size > 10**8:
        raise MemoryError(f"an array of {array.shape}")


def check_option(folder: Path, originals: list[Path], draw: random.Random) -> None:
    names = draw.sample(sorted(OPTIONS), draw.choice([1, 1, 4]))
    if draw.random() < 0.2:
        names = ["spatial_dims", "patch_size", "channels", "strides", "mirror_axes", "size", "spacing", "paste_classes"]
    values = {}
    for name in names:
        kind = draw.randrange(3)
        value = draw.choice(OBJECTS) if kind == 0 else draw.choice(ODD)
        if kind == 2:
            characters = "[]{}()0123456789.,-+e:'\"ax $@&*!?\n\t"
            value = "".join(draw.choice(characters) for _ in range(draw.randint(1, 12)))
        values[name] = (
            value if len(names) < 8 else draw.choice(["2", "3", "[1,2]", "[2,2]", "[16,16]", "[1,1,1]", "null"])
        )
    Options(**values)


def list_odd(folder: Path, originals: list[Path], draw: random.Random) -> None:
    """List a data set whose names, split, groups or list are odd; no patient may be on two sides."""
    root = folder / "data"
    shutil.rmtree(root, ignore_errors=True)
    odd = draw.random() < 0.5
    heads = ["p1", "p2", "p3", *(["P2", "a", "7", "x y", "é"] if odd else [])]
    tails = ["_1", "_2", "_3", *(["", "_mask", ".b"] if odd else [])]
    names = list(dict.fromkeys(draw.choice(heads) + draw.choice(tails) for _ in range(6)))
    suffixes = [".png"] * 9 + ([".PNG", ".jpg", ".nii.gz", ".txt", ""] if odd else [])
    for part in ("images", "labels", "unlabeled_images"):
        (root / part).mkdir(parents=True)
    for i, name in enumerate(names):
        for part in draw.choice([["images", "labels"], ["images", "labels"], ["unlabeled_images"], ["images"]]):
            (root / part / (name + draw.choice(suffixes))).write_bytes(bytes([i]) * 9)
    listed = sorted({path.stem for path in (root / "labels").iterdir()})
    if draw.random() < 0.6:
        some = names if odd else listed
        parts = [draw.choice(["train", "train", "val", "test"]) for _ in some]
        split: dict[str, Any] = {part: [n for n, p in zip(some, parts, strict=True) if p == part] for part in parts}
        if draw.random() < 0.4 and some:
            split["kept_together"] = [draw.sample(some, min(2, len(some)))]
        text = json.dumps(split).encode()
        (root / "split.json").write_bytes(mutate(text, draw) if draw.random() < 0.2 else text)
    elif draw.random() < 0.5:
        entries = [{"image": f"images/{n}.png", "label": f"labels/{n}.png"} for n in listed]
        groups = [draw.choice(["p", 1, None, []]) if odd else n for n in listed]
        entries = [{**e, "group": group} for e, group in zip(entries, groups, strict=True)]
        (root / "datalist.json").write_text(json.dumps({"training": entries[1:], "validation": entries[:1]}))
    pattern = draw.choice([None, None, None, "(p[0-9])", "(p?[0-9]?)", "(..)", "(?i)(p.)", "(.+)_", "p", "("])
    lists = semi_supervised_datalist(root, draw.choice([None, 1, 2]), 0, pattern, val_fraction=draw.choice([0.0, 0.4]))
    used = [item["image"] for items in lists.values() for item in items]
    sides = [
        {item["group"] for item in items}
        for items in (lists["labeled"] + lists["unlabeled"], lists["val"], lists["test"])
    ]
    if len(set(used)) < len(used) or sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2]:
        raise AssertionError("an image is in two lists, or a patient on two sides")


OF_PREDICT = ["overlap", "sw_batch_size", "save_probabilities", "save_overlays", "zoom", "shortest_side", "patch_size"]
OF_PREDICT += ["field_of_view", "device", "weights", "checkpoint", "class_names", "in_channels"]
# values that must be taken, with any others of the same command
GOOD: dict[str, dict[str, list[str]]] = {
    "train": {
        "num_labeled": ["1", "2"],
        "method": list(METHODS),
        "paste_classes": ["[1]", "foreground", "random_half"],
        "paste_prob": ["0", "0.5", "1"],
        "paste_margin": ["0", "3"],
        "keep_class_shares": ["true", "false"],
        "zoom": ["0.5", "1.5"],
        "patch_size": ["[32,32]", "[16,48]", "[64,16]"],
        "mirror_axes": ["[]", "[0]", "[1]", "[0,1]"],
        "turn": ["true", "false"],
        "rotate_range": ["[0]", "[180]", "[7.5]"],
        "scale_range": ["[1,1]", "[0.5,2]"],
        "labeled_crop": ["anywhere", "with_classes"],
        "donor_crop": ["anywhere", "with_classes"],
        "align_donors": ["true", "false"],
        "batch_size": ["1", "3"],
        "cache_gigabytes": ["0", "1.5"],
        "seed": ["0", "4294967295"],
        "init_from": ["null", "chase_vessel_segmentation"],
        "amp": ["null", "true", "false"],
        "device": ["cpu"],
        "learning_rate": ["1e-3", "0.1"],
        "weight_decay": ["0", "1e-2"],
        "teacher_decay": ["0", "0.999"],
        "confidence_threshold": ["0", "0.5", "1"],
        "confidence_weighting": ["image", "pixel"],
        "supervised_weight": ["0.5", "2"],
        "unsupervised_weight": ["0", "3"],
        "rampup_steps": ["0", "1000"],
        "adversarial_weight": ["0", "0.1"],
        "adversarial_interval": ["1", "7"],
        "update_model": ["true", "false"],
        "val_interval": ["1", "3"],
    },
    "predict": {
        "overlap": ["0", "0.25", "0.75"],
        "sw_batch_size": ["1", "5"],
        "save_probabilities": ["true", "false"],
        "save_overlays": ["true", "false"],
        "weights": ["teacher"],
        "field_of_view": ["null", "find"],
        "device": ["cpu"],
        "quality": ["true", "false"],
    },
    "evaluate": {
        "class_names": ["[background,vessel]", "[a,b]"],
        "within": ["data/labels"],
        "ignore_index": ["9"],
    },
    "plan": {
        "method": ["supervised", "supmix_cutmix"],
        "seed": ["3"],
        "num_labeled": ["1", "2"],
        "max_epochs": ["3"],
        "batch_size": ["2"],
        "class_names": ["[background,vessel]"],
    },
}
KINDS: dict[str, Callable[[Path, list[Path], random.Random], None]] = {
    "damaged file": read_damaged,
    "option": check_option,
    "data set": list_odd,
}


def run_cases(number: int, seed: int) -> tuple[Counter, list[str]]:
    """Outcomes by kind, and the faults."""
    outcomes: Counter = Counter()
    faults = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "originals").mkdir()
        originals = write_originals(folder / "originals")
        before = {path: path.read_bytes() for path in originals}
        for case in range(number):
            draw = random.Random(f"{seed} {case}")
            kind = list(KINDS)[case % len(KINDS)]
            start, outcome = time.process_time(), "taken"
            try:
                KINDS[kind](folder, originals, draw)
            except Exception as e:
                cause = root_cause(e)
                foreseen = raised_here(cause) and isinstance(cause, (ValueError, OSError))
                outcome = "refused" if foreseen else "fault"
                if not foreseen:
                    faults.append(f"{kind}, seed {seed} {case}: {type(cause).__name__}: {one_line(cause, 150)}")
            if time.process_time() - start > SECONDS:
                outcome = "fault"
                faults.append(f"{kind}, seed {seed} {case}: {time.process_time() - start:.0f} s")
            outcomes[kind, outcome] += 1
        if {path: path.read_bytes() for path in originals} != before:
            faults.append("originals were changed")
    return outcomes, faults


def run_command(words: list[str], folder: Path) -> tuple[int, str, float]:
    """
    A whole command line, in a process that has imported all: its exit status (of a signal negative), what it wrote to
    stderr, and the seconds of a processor that it took; more than a minute ends it.
    """
    outputs = [folder / "stdout.txt", folder / "stderr.txt"]
    child = os.fork()
    if child == 0:
        for number, path in enumerate(outputs, 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
        sys.argv = ["monai-sscm", *words]
        status: Any = 0
        try:
            cli.main()
        except SystemExit as e:
            status = e.code
        except BaseException as e:
            sys.excepthook(type(e), e, e.__traceback__)
            status = 1
        if isinstance(status, str):
            print(status, file=sys.stderr)
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status if isinstance(status, int) else int(status is not None))
    _, ended, used = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(ended), outputs[1].read_text(errors="replace"), used.ru_utime + used.ru_stime


def odd_words(command: str, draw: random.Random) -> list[str]:
    """An option of any command, with an odd value."""
    others = ["max_epoch", "datalist", "zoon", "lr_scheduler#power"]
    option = draw.choice(sorted(OPTIONS) if draw.random() < 0.8 else others)
    if command == "predict" and draw.random() < 0.8:
        option = draw.choice(OF_PREDICT)
    if command == "evaluate":
        option = draw.choice(["class_names", "ignore_index", "part", "within", "output_dir"])
    # neither surrogates nor zeros can be typed
    return [f"--{option}", draw.choice([value for value in ODD if "\0" not in value and "\udcff" not in value])]


def run_commands(number: int, seed: int) -> tuple[Counter, list[str]]:
    """Outcomes by command, and the faults."""
    outcomes: Counter = Counter()
    faults = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data"
        write_vessel_phantoms(data, num_train=3, num_val=1, num_test=1, size=32)
        before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
        for case in range(number):
            draw = random.Random(f"{seed} command {case}")
            command = draw.choice(["train", "plan", "predict", "evaluate"])
            out = folder / f"out{case}"
            valid = case % 2 == 1
            if valid:
                chosen = draw.sample(sorted(GOOD[command]), draw.randint(1, 3))
                words = [word for name in chosen for word in (f"--{name}", draw.choice(GOOD[command][name]))]
            else:
                words = odd_words(command, draw)
            # images without masks, which most methods need
            some = [] if "--num_labeled" in words or not valid else ["--num_labeled", "2"]
            if command == "train":
                given = [str(data), "--output_dir", str(out), "--max_epochs", "1", "--epoch_length", "1", *some]
                result = out / "models" / "model.pt"
            elif command == "plan":
                given, result = [str(data), "--to", str(out), *some], out / "configs" / "train.yaml"
            elif command == "predict":
                given = [str(data / "images" / "phantom_01.png"), "--model", "chase_vessel_segmentation"]
                given += ["--output_dir", str(out), *([] if "--shortest_side" in words else ["--shortest_side", "96"])]
                result = out / "phantom_01_seg.png"
            else:
                masks = data / ("labels" if valid else draw.choice(["labels", "images", "none"]))
                given = [str(masks), str(data / "labels")]
                if "--output_dir" in words:
                    out = folder / words[-1]
                else:
                    given += ["--output_dir", str(out)]
                result = out / "metrics.csv"
            words = [*given, *words]
            status, errors, seconds = run_command([command, *words], folder)
            last = (errors.strip().splitlines() or [""])[-1]
            good = result.exists() if status == 0 else "rror: " in last and not valid
            good = good and "Traceback" not in errors
            if not good:
                text = f"{command} {words[len(given) :]}: status {status}, {seconds:.0f} s, {last}"
                faults.append(f"command {case}: {one_line(ValueError(text), 300)}")
            kind = f"{command}, {'valid' if valid else 'odd'} values"
            outcomes[kind, "fault" if not good else "taken" if status == 0 else "refused"] += 1
            print(f"{case}: {command} {words[len(given) :]!r:.100} -> {status} ({seconds:.0f} s)", flush=True)
        if {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} != before:
            faults.append("files of the data set were changed")
    return outcomes, faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--commands", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    commands, faults = run_commands(args.commands, args.seed)
    cases, more = run_cases(args.cases, args.seed)
    seconds = round(time.perf_counter() - start)
    outcomes, faults = cases + commands, faults + more
    header = ["kind", "taken", "refused in a sentence", "faults"]
    rows = [
        [kind, *(str(outcomes[kind, outcome]) for outcome in ("taken", "refused", "fault"))]
        for kind in dict.fromkeys(kind for kind, _ in outcomes)
    ]
    print(markdown_table(header, rows), *faults, f"{seconds} s", sep="\n")
    RESULTS.write_text(
        json.dumps({**vars(args), "seconds": seconds, "rows": rows, "faults": faults}, indent=1) + "\n", "utf-8"
    )
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
