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

"""Files that are cut off, altered or something else: an error that names them, or a good result."""

from __future__ import annotations

import gzip
import os
import random
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image

from monai_sscm.data import semi_supervised_datalist
from monai_sscm.errors import raised_here, root_cause
from monai_sscm.io import dicom_series
from monai_sscm.io.files import PICTURE_SUFFIXES
from monai_sscm.networks import load_checkpoint, load_weights
from tests.helpers.damage import assert_good_or_told, read_picture, read_scan, scan, write
from tests.helpers.dicom import write_series

pytestmark = pytest.mark.filterwarnings("ignore")


def read_weights(path: Path) -> np.ndarray:
    network = torch.nn.Linear(2, 3)
    load_weights(network, path)
    return torch.cat([p.detach().flatten() for p in network.parameters()]).numpy()


READERS = {
    "a.png": read_picture,
    "a.jpg": read_picture,
    "a.tif": read_picture,
    "a.bmp": read_picture,
    "a.gif": read_picture,
    "a.webp": read_picture,
    "a.ppm": read_picture,
    "s.png": read_scan,
    "a.nii": read_scan,
    "a.nii.gz": read_scan,
    "a.mha": read_scan,
    "a.nrrd": read_scan,
    "a.pt": read_weights,
}


CHECKED = ("a.png", "s.png", "a.nii.gz", "a.pt")  # with a checksum over all that counts


@pytest.mark.parametrize("name", READERS)
def test_cut_off(tmp_path, name):
    path = tmp_path / name
    write(path)
    whole, intact = path.read_bytes(), READERS[name](path)
    lengths = {0, 1, 7, 8, 100, 348, 352, len(whole) - 1, *np.linspace(2, len(whole) - 2, 25).astype(int).tolist()}
    for length in sorted(n for n in lengths if n < len(whole)):
        path.write_bytes(whole[:length])
        # the last bytes of some formats are a trailer without which all is there
        assert_good_or_told(READERS[name], path, intact, altered=name == "a.jpg" and length > len(whole) - 3)
    for length in (0, 1, len(whole) // 2):
        path.write_bytes(whole[:length])
        assert assert_good_or_told(READERS[name], path, intact, altered=False)


@pytest.mark.parametrize("name", READERS)
def test_flipped_bits(tmp_path, name):
    path = tmp_path / name
    write(path)
    whole, intact = path.read_bytes(), READERS[name](path)
    draw = random.Random(0)
    places = [*range(0, min(len(whole), 400), 3), *(draw.randrange(len(whole)) for _ in range(60))]
    refused = 0
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            refused += assert_good_or_told(READERS[name], path, intact, altered=name not in CHECKED)
        except AssertionError as error:
            raise AssertionError(f"bit flipped in byte {place} of {len(whole)}") from error
    assert refused > 0


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", ["text", "zeros", "noise", "png", "gzip", "pickle"])
def test_something_else_under_the_name(tmp_path, name, content):
    contents = {
        "text": b"this is a text, and no image\n" * 20,
        "zeros": bytes(5000),
        "noise": np.random.default_rng(3).bytes(5000),
        "gzip": gzip.compress(np.random.default_rng(4).bytes(3000)),
        "pickle": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",  # would start a program
    }
    if content == "png":
        write(tmp_path / "other.png")
        contents["png"] = (tmp_path / "other.png").read_bytes()
    path = tmp_path / name
    path.write_bytes(contents[content])
    write(tmp_path / "intact.png")
    # a picture is read by its content, whatever kind of picture its name says
    picture = content == "png" and path.suffix in PICTURE_SUFFIXES
    intact = READERS[name](tmp_path / "intact.png") if picture else np.empty(0)
    assert assert_good_or_told(READERS[name], path, intact, altered=False) != picture


def test_sizes_that_no_memory_holds(tmp_path):
    nii = tmp_path / "huge.nii"
    write(nii)
    header = bytearray(nii.read_bytes())
    header[42:48] = struct.pack("<3h", 32767, 32767, 32767)
    nii.write_bytes(header)
    mha = tmp_path / "huge.mha"
    sitk.WriteImage(scan(), str(mha))
    mha.write_bytes(mha.read_bytes().replace(b"DimSize = 24 20 6", b"DimSize = 99999 99999 99999"))
    nrrd = tmp_path / "huge.nrrd"
    sitk.WriteImage(scan(), str(nrrd))
    nrrd.write_bytes(nrrd.read_bytes().replace(b"sizes: 24 20 6", b"sizes: 99999 99999 99999"))
    for path in (nii, mha, nrrd):
        assert assert_good_or_told(read_scan, path, np.empty(0), altered=False)
    png = tmp_path / "bomb.png"
    write(png)
    bomb = bytearray(png.read_bytes())
    bomb[16:24] = struct.pack(">2I", 100_000, 100_000)
    png.write_bytes(bomb)
    assert assert_good_or_told(read_picture, png, np.empty(0), altered=False)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("folder", ["with spaces", "Übung – 肺 ('ä\")", "100% #1 & more", "[a]{b}*"])
def test_names_of_all_kinds(tmp_path, name, folder):
    (tmp_path / folder).mkdir()
    plain, odd = tmp_path / name, tmp_path / folder / f"é {name}"
    write(plain)
    odd.write_bytes(plain.read_bytes())
    assert np.array_equal(READERS[name](odd), READERS[name](plain))
    odd.write_bytes(b"")
    assert assert_good_or_told(READERS[name], odd, np.empty(0), altered=False)


@pytest.mark.parametrize("name", READERS)
def test_links_to_nothing_and_folders_that_look_like_files(tmp_path, name):
    link, folder = tmp_path / name, tmp_path / f"folder_{name}"
    link.symlink_to(tmp_path / "nowhere")
    folder.mkdir()
    for path in (link, folder):
        assert assert_good_or_told(READERS[name], path, np.empty(0), altered=False)


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd", "a.nii.gz", "a.png"])
def test_flipped_bits_in_compressed_values(tmp_path, name):
    path = tmp_path / name
    write(path)
    whole, intact = path.read_bytes(), READERS[name](path)
    draw = random.Random(1)
    for _ in range(80):
        damaged = bytearray(whole)
        place = draw.randrange(len(whole) * 3 // 5, len(whole))
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        assert_good_or_told(READERS[name], path, intact, altered=False)


def test_what_would_take_the_process_with_it(tmp_path):
    path = tmp_path / "dimensions.mha"
    write(path)
    path.write_bytes(path.read_bytes().replace(b"NDims = 3", b"NDims = 99999999"))
    assert assert_good_or_told(read_scan, path, np.empty(0), altered=False)
    for name in ("scan.nii", "scan.mha", "scan.nrrd"):
        write(tmp_path / name)
        odd = tmp_path / os.fsdecode(b"\xff" + name.encode())
        (tmp_path / name).rename(odd)
        with pytest.raises(Exception) as error:
            read_scan(odd)
        assert raised_here(root_cause(error.value)) and "rename it" in str(root_cause(error.value))
    paths = write_series(scan(), tmp_path / "series")
    paths[1].rename(paths[1].parent / os.fsdecode(b"\xff.dcm"))
    found = dicom_series(tmp_path / "series")  # it is named when its series is read, and other scans are not held up
    assert len(found) == 1 and sum(len(files) for files in found.values()) == len(paths)


@pytest.mark.parametrize("what", ["link", "folder"])
def test_a_split_that_is_no_file_is_not_passed_over(tmp_path, what):
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
        for name in "ab":
            Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / part / f"{name}.png")
    if what == "link":
        (tmp_path / "split.json").symlink_to(tmp_path / "nowhere")
    else:
        (tmp_path / "split.json").mkdir()
    with pytest.raises(FileNotFoundError, match="split.json' is a link to nothing or a folder"):
        semi_supervised_datalist(tmp_path, num_labeled=1)
    if what == "folder":
        (tmp_path / "split.json").rmdir()
        (tmp_path / "images" / "c.png").symlink_to(tmp_path / "nowhere")
        with pytest.raises(FileNotFoundError, match="c.png' is a link to a file that is not there"):
            semi_supervised_datalist(tmp_path, num_labeled=1)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "[1, 2]", "null", "3", '{"train": 1}', '{"train": [1], "val": [], "test": []}', '"a"', "NaN"]
    + ["[" * 5000, '{"train": ["a", "a"], "val": [], "test": []}', "\xff\xfe", "{} {}"],
)
def test_lists_that_are_none(tmp_path, content):
    for name in "abc":
        for part in ("images", "labels"):
            (tmp_path / part).mkdir(exist_ok=True)
            Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / part / f"{name}.png")
    (tmp_path / "split.json").write_bytes(content.encode("latin-1"))
    try:
        semi_supervised_datalist(tmp_path, num_labeled=1)
    except (ValueError, OSError) as error:
        assert raised_here(error) and "split.json" in str(error), repr(error)
    else:
        raise AssertionError("it was taken")


def test_weights_that_are_no_numbers(tmp_path):
    path = tmp_path / "nan.pt"
    torch.save({"weight": torch.full((3, 2), float("nan")), "bias": torch.rand(3)}, path)
    with pytest.raises(ValueError, match=r"nan.pt' has NaN or infinite weights in 'weight'"):
        load_weights(torch.nn.Linear(2, 3), path)


def test_a_checkpoint_with_code_in_it_runs_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"weight": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="evil.pt' cannot be read"):
        load_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "executed").exists()
