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

"""Writing a bundle for MONAI's model zoo or for Hugging Face."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from monai_sscm.bundle import find_bundle
from monai_sscm.templates import set_values

from .documents import huggingface_card, unit_test, zoo_readme

__all__ = ["FORMS", "publish_bundle"]

#: where a bundle can go
FORMS = ("zoo", "huggingface")
_NEEDED = {
    "LICENSE": "the license of the weights",
    "docs/README.md": "what the model does and was trained on",
    "models/model.pt": "the weights, which a finished training writes",
    "models/settings.json": "how the network sees images, which a finished training writes",
}
#: what may be personal: file names, folders of this machine, earlier states
_KEPT = ("LICENSE", "docs/README.md", "docs/data_license.txt", "models/model.pt", "models/settings.json")
#: values that may be a place on this machine, and what stands there then, as YAML
_NEUTRAL = {"dataset_dir": "data", "init_from": "null"}
_LARGEST = 25 * 2**20


def publish_bundle(bundle: str | Path, folder: str | Path, form: str) -> str:
    """
    Write a bundle in the form that a place of models asks for.

    Beside each YAML configuration stands the same in JSON, so that :py:func:`monai.bundle.load` gives a network and
    default file names work. Folders of this machine are left out of the configurations, and so are logs, states and
    lists of files of a training.

    Args:
        bundle: name of a bundle that comes with the package, or the folder of another, such as a training's.
        folder: folder that is written, whole or not at all; must not exist.
        form: ``"zoo"``: its contents go over a checkout of MONAI's model zoo: ``models/<name>`` with the README's
            headings of the zoo, and ``ci/unit_tests/test_<name>.py``. ``"huggingface"``: the folder is the bundle, with
            a model card as ``README.md``; MONAI's ``push_to_hf_hub`` uploads it.

    Returns:
        the folder of the bundle in it.

    Raises:
        FileExistsError: when the folder exists.
        ValueError: when there is no such bundle or form, or the bundle lacks a file that is asked for.
        OSError: when it cannot be written.

    Example:
        >>> import tempfile
        >>> from monai_sscm.publishing import publish_bundle
        >>> root = publish_bundle("hippocampus_mr_segmentation", tempfile.mkdtemp() + "/zoo", "zoo")
        >>> root.endswith("/zoo/models/hippocampus_mr_segmentation")
        True
    """
    if form not in FORMS:
        raise ValueError(f"There is no form {form!r}: choose one of {', '.join(FORMS)}.")
    source = Path(find_bundle(bundle))
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{str(folder)!r} exists: choose a folder that does not.")
    for name, content in _NEEDED.items():
        if not (source / name).is_file():
            raise ValueError(f"{str(source)!r} has no {name}: put {content} there.")
        if (source / name).stat().st_size > _LARGEST:
            raise ValueError(f"{str(source / name)!r} is larger than the 25 MB that the model zoo takes.")
    part = folder.with_name(f"{folder.name}.part")
    root = Path("models") / source.name if form == "zoo" else Path()
    try:
        if part.exists():
            shutil.rmtree(part)  # of a command that was killed
        _write(source, part / root, form)
        if form == "zoo":
            test = part / "ci" / "unit_tests" / f"test_{source.name}.py"
            test.parent.mkdir(parents=True)
            test.write_text(unit_test(source), "utf-8")
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return str(folder / root)


def _write(source: Path, target: Path, form: str) -> None:
    for name in _KEPT:
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)
    (target / "configs").mkdir()
    personal = _personal(source)
    for path in sorted((source / "configs").iterdir()):
        text = path.read_text("utf-8")
        if path.suffix in (".yaml", ".yml"):
            if path.name == "train.yaml":
                text = set_values(text, {name: _NEUTRAL[name] for name in personal})
            text = _without(text, personal.values())
            (target / "configs" / path.with_suffix(".json").name).write_text(_as_json(yaml.safe_load(text)), "utf-8")
        elif path.suffix == ".json":
            text = _as_json(json.loads(_without(text, personal.values())))
        (target / "configs" / path.name).write_text(text, "utf-8")
    readme = target / "docs" / "README.md"
    metadata = json.loads((target / "configs" / "metadata.json").read_text("utf-8"))
    text = _without(readme.read_text("utf-8"), personal.values())
    if form == "zoo":
        readme.write_text(zoo_readme(text, metadata), "utf-8")
    else:
        # push_to_hf_hub would put docs/README.md in the card's place
        readme.unlink()
        (target / "README.md").write_text(huggingface_card(text, metadata, source.name), "utf-8")


def _personal(source: Path) -> dict[str, str]:
    """Folders and files of this machine in a training's configuration, by the value's name."""
    config = yaml.safe_load((source / "configs" / "train.yaml").read_text("utf-8"))
    return {name: str(config[name]) for name in _NEUTRAL if Path(str(config.get(name))).is_absolute()}


def _without(text: str, paths: Iterable[str]) -> str:
    for path in sorted(paths, key=len, reverse=True):
        text = text.replace(path, Path(path).name)
    return text


def _as_json(content: Any) -> str:
    """As the zoo's ``pretty-format-json`` wants it."""
    return json.dumps(content, indent=4) + "\n"
