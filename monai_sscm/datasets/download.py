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

"""Downloads of public data sets."""

from __future__ import annotations

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

__all__ = ["download", "files_by_name", "whole_folder"]

_TIMEOUT = 60.0  # seconds without a byte
_MAX_BYTES = 2**28  # of a download and of a file in it


def download(url: str, path: Path) -> None:
    """
    Download a file, with a progress bar.

    Args:
        url: web address.
        path: file to write.

    Raises:
        OSError: when the download fails, is cut off, stalls for a minute or does not end.
        ValueError: when ``url`` is no web address.
    """
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"{url!r} is no web address: it must begin with https:// or http://.")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as response, open(path, "wb") as file:  # nosec B310
            total = int(response.headers.get("Content-Length") or 0)
            with tqdm.wrapattr(response, "read", total=total or None, desc=path.name, file=sys.stderr) as body:
                while chunk := body.read(2**20):
                    file.write(chunk)
                    if file.tell() > _MAX_BYTES:
                        raise OSError(f"more than {_MAX_BYTES} bytes came")
    except (urllib.error.URLError, OSError, ValueError) as e:
        raise OSError(
            f"{url} cannot be downloaded ({e}): check the connection, or download the file with a browser and give it "
            "with --from."
        ) from e
    if total and path.stat().st_size != total:
        raise OSError(f"{url} was cut off after {path.stat().st_size} of {total} bytes: try again.")


@contextmanager
def whole_folder(output_dir: str | Path) -> Iterator[tuple[Path, Path]]:
    """
    Make a folder that appears only when all is in it.

    Args:
        output_dir: the folder; must not exist, or be empty.

    Returns:
        context manager of a folder to fill, which becomes ``output_dir`` at its end, and of one for what is not kept.

    Raises:
        ValueError: when there is something already.

    Example:
        >>> import os, tempfile
        >>> from monai_sscm.datasets.download import whole_folder
        >>> path = os.path.join(tempfile.mkdtemp(), "data")
        >>> with whole_folder(path) as (folder, _):
        ...     _ = (folder / "a.txt").write_text("all or nothing")
        ...     os.path.exists(path)
        False
        >>> os.listdir(path)
        ['a.txt']
    """
    output_dir = Path(output_dir)
    if output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise ValueError(f"{str(output_dir)!r} is a file or a folder that is not empty: set another `output_dir`.")
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output_dir.parent, prefix=f".{output_dir.name}_") as temporary:
        folder = Path(temporary) / "whole"
        folder.mkdir()
        yield folder, Path(temporary)
        if output_dir.is_dir():
            output_dir.rmdir()
        os.replace(folder, output_dir)


@contextmanager
def files_by_name(source: Path, names: set[str]) -> Iterator[dict[str, zipfile.Path | Path]]:
    """
    Find files by their names in a zip file or a folder, at any depth. A zip file is not unpacked, so none of its
    entries can be written outside a folder.

    Args:
        source: zip file or folder.
        names: names of the files.

    Returns:
        context manager of the files that are there, by name.

    Raises:
        FileNotFoundError: when there is no ``source``.
        ValueError: when it is no zip file.
    """
    if source.is_dir():
        yield {path.name: path for path in source.rglob("*") if path.name in names}
    elif not source.is_file():
        raise FileNotFoundError(
            f"There is no {str(source)!r}: give the data set's zip file, or the folder of its files."
        )
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
                and archive.getinfo(entry).file_size < _MAX_BYTES
            }
