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

"""``monai-sscm train``: a folder of images and masks in, a trained bundle out."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .arguments import add_command

__all__ = ["add_parser", "run"]

# besides those that are not kept with the weights, what a training may be given anew when it goes on
_NOT_COMPARED = ("device", "resume")
_COMPARED = ("dataset_dir", "seed", "epoch_length", "max_epochs")


def add_parser(subparsers: Any) -> None:
    """Add the command ``train``."""
    parser = add_command(
        subparsers,
        "train",
        "train on a folder of images, with masks for some: look at it, plan, train; the same command again goes on",
        "any value of the training, such as --max_epochs 60, --method classmix, --class_names background,vessel",
    )
    parser.add_argument("dataset_dir", metavar="FOLDER", help="folder of the data set, or its list (.json)")
    parser.add_argument(
        "--output_dir", metavar="RUN", help="folder of the training, which becomes a bundle; else runs/<folder's name>"
    )
    parser.set_defaults(func=run)


def run(dataset_dir: str, output_dir: str | None, options: Mapping[str, str]) -> None:
    """
    Run the command.

    Args:
        dataset_dir: folder of the data set, or its list.
        output_dir: folder of the training. None: ``runs/<folder's name>``.
        options: values of the configuration, as text.

    Raises:
        ValueError: when an option is wrong, or the folder holds another training.
        SystemExit: with status 130 after Ctrl-C.
    """
    from monai_sscm.bundle import run_config

    data = Path(dataset_dir).resolve()
    folder = Path(output_dir) if output_dir else Path("runs") / data.name.removesuffix(".json")
    files = [folder / "configs" / "train.yaml"]
    config = _read(files[0])
    _check_options(options, config, files[0])
    values: dict[str, Any] = {**options, "dataset_dir": str(data), "output_dir": str(folder)}
    if config is None:
        _plan(data, folder, options)
    elif options.get("resume", "true").strip().lower() != "false" and _goes_on(folder, config, data, options):
        values["resume"] = "true"
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        files.append(files[0].with_name("multi_gpu_train.yaml"))
    # of a data set that was moved, the checkpoint handler sees whether it is the same
    goes_on = config is not None and values.get("resume") == "true" and _trained_on(config) == data
    if config is not None and goes_on and _is_finished(folder, config, options):
        if _speaks():
            print(f"The training in {str(folder)!r} is finished. Its result: {folder / 'models' / 'model.pt'}.")
            print(f"Next: monai-sscm predict IMAGES --model {shlex.quote(str(folder))} --output_dir masks")
        return
    try:
        run_config(files, values)
    except SystemExit as stopped:
        if stopped.code in (130, 143) and _speaks():
            print("The same command goes on from there.", file=sys.stderr)
        raise


def _read(path: Path) -> dict[str, Any] | None:
    """A configuration; None where there is none yet."""
    import yaml

    return yaml.safe_load(path.read_text("utf-8")) if path.is_file() else None


def _check_options(options: Mapping[str, str], config: Mapping[str, Any] | None, path: Path) -> None:
    """Refuse what the configuration has no value for, or cannot be, before anything is written."""
    import yaml

    from monai_sscm.command_line import no_such_option, refuse_text_for_part
    from monai_sscm.options import OPTIONS
    from monai_sscm.templates import KINDS, render_configs

    known, where = dict(config or {}), str(path)
    if config is None:
        where = "the configuration of a training"
        for kind in KINDS:
            of_kind = yaml.safe_load(render_configs(kind)["train.yaml"])
            known = {**known, **of_kind, "options": {**known.get("options", {}), **of_kind["options"]}}
    for option, text in options.items():
        name = option.replace("::", "#").partition("#")[0]
        if name not in known and not any(f"@{name}" in value for value in options.values()):
            raise no_such_option(name, known, where)
        if name in ("dataset_dir", "bundle_root"):
            raise ValueError(f"Leave out `--{name}`: the command's own arguments say it.")
        refuse_text_for_part(option, text, known, where)
        if option in OPTIONS and not text.startswith(("$", "@")):
            OPTIONS[option](option, text)


def _plan(data: Path, folder: Path, options: Mapping[str, str]) -> None:
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ValueError(
            f"Plan before several processes train: `monai-sscm plan {shlex.quote(str(data))} --to "
            f"{shlex.quote(str(folder))}`, then the same command again."
        )
    from monai_sscm.options import OPTIONS
    from monai_sscm.planning import plan_bundle

    # what is further down, such as lr_scheduler#power, is no matter of a plan
    values = {name: text for name, text in options.items() if name in OPTIONS and name not in _NOT_COMPARED}
    print(plan_bundle(str(data), folder, values).summary(), flush=True)


def _goes_on(folder: Path, config: Mapping[str, Any], data: Path, options: Mapping[str, str]) -> bool:
    """Whether there is a training to go on with; refuses one of other data or values."""
    from monai_sscm.command_line import read_value
    from monai_sscm.handlers import has_checkpoint
    from monai_sscm.options import OPTIONS

    started = has_checkpoint(folder)
    planned = (folder / "docs" / "plan.md").is_file()
    trained_on = _trained_on(config)
    if (started or planned) and trained_on != data and (trained_on.exists() or not started):
        raise ValueError(
            f"{str(folder)!r} is a training on {str(trained_on)!r}, not on {str(data)!r}: choose another "
            "`--output_dir`."
        )
    if not started:
        return False
    for name, text in options.items():
        option = OPTIONS.get(name)
        if name in _NOT_COMPARED or (option is not None and not option.kept and name not in _COMPARED):
            continue
        before = config.get(name)
        if option is None:
            value = read_value(text)
        else:
            value = option(name, text)
            before = before if isinstance(before, str) and before.startswith(("$", "@")) else option(name, before)
        longer = name == "max_epochs" and "resume" in options
        if value != before and not longer:
            more = f" `--resume true --max_epochs {text}` makes it longer." if name == "max_epochs" else ""
            raise ValueError(
                f"The training in {str(folder)!r} has {name}={before}, not {text}: leave `--{name}` out to go on with "
                f"it, or choose another `--output_dir` to start anew.{more}"
            )
    return True


def _trained_on(config: Mapping[str, Any]) -> Path:
    return Path(str(config["dataset_dir"])).resolve()


def _is_finished(folder: Path, config: Mapping[str, Any], options: Mapping[str, str]) -> bool:
    """Whether the training has done all its steps, and is to do no more."""
    from monai_sscm.networks import load_checkpoint

    if not (folder / "models" / "model.pt").is_file() or not (folder / "states" / "last.pt").is_file():
        return False
    try:
        counters = load_checkpoint(folder / "states" / "last.pt")["trainer"]
        epochs = int(options.get("max_epochs", config["max_epochs"]))
        return bool(counters["iteration"] == epochs * counters["epoch_length"])
    except (ValueError, KeyError, TypeError):
        return False  # the checkpoint handler says what is wrong


def _speaks() -> bool:
    """Of several processes, the first."""
    return int(os.environ.get("RANK", 0)) == 0
