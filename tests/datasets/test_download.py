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

import zipfile

import pytest

from monai_sscm.datasets import download as module
from monai_sscm.datasets.download import download, files_by_name


def test_a_download_is_the_file(tmp_path, url):
    (tmp_path / "there.bin").write_bytes(bytes(range(256)) * 10_000)
    download(f"{url}/there.bin", tmp_path / "here.bin")
    assert (tmp_path / "here.bin").read_bytes() == (tmp_path / "there.bin").read_bytes()


def test_downloads_that_fail(tmp_path, url, monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT", 0.5)
    for path, message in (("nowhere.zip", "404"), ("stalling.zip", "timed out"), ("lying.zip", "cut off after 9 of")):
        with pytest.raises(OSError, match=message):
            download(f"{url}/{path}", tmp_path / "here.bin")
    with pytest.raises(ValueError, match="must begin with https:// or http://"):
        download(tmp_path.as_uri(), tmp_path / "here.bin")


def test_files_of_a_zip_and_of_a_folder(tmp_path):
    (tmp_path / "deep" / "down").mkdir(parents=True)
    (tmp_path / "deep" / "down" / "a.txt").write_text("A")
    with zipfile.ZipFile(tmp_path / "files.zip", "w") as archive:
        archive.writestr("deep/a.txt", "A")
        archive.writestr("__MACOSX/a.txt", "no")
    for source in (tmp_path / "deep", tmp_path / "files.zip"):
        with files_by_name(source, {"a.txt", "b.txt"}) as found:
            assert {name: path.read_text() for name, path in found.items()} == {"a.txt": "A"}
    with pytest.raises(FileNotFoundError, match="give the data set's zip file, or the folder of its files"):
        with files_by_name(tmp_path / "nothing.zip", {"a.txt"}):
            pass
