"""Runtimes: the shared kernel against training code, the choice of runtime, and refusals."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from bagscan import kernel_cache
from bagscan.core import Decision, OperatingPoint, Regions
from bagscan.core.errors import ConfigError, ModelError
from bagscan.core.extras import how_to_install
from bagscan.encoders.pooling import pool_hard
from bagscan.encoders.region_means import region_means
from bagscan.export.graphs import export_onnx
from bagscan.model import Model
from bagscan.model_config import InputConfig, ModelConfig, resize
from bagscan.model_folder import shipped_models, verified_id, write_files
from bagscan.runtime.load import chosen_runtime, load_detector, load_model
from bagscan.screening import Screener
from bagscan.workers.screeners import synthetic_scan

TINY = {"name": "pooled", "backbone": "test_resnet", "dim": 8}
SSN = {"name": "ssn", "n_superpixels": 30, "width": 8, "n_features": 4}


def tiny_model(
    folder, channels=("low", "high", "zeff"), regioner=SSN, seed=0, threshold=0.5, **encoder
):
    torch.manual_seed(seed)
    n = len(channels)
    quantity = "pseudo_colour" if channels == ("red", "green", "blue") else "dual_energy"
    taken = InputConfig(
        quantity, channels, 0, 0.0, quantity == "dual_energy", (0.5,) * n, (0.5,) * n
    )
    model = Model(
        ModelConfig(taken, regioner, TINY | encoder, {"name": "softmax", "hidden": 4}),
        OperatingPoint(threshold, "test", "val", 0.1, (0.0, 1.0)),
    )
    model.eval().save(folder)
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tiny_model(tmp_path_factory.mktemp("model"))
    export_onnx(folder)
    return folder


def test_only_a_detector_is_loaded_as_one(exported):
    raw = next(folder for folder in shipped_models() if folder.name == "raw")
    assert load_detector(raw, "torch").id == verified_id(raw)
    with pytest.raises(ModelError):
        load_detector(exported)


def random_labels(rng, height, width, n):
    labels = (
        rng.integers(0, n, (height // 6 + 1, width // 6 + 1))
        .repeat(6, 0)
        .repeat(6, 1)[:height, :width]
        .astype(np.int32)
    )
    labels[1, 1] = n  # too thin for the sampling raster
    labels[:, -3:] = -1
    return labels


def test_region_means_are_those_that_training_takes():
    rng = np.random.default_rng(0)
    for height, width, n in ((40, 52, 12), (33, 47, 5)):
        labels = random_labels(rng, height, width, n)
        features = rng.normal(size=(1, 6, 11, 13)).astype(np.float32)
        expected = pool_hard(
            torch.from_numpy(features), torch.from_numpy(labels.astype(np.int64))[None]
        )[0].numpy()
        found = region_means(
            np.ascontiguousarray(features[0].transpose(1, 2, 0)),
            Regions(labels, n + 1, "superpixel"),
        )
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_region_means_of_overlapping_instances_are_those_of_each_alone():
    rng = np.random.default_rng(1)
    masks = np.zeros((3, 40, 52), bool)
    masks[0, 4:20, 4:30], masks[1, 10:35, 20:50], masks[2, 5, 5] = True, True, True
    features = rng.normal(size=(10, 13, 6)).astype(np.float32)
    together = region_means(features, Regions(masks, 3, "instance"))
    alone = [
        region_means(features, Regions(np.where(m, 0, -1).astype(np.int32), 1, "superpixel"))[0]
        for m in masks
    ]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_region_that_owns_nothing_is_zero():
    means = region_means(
        np.ones((5, 5, 2), np.float32), Regions(np.zeros((20, 20), np.int32), 2, "superpixel")
    )
    assert means.tolist() == [[1, 1], [0, 0]]


def test_resize_is_antialiased_and_keeps_means():
    pixels = np.random.default_rng(0).random((2, 60, 80), np.float32)
    assert resize(pixels, 30, 40).shape == (2, 30, 40)
    np.testing.assert_allclose(resize(pixels, 15, 20).mean((1, 2)), pixels.mean((1, 2)), atol=5e-3)
    torch_way = torch.nn.functional.interpolate(
        torch.from_numpy(pixels)[None], size=(37, 51), mode="bilinear", antialias=True
    )[0].numpy()
    np.testing.assert_allclose(resize(pixels, 37, 51), torch_way, atol=1e-5)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torch"])
def test_findings_do_not_depend_on_the_runtime(exported, runtime):
    scan = synthetic_scan(Model.load(exported).config.input, 90, 110)
    expected, found = (
        Screener(Model.load(exported), 0.0).screen(scan),
        Screener.load(exported, 0.0, runtime).screen(scan),
    )
    assert found.decision is Decision.ALARM
    assert found.model_id == expected.model_id == verified_id(exported)
    assert len(found.findings) == len(expected.findings) > 10
    np.testing.assert_allclose(
        found.scores["below" if "below" in found.scores else next(iter(found.scores))],
        next(iter(expected.scores.values())),
        atol=1e-4,
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torch"])
def test_a_signal_is_handled_after_another_thread_has_dropped_the_model(exported, runtime):
    code = f"""
import os, signal, threading
from bagscan.runtime.load import load_model
signal.signal(signal.SIGTERM, lambda *_: print("handled", flush=True))
held = [load_model({str(exported)!r}, {runtime!r})]
dropping = threading.Thread(target=held.clear)
dropping.start()
dropping.join()
os.kill(os.getpid(), signal.SIGTERM)
print("alive")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["handled", "alive"]), done.stderr


def test_the_id_covers_the_graphs(tmp_path):
    """Graphs are part of the id: other graphs make another model, even with a new manifest."""
    folder = tiny_model(tmp_path / "m")
    before = verified_id(folder)
    files = export_onnx(folder)
    exported_id = verified_id(folder)
    assert exported_id != before
    assert load_model(folder, "torch").id == load_model(folder, "onnxruntime").id == exported_id
    assert set(files) == {"learned.onnx", "maps.onnx", "score.onnx"}
    (folder / "maps.onnx").write_bytes((folder / "maps.onnx").read_bytes() + b"\0")
    with pytest.raises(ModelError, match="altered"):
        load_model(folder)
    write_files(folder, {})
    assert verified_id(folder) not in (before, exported_id)
    lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(line for line in lines if "maps" not in line))
    with pytest.raises(ModelError, match=r"maps\.onnx"):
        load_model(folder)


def test_fastest_installed_is_taken_and_torch_where_nothing_was_exported(
    exported, tmp_path, monkeypatch
):
    monkeypatch.delenv("BAGSCAN_RUNTIME", raising=False)
    assert load_model(exported).runtime == "onnxruntime"
    assert chosen_runtime(exported).startswith("onnxruntime 1.")
    assert load_model(exported, "openvino").runtime == "openvino"
    assert load_model(exported, "torch").runtime == "torch"
    monkeypatch.setenv("BAGSCAN_RUNTIME", "openvino")
    assert load_model(exported).runtime == "openvino"
    bare = tiny_model(tmp_path / "bare")
    monkeypatch.setenv("BAGSCAN_RUNTIME", "auto")
    assert isinstance(load_model(bare), Model)
    with pytest.raises(ModelError, match="never exported"):
        load_model(bare, "onnxruntime")
    with pytest.raises(ConfigError, match="tensorrt"):
        load_model(bare, "tensorrt")


def test_new_weights_drop_the_old_graphs_and_a_new_threshold_keeps_them(tmp_path):
    folder = tiny_model(tmp_path / "m")
    export_onnx(folder)
    model = Model.load(folder)
    model.operating_point = OperatingPoint(0.9, "test", "val", 0.01, (0.0, 1.0))
    model.save(folder)
    assert (folder / "maps.onnx").is_file()
    assert load_model(folder, "onnxruntime").operating_point.threshold == 0.9
    with torch.no_grad():
        next(model.scorer.parameters()).add_(1)
    model.save(folder)
    assert not list(folder.glob("*.onnx"))
    assert isinstance(load_model(folder), Model)


def test_a_graph_that_reads_another_file_is_refused(exported, tmp_path):
    """An external weight could be any file of the machine."""
    folder = tiny_model(tmp_path / "m")
    export_onnx(folder)
    graph = onnx.load(folder / "score.onnx")
    weight = next(i for i in graph.graph.initializer if len(i.dims) == 2)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/hostname")
    (folder / "score.onnx").write_bytes(graph.SerializeToString())
    write_files(folder, {})
    for runtime in ("onnxruntime", "openvino", "torch"):
        with pytest.raises(ModelError, match="another file"):
            load_model(folder, runtime)


def test_a_place_that_is_written_in_more_bytes_than_it_takes_is_found_too(tmp_path):
    folder = tiny_model(tmp_path / "m")
    export_onnx(folder)
    graph = (folder / "score.onnx").read_bytes()
    # initializer (5) { external_data (13) { key (1) "location" } } in a second graph (7);
    # the length of the key takes two bytes
    entry = b"\x0a\x88\x00location\x12\x05x.bin"
    tensor = b"\x6a" + bytes([len(entry)]) + entry
    inner = b"\x2a" + bytes([len(tensor)]) + tensor
    (folder / "score.onnx").write_bytes(graph + b"\x3a" + bytes([len(inner)]) + inner)
    write_files(folder, {})
    with pytest.raises(ModelError, match="another file"):
        load_model(folder)


@pytest.mark.parametrize("name", ["learned", "maps", "score"])
def test_a_graph_that_is_missing_is_named(tmp_path, name):
    folder = tiny_model(tmp_path / "m")
    export_onnx(folder)
    (folder / f"{name}.onnx").unlink()
    write_files(folder, {})
    with pytest.raises(ModelError, match=rf"{name}\.onnx is missing"):
        load_model(folder)


def test_a_network_that_gives_no_numbers_to_cut_by_is_review(tmp_path):
    folder = tiny_model(tmp_path / "m")
    export_onnx(folder)
    graph = onnx.load(folder / "learned.onnx")
    for weight in graph.graph.initializer:
        if len(weight.dims) == 4:
            weight.CopyFrom(
                onnx.numpy_helper.from_array(
                    np.full(tuple(weight.dims), np.nan, np.float32), weight.name
                )
            )
    (folder / "learned.onnx").write_bytes(graph.SerializeToString())
    write_files(folder, {})
    screener = Screener.load(folder)
    report = screener.screen(synthetic_scan(screener.model.config.input))
    assert report.decision is Decision.REVIEW
    assert "NaN" in report.reasons[0]


@pytest.mark.slow
def test_trying_a_model_out_reaches_what_judges_where_no_item_is_found(tmp_path):
    from bagscan.core.errors import BagscanError
    from bagscan.workers.screeners import try_out

    items = {
        "name": "mask_rcnn",
        "backbone": "test_resnet",
        "dim": 16,
        "stride": 1,
        "min_score": 1.0,
    }
    folder = tiny_model(
        tmp_path / "m", regioner={"name": "sub_components", "items": items, "parts": SSN}
    )
    export_onnx(folder)
    try_out(Screener.load(folder))
    (folder / "score.onnx").write_bytes((folder / "maps.onnx").read_bytes())
    write_files(folder, {})
    with pytest.raises(BagscanError):
        try_out(Screener.load(folder))


def test_something_that_is_no_graph_is_a_clear_error(tmp_path):
    folder = tiny_model(tmp_path / "m")
    for name in ("learned", "maps", "score"):
        (folder / f"{name}.onnx").write_bytes(b"not a graph")
    write_files(folder, {})
    for runtime in ("onnxruntime", "openvino"):
        with pytest.raises(ModelError, match="cannot load"):
            load_model(folder, runtime)


def test_a_graph_of_another_network_is_review_and_never_clear(tmp_path):
    """Graphs of three channels in the folder of a one-channel model: the view cannot be scored."""
    three, one = tiny_model(tmp_path / "three"), tiny_model(tmp_path / "one", ("high",))
    export_onnx(three), export_onnx(one)
    (one / "maps.onnx").write_bytes((three / "maps.onnx").read_bytes())
    write_files(one, {})
    for runtime in ("onnxruntime", "openvino"):
        screener = Screener.load(one, runtime=runtime)
        report = screener.screen(synthetic_scan(screener.model.config.input))
        assert report.decision is Decision.REVIEW
        assert "maps.onnx" in report.reasons[0]


def test_scores_that_are_not_numbers_are_review(tmp_path):
    folder = tiny_model(tmp_path / "m")
    export_onnx(folder)
    graph = onnx.load(folder / "score.onnx")
    graph.graph.node.append(
        helper.make_node(
            "Constant",
            [],
            ["nan"],
            value=helper.make_tensor("nan", TensorProto.FLOAT, [], [float("nan")]),
        )
    )
    graph.graph.output[0].name = "bad"
    graph.graph.node.append(helper.make_node("Mul", ["scores", "nan"], ["bad"]))
    graph.graph.node.append(helper.make_node("Identity", ["bad"], ["changed"]))
    graph.graph.output[0].name = "changed"
    for node in graph.graph.node:  # the output keeps its name
        node.input[:] = ["was" if name == "scores" else name for name in node.input]
        node.output[:] = [
            "was" if name == "scores" else "scores" if name == "changed" else name
            for name in node.output
        ]
    graph.graph.output[0].name = "scores"
    (folder / "score.onnx").write_bytes(graph.SerializeToString())
    write_files(folder, {})
    screener = Screener.load(folder, runtime="onnxruntime")
    report = screener.screen(synthetic_scan(screener.model.config.input))
    assert report.decision is Decision.REVIEW
    assert "not finite" in report.reasons[0]


def test_every_shipped_model_runs_without_torch(tmp_path):
    """A process in which torch cannot be imported screens with every bundled model."""
    code = """
import sys
sys.modules["torch"] = sys.modules["timm"] = sys.modules["torchvision"] = None
from bagscan.model_folder import shipped_models
from bagscan.screening import Screener
from bagscan.workers.screeners import synthetic_scan
for folder in shipped_models():
    screener = Screener.load(folder)
    report = screener.screen(synthetic_scan(screener.model.config.input, 120, 160))
    assert not report.reasons, report.reasons
    print(folder.name, screener.runtime)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        [path.name, "onnxruntime"] for path in shipped_models()
    ]


def test_without_torch_a_model_that_was_never_exported_says_what_to_do(tmp_path):
    folder = tiny_model(tmp_path / "m")
    code = f"""
import bagscan.runtime.load as load
load.installed_version = lambda name: None if name == "torch" else "1"
load.load_model({str(folder)!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "never exported" in done.stderr
    assert how_to_install("train") in done.stderr


def test_description_says_nothing_that_graphs_need_beside_it(exported):
    description = json.loads((exported / "model.json").read_text())
    assert description["model"]["regioner"]["name"] == "ssn"
    assert not any("onnx" in key for key in description)


CALLS_NOBODY = """
import sys
from pathlib import Path
from bagscan.model_folder import SHIPPED
from bagscan.runtime.load import load_model
from bagscan.workers.screeners import synthetic_scan
for runtime in ("onnxruntime", "openvino"):
    model = load_model(SHIPPED / "raw", runtime)
    model.examine(synthetic_scan(model.config.input).views)
"""


@pytest.mark.slow
def test_runtimes_leave_nothing_in_the_home_folder(tmp_path):
    """Neither device ids nor events that were to be sent."""
    env = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "kernels"),
        "CI": "false",
    }
    subprocess.run([sys.executable, "-c", CALLS_NOBODY], check=True, env=env, timeout=180)
    left = {path.relative_to(tmp_path).parts[:2] for path in tmp_path.rglob("*") if path.is_file()}
    assert left <= {("kernels", "numba")}


def test_read_only_package_and_home_keep_kernels_elsewhere(monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    kernel_cache.choose_place()
    assert "NUMBA_CACHE_DIR" not in os.environ  # here they can be written
    monkeypatch.setattr(kernel_cache, "_is_writable", lambda folder: False)
    kernel_cache.choose_place()
    assert Path(os.environ["NUMBA_CACHE_DIR"]).parent.is_dir()
