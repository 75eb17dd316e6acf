"""Faults of scanners and wiring: at least 95 of 100 become REVIEW, and no sound scan does."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy.ndimage import uniform_filter

from bagscan.core import Decision, ReasonCode, Scan, View
from bagscan.formats import read_scan
from bagscan.formats.quantities import counts_from_view, view_from_counts
from bagscan.model_folder import SHIPPED
from bagscan.plausibility import unfit
from bagscan.screening import Screener


def faulty(view, fault):
    """A view with one fault, through its counts, as a file would hold them."""
    counts = counts_from_view(view).astype(np.int64)
    energies = [i for i, name in enumerate(view.channels) if name != "zeff"]
    top = (1 << view.bit_depth) - 1
    air = int(np.percentile(counts[energies], 99))
    e = np.ix_(energies)
    if fault == "swapped":
        counts[[0, 1]] = counts[[1, 0]]
    elif fault == "8 in 16":
        counts[e] //= 256
    elif fault == "8 in 16, shifted":
        counts[e] = counts[e] // 256 * 256
    elif fault == "8 in 16, stretched":
        counts[e] = counts[e] // 256 * 257
    elif fault == "inverted":
        counts[e] = top - counts[e]
    elif fault == "inverted about air":
        counts[e] = np.clip(air - counts[e], 0, top)
    elif fault == "white":
        counts[e] = top
    elif fault == "black":
        counts[e] = 0
    elif fault == "saturated":
        counts[e] = np.clip(counts[e] * 4, 0, top)
    elif fault == "starved":
        counts[e] = np.clip(counts[e] - int(0.6 * air), 0, top)
    elif fault == "grey":
        counts[:] = counts.mean(0)
    elif fault == "high turned":
        counts[1] = counts[1, ::-1]
    elif fault == "one energy twice":
        counts[1] = counts[0]
    elif fault == "Z of nothing":
        counts[2] = 7000
    elif fault == "stopped, and black below":
        counts[:, -counts.shape[1] // 5 :] = 0
    elif fault == "Z of 12 bits":
        counts[2] //= 16
    elif fault == "Z in fifths":
        counts[2] //= 5
    elif fault == "white is zero, 12 bits in 16":
        counts = top - counts // 16
    elif fault == "a frozen belt":
        counts[:, 60:120] = counts[:, 60:61]
    elif fault == "Z that stops":
        counts[2, counts.shape[1] // 2 :] = 0
    elif fault == "two rows as one":
        counts = counts[:, : counts.shape[1] // 2 * 2].reshape(len(counts), -1, 2 * counts.shape[2])
    elif fault == "Z turned":
        counts[2] = counts[2, ::-1, ::-1]
    elif fault == "Z mirrored":
        counts[2] = counts[2, :, ::-1]
    elif fault == "a wrong width":
        width = counts.shape[2] - 3
        counts = np.stack([np.resize(plane, (plane.size // width, width)) for plane in counts])
    elif fault == "flat":
        counts[:, 40:90, 30:120] = np.array([20000, 30000, 7000])[:, None, None]
        counts[e] = np.where(counts[e] == np.array([20000, 30000])[:, None, None], counts[e], air)
    elif fault == "cut off":
        counts[:, :, -counts.shape[2] // 5 :] = 0
    elif fault == "air alone":
        counts[e] = np.random.default_rng(0).normal(air, 0.004 * air, counts[e].shape)
        counts[2] = 0
    elif fault == "noise":
        counts[:] = np.random.default_rng(0).integers(0, top, counts.shape)
    return view_from_counts(
        counts.astype(np.uint16 if view.bit_depth == 16 else np.uint8), view.channels
    )


RAW = [
    "swapped",
    "8 in 16",
    "8 in 16, shifted",
    "8 in 16, stretched",
    "inverted",
    "inverted about air",
    "white",
    "black",
    "saturated",
    "starved",
]
RAW += [
    "high turned",
    "one energy twice",
    "Z of nothing",
    "Z of 12 bits",
    "Z in fifths",
    "Z that stops",
    "white is zero, 12 bits in 16",
    "a frozen belt",
]
RAW += [
    "two rows as one",
    "Z turned",
    "Z mirrored",
    "a wrong width",
    "flat",
    "cut off",
    "air alone",
    "noise",
]
COLOUR = [
    "stopped, and black below",
    "a frozen belt",
    "inverted",
    "inverted about air",
    "white",
    "black",
    "starved",
    "grey",
    "noise",
]


@pytest.mark.parametrize(
    ("kind", "fault"), [("raw", fault) for fault in RAW] + [("colour", fault) for fault in COLOUR]
)
def test_injected_faults_are_found(simulated_root, kind, fault):
    views = [read_scan(path).views[0] for path in sorted((simulated_root / kind).iterdir())]
    assert len(views) >= 20
    found = [bool(unfit(faulty(view, fault))) for view in views]
    assert np.mean(found) >= 0.95


def as_floats(view, fault):
    """The same scan in other units, as another converter might write them."""
    pixels = np.array(view.pixels)
    energies = np.array([name != "zeff" for name in view.channels])
    if fault in ("counts", "percent", "twice"):
        pixels[energies] *= {"counts": 65535, "percent": 100, "twice": 2}[fault]
    elif fault == "log attenuation":
        pixels[energies] = -np.log(pixels[energies].clip(1e-4))
    elif fault == "complement":
        pixels[energies] = 1 - pixels[energies]
    else:
        pixels[~energies] *= {
            "Z in thousandths": 1000,
            "Z in thousands": 1e-3,
            "Z negative": -1,
            "no Z": 0,
        }[fault]
    return View(pixels, view.channels, view.quantity)


@pytest.mark.parametrize(
    "fault",
    [
        "counts",
        "percent",
        "twice",
        "log attenuation",
        "complement",
        "Z in thousandths",
        "Z in thousands",
        "Z negative",
        "no Z",
    ],
)
def test_values_that_a_channel_cannot_have_are_found_whatever_the_view_is_called(
    simulated_root, fault
):
    views = [read_scan(path).views[0] for path in sorted((simulated_root / "raw").iterdir())[:10]]
    codes = [{reason.code for reason in unfit(as_floats(view, fault))} for view in views]
    assert all(codes)
    if fault not in ("log attenuation", "complement"):
        assert all(found == {"out_of_range"} for found in codes)


def test_every_quantity_has_limits(simulated_root):
    view = read_scan(next((simulated_root / "raw").iterdir())).views[0]
    low_high = View(
        -np.log(np.array(view.pixels[:2]).clip(1e-4, 1)), ("low", "high"), "log_attenuation"
    )
    assert unfit(low_high) == []
    assert (
        unfit(replace(low_high, pixels=np.array(low_high.pixels) * 100))[0].code == "out_of_range"
    )
    zeff = View(np.array(view.pixels[2:]), ("zeff",), "effective_z")
    assert unfit(zeff) == []
    assert unfit(replace(zeff, pixels=np.array(zeff.pixels) * 1000))[0].code == "out_of_range"


@pytest.mark.parametrize("kind", ["raw", "colour"])
def test_sound_scans_pass(simulated_root, kind):
    result = [
        reason
        for path in sorted((simulated_root / kind).iterdir())
        for reason in unfit(read_scan(path).views[0])
    ]
    assert result == []


def test_scores_do_not_depend_on_the_number_of_threads(simulated_root):

    screener = Screener.load(SHIPPED / "raw", 0.9)
    scan = read_scan(simulated_root / "raw" / "00001a_below.tif")
    before = torch.get_num_threads()
    result = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        result.append(screener.screen(scan).scores["0"])
        assert torch.get_num_threads() == threads  # unchanged
    torch.set_num_threads(before)
    assert np.array_equal(*result)


@pytest.mark.parametrize(
    ("side", "colour"), [(8, (0.9, 0.5, 0.1)), (20, (0.9, 0.5, 0.1)), (200, (0.97, 0.96, 0.95))]
)
def test_a_small_or_pale_item_is_no_fault(side, colour):
    pixels = np.ones((3, 480, 640), np.float32)
    noise = np.random.default_rng(0).normal(0, 0.01, (3, side, side))
    pixels[:, 100 : 100 + side, 200 : 200 + side] = (
        np.array(colour, np.float32)[:, None, None] + noise
    )
    assert unfit(View(pixels, ("red", "green", "blue"), "pseudo_colour", bit_depth=8)) == []


def test_a_photograph_with_a_fourth_channel_is_a_photograph(simulated_root):
    colour = read_scan(next((simulated_root / "colour").iterdir())).views[0]
    zeff = np.zeros((1, *colour.shape), np.float32)
    four = View(np.concatenate([colour.pixels, zeff]), (*colour.channels, "zeff"), "dual_energy")
    assert unfit(four) == []
    grey = np.broadcast_to(
        np.linspace(0.3, 0.7, colour.shape[1], dtype=np.float32), colour.pixels.shape
    )
    assert unfit(replace(four, pixels=np.concatenate([grey, zeff])))


def drawings():
    """Drawings by people: few flat colours on white, without the noise of a detector."""
    made = {
        name: Image.new("RGB", (500, 400), "white")
        for name in ("a logo", "a chart", "a map", "a pie", "a window")
    }
    draw = {name: ImageDraw.Draw(image) for name, image in made.items()}
    draw["a logo"].ellipse((100, 80, 300, 280), fill=(0, 90, 200))
    draw["a logo"].rectangle((250, 150, 420, 300), fill=(255, 120, 0))
    for i, colour in enumerate(["orange", "blue", "green", "red", "purple", "brown"]):
        draw["a chart"].rectangle(
            (50 + 60 * i, 350 - 40 * i, 90 + 60 * i, 350), fill=(30 + 20 * i, 100, 180)
        )
        draw["a pie"].pieslice((80, 40, 380, 340), 60 * i, 60 * i + 60, fill=colour)
        draw["a window"].rectangle((20, 50 + 50 * i, 480, 80 + 50 * i), fill=(230, 240, 255))
    draw["a window"].rectangle((0, 0, 500, 30), fill=(30, 90, 200))
    draw["a map"].polygon([(50, 50), (300, 20), (420, 200), (200, 380)], fill=(60, 160, 60))
    draw["a map"].line((0, 0, 500, 400), fill=(200, 0, 0), width=3)
    return made


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        *((name, "png") for name in drawings()),
        ("a logo", "jpg"),
        ("a map", "jpg"),
        ("a pie", "jpg"),
    ],
)
def test_a_drawing_is_no_scan(tmp_path, name, ending):
    image = drawings()[name]
    image.save(tmp_path / f"a.{ending}")
    assert {reason.code for reason in unfit(read_scan(tmp_path / f"a.{ending}").views[0])} == {
        ReasonCode.NOT_A_BAG
    }


def test_a_fault_is_review_in_the_report(tiny_model):
    screener = Screener.load(tiny_model)
    rng = np.random.default_rng(0)
    dark = View(
        (rng.random((3, 64, 64)) * 0.02).astype(np.float32),
        ("red", "green", "blue"),
        "pseudo_colour",
        bit_depth=8,
    )
    report = screener.screen(Scan("x", (dark,)))
    assert report.decision is Decision.REVIEW
    assert "no air" in report.reasons[0]


def test_a_photograph_is_not_a_scan_that_is_clear():
    """Bright and colourful all over, like a picture of a lawn under a sky: it contains no air."""
    pixels = (
        np.ones((3, 200, 300), np.float32) * np.array([0.45, 0.65, 0.95], np.float32)[:, None, None]
    )
    pixels[:, 120:] = np.array([0.35, 0.6, 0.2], np.float32)[:, None, None]
    pixels *= (
        1 - 0.1 * np.random.default_rng(0).random((1, 200, 300)).astype(np.float32).cumsum(1) / 100
    )
    photograph = View(pixels.clip(0, 1), ("red", "green", "blue"), "pseudo_colour", bit_depth=8)
    (reason,) = unfit(photograph)
    assert reason.code == ReasonCode.NOT_A_BAG


@pytest.mark.parametrize("air", [1.0, 0.8])
def test_a_bag_that_fills_the_picture_shows_air_at_its_rim(air):
    """As white as the scanner makes it, or grey: real machines have both."""
    pixels = np.full((3, 200, 300), air, np.float32)
    pixels[:, 4:-4, 4:-4] *= np.array([0.9, 0.6, 0.25], np.float32)[:, None, None]
    pixels[:, 50:90, 50:90] *= 0.6
    pixels += np.random.default_rng(0).normal(0, 0.01, pixels.shape).astype(np.float32)
    assert unfit(View(pixels, ("red", "green", "blue"), "pseudo_colour", bit_depth=8)) == []


def test_several_pictures_in_one_are_no_scan(simulated_root):
    """For example a contact sheet, or a figure of a paper."""
    picture = read_scan(next((simulated_root / "colour").iterdir())).views[0].pixels
    small = np.pad(picture[:, ::3, ::3], ((0, 0), (20, 20), (20, 20)), constant_values=1)
    sheet = View(np.tile(small, (1, 2, 3)), ("red", "green", "blue"), "pseudo_colour", bit_depth=8)
    assert unfit(sheet)[0].code == "not_a_bag"


def test_a_street_is_no_scan(simulated_root):
    """Air above and something coloured below, but grey where a scanner would paint materials."""
    rng = np.random.default_rng(0)
    pixels = np.ones((3, 200, 300), np.float32)
    pixels[:, 80:] = rng.uniform(0.3, 0.7, (1, 120, 300)).astype(np.float32)
    pixels[:, 150:, :60] = np.array([0.8, 0.4, 0.1], np.float32)[:, None, None]
    smooth = uniform_filter(pixels, (0, 9, 9)).astype(np.float32)
    assert (
        unfit(View(smooth, ("red", "green", "blue"), "pseudo_colour", bit_depth=8))[0].code
        == "not_a_bag"
    )


def test_clipped_air_is_not_saturation_and_overexposure_is(simulated_root):
    """Noise separates the two: half of the air lies below a full scale that is its mean."""
    views = [read_scan(path).views[0] for path in sorted((simulated_root / "raw").iterdir())]
    saturated = dict.fromkeys((1.0, 1.1, 1.5, 3.0), 0)
    for view in views:
        for factor in saturated:
            pixels = np.array(view.pixels)
            pixels[:2] = np.minimum(pixels[:2] * factor, 1.0)
            codes = [one.code for one in unfit(replace(view, pixels=pixels))]
            saturated[factor] += ReasonCode.SATURATED in codes
    assert saturated[1.0] == 0
    assert min(saturated[factor] for factor in (1.1, 1.5, 3.0)) >= 0.9 * len(views)


def test_a_bag_in_which_no_device_is_found_says_so():
    """Thin cloth in air."""
    rng = np.random.default_rng(0)
    depth = rng.normal(0, 0.004, (240, 320))
    depth[40:200, 40:280] += 0.15
    planes = np.stack([np.exp(-1.3 * depth), np.exp(-depth), np.where(depth > 0.1, 7, 0)]).astype(
        np.float32
    )
    screener = Screener.load(SHIPPED / "raw")
    report = screener.screen(Scan("cloth", (View(planes, ("low", "high", "zeff"), "dual_energy"),)))
    assert report.decision is Decision.CLEAR, report.reasons
    assert [len(scores) for scores in report.scores.values()] == [1]
    assert "no device was found" in report.notes[0]
