"""Export: every channel set, many sizes, and a check that can fail."""

import json
from functools import partial
from shutil import copytree

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from typer.testing import CliRunner

from bagscan.building import build_part
from bagscan.cli import app
from bagscan.core.errors import ModelError
from bagscan.export import detector_parity, graphs, parity
from bagscan.export.graphs import export_onnx
from bagscan.export.parity import PIXELS, SIZES, TOLERANCE, cut_differently, verify
from bagscan.formats.tiff import write_tiff
from bagscan.model import Model
from bagscan.model_folder import shipped_models, write_files
from bagscan.regions import instances
from bagscan.runtime.engines import ENGINES, read_graphs
from bagscan.runtime.exported import fill_known
from bagscan.runtime.load import load_model
from bagscan.workers.screeners import synthetic_scan
from tests.runtime.test_runtime import SSN, tiny_model

# OpenVINO is used here after much else of the suite in one process: kept to the slow tests.
pytestmark = pytest.mark.slow

DETECTOR = {"backbone": "test_resnet", "dim": 16, "stride": 1, "min_score": 0.0, "widen_px": 2}
CHANNELS = [
    ("red", "green", "blue"),
    ("low", "high", "zeff"),
    ("high",),
    ("red", "green", "blue", "low", "high", "zeff"),
]
FEW = ((96, 128), (97, 131), (64, 75))
ONE = ((97, 131),)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The plainest model, exported. It is shared: who alters it takes a copy."""
    folder = tiny_model(tmp_path_factory.mktemp("exported") / "m")
    export_onnx(folder)
    return folder


@pytest.fixture(scope="module")
def exported_parts(tmp_path_factory):
    """A model that finds items and their parts, exported and shared likewise."""
    folder = tiny_model(
        tmp_path_factory.mktemp("parts") / "m", regioner=REGIONERS["items and parts"]
    )
    export_onnx(folder)
    return folder


@pytest.fixture
def verify_one(monkeypatch):
    """The command compares one size: how many it takes by default is tested elsewhere."""
    monkeypatch.setattr(parity, "verify", partial(verify, sizes=ONE))


def test_sizes_are_many_and_some_odd():
    assert len(SIZES) >= 8
    assert any(height % 2 and width % 2 for height, width in SIZES)
    assert verify.__defaults__[-1] is SIZES


@pytest.mark.parametrize("channels", CHANNELS, ids=len)
def test_all_runtimes_agree_on_every_channel_set(tmp_path, channels):
    folder = tiny_model(tmp_path / "m", channels)
    export_onnx(folder)
    result = verify(folder, sizes=SIZES if channels == CHANNELS[0] else FEW)
    assert result["agree"]
    assert set(result["runtimes"]) == {"onnxruntime", "openvino"}
    for one in result["runtimes"].values():
        assert one["scores_differ"] <= TOLERANCE
        assert one["batch_differs"] <= TOLERANCE
        assert one["cut_differs"] <= PIXELS
        assert one["flipped"] == one["pixels_differ"] == 0
        assert one["regions"] > 50


REGIONERS = {
    "items and parts": {
        "name": "sub_components",
        "items": {"name": "mask_rcnn", **DETECTOR},
        "parts": SSN,
    },
    "boxes and parts": {
        "name": "sub_components",
        "items": {"name": "faster_rcnn", **DETECTOR, "widen_px": 0},
        "parts": SSN,
    },
    "items": {"name": "mask_rcnn", **DETECTOR},
    "whole image": {"name": "whole_image"},
    "superpixels on a backbone": SSN | {"backbone": "test_resnet"},
    "nothing learned": SSN | {"width": 0},
}


@pytest.mark.parametrize("name", REGIONERS)
def test_all_runtimes_agree_on_every_regioner(tmp_path, name):
    folder = tiny_model(tmp_path / "m", regioner=REGIONERS[name])
    export_onnx(folder)
    result = verify(folder, sizes=FEW)
    assert result["agree"]
    assert all(one["regions"] >= 3 for one in result["runtimes"].values())


def test_parts_that_are_not_exported_are_named(tmp_path):
    folder = tiny_model(tmp_path / "slic", regioner={"name": "slic"})
    with pytest.raises(ModelError, match="regioner 'slic'"):
        export_onnx(folder)
    assert not list(folder.glob("*.onnx"))
    with pytest.raises(ModelError, match="encoder"):
        export_onnx(tiny_model(tmp_path / "attention", attention_heads=2))


def test_half_weights_stay_half_and_are_exact(tmp_path):
    folder = tiny_model(tmp_path / "m")
    full = export_onnx(folder)["maps.onnx"] + (folder / "weights.safetensors").stat().st_size
    model = Model.load(folder)
    model.half_weights = True
    model.save(folder)
    assert (
        export_onnx(folder)["maps.onnx"] + (folder / "weights.safetensors").stat().st_size
        < 0.8 * full
    )
    result = verify(folder, sizes=ONE)
    assert result["agree"]
    assert result["torch alone"]["scores_differ"] <= TOLERANCE


def test_verify_finds_other_weights(exported, tmp_path, verify_one):
    """A graph that is a tenth off in one weight matrix is not an export of this model."""
    folder = copytree(exported, tmp_path / "m")
    graph = onnx.load(folder / "score.onnx")
    weight = next(i for i in graph.graph.initializer if len(i.dims) == 2)
    weight.CopyFrom(
        numpy_helper.from_array(np.float32(1.1) * numpy_helper.to_array(weight), weight.name)
    )
    (folder / "score.onnx").write_bytes(graph.SerializeToString())
    write_files(folder, {})
    result = verify(folder, sizes=ONE)
    assert not result["agree"]
    assert result["runtimes"]["onnxruntime"]["scores_differ"] > TOLERANCE
    assert CliRunner().invoke(app, ["export", "--model", str(folder), "--verify"]).exit_code == 3


@pytest.mark.parametrize("name", ["learned", "items"])
def test_verify_finds_graphs_of_another_network_that_cuts(exported_parts, tmp_path, name):
    """Segmentation runs in ONNX Runtime; only torch shows that its graphs are the model's."""
    folder = copytree(exported_parts, tmp_path / "m")
    other = tiny_model(tmp_path / "other", regioner=REGIONERS["items and parts"], seed=7)
    export_onnx(other)
    assert verify(folder, sizes=ONE)["agree"]
    graph = onnx.load(other / f"{name}.onnx")
    for weight in graph.graph.initializer:
        if len(weight.dims) == 4:  # untrained superpixels differ too little
            weight.CopyFrom(
                numpy_helper.from_array(np.float32(3) * numpy_helper.to_array(weight), weight.name)
            )
    (folder / f"{name}.onnx").write_bytes(graph.SerializeToString())
    write_files(folder, {})
    assert not verify(folder, sizes=ONE)["agree"]


def test_a_failed_export_leaves_the_folder_as_it_was(tmp_path, monkeypatch):

    folder = tiny_model(tmp_path / "m")
    real = graphs._trace_network

    def torn(name, model):
        if name == "score":
            raise ModelError("no")
        return real(name, model)

    monkeypatch.setattr(graphs, "_trace_network", torn)
    with pytest.raises(ModelError, match="no"):
        export_onnx(folder)
    assert isinstance(Model.load(folder), Model)
    assert not list(folder.glob("*.onnx"))


def test_scorers_that_do_not_say_that_they_can_be_are_not_exported(tmp_path):
    model = Model.load(tiny_model(tmp_path / "m"))
    assert graphs.graphs_of(model) == ["learned", "maps", "score"]
    model.scorer = build_part("scorers", {"name": "memory"}, "test", dim=model.encoder.dim)
    with pytest.raises(ModelError, match="scorer"):
        graphs.graphs_of(model)


def test_without_a_model_nothing_is_written(tmp_path):
    assert CliRunner().invoke(app, ["export"]).exit_code != 0


def test_command_writes_both_formats_to_a_copy_and_says_their_size(tmp_path, verify_one):
    folder, out = tiny_model(tmp_path / "m"), tmp_path / "out"
    done = CliRunner().invoke(
        app, ["export", "openvino", "--model", str(folder), "--out", str(out), "--json"]
    )
    assert done.exit_code == 0, done.output
    files = json.loads(done.stdout)[str(out)]["files"]
    assert {"maps.onnx", "maps.xml", "maps.bin"} <= set(files)
    assert not list(folder.glob("*.onnx"))
    text = CliRunner().invoke(app, ["export", "--model", str(out), "--verify"])
    assert text.exit_code == 0
    assert "all runtimes agree" in text.stdout


@pytest.mark.parametrize("folder", shipped_models(), ids=lambda folder: folder.name)
def test_shipped_models_are_exported_and_agree(folder, simulated_root):
    images = "raw" if folder.name == "raw" else "colour"
    scan = next((simulated_root / images).glob("00001a_below.*"))
    result = verify(folder, [scan])  # on every size, and on a scan
    assert result["agree"]
    assert all(one["views"] >= len(SIZES) + 1 for one in result["runtimes"].values())
    assert (folder / "weights.safetensors").stat().st_size <= 12e6
    assert sum(path.stat().st_size for path in folder.glob("*.onnx")) <= 12e6


STRIPS = ((40, 600), (600, 40), (8, 250), (250, 8), (6, 128), (128, 6), (4, 200), (200, 4))


def with_sure_items(folder, seed):
    """A model with a detector that separates some boxes; an untrained one hardly does."""
    items = {**DETECTOR, "stride": 2, "min_score": 0.3}
    tiny_model(folder, ("red", "green", "blue"), {"name": "mask_rcnn", **items}, seed=seed)
    model = Model.load(folder)
    detector = model.regioner.detector
    heads = (*detector.roi_heads.box_predictor.parameters(), *detector.rpn.head.parameters())
    with torch.no_grad():
        for weight in heads:
            weight.mul_(6)
    model.save(folder)
    export_onnx(folder)
    return folder


@pytest.mark.parametrize("seed", range(2))
def test_every_runtime_finds_the_same_items_on_strips(tmp_path, seed):
    """OpenVINO left old memory in masks of boxes that reach the edge of a view."""
    folder = with_sure_items(tmp_path / "m", seed)
    reference = load_model(folder, "torch")
    config = fill_known(instances.Config, reference.config.regioner)
    alone = Model.load(folder).regioner
    for name in ENGINES:
        other = reference.cutting_with(ENGINES[name](read_graphs(folder)))
        for size in (*STRIPS, (96, 128)):
            view = synthetic_scan(reference.config.input, *size).views[0]
            found, expected = other.detect(view, config), alone.detect(view)
            assert len(found) == len(expected) > 0, size
            for one, two in zip(found, expected, strict=True):
                assert abs(one["score"] - two["score"]) < 1e-4
                assert (one["mask"] != two["mask"]).mean() < 1e-3, (name, size)


def test_a_strip_changes_no_view_that_comes_after_it(tmp_path):
    """torchvision kept the strides of the maps that it guessed from the first view."""
    folder = with_sure_items(tmp_path / "m", 0)
    fresh, used = Model.load(folder).regioner, Model.load(folder).regioner
    shapes = Model.load(folder).config.input
    used.detect(synthetic_scan(shapes, 8, 250).views[0])
    view = synthetic_scan(shapes, 96, 128).views[0]
    assert [one["score"] for one in used.detect(view)] == [
        one["score"] for one in fresh.detect(view)
    ]


@pytest.mark.parametrize("masks", ["mask_rcnn", "faster_rcnn"])
def test_where_no_item_is_found_every_runtime_finds_none(tmp_path, masks):
    """OpenVINO returned one item from old memory."""
    folder = tiny_model(tmp_path / "m", regioner={"name": masks, **DETECTOR})
    model = Model.load(folder)
    with torch.no_grad():
        model.regioner.detector.roi_heads.box_predictor.cls_score.bias[0] += 20  # all is background
    model.save(folder)
    export_onnx(folder)
    reference = load_model(folder, "torch")
    config = fill_known(instances.Config, reference.config.regioner)
    for name in ENGINES:
        other = reference.cutting_with(ENGINES[name](read_graphs(folder)))
        for size in ((96, 128), (8, 250)):
            assert (
                other.detect(synthetic_scan(reference.config.input, *size).views[0], config) == []
            )


@pytest.mark.parametrize("figure", ["scores_differ", "items_differ"])
def test_verify_names_the_figure_and_the_view_that_fail(
    exported_parts, tmp_path, monkeypatch, verify_one, figure
):
    folder = exported_parts
    write_tiff(
        tmp_path / "own.tif", synthetic_scan(Model.load(folder).config.input, 60, 70).views[0]
    )
    (tmp_path / "torn.tif").write_bytes(b"II*\0torn")
    real = {"scores_differ": parity._compare, "items_differ": parity._compare_items}[figure]

    def wrong(*given):
        view = given[2]
        result = real(*given)
        if view.shape != (60, 70):
            return result
        return result | {figure: 0.5} if isinstance(result, dict) else 1.0

    monkeypatch.setattr(parity, real.__name__, wrong)
    result = verify(folder, [tmp_path], sizes=ONE)
    assert not result["agree"]
    assert {one["figure"] for one in result["failures"]} == {figure}
    assert {one["view"] for one in result["failures"]} == {str(tmp_path / "own.tif")}
    assert {one["runtime"] for one in result["failures"]} == {
        "onnxruntime",
        "openvino",
        "torch alone",
    }
    line = ["export", "--model", str(folder), "--verify", "--scans", str(tmp_path)]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 3
    assert f"openvino, {tmp_path / 'own.tif'}: {figure}" in done.stdout
    assert f"not compared: {tmp_path / 'torn.tif'}" in done.stdout


def test_verify_of_a_detector_names_the_bag(monkeypatch, tmp_path):
    real = detector_parity._compare_bag

    def wrong(*given):
        return real(*given) | {"flipped": 3}

    monkeypatch.setattr(detector_parity, "_compare_bag", wrong)
    result = verify(shipped_models()[0], sizes=FEW[:1])
    assert not result["agree"]
    assert {one["view"] for one in result["failures"]} == {"synthetic bag of 96 x 128"}
    assert {(one["figure"], one["value"], one["allowed"]) for one in result["failures"]} == {
        ("flipped", 3, 0)
    }


def test_regions_are_held_together_by_where_they_lie_and_not_by_their_numbers():
    one = np.repeat(np.arange(4), 25).reshape(10, 10)
    assert cut_differently(one, one) == 0
    assert cut_differently(one, 3 - one) == 0
    moved = one.copy()
    moved[0, :3] = 2  # three pixels of region 0
    assert cut_differently(one, moved) == pytest.approx(0.03)
    assert cut_differently(moved, one) == pytest.approx(0.03)
    assert cut_differently(one, np.zeros_like(one)) == pytest.approx(0.75)
    assert cut_differently(np.zeros_like(one), one) == pytest.approx(0.75)
    masks = np.zeros((2, 10, 10), bool)
    masks[0, :3, :3] = masks[1, 6:, 6:] = True
    assert cut_differently(masks, ~masks) == 1
    assert cut_differently(masks, masks[::-1]) == pytest.approx(
        25 / 100
    )  # the order shows which one scores higher
    assert cut_differently(masks, masks[:1]) == 1
