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

"""Public data sets, brought from their source or from a user's copy into the folders that the bundles read."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

__all__ = ["CHASE_DB1_URL", "prepare_chase_db1"]

#: where Kingston University London publishes CHASE_DB1, under CC BY 4.0
CHASE_DB1_URL = "https://researchinnovation.kingston.ac.uk/files/40659508/CHASEDB1.zip"
_CHASE_DB1_SHA256 = Path(__file__).with_name("chase_db1.sha256")
_PATIENCE = 60.0  # seconds without a byte
_LARGEST = 2**28  # bytes of a download and of a file in it; the published zip has a hundredth of that
_FOLDERS = {".jpg": "images", "_1stHO.png": "labels", "_2ndHO.png": "labels_2nd_observer"}


def prepare_chase_db1(
    output_dir: str | Path = "data/chase_db1", source: str | Path | None = None, url: str = CHASE_DB1_URL
) -> str:
    """
    Lay out CHASE_DB1 as the bundle ``chase_vessel_segmentation`` reads it, every file checked by its SHA-256.

    Writes ``images/Image_01L.jpg``, ``labels/Image_01L_1stHO.png`` and ``labels_2nd_observer/Image_01L_2ndHO.png`` and
    so on for 28 photographs. The folder appears when all are there and right, not before.

    Args:
        output_dir: folder to write to.
        source: the zip file as published, or a folder with its files, at any depth. None: download it.
        url: where to download it from.

    Returns:
        the folder.

    Raises:
        OSError: when the source cannot be downloaded or read, or the folder cannot be written to.
        ValueError: when files are missing in the source or are not the published ones.
    """
    output_dir = Path(output_dir)
    if output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise ValueError(f"{str(output_dir)!r} is a file or a folder that is not empty: set another `output_dir`.")
    digests = dict(reversed(line.split()) for line in _CHASE_DB1_SHA256.read_text().splitlines())
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output_dir.parent, prefix=".chase_db1_") as temporary:
        laid_out = Path(temporary) / "laid_out"
        if source is None:
            source = Path(temporary) / "CHASEDB1.zip"
            _download(url, source)
        with _files_by_name(Path(source), set(digests)) as found:
            missing = sorted(set(digests) - set(found))
            if missing:
                raise ValueError(
                    f"{str(source)!r} lacks {len(missing)} of the {len(digests)} files of CHASE_DB1, such as "
                    f"{missing[0]!r}: download it anew, or unpack all of it."
                )
            for name, digest in digests.items():
                try:
                    content = found[name].read_bytes()
                except Exception:  # a damaged zip can fail in any way
                    content = b""
                if hashlib.sha256(content).hexdigest() != digest:
                    raise ValueError(
                        f"{name!r} of {str(source)!r} is not the published file (its SHA-256 differs): it was changed "
                        "or cut off, so download it anew."
                    )
                folder = laid_out / next(folder for end, folder in _FOLDERS.items() if name.endswith(end))
                folder.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
        if output_dir.is_dir():
            output_dir.rmdir()
        os.replace(laid_out, output_dir)
    return str(output_dir)


def _download(url: str, path: Path) -> None:
    """Download a file, with a progress bar; what is cut off, stalls for a minute or does not end is an error."""
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"{url!r} is no web address: it must begin with https:// or http://.")
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE) as response, open(path, "wb") as file:  # nosec B310
            total = int(response.headers.get("Content-Length") or 0)
            with tqdm.wrapattr(response, "read", total=total or None, desc=path.name, file=sys.stderr) as body:
                while chunk := body.read(2**20):
                    file.write(chunk)
                    if file.tell() > _LARGEST:
                        raise OSError(f"more than {_LARGEST} bytes came")
    except (urllib.error.URLError, OSError, ValueError) as e:
        raise OSError(
            f"{url} cannot be downloaded ({e}): check the connection, or download the file with a browser and give it "
            "with --from."
        ) from e
    if total and path.stat().st_size != total:
        raise OSError(f"{url} was cut off after {path.stat().st_size} of {total} bytes: try again.")


@contextmanager
def _files_by_name(source: Path, names: set[str]) -> Iterator[dict[str, zipfile.Path | Path]]:
    """The files of these names in a zip or a folder; nothing of a zip is unpacked, so nothing can leave its folder."""
    if source.is_dir():
        yield {path.name: path for path in source.rglob("*") if path.name in names}
    elif not source.is_file():
        raise FileNotFoundError(f"There is no {str(source)!r}: give CHASE_DB1's zip file, or its files' folder.")
    else:
        try:
            archive = zipfile.ZipFile(source)
        except zipfile.BadZipFile as e:
            raise ValueError(f"{str(source)!r} is no zip file, or was cut off: download it anew.") from e
        with archive:
            yield {
                Path(entry).name: zipfile.Path(archive, entry)
                for entry in archive.namelist()
                if Path(entry).name in names
                and not entry.startswith("__MACOSX")
                and archive.getinfo(entry).file_size < _LARGEST
            }
