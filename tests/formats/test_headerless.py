"""Headerless files: the sidecar describes how to read them; its errors name file and key."""

import numpy as np
import pytest
import yaml

from bagscan import testing
from bagscan.core import View
from bagscan.core.errors import ReadError
from bagscan.formats import find_scans, read_scan, write_headerless
from bagscan.formats.headerless import read_headerless
from bagscan.formats.quantities import counts_from_view, view_from_counts
from bagscan.formats.scans import change_stamp, files_of

COUNTS = np.arange(3 * 20 * 32, dtype=np.uint16).reshape(3, 20, 32) * 30
NAMES = ("low", "high", "zeff")


def written(path, planes=COUNTS, stored="<u2", order=(0, 1, 2), before=b"", after=b"", **settings):
    """A file and its sidecar; settings of None are left out."""
    content = planes.transpose(order).astype(stored).tobytes()
    path.write_bytes(before + content + after)
    _, height, width = planes.shape
    result = {"width": width, "height": height, "channels": list(NAMES[: len(planes)])} | settings
    path.with_suffix(".yaml").write_text(
        yaml.safe_dump({k: v for k, v in result.items() if v is not None})
    )
    return path


def read(path):
    return read_scan(path).views[0]


@pytest.mark.parametrize("ending", ["raw", "bin", "img", "RAW"])
def test_counts_survive(tmp_path, ending):
    view = view_from_counts(COUNTS, NAMES, pixel_pitch_mm=1.5)
    path = tmp_path / f"7.{ending}"
    write_headerless(path, view)
    back = read(path)
    assert np.array_equal(back.pixels, view.pixels)
    assert np.array_equal(counts_from_view(back), COUNTS)
    assert (back.channels, back.quantity, back.pixel_pitch_mm, back.bit_depth) == (
        NAMES,
        "dual_energy",
        1.5,
        16,
    )
    assert find_scans([tmp_path]) == [path]
    testing.check_format(read_headerless, path)


@pytest.mark.parametrize(
    ("interleave", "order"), [("bsq", (0, 1, 2)), ("bil", (1, 0, 2)), ("bip", (1, 2, 0))]
)
@pytest.mark.parametrize(("stored", "endianness"), [("<u2", "little"), (">u2", "big")])
def test_every_layout_gives_the_same_counts(tmp_path, interleave, order, stored, endianness):
    path = written(
        tmp_path / "a.raw", stored=stored, order=order, interleave=interleave, endianness=endianness
    )
    assert np.array_equal(counts_from_view(read(path)), COUNTS)


def test_header_and_footer_are_passed_over(tmp_path):
    path = written(tmp_path / "a.raw", before=b"scanner " * 64, after=b"end", offset=512, footer=3)
    assert np.array_equal(counts_from_view(read(path)), COUNTS)


def test_a_sidecar_may_be_in_capitals(tmp_path):
    written(tmp_path / "a.raw")
    (tmp_path / "a.raw").rename(tmp_path / "a.RAW")
    (tmp_path / "a.yaml").rename(tmp_path / "a.YAML")
    assert read_scan(tmp_path / "a.RAW").views[0].channels
    assert [path.name for path in files_of(tmp_path / "a.RAW")] == ["a.RAW", "a.YAML"]


def test_a_sidecar_may_end_in_yml(tmp_path):
    path = written(tmp_path / "a.raw")
    path.with_suffix(".yaml").rename(path.with_suffix(".yml"))
    assert np.array_equal(counts_from_view(read(path)), COUNTS)
    assert files_of(path) == [path, path.with_suffix(".yml")]


def test_12_bits_air_at_the_bottom_and_references(tmp_path):
    counts = (np.arange(2 * 20 * 32, dtype=np.uint16) * 3).reshape(2, 20, 32)
    plain = read(written(tmp_path / "a.raw", counts, bits=12))
    assert plain.pixels == pytest.approx(counts / 4095)
    inverted = read(written(tmp_path / "b.raw", counts, bits=12, polarity="air_is_low"))
    assert inverted.pixels == pytest.approx(1 - counts / 4095)
    line = np.linspace(3000, 4000, 32)
    settings = {"air": {"low": 3900, "high": line.tolist()}, "dark": {"low": 100}}
    view = read(written(tmp_path / "c.raw", counts, bits=12, **settings))
    assert view.pixels[0] == pytest.approx((counts[0] - 100.0) / 3800)
    assert view.pixels[1] == pytest.approx(counts[1] / line)
    settings = {"air": {"low": 200}, "dark": {"low": 3900}, "polarity": "air_is_low"}
    view = read(written(tmp_path / "d.raw", counts, bits=12, **settings))
    assert view.pixels[0] == pytest.approx((counts[0] - 3900.0) / -3700, abs=1e-6)
    assert view.pixels[1] == pytest.approx(1 - counts[1] / 4095)


def test_effective_z_in_other_steps(tmp_path):
    view = read(written(tmp_path / "a.raw", zeff_per_count=0.01))
    assert view.pixels[2] == pytest.approx(COUNTS[2] * 0.01)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_of_a_quantity(tmp_path, dtype):
    values = np.random.default_rng(0).normal(1, 0.2, (2, 10, 12))
    view = read(floats(tmp_path, values, dtype))
    assert view.quantity == "log_attenuation"
    assert view.pixels == pytest.approx(values, abs=1e-6)


def floats(folder, values, dtype):
    path = folder / "a.raw"
    values.astype(dtype).tofile(path)
    result = {
        "width": 12,
        "height": 10,
        "channels": ["low", "high"],
        "dtype": dtype,
        "quantity": "log_attenuation",
    }
    path.with_suffix(".yaml").write_text(yaml.safe_dump(result))
    return path


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
def test_rotated_and_mirrored_views_are_turned(tmp_path, degrees, mirror):
    planes = COUNTS[:, :, ::-1] if mirror else COUNTS
    expected = np.rot90(COUNTS, degrees // 90, (1, 2))
    path = written(tmp_path / "a.raw", planes, rotate_deg=degrees, mirror=mirror)
    assert np.array_equal(counts_from_view(read(path)), expected)


def test_without_a_sidecar_its_name_is_told(tmp_path):
    (tmp_path / "7.raw").write_bytes(bytes(100))
    with pytest.raises(ReadError, match=r"7\.yaml"):
        read(tmp_path / "7.raw")


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"width": None}, "width"),
        ({"width": 0}, "width"),
        ({"width": 33}, "bytes"),
        ({"width": "wide"}, "width"),
        ({"width": 60_000, "height": 60_000}, "60000x60000"),
        ({"heigth": 20}, "heigth"),
        ({"dtype": "int16"}, "dtype"),
        ({"endianness": "middle"}, "endianness"),
        ({"interleave": "bsp"}, "interleave"),
        ({"polarity": "negative"}, "polarity"),
        ({"offset": -1}, "offset"),
        ({"footer": 2}, "bytes"),
        ({"bits": 17}, "bits"),
        ({"bits": 8}, "8 bits"),
        ({"channels": ["low", "low", "high"]}, "channels"),
        ({"channels": []}, "channels"),
        ({"air": 60000}, "air"),
        ({"air": {"medium": 60000}}, r"air\.medium"),
        ({"air": {"zeff": 60000}}, r"air\.zeff"),
        ({"air": {"low": [1, 2]}}, r"air\.low"),
        ({"air": {"low": "bright"}}, r"air\.low"),
        ({"air": {"low": 0}}, "low"),
        ({"quantity": "log_attenuation"}, "quantity"),
        ({"dtype": "float32"}, "quantity"),
        ({"rotate_deg": 45}, "rotate_deg"),
        ({"pixel_pitch_mm": -1.0}, "pixel_pitch_mm"),
        ({"zeff_per_count": 0.0}, "zeff_per_count"),
    ],
)
def test_what_is_wrong_with_a_sidecar_names_the_file_and_the_key(tmp_path, settings, key):
    path = written(tmp_path / "a.raw", **settings)
    with pytest.raises(ReadError, match=key) as error:
        read(path)
    assert "a.yaml" in str(error.value) or "a.raw" in str(error.value)


@pytest.mark.parametrize("text", ["", "[1, 2]", "width: [", "a: &a 1\nb: *a", "width: 1\nwidth: 2"])
def test_a_sidecar_that_is_not_a_mapping_is_refused(tmp_path, text):
    path = written(tmp_path / "a.raw")
    path.with_suffix(".yaml").write_text(text)
    with pytest.raises(ReadError, match=r"a\.yaml"):
        read(path)


def test_nan_is_refused(tmp_path):
    path = floats(tmp_path, np.full((2, 10, 12), np.nan), "float32")
    with pytest.raises(ReadError):
        read(path)


def test_the_sidecar_belongs_to_the_scan(tmp_path):
    """Another sidecar makes another scan of the same numbers: its hash and its stamp change."""
    path = written(tmp_path / "a.raw")
    first, stamp = read_scan(path).provenance["sha256"], change_stamp(path)
    path.with_suffix(".yaml").write_text(
        path.with_suffix(".yaml").read_text() + "pixel_pitch_mm: 1.0\n"
    )
    assert read_scan(path).provenance["sha256"] != first
    assert change_stamp(path) != stamp


def test_views_of_one_bag(tmp_path):
    from bagscan.formats.scans import group_views, read_views

    for view in ("below", "side"):
        written(tmp_path / f"7_{view}.raw")
    bags = group_views(find_scans([tmp_path]), ("below", "side"))
    scan, errors = read_views(bags[0])
    assert (scan.id, [view.view_id for view in scan.views], errors) == ("7", ["below", "side"], {})


def test_log_attenuation_has_no_counts_to_write(tmp_path):
    from bagscan.core.errors import BagscanError

    with pytest.raises(BagscanError):
        write_headerless(
            tmp_path / "a.raw", View(np.ones((1, 4, 4), np.float32), ("low",), "log_attenuation")
        )
