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

"""Bundles: where those of the package are, a copy to work on, one for each training, and running one."""

from __future__ import annotations

import logging
import re
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from monai_sscm.command_line import as_command_line, check_command_line, config_files, other_overrides, read_value
from monai_sscm.errors import override_fault
from monai_sscm.templates import BUNDLES, render_configs, set_values

if TYPE_CHECKING:
    from monai.bundle import ConfigWorkflow

__all__ = [
    "bundle_names",
    "bundle_root",
    "copy_bundle",
    "find_bundle",
    "find_weights",
    "opened_config",
    "render_bundles",
    "run_config",
    "write_run",
]


def bundle_names() -> list[str]:
    """
    Names of the bundles that come with the package.

    Example:
        >>> from monai_sscm.bundle import bundle_names
        >>> "chase_vessel_segmentation" in bundle_names()
        True
    """
    return sorted(path.parent.parent.name for path in _root().glob("*/configs/metadata.json"))


def find_bundle(name: str | Path) -> str:
    """
    The folder of a bundle.

    Args:
        name: name of a bundle that comes with the package, or the folder of another, such as a copy or a training's.

    Raises:
        ValueError: when there is none.

    Example:
        >>> from pathlib import Path
        >>> from monai_sscm.bundle import find_bundle
        >>> (Path(find_bundle("chase_vessel_segmentation")) / "configs" / "inference.yaml").is_file()
        True
    """
    if str(name) in bundle_names():
        return str(_root() / name)
    if not (Path(name) / "configs" / "train.yaml").is_file():
        raise ValueError(
            f"There is no bundle {str(name)!r}: choose one of {', '.join(bundle_names())}, or the folder of a bundle, "
            "which has configs/train.yaml."
        )
    return str(Path(name).resolve())


def find_weights(source: str | Path) -> str:
    """
    The file of weights that somebody means.

    Args:
        source: name of a bundle that comes with the package; the folder of another, or of a training, whose result is
            taken or, while there is none, its last checkpoint; or the file itself.

    Raises:
        FileNotFoundError: when there is none.

    Example:
        >>> from monai_sscm.bundle import find_weights
        >>> find_weights("chase_vessel_segmentation").endswith("models/model.pt")
        True
    """
    path = _root() / source if str(source) in bundle_names() else Path(source)
    files = [path, path / "models" / "model.pt", path / "states" / "last.pt"]
    found = [file for file in files if file.is_file()]
    if not found:
        raise FileNotFoundError(
            f"There are no weights {str(source)!r}: give one of {', '.join(bundle_names())}, the folder of a bundle or "
            "of a training, or a file of weights."
        )
    return str(found[0].resolve())


def copy_bundle(name: str, folder: str | Path) -> str:
    """
    Copy a bundle, to change its configuration. The copy is run in its folder, as MONAI's bundles are, and has weights
    of its own.

    Args:
        name: name of the bundle.
        folder: folder that becomes the copy; must not exist.

    Returns:
        the folder.

    Raises:
        ValueError: when there is no such bundle.
        FileExistsError: when the folder exists.
    """
    source = find_bundle(name)
    if Path(folder).exists():
        raise FileExistsError(f"{str(folder)!r} exists: choose a folder that does not.")
    shutil.copytree(source, folder)
    return str(folder)


def render_bundles() -> None:
    """Write the configurations of the shipped bundles anew from their templates."""
    for name in BUNDLES:
        for file, text in render_configs(name).items():
            (_root() / name / "configs" / file).write_text(text, "utf-8")


def bundle_root(name: str) -> str:
    """
    The folder of the bundle whose configuration is run: that of the command's configuration file, wherever it is
    typed; in another program the current folder, or the first that Python imports from, where MONAI Deploy and MONAI
    Label put a bundle's folder, if it has a bundle of this name, else that of the package.

    Args:
        name: name of the bundle.

    Raises:
        ValueError: when there is none.
    """
    files = config_files()
    if files and Path(files[0]).parent.name == "configs":
        return str(Path(files[0]).resolve().parents[1])
    named = re.compile(rf"^bundle_name: *([\"']?){re.escape(name)}\1 *(#.*)?$", re.MULTILINE)
    # not further down the path, where MONAI leaves the folders of bundles that ran before
    for folder in (Path.cwd(), Path(sys.path[0])):
        config = folder / "configs" / "inference.yaml"
        if config.is_file() and named.search(config.read_text("utf-8", errors="replace")):
            return str(folder.resolve())
    return find_bundle(name)


def run_config(files: Sequence[str | Path], options: Mapping[str, Any]) -> None:
    """
    Run a bundle's configuration in this process, as ``python -m monai.bundle run`` does, without MONAI's summary of it.

    Logging stays as this process has set it up.

    Args:
        files: configuration files of a bundle, each on top of those before it.
        options: values that replace theirs, of the type they have there, or as text.

    Raises:
        ValueError: when the configuration has no value of an option's name.
        RuntimeError: MONAI's, when an option or a file is wrong; see :py:func:`monai_sscm.errors.root_cause`.
        SystemExit: when a signal stopped a training, or an image was left out.

    Example:
        >>> from monai_sscm.bundle import find_bundle, run_config
        >>> config = find_bundle("chase_vessel_segmentation") + "/configs/inference.yaml"
        >>> run_config([config], {"input": "images", "output_dir": "masks"})  # doctest: +SKIP
    """
    with opened_config(files, options) as workflow:
        workflow.initialize()
        workflow.run()
        workflow.finalize()


@contextmanager
def opened_config(files: Sequence[str | Path], options: Mapping[str, Any]) -> Iterator[ConfigWorkflow]:
    """
    A bundle's configuration, as :py:func:`run_config` runs it, to take parts of it:
    ``workflow.parser.get_parsed_content("evaluator")``.

    Args, Raises: as :py:func:`run_config`.
    """
    from monai.bundle import ConfigWorkflow  # not at the top: commands that only name bundles are quick

    from monai_sscm.options import OPTIONS

    paths = [str(path) for path in files]
    # what is declared is read from its text when the options are checked
    values = {k: v if k in OPTIONS or not isinstance(v, str) else read_value(v) for k, v in options.items()}
    kind = "train" if Path(paths[0]).name == "train.yaml" else "infer"
    with as_command_line(paths, options), _without_summaries():
        check_command_line()
        try:
            yield ConfigWorkflow(paths, workflow_type=kind, logging_file=False, **values)
        except Exception as e:
            fault = override_fault(e)
            if fault is None:
                raise
            raise ValueError(fault) from e


@contextmanager
def _without_summaries() -> Iterator[None]:
    loggers = [logging.getLogger(f"monai.bundle.{name}") for name in ("scripts", "workflows")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="parsing config_file")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def write_run(root: str | Path, options: Mapping[str, Any]) -> None:
    """
    Make a training's folder a bundle: with the configurations of the bundle that is trained, and the values that it is
    trained with, what else the command line overrides among them. There, ``configs/inference.yaml`` uses the result and
    ``configs/train.yaml`` goes on.

    Args:
        root: folder of the bundle that is trained.
        options: its options; the training's folder is ``output_dir``.
    """
    from monai_sscm.io.writing import write_whole  # not at the top: commands that only name bundles are quick

    source, target = Path(root) / "configs", Path(options["output_dir"]) / "configs"
    if not (source / "train.yaml").is_file():
        return  # a configuration that is in no bundle
    target.mkdir(parents=True, exist_ok=True)
    # the device may be another next time
    values = {name: _as_yaml(value) for name, value in options.items() if name not in ("device", "resume")}
    values["dataset_dir"] = _as_yaml(str(Path(options["dataset_dir"]).resolve()))
    values["output_dir"] = "$@bundle_root"
    if Path(str(options.get("init_from"))).exists():
        values["init_from"] = _as_yaml(str(Path(options["init_from"]).resolve()))
    values |= {name: _as_yaml(value) for name, value in other_overrides(options).items()}
    for path in sorted(source.iterdir()):
        if path.suffix not in (".yaml", ".json", ".conf"):
            continue
        text = path.read_text("utf-8")
        if path.name == "train.yaml":
            written = {name: _as_yaml(value) for name, value in yaml.safe_load(text).items()}
            text = set_values(text, {k: v for k, v in values.items() if written.get(k) != v})
        write_whole(target / path.name, lambda part, text=text: part.write_text(text, "utf-8"))  # type: ignore[misc]


def _as_yaml(value: Any) -> str:
    """A value on one line."""
    return yaml.safe_dump([value], default_flow_style=True, width=10**6).strip()[1:-1]


def _root() -> Path:
    return Path(next(iter(import_module("monai_sscm.bundles").__path__)))


if __name__ == "__main__":
    render_bundles()
