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
import json
import os
import random
import resource
import signal
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.transforms import LoadImage
from PIL import Image

from monai_sscm.data import CTReader, PictureReader, dicom, dicom_series, semi_supervised_datalist
from monai_sscm.errors import is_ours, reason
from monai_sscm.networks import load_checkpoint, load_weights
from tests.dicom import write_series

SHAPE = (24, 20, 6)
pytestmark = pytest.mark.filterwarnings("ignore")


def scan() -> sitk.Image:
    values = np.random.default_rng(0).integers(-1000, 400, SHAPE[::-1]).astype(np.int16)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.7, 0.7, 5.0))
    return image


def write(path: Path) -> None:
    """An intact file of the kind that its name says."""
    rgb = np.random.default_rng(1).integers(0, 255, (20, 24, 3)).astype(np.uint8)
    if path.suffix in (".png", ".jpg", ".tif", ".bmp"):
        Image.fromarray(rgb[..., 0]).save(path)
    elif path.suffix == ".pt":
        torch.save({"weight": torch.rand(3, 2), "bias": torch.rand(3)}, path)
    elif path.suffix == ".json":
        path.write_text(json.dumps({"train": ["a", "b"], "val": ["c"], "test": []}))
    else:
        sitk.WriteImage(scan(), str(path), useCompression=path.suffix != ".nii")


def read_picture(path: Path) -> np.ndarray:
    return np.asarray(LoadImage(reader=PictureReader(), ensure_channel_first=True)(path))


def read_scan(path: Path) -> np.ndarray:
    return np.asarray(LoadImage(reader=CTReader(), ensure_channel_first=True)(path))


def read_weights(path: Path) -> np.ndarray:
    network = torch.nn.Linear(2, 3)
    load_weights(network, path)
    return torch.cat([p.detach().flatten() for p in network.parameters()]).numpy()


def within_seconds(run: Callable[[], object], seconds: int = 10) -> object:
    """What hangs is an error as well."""

    def stop(*args) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        return run()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def assert_good_or_told(read: Callable[[Path], np.ndarray], path: Path, intact: np.ndarray, altered: bool) -> bool:
    """
    Whether the file was refused; if it was not, it must give what the intact file gave, or, where ``altered`` values
    have no checksum to be known by, finite values.
    """
    try:
        found = within_seconds(lambda: read(path))
    except Exception as error:
        cause = reason(error)
        assert is_ours(cause) and isinstance(cause, (ValueError, OSError)), repr(cause)
        assert path.name in str(cause) and len(str(cause)) < 800, str(cause)
        return True
    assert np.isfinite(found).all()
    # without a checksum, a header that announces other sides cannot be known from a good one
    assert altered or np.array_equal(found, intact)
    return False


READERS = {
    "a.png": read_picture,
    "a.jpg": read_picture,
    "a.tif": read_picture,
    "a.bmp": read_picture,
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
    picture = content == "png" and path.suffix in (".png", ".jpg", ".tif", ".bmp")
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


@pytest.mark.parametrize("damage", ["cut off", "empty", "text", "flipped"])
def test_a_damaged_file_in_a_series(tmp_path, damage):
    paths = write_series(scan(), tmp_path / "series")
    intact = read_scan(tmp_path / "series")
    whole = paths[2].read_bytes()
    flipped = bytearray(whole)
    flipped[200] ^= 255
    contents = {"cut off": whole[: len(whole) - 300], "empty": b"", "text": b"a text", "flipped": bytes(flipped)}
    paths[2].write_bytes(contents[damage])
    try:
        found = within_seconds(lambda: read_scan(tmp_path / "series"))
    except Exception as error:
        cause = reason(error)
        assert is_ours(cause) and "series" in str(cause), repr(cause)
    else:
        assert damage == "flipped" and np.array_equal(found, intact)


@pytest.mark.parametrize(
    ("tag", "values"),
    [
        ("0028|0030", ["0.7", "0.7\\abc", "0\\0", "-0.7\\0.7", "1e9\\1e9", "nan\\nan", "0,7\\0,7"]),
        ("0020|0032", ["0\\0\\nan", "0\\0", "1\\2\\3\\4", "inf\\0\\0"]),
        ("0020|0037", ["1\\0\\0\\0\\1", "1\\0\\0\\nan\\1\\0", "1\\0\\0\\1\\0\\0", "3\\0\\0\\0\\3\\0"]),
        ("0028|1053", ["0", "nan", "abc"]),
        ("0028|1052", ["inf", "abc"]),
    ],
)
def test_dicom_tags_that_make_no_sense(tmp_path, monkeypatch, tag, values):
    """In all files of a series, and in one; as the header gives them, since ITK does not write such tags."""
    write_series(scan(), tmp_path / "series")
    plain = dicom._tag
    for value in values:
        for where in ("IM", "IM0002"):
            monkeypatch.setattr(
                dicom,
                "_tag",
                lambda header, t, v=value, w=where: v if t == tag and w in header.GetFileName() else plain(header, t),
            )
            assert assert_good_or_told_of_series(tmp_path / "series")


def assert_good_or_told_of_series(folder: Path) -> bool:
    try:
        within_seconds(lambda: read_scan(folder))
    except Exception as error:
        cause = reason(error)
        assert is_ours(cause) and str(folder) in str(cause), repr(cause)
        return True
    return False


@pytest.mark.parametrize("compressor", ["", "JPEG"])
def test_dicom_images_that_are_not_as_their_tags_say(tmp_path, compressor):
    paths = write_series(scan(), tmp_path / "series", compressor=compressor)
    read_scan(tmp_path / "series")
    whole = paths[1].read_bytes()
    if compressor:  # the decoder would take the process with it
        at = whole.index(b"\xff\xc3", whole.rfind(b"\xe0\x7f\x10\x00")) + 4
        paths[1].write_bytes(whole[:at] + b"\x20" + whole[at + 1 :])
    else:
        at = whole.index(b"\x28\x00\x10\x00") + 8
        rows = int.from_bytes(whole[at : at + 2], "little")
        for wrong in (65535, rows + 1, rows - 1):
            for path in paths:
                content = path.read_bytes()
                path.write_bytes(content[:at] + wrong.to_bytes(2, "little") + content[at + 2 :])
            assert assert_good_or_told_of_series(tmp_path / "series"), wrong
    assert assert_good_or_told_of_series(tmp_path / "series")


@pytest.mark.parametrize("compressor", ["", "JPEG"])
def test_dicom_lengths_beyond_the_end_of_the_file(tmp_path, compressor):
    """Every byte of the header in turn, with its highest bit flipped: some are the highest of a length."""
    paths = write_series(scan(), tmp_path / "series", compressor=compressor)
    whole = paths[1].read_bytes()
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    told = []
    for place in range(132, whole.rfind(b"\xe0\x7f\x10\x00") + 12):
        paths[1].write_bytes(whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1 :])
        if assert_good_or_told_of_series(tmp_path / "series"):
            told.append(place)
    assert told
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB; ITK would ask for 2 GB
    assert time.perf_counter() - start < 0.05 * len(whole)  # s, 50 ms a file


def test_what_is_odd_in_dicom_and_no_damage(tmp_path):
    """Sequences with and without a length, unknown kinds: as they are met in files of scanners."""
    paths = write_series(scan(), tmp_path / "series", compressor="JPEG")
    intact = read_scan(tmp_path / "series")
    item = b"\xfe\xff\x00\xe0"
    inner = b"\x08\x00\x50\x11UI\x04\x001.2\x00"
    for sequence in (
        b"SQ\x00\x00" + struct.pack("<I", 8 + len(inner)) + item + struct.pack("<I", len(inner)) + inner,
        b"SQ\x00\x00\xff\xff\xff\xff"
        + item
        + b"\xff\xff\xff\xff"
        + inner
        + b"\xfe\xff\x0d\xe0\x00\x00\x00\x00\xfe\xff\xdd\xe0\x00\x00\x00\x00",
        b"UN\x00\x00" + struct.pack("<I", 6) + b"\xff" * 6,
    ):
        for path in paths:
            whole = path.read_bytes()
            at = whole.index(b"\x20\x00\x0d\x00UI")  # elements are in order: these come before
            path.write_bytes(whole[:at] + b"\x18\x00\x01\xa0" + sequence + whole[at:])
        assert np.array_equal(read_scan(tmp_path / "series"), intact)
        paths = write_series(scan(), tmp_path / "series", compressor="JPEG")


@pytest.mark.parametrize(("syntax", "order"), [("1.2.840.10008.1.2", "<"), ("1.2.840.10008.1.2.2", ">")])
def test_elements_of_the_other_uncompressed_forms(syntax, order):
    """Without kinds (implicit), and with the highest byte first; the header of the file is always as usual."""

    def element(group, number, value, kind):
        length = struct.pack(order + "I", len(value)) if order == "<" else kind + struct.pack(order + "H", len(value))
        return struct.pack(order + "HH", group, number) + length + value

    start = bytes(128) + b"DICM" + b"\x02\x00\x10\x00UI" + struct.pack("<H", len(syntax)) + syntax.encode()
    rows = element(0x28, 0x10, struct.pack(order + "H", 24), b"US")
    dicom._check_elements(start + rows + element(0x28, 0x11, b"\x00\x10", b"US"), syntax)
    with pytest.raises(RuntimeError, match="0028,0011 of 2 bytes is longer than what is left"):
        dicom._check_elements(start + rows + element(0x28, 0x11, b"\x00\x10", b"US")[:-1], syntax)


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
        assert is_ours(reason(error.value)) and "rename it" in str(reason(error.value))
    paths = write_series(scan(), tmp_path / "series")
    paths[1].rename(paths[1].parent / os.fsdecode(b"\xff.dcm"))
    found = dicom_series(tmp_path / "series")  # it is named when its series is read, and other scans are not held up
    assert len(found) == 1 and sum(len(files) for files in found.values()) == len(paths)


def test_slices_in_files_of_their_own_are_refused(tmp_path):
    header = "ObjectType = Image\nNDims = 3\nDimSize = 4 4 2\nElementSpacing = 1 1 1\nElementType = MET_SHORT\n"
    (tmp_path / "list.mhd").write_text(header + "ElementDataFile = LIST\n")
    assert assert_good_or_told(read_scan, tmp_path / "list.mhd", np.empty(0), altered=False)


def test_values_in_a_file_beside_the_header(tmp_path):
    values = np.random.default_rng(0).integers(-1000, 400, (4, 100, 100)).astype(np.int16)
    (tmp_path / "values.raw").write_bytes(values.tobytes())
    fields = ["NRRD0004", "type: short", "dimension: 3", "space: left-posterior-superior", "sizes: 100 100 4"]
    fields += ["space directions: (1,0,0) (0,1,0) (0,0,5)", "kinds: domain domain domain", "endian: little"]
    fields += ["encoding: raw", "space origin: (0,0,0)", "data file: values.raw"]
    (tmp_path / "scan.nrrd").write_text("\n".join([*fields, "", ""]))
    image = sitk.GetImageFromArray(values)
    sitk.WriteImage(image, str(tmp_path / "scan.mhd"))
    for name in ("scan.nrrd", "scan.mhd"):
        assert np.array_equal(read_scan(tmp_path / name)[0], values.transpose())


@pytest.mark.parametrize("name", ["scan.mhd", "scan.nrrd"])
def test_compressed_values_in_a_file_beside_the_header(tmp_path, name):
    values = np.random.default_rng(0).integers(-1000, 400, (4, 100, 100)).astype(np.int16)
    image = sitk.GetImageFromArray(values)
    sitk.WriteImage(image, str(tmp_path / "scan.mhd"), True)
    packed = tmp_path / "scan.zraw"
    if name == "scan.nrrd":
        fields = ["NRRD0004", "type: short", "dimension: 3", "sizes: 100 100 4", "spacings: 1 1 1", "endian: little"]
        (tmp_path / name).write_text("\n".join([*fields, "encoding: gzip", "data file: values.gz", "", ""]))
        packed = tmp_path / "values.gz"
        packed.write_bytes(gzip.compress(values.tobytes()))
    assert np.array_equal(read_scan(tmp_path / name)[0], values.transpose())
    whole = packed.read_bytes()
    for damaged in (whole[:-1], whole[: len(whole) // 2], b"", whole[:99] + bytes([whole[99] ^ 8]) + whole[100:]):
        packed.write_bytes(damaged)
        assert assert_good_or_told(read_scan, tmp_path / name, values.transpose()[None], altered=False)
    packed.write_bytes(zlib.compress(bytes(2**20)))  # more than the header says
    assert assert_good_or_told(read_scan, tmp_path / name, values.transpose()[None], altered=False)
    packed.unlink()
    assert assert_good_or_told(read_scan, tmp_path / name, values.transpose()[None], altered=False)


@pytest.mark.parametrize("spacing", [1e20, 1e-30])
@pytest.mark.parametrize("name", ["a.nii", "a.mha", "a.nrrd"])
def test_voxels_of_no_size(tmp_path, name, spacing):
    image = scan()
    image.SetSpacing((0.7, 0.7, spacing))
    sitk.WriteImage(image, str(tmp_path / name))
    assert assert_good_or_told(read_scan, tmp_path / name, np.empty(0), altered=False)


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
        assert is_ours(error) and "split.json" in str(error), repr(error)
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


def test_nifti_photographs_that_are_cut_off(tmp_path):
    """As the photographs' bundle reads them, by MONAI's own reader behind ours."""
    path = tmp_path / "photograph.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.random.default_rng(0).random((20, 24, 1)).astype(np.float32), np.eye(4)), path)
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:length])
        with pytest.raises(Exception) as error:
            within_seconds(lambda: read_picture(path))
        assert is_ours(reason(error.value)) and "photograph.nii.gz" in str(reason(error.value))
