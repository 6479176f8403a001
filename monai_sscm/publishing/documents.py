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

"""What a place of models wants to read about a bundle, and the test that the model zoo runs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

__all__ = ["huggingface_card", "unit_test", "zoo_readme"]

_CITATION = """```
@inproceedings{mano2025supmix,
  title={Accuracy Improvement of Semi-Supervised Segmentation Using Supervised ClassMix and Sup-Unsup Feature
    Discriminator},
  author={Mano and Saito and Hotta},
  booktitle={VISAPP},
  year={2025},
  doi={10.5220/0013222700003912}
}
```"""


def zoo_readme(readme: str, metadata: Mapping[str, Any]) -> str:
    """
    A bundle's README with the headings of the model zoo's template.

    Args:
        readme: the bundle's own.
        metadata: its ``metadata.json``.

    Example:
        >>> from monai_sscm.publishing.documents import zoo_readme
        >>> text = "# Veins\\n\\nFinds veins.\\n\\n## Data\\n\\nTwo photographs.\\n\\n## Weights\\n\\nDice 0.8.\\n"
        >>> readme = zoo_readme(text, {"name": "Veins", "authors": "A. Nobody", "task": "Segmentation of veins"})
        >>> [line for line in readme.split("\\n") if line.startswith("## ")][:3]
        ['## **Model Description**', '## **Data**', '## **Performance**']
    """
    intro, sections = _sections(readme)
    used = {"Data": "Data", "Weights": "Performance", "Limits": "Limitations"}
    packages = metadata.get("required_packages_version", {})
    ours = f"monai_sscm=={packages['monai_sscm']}" if "monai_sscm" in packages else "monai_sscm"
    usage = [
        f"#### **{title}**\n\n{_lower(text)}" for title, text in sections.items() if title not in used and text.strip()
    ]
    parts = [
        f"# {metadata['name']}",
        f"### **Authors**\n\n{metadata['authors']}",
        f"### **Tags**\n\n{', '.join(_tags(metadata))}",
        f"## **Model Description**\n\n{intro}\n\n{metadata['task']}.",
        f"## **Data**\n\n{_lower(sections.get('Data', metadata.get('data_source', '')))}",
        f"## **Performance**\n\n{_lower(sections.get('Weights', _scores(metadata)))}",
        "## **Additional Usage Steps**\n\nThe configurations in `configs/` are YAML, with comments, and JSON.\n\n"
        + "\n\n".join(usage),
        f"## **System Configuration**\n\nA CPU is enough; a GPU is used if there is one. Needs `pip install {ours}`.",
        f"## **Limitations**\n\n{_lower(sections.get('Limits', 'Not a medical device.'))}",
        f"## **Citation Info**\n\n{_CITATION}",
        "## **References**\n\n" + "\n\n".join(f"[{i}] {x}" for i, x in enumerate(metadata.get("references", ()), 1)),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def huggingface_card(readme: str, metadata: Mapping[str, Any], name: str) -> str:
    """
    The model card of a bundle: what Hugging Face reads of it, then its README.

    Args:
        readme: the bundle's own.
        metadata: its ``metadata.json``.
        name: the bundle's name.

    Example:
        >>> from monai_sscm.publishing.documents import huggingface_card
        >>> card = huggingface_card("# Veins\\n", {"name": "Veins", "task": "Segmentation of veins"}, "veins")
        >>> card.split("\\n")[:3]
        ['---', 'library_name: monai', 'license: apache-2.0']
    """
    head = {
        "library_name": "monai",
        "license": "apache-2.0",
        "pipeline_tag": "image-segmentation",
        "tags": ["monai", "medical", *(tag.lower().replace(" ", "-") for tag in _tags(metadata))],
    }
    load = f"""## Load

```python
from monai.bundle import load

network = load("{name}", bundle_dir="FOLDER_OF_THE_BUNDLE", source="huggingface_hub", repo="OWNER/{name}")
```
"""
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n{readme.strip()}\n\n{load}"


def unit_test(source: Path) -> str:
    """
    The unit test of a bundle for the model zoo's CI: trains, evaluates and segments made-up images.

    Args:
        source: folder of the bundle.
    """
    config = yaml.safe_load((source / "configs" / "train.yaml").read_text("utf-8"))
    metadata = json.loads((source / "configs" / "metadata.json").read_text("utf-8"))
    image = metadata["network_data_format"]["inputs"]["image"]
    kind = "pictures" if "zoom" in config else "scans" if image.get("modality") == "CT" else "volumes"
    text = Path(__file__).with_name("unit_test.py.txt").read_text("utf-8")
    values = {
        "NAME": source.name,
        "TITLE": "".join(word.capitalize() for word in re.split("[^A-Za-z0-9]+", source.name)),
        "KIND": kind,
        "CHANNELS": str(image["num_channels"]),
        "CLASSES": str(len(metadata["network_data_format"]["outputs"]["pred"]["channel_def"])),
    }
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _sections(readme: str) -> tuple[str, dict[str, str]]:
    """What stands before the first heading of the second order, and what under each."""
    first, *rest = re.split(r"^## +(.+)$", readme, flags=re.MULTILINE)
    intro = re.sub(r"^# .+$", "", first, count=1, flags=re.MULTILINE)
    return intro.strip(), dict(zip(rest[::2], (text.strip() for text in rest[1::2]), strict=True))


def _lower(text: str) -> str:
    """A text whose own headings are below those of the template."""
    return re.sub(r"^#{2,4} +(.+)$", r"##### **\1**", text, flags=re.MULTILINE)


def _tags(metadata: Mapping[str, Any]) -> list[str]:
    image = metadata.get("network_data_format", {}).get("inputs", {}).get("image", {})
    modality = [str(image["modality"])] if image.get("modality") not in (None, "other", "picture") else []
    return ["Segmentation", "Semi-Supervised", *modality]


def _scores(metadata: Mapping[str, Any]) -> str:
    scores = metadata.get("eval_metrics", {})
    return ", ".join(f"{name}: {value}" for name, value in scores.items()) or "Not measured."
