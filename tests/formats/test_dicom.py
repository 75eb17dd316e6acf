"""DICOM and DICOS images: counts come back bit for bit; errors name unsupported features."""

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

from pydicom.uid import (  # noqa: E402
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from bagscan import testing  # noqa: E402
from bagscan.core import View  # noqa: E402
from bagscan.core.errors import BagscanError, ReadError  # noqa: E402
from bagscan.formats import read_scan, write_dicom  # noqa: E402
from bagscan.formats.dicom import read_dicom  # noqa: E402
from bagscan.formats.dicom_file import (  # noqa: E402
    COMPUTED_RADIOGRAPHY,
    DICOS_PROCESSING,
    DX_PRESENTATION,
    DX_PROCESSING,
    instance_of,
)
from bagscan.formats.dicom_writing import image_dataset  # noqa: E402
from bagscan.formats.quantities import counts_from_view, view_from_counts  # noqa: E402

RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)
COUNTS = np.stack([RAMP, RAMP[::-1], np.roll(RAMP, 7, 1)])
NAMES = ("low", "high", "zeff")
CT = "1.2.840.10008.5.1.4.1.1.2"


def view_of(n=3, **fields):
    return view_from_counts(COUNTS[:n], NAMES[:n], **fields)


def dataset_of(n=1, counts=None, kind=DX_PROCESSING):
    counts = COUNTS[:n] if counts is None else counts
    return image_dataset(kind, "7", view_from_counts(counts, NAMES[: len(counts)]), counts)


def without_labels(dataset):
    del dataset.PerFrameFunctionalGroupsSequence
    return dataset


def saved(dataset, path, **attributes):
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def read(path):
    return read_scan(path).views[0]


@pytest.mark.parametrize("ending", ["dcm", "dcs", "dicos", "DCM"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_16_bit_ramp_survives(tmp_path, n, ending):
    view = view_of(n, view_id="below", pixel_pitch_mm=1.25)
    path = tmp_path / f"7.{ending}"
    write_dicom(path, view)
    back = read(path)
    assert np.array_equal(counts_from_view(back), COUNTS[:n])
    assert np.array_equal(back.pixels, view.pixels)
    assert (back.channels, back.quantity, back.view_id) == (view.channels, view.quantity, "below")
    assert (back.pixel_pitch_mm, back.bit_depth) == (1.25, 16)
    assert instance_of(path)[0] == DICOS_PROCESSING
    testing.check_format(read_dicom, path)


def test_8_bits_survive_an_odd_number_of_pixels(tmp_path):
    counts = np.arange(35, dtype=np.uint8).reshape(1, 5, 7) * 7
    write_dicom(tmp_path / "a.dcm", view_from_counts(counts, ("low",)), dicos=False)
    back = read(tmp_path / "a.dcm")
    assert back.bit_depth == 8
    assert np.array_equal(counts_from_view(back), counts)


@pytest.mark.parametrize("kind", [DX_PROCESSING, DX_PRESENTATION, COMPUTED_RADIOGRAPHY])
def test_plain_dicom_of_one_energy(tmp_path, kind):
    path = saved(without_labels(dataset_of(kind=kind)), tmp_path / "a.dcm")
    assert read(path).channels == ("low",)
    assert np.array_equal(counts_from_view(read(path)), COUNTS[:1])


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_transfer_syntaxes(tmp_path, syntax):
    dataset = dataset_of(2)
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian:
        dataset.PixelData = COUNTS[:2].astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(
        tmp_path / "a.dcm",
        dataset,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        enforce_file_format=True,
    )
    assert np.array_equal(counts_from_view(read(tmp_path / "a.dcm")), COUNTS[:2])


@pytest.mark.parametrize(
    ("photometric", "sign", "inverted"),
    [
        ("MONOCHROME2", 1, False),
        ("MONOCHROME2", None, False),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", -1, True),
        ("MONOCHROME2", -1, True),
        ("MONOCHROME1", 1, False),
    ],
)
def test_sign_says_where_air_is_and_photometric_where_there_is_none(
    tmp_path, photometric, sign, inverted
):
    dataset = without_labels(dataset_of())
    dataset.PhotometricInterpretation = photometric
    if sign is None:
        del dataset.PixelIntensityRelationshipSign
    else:
        dataset.PixelIntensityRelationshipSign = sign
    expected = 65535 - COUNTS[:1] if inverted else COUNTS[:1]
    assert np.array_equal(counts_from_view(read(saved(dataset, tmp_path / "a.dcm"))), expected)


def test_12_bits_in_16_wherever_they_lie(tmp_path):
    counts = (np.arange(4096, dtype=np.uint16)).reshape(1, 64, 64)
    for high, stored in ((11, counts), (15, counts << 4), (13, (counts << 2) | 0xC001)):
        dataset = without_labels(dataset_of(counts=counts))
        dataset.PixelData = stored.astype("<u2").tobytes()
        view = read(saved(dataset, tmp_path / "a.dcm", BitsStored=12, HighBit=high))
        assert view.bit_depth == 12
        assert view.pixels == pytest.approx(counts / 4095)


def test_unnamed_frames_are_low_high_and_effective_z(tmp_path):
    path = saved(without_labels(dataset_of(3)), tmp_path / "a.dcm")
    assert read(path).channels == NAMES
    assert np.array_equal(counts_from_view(read(path)), COUNTS)


def test_frames_are_named_by_their_label(tmp_path):
    dataset = dataset_of(2)
    for frame, label in zip(
        dataset.PerFrameFunctionalGroupsSequence, ("High Energy", "LOW-ENERGY"), strict=True
    ):
        frame.FrameContentSequence[0].FrameLabel = label
    view = read(saved(dataset, tmp_path / "a.dcm"))
    assert view.channels == ("high", "low")
    assert np.array_equal(counts_from_view(view), COUNTS[:2])


def test_two_images_in_the_items_of_a_sequence(tmp_path):
    dataset, items = dataset_of(), []
    for plane, label in zip(COUNTS[:2], ("low", "high"), strict=True):
        item = pydicom.Dataset()
        for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"):
            setattr(item, keyword, getattr(dataset, keyword))
        item.PhotometricInterpretation, item.FrameLabel = "MONOCHROME2", label
        item.PixelData = plane.astype("<u2").tobytes()
        item["PixelData"].VR = "OW"
        items.append(item)
    del dataset.PixelData
    dataset.IconImageSequence = [items[0]]
    dataset.ReferencedImageSequence = items
    view = read(saved(without_labels(dataset), tmp_path / "a.dcm"))
    assert view.channels == ("low", "high")
    assert np.array_equal(counts_from_view(view), COUNTS[:2])


def test_air_and_dark_counts_become_transmission_1_and_0(tmp_path):
    dataset = without_labels(dataset_of(2))
    gain, dark = [], []
    for air in (60000, np.linspace(50000, 61000, 256)):
        item = pydicom.Dataset()
        item.AirCounts = np.asarray(air, "<u2").tobytes()
        item["AirCounts"].VR = "OW"
        gain.append(item)
    item = pydicom.Dataset()
    item.DarkCurrentCounts = np.full((256, 256), 100, "<u2").tobytes()
    item["DarkCurrentCounts"].VR = "OW"
    dark.append(item)
    dataset.GainCorrectionReferenceSequence, dataset.DarkCurrentSequence = gain, dark
    view = read(saved(dataset, tmp_path / "a.dcm"))
    line = np.linspace(50000, 61000, 256).astype(np.uint16)
    assert view.pixels[0] == pytest.approx((COUNTS[0] - 100.0) / (60000 - 100))
    assert view.pixels[1] == pytest.approx((COUNTS[1] - 100.0) / (line - 100.0))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"RescaleSlope": "0.0000166667"}, COUNTS[0] * 0.0000166667),
        (
            {
                "RescaleSlope": "-0.0000152590",
                "RescaleIntercept": "1",
                "PixelIntensityRelationshipSign": -1,
            },
            1 - COUNTS[0] * 0.0000152590,
        ),
        ({"RescaleSlope": "2"}, COUNTS[0] / 65535),
        ({"RescaleType": "OD"}, 10 ** (COUNTS[0] / -1000.0)),
        ({"RescaleType": "HU"}, COUNTS[0] / 65535),
    ],
)
def test_rescaled_values(tmp_path, settings, expected):
    view = read(saved(without_labels(dataset_of()), tmp_path / "a.dcm", **settings))
    assert view.pixels[0] == pytest.approx(expected, abs=1e-6)


def test_effective_z_alone(tmp_path):
    view = read(
        saved(
            without_labels(dataset_of()),
            tmp_path / "a.dcm",
            RescaleType="Z_EFF",
            RescaleSlope="0.001",
        )
    )
    assert (view.channels, view.quantity) == (("zeff",), "effective_z")
    assert view.pixels[0] == pytest.approx(COUNTS[0] / 1000.0)


@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_is_pseudo_colour(tmp_path, planar):
    rgb = np.random.default_rng(0).integers(0, 256, (3, 12, 10), np.uint8)
    dataset = dataset_of(counts=rgb[:1])
    dataset.PixelData = (rgb if planar else rgb.transpose(1, 2, 0)).tobytes()
    settings = {
        "SamplesPerPixel": 3,
        "PhotometricInterpretation": "RGB",
        "PlanarConfiguration": planar,
    }
    view = read(saved(dataset, tmp_path / "a.dcm", **settings))
    assert view.quantity == "pseudo_colour"
    assert np.array_equal(counts_from_view(view), rgb)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"SOPClassUID": CT}, "CT Image Storage"),
        ({"PixelIntensityRelationship": "LOG"}, "PixelIntensityRelationship LOG"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR"),
        (
            {"PhotometricInterpretation": "YBR_FULL", "SamplesPerPixel": 3},
            "SamplesPerPixel|PixelData",
        ),
        ({"PixelRepresentation": 1}, "PixelRepresentation"),
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, "BitsAllocated"),
        ({"HighBit": 5}, "HighBit"),
        ({"RescaleSlope": "0"}, "RescaleSlope"),
        ({"RescaleSlope": "2", "RescaleIntercept": "-1000"}, "RescaleIntercept"),
        ({"RescaleSlope": "2", "RescaleType": "MGML"}, "MGML"),
        ({"PixelIntensityRelationshipSign": 7}, "PixelIntensityRelationshipSign"),
        ({"NumberOfFrames": 2}, "PixelData"),
        ({"NumberOfFrames": 99}, "NumberOfFrames"),
        ({"Rows": 50000, "Columns": 50000}, "50000x50000"),
        ({"Rows": 255}, "PixelData"),
        ({"AirCounts": b"\0\1\0\1"}, "AirCounts"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(tmp_path, settings, named):
    dataset = without_labels(dataset_of())
    if "AirCounts" in settings:
        dataset.add_new("AirCounts", "OW", settings.pop("AirCounts"))
    path = saved(dataset, tmp_path / "a.dcm", **settings)
    with pytest.raises(ReadError, match=named):
        read(path)


def test_a_look_up_table_floats_and_nothing_at_all_are_refused(tmp_path):
    with_table = without_labels(dataset_of())
    with_table.ModalityLUTSequence = [pydicom.Dataset()]
    floats, nothing = (without_labels(dataset_of()) for _ in range(2))
    del floats.PixelData, nothing.PixelData
    floats.FloatPixelData = COUNTS[0].astype("<f4").tobytes()
    for dataset, named in (
        (with_table, "ModalityLUT"),
        (floats, "FloatPixelData"),
        (nothing, "PixelData"),
    ):
        with pytest.raises(ReadError, match=named):
            read(saved(dataset, tmp_path / "a.dcm"))


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, JPEG2000Lossless])
def test_other_transfer_syntaxes_are_refused_by_name(tmp_path, syntax):
    dataset = without_labels(dataset_of())
    if syntax == JPEG2000Lossless:
        dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51"])
        dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    path = saved(dataset, tmp_path / "a.dcm")
    with pytest.raises(ReadError, match=r"Deflated|JPEG 2000"):
        read(path)


def test_rle_that_expands_to_more_than_a_frame_is_refused(tmp_path):
    dataset = without_labels(dataset_of())
    segment = b"\x81\x00" * 2_000_000  # 128 zeros from 2 bytes
    header = np.array([2, 64, 64 + len(segment)] + [0] * 13, "<u4").tobytes()
    dataset.PixelData = pydicom.encaps.encapsulate([header + segment + segment])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = RLELossless
    path = saved(dataset, tmp_path / "a.dcm")
    with pytest.raises(ReadError):
        read(path)


def test_what_dx_cannot_hold_is_not_written(tmp_path):
    colour = View(
        np.zeros((3, 4, 4), np.float32), ("red", "green", "blue"), "pseudo_colour", bit_depth=8
    )
    logs = View(np.ones((1, 4, 4), np.float32), ("low",), "log_attenuation")
    for view, dicos in ((colour, True), (logs, True), (view_of(2), False)):
        with pytest.raises(BagscanError):
            write_dicom(tmp_path / "a.dcm", view, dicos=dicos)


def test_another_program_reads_the_same_numbers(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    write_dicom(tmp_path / "a.dcm", view_of(1, pixel_pitch_mm=1.25), dicos=False)
    image = sitk.ReadImage(str(tmp_path / "a.dcm"))
    assert np.array_equal(sitk.GetArrayFromImage(image), COUNTS[:1])
    assert image.GetSpacing()[:2] == (1.25, 1.25)


def test_another_parser_finds_dicos_attributes_where_they_belong(tmp_path):
    gdcm = pytest.importorskip("gdcm")
    write_dicom(tmp_path / "a.dcs", view_of(3))
    reader = gdcm.Reader()
    reader.SetFileName(str(tmp_path / "a.dcs"))
    assert reader.Read()
    text = gdcm.StringFilter()
    text.SetFile(reader.GetFile())
    assert text.ToString(gdcm.Tag(0x0008, 0x0016)).rstrip("\0") == DICOS_PROCESSING
    assert int(text.ToString(gdcm.Tag(0x0028, 0x0008))) == 3
    pixels = reader.GetFile().GetDataSet().GetDataElement(gdcm.Tag(0x7FE0, 0x0010))
    assert int(str(pixels.GetVL())) == COUNTS.nbytes
