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

"""DICOM series: what is read, what is refused, and how they are listed."""

from __future__ import annotations

import resource
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from monai_sscm.errors import raised_here, root_cause
from monai_sscm.io import dicom_series
from monai_sscm.io.dicom import read_dicom_header
from tests.helpers.damage import assert_good_or_told_of_series, read_scan, scan, within_seconds
from tests.helpers.dicom import write_file, write_series
from tests.helpers.volumes import load_volume, oblique_volume


def test_rescale_slope_and_intercept_are_applied(tmp_path):
    # what a scanner writes: no value below 0, and the intercept that makes Hounsfield units of them
    files = write_series(oblique_volume(), tmp_path, intercept=-1024)
    stored = np.frombuffer(files[2].read_bytes()[-48 * 48 * 2 :], np.int16).reshape(48, 48)
    assert stored.min() >= 0 and (stored - 1024 == sitk.GetArrayFromImage(oblique_volume())[2]).all()
    loaded = load_volume(tmp_path)
    assert (loaded[0].numpy() == sitk.GetArrayFromImage(oblique_volume()).transpose()).all()
    assert loaded.element_size() == 2  # a scan is large


@pytest.mark.parametrize(("compressor", "syntax"), [("JPEG2000", b".4.90"), ("JPEG", b".4.70")])
def test_compressed_dicom(tmp_path, compressor, syntax):
    files = write_series(oblique_volume(), tmp_path, compressor=compressor)
    assert b"1.2.840.10008.1.2" + syntax in files[0].read_bytes()
    assert sum(path.stat().st_size for path in files) < 48 * 48 * 2 * 6
    assert (load_volume(tmp_path)[0].numpy() == sitk.GetArrayFromImage(oblique_volume()).transpose()).all()


def test_several_series_nested_and_mixed(tmp_path):
    for number, folder in ((1, "p1/CT"), (2, "p1/CT"), (7, "p2")):
        files = write_series(
            oblique_volume(number), tmp_path / folder / f"part_{number}", uid=str(number), number=number
        )
        if folder == "p1/CT":
            for i, path in enumerate(files):
                target = tmp_path / folder / f"disc_{i % 2}" / f"{number}_{path.name}"
                target.parent.mkdir(exist_ok=True)
                shutil.move(path, target)
    (tmp_path / "p2" / "part_7" / "notes.txt").write_text("no image")
    (tmp_path / "p2" / "DICOMDIR").write_bytes(b"\0" * 200)
    series = dicom_series(tmp_path)
    assert {name: len(files) for name, files in series.items()} == {
        "p1/CT/series_1": 6,
        "p1/CT/series_2": 6,
        "p2/part_7": 6,
    }
    got = load_volume([Path(p) for p in series["p1/CT/series_2"]])
    assert (got[0].numpy() == sitk.GetArrayFromImage(oblique_volume(2)).transpose()).all()


def test_dicom_files_are_known_by_their_content(tmp_path):
    """Named by numbers, as archives do, beside a localizer and what is no DICOM."""
    for i, path in enumerate(write_series(oblique_volume(), tmp_path / "study")):
        path.rename(path.with_name(f"1.2.840.113.{i + 1}"))
    scout = sitk.Image((48, 48), sitk.sitkInt16)
    for key, value in {"0008|0060": "CT", "0008|0008": "ORIGINAL\\PRIMARY\\LOCALIZER"}.items():
        scout.SetMetaData(key, value)
    write_file(scout, tmp_path / "study" / "scout.dcm")
    (tmp_path / "study" / "notes.1").write_text("no image")
    series = dicom_series(tmp_path)
    assert {name: sorted(Path(p).name for p in files) for name, files in series.items()} == {
        "study": [f"1.2.840.113.{i + 1}" for i in range(6)]
    }
    assert load_volume(tmp_path / "study").shape == (1, 48, 48, 6)


def no_series(folder: Path) -> Path:
    (folder / "readme").write_text("nothing here")
    return folder


def slice_missing(folder: Path) -> Path:
    write_series(oblique_volume(), folder)[2].unlink()
    return folder


def slice_doubled(folder: Path) -> Path:
    files = write_series(oblique_volume(), folder)
    shutil.copy(files[2], folder / "copy.dcm")
    return folder


def two_series(folder: Path) -> Path:
    write_series(oblique_volume(0), folder / "a", uid="1")
    write_series(oblique_volume(1), folder / "b", uid="2")
    return folder


def mixed_files(folder: Path) -> list[Path]:
    return write_series(oblique_volume(0), folder / "a", uid="1") + write_series(
        oblique_volume(1), folder / "b", uid="2"
    )


def last_slice_damaged(folder: Path) -> Path:
    """As when a copy was interrupted: nothing that is left looks as if a slice were missing."""
    files = write_series(oblique_volume(), folder)
    files[-1].write_bytes(files[-1].read_bytes()[:200])
    return folder


def last_slice_empty(folder: Path) -> Path:
    write_series(oblique_volume(), folder)[-1].write_bytes(b"")
    return folder


def slice_without_position(folder: Path) -> Path:
    files = write_series(oblique_volume(), folder)
    content = files[-1].read_bytes()
    start = content.index(b"\x20\x00\x32\x00")
    length = int.from_bytes(content[start + 4 : start + 8], "little")
    files[-1].write_bytes(content[:start] + content[start + 8 + length :])
    return folder


def gantry_tilt(folder: Path) -> Path:
    write_series(oblique_volume(), folder, aside=0.5)
    return folder


def several_slices_in_a_file(folder: Path) -> Path:
    image = sitk.Cast(oblique_volume(), sitk.sitkInt16)
    for key, value in {"0008|0060": "CT", "0028|0030": "0.7\\0.7"}.items():
        image.SetMetaData(key, value)
    write_file(image, folder / "a.dcm")
    return folder / "a.dcm"


def magnetic_resonance(folder: Path) -> Path:
    write_series(oblique_volume(), folder, modality="MR")
    return folder


def damaged_dicom(folder: Path) -> list[Path]:
    files = write_series(oblique_volume(), folder)
    files[1].write_bytes(files[1].read_bytes()[:200])
    return files


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (no_series, ValueError, r"holds 0 DICOM series with images, one is needed"),
        (slice_missing, ValueError, r"A slice is missing between '.*dcm' and '.*dcm': they are 10.00 mm apart"),
        (slice_doubled, ValueError, r"are the same slice of a series: remove one"),
        (two_series, ValueError, r"holds 2 DICOM series with images, one is needed"),
        (mixed_files, ValueError, r"are of 2 series: keep those of one series together"),
        (last_slice_damaged, OSError, r"The DICOM file '.*dcm' cannot be read, replace it"),
        (last_slice_empty, OSError, r"The DICOM file '.*dcm' cannot be read, replace it"),
        (slice_without_position, ValueError, r"The DICOM file '.*' has no proper position"),
        (gantry_tilt, ValueError, r"do not lie straight behind one another, by up to 2.5 mm, as when the gantry"),
        (several_slices_in_a_file, ValueError, r"The DICOM file '.*a.dcm' holds 6 slices: convert it to one file"),
        (magnetic_resonance, ValueError, r"is MR and no CT: leave it out"),
        (damaged_dicom, OSError, r"The DICOM file '.*dcm' cannot be read, replace it"),
    ],
    ids=lambda x: x.__name__ if callable(x) else None,
)
def test_bad_series(tmp_path, make: Callable, error, message):
    with pytest.raises(error, match=message):
        load_volume(make(tmp_path), modality="CT")


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
        cause = root_cause(error)
        assert raised_here(cause) and "series" in str(cause), repr(cause)
    else:
        assert damage == "flipped" and np.array_equal(found, intact)


@pytest.mark.parametrize(
    ("tag", "values"),
    [
        (0x00280030, ["0.7", "0.7\\abc", "0\\0", "-0.7\\0.7", "1e9\\1e9", "nan\\nan", "0,7\\0,7"]),
        (0x00200032, ["0\\0\\nan", "0\\0", "1\\2\\3\\4", "inf\\0\\0"]),
        (0x00200037, ["1\\0\\0\\0\\1", "1\\0\\0\\nan\\1\\0", "1\\0\\0\\1\\0\\0", "3\\0\\0\\0\\3\\0"]),
        (0x00281053, ["0", "nan", "abc"]),
        (0x00281052, ["inf", "abc"]),
    ],
)
def test_dicom_tags_that_make_no_sense(tmp_path, tag, values):
    """In all files of a series, and in one."""
    series = write_series(scan(), tmp_path / "series")
    intact = {path: path.read_bytes() for path in series}
    for value in values:
        for paths in (series, series[2:3]):
            for path in paths:
                dataset = pydicom.dcmread(path)
                dataset[tag] = RawDataElement(Tag(tag), "DS", len(value), value.encode(), 0, False, True)
                dataset.save_as(path)
            assert assert_good_or_told_of_series(tmp_path / "series"), value
            for path in paths:
                path.write_bytes(intact[path])
    assert not assert_good_or_told_of_series(tmp_path / "series")


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
def test_elements_of_the_other_uncompressed_forms(tmp_path, syntax, order):
    """Without kinds (implicit), and with the highest byte first; the header of the file is always as usual."""

    def element(group, number, value, kind):
        length = struct.pack(order + "I", len(value)) if order == "<" else kind + struct.pack(order + "H", len(value))
        return struct.pack(order + "HH", group, number) + length + value

    start = bytes(128) + b"DICM" + b"\x02\x00\x10\x00UI" + struct.pack("<H", len(syntax)) + syntax.encode()
    rows = element(0x28, 0x10, struct.pack(order + "H", 24), b"US")
    content = start + rows + element(0x28, 0x11, b"\x00\x10", b"US")
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    assert read_dicom_header(path).Rows == 24
    path.write_bytes(content[:-1])
    with pytest.raises(OSError, match=r"a.dcm.*the element \(0028,0011\) of 2 bytes is longer than what is left"):
        read_dicom_header(path)


def test_a_series_of_any_modality(tmp_path):
    write_series(oblique_volume(), tmp_path, modality="MR")
    array = sitk.GetArrayFromImage(oblique_volume()).transpose()
    for arguments in ({}, {"modality": "MR"}, {"modality": "CT", "mask": True}):
        assert (load_volume(tmp_path, **arguments)[0].numpy() == array).all()
    with pytest.raises(ValueError, match="is MR and no PT: leave it out"):
        load_volume(tmp_path, modality="PT")


@pytest.mark.parametrize("compressor", ["", "JPEG"])
def test_a_slice_that_is_cut_off_anywhere_is_missed(tmp_path, compressor):
    """Between its elements too, where what is left of it is in order."""
    paths = write_series(scan()[..., :2], tmp_path, compressor=compressor)
    whole = paths[1].read_bytes()
    start = whole.rfind(b"\xe0\x7f\x10\x00")
    for length in (*range(0, start, 2), *range(start, len(whole), 50)):
        paths[1].write_bytes(whole[:length])
        files = [path for series in dicom_series(tmp_path).values() for path in series]
        assert str(paths[1]) in files, length
        with pytest.raises(
            (OSError, ValueError), match=f"{paths[1].name}' (cannot be read, replace it|has no proper|does not say)"
        ):
            load_volume(paths)


def test_reports_are_passed_over(tmp_path):
    paths = write_series(scan(), tmp_path)
    report = pydicom.dcmread(paths[0], stop_before_pixels=True)
    report.SOPClassUID = pydicom.uid.BasicTextSRStorage
    del report.Rows
    report.save_as(tmp_path / "report.dcm")
    assert [sorted(files) for files in dicom_series(tmp_path).values()] == [sorted(map(str, paths))]
    with pytest.raises(ValueError, match=r"report.dcm' holds no image: leave it out"):
        load_volume([tmp_path / "report.dcm"])


def test_a_number_of_slices_that_is_none(tmp_path):
    paths = write_series(scan(), tmp_path)
    dataset = pydicom.dcmread(paths[0])
    dataset[0x00280008] = RawDataElement(Tag(0x00280008), "IS", 4, b"1\\2 ", 0, False, True)
    dataset.save_as(paths[0])
    assert sum(len(files) for files in dicom_series(tmp_path).values()) == len(paths)
    assert assert_good_or_told_of_series(tmp_path)
