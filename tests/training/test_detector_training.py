"""A detector from dataset to findings: packed, trained, resumed, calibrated, exported, screened."""

import json
import math
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bagscan.cli import app
from bagscan.core import Decision, OperatingPoint, Scan
from bagscan.core.errors import ConfigError, DataError, ModelError
from bagscan.datasets.packed import EMPTY, FIRST_DEVICE, packed_categories, read_packed
from bagscan.detector.calibration import calibrate_thresholds
from bagscan.detector.inference import Categories, Options
from bagscan.detector.measures import measure
from bagscan.detector.model import Detector
from bagscan.detector.sampling import whole_view
from bagscan.detector.scored_bags import score_dataset
from bagscan.export.graphs import export_onnx
from bagscan.export.parity import verify
from bagscan.formats import read_scan
from bagscan.runtime.load import load_model
from bagscan.screening import Screener
from bagscan.simulate.anomalies import KINDS
from bagscan.simulate.dataset import simulate
from bagscan.simulate.recipe import Recipe
from bagscan.training.detector import mean_class_auroc
from bagscan.training.detector_experiment import calibrate_detector, packed_scenes
from bagscan.training.detector_targets import CropBatch, Targets, fill_boxes, item_loss
from bagscan.training.experiment import read_experiment, train
from bagscan.training.loop import LoopConfig, learning_rate_at
from bagscan.training.pixel_batches import build_pixel_batch
from bagscan.training.prohibited_places import ProhibitedPlaces
from bagscan.training.seen_maps import load_scene_maps
from bagscan.training.windows import Box, box_around, enlarge, select_window, whole_box
from tests.training.packed_sets import simulate_packed


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A set of ten scenes, two devices, a coarse scanner."""
    root = tmp_path_factory.mktemp("sets") / "set"
    return simulate_packed(root, count=40, seed=5, parts={"train": 2, "val": 3})


@pytest.fixture(scope="module")
def config(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(
        f"kind: detector\nsets: [{made}]\npack_workers: 1\nthreads: 1\n"
        "network: {backbone: test_efficientnet, pretrained: false, width: 16}\n"
        "training: {crop_px: 64, batch: 8, val_views: 6}\n"
        "loop: {steps: 4, warmup: 1, cooldown: 2, "
        "validate_every: 2, checkpoint_every: 2, ema: 0.5}\n"
    )
    return path


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    """Long enough to find devices, but not the anomalies in them."""
    out = tmp_path_factory.mktemp("run") / "run"
    longer = [
        "loop.steps=160",
        "loop.cooldown=40",
        "loop.validate_every=160",
        "loop.learning_rate=0.004",
        "loop.ema=0.9",
        "loop.warmup=10",
    ]
    train(read_experiment(config, longer), out)
    return out


@pytest.fixture
def ranking(trained, made, tmp_path):
    """A copy of the trained model whose verdicts rank validation devices the right way round.

    So short a training leaves them at chance: above it on some processors, below it on others.
    """
    folder = tmp_path / "ranking"
    shutil.copytree(trained / "model", folder)
    try:
        calibrate_thresholds(score_dataset(made, load_model(folder, "torch"), "val"), 0.25)
    except DataError:
        detector = Detector.load(folder)
        for value in detector.network.verdict[-1].parameters():
            value.data.neg_()
        detector.save(folder)
    return folder


def test_packed_scenes_hold_what_the_set_holds(made):
    scenes, categories = packed_scenes((str(made),), 1)
    assert categories[: len(KINDS)] == KINDS
    assert categories[len(KINDS) : len(KINDS) + 2] == ("bottle", "phone")
    assert {s.about["part"] for part in scenes.values() for s in part} == {"train", "val"}
    for scene in scenes["train"]:
        for view in scene.views:
            assert view.labels.shape[1:] == tuple(-(-n // 2) for n in view.pixels.shape[1:])
            kind = categories.index(scene.about["kind"])
            marked = [(view.sets[view.labels[k]] == kind).any(-1) for k in (0, 1)]
            assert not marked[0].any()
            assert marked[1].any() == bool(len(view.anomaly_points))
            host = (view.sets[view.labels[0]] == FIRST_DEVICE + view.host).any(-1)
            assert host.sum() > 0


def test_a_set_is_packed_once_and_named_alike(made):
    before = {p: p.stat().st_mtime_ns for p in (made / "packed").glob("*.npy")}
    packed_scenes((str(made),), 1)
    assert before == {p: p.stat().st_mtime_ns for p in (made / "packed").glob("*.npy")}
    assert packed_categories(made) == tuple(
        json.loads((made / "packed" / "categories.json").read_text())
    )


def test_sets_packed_with_other_categories_are_matched_by_name(made, tmp_path):
    """The labels of the second set are numbered backwards, and one of its names is unknown."""
    other = tmp_path / "other"
    (other / "packed").mkdir(parents=True)
    (other / "scans").symlink_to(made / "scans")
    own = packed_categories(made)
    backwards = ["gun", *reversed(own[1:])]
    (other / "packed" / "categories.json").write_text(json.dumps(backwards))
    for path in (made / "packed").glob("0*"):
        (other / "packed" / path.name).symlink_to(path)
    scenes, categories = packed_scenes((str(made), str(other)), 1)
    assert categories == own
    first, second = scenes["train"][0], scenes["train"][len(scenes["train"]) // 2]
    assert first.about == second.about
    for one, two in zip(first.views, second.views, strict=True):
        for bits, renumbered in zip(one.sets, two.sets, strict=True):
            names = {own[k] for k in bits if k < len(own)}
            expected = {backwards[own.index(name)] for name in names} - {"gun"}
            assert {own[k] for k in renumbered if k < len(own)} == expected
            kept = {int(k) for k in bits if k >= FIRST_DEVICE} - {EMPTY}
            assert {int(k) for k in renumbered if k >= FIRST_DEVICE} - {EMPTY} == kept


def test_a_folder_without_scans_is_refused(tmp_path):
    with pytest.raises(DataError):
        packed_scenes((str(tmp_path / "nothing"),), 1)


@pytest.mark.parametrize("missing", ["train", "val"])
def test_a_set_without_one_of_its_parts_is_refused(made, tmp_path, missing):
    """Before the first step, since validation comes only after many."""
    (tmp_path / "packed").mkdir()
    (tmp_path / "scans").symlink_to(made / "scans")
    (tmp_path / "packed" / "categories.json").symlink_to(made / "packed" / "categories.json")
    for path in (made / "packed").glob("0*.json"):
        (tmp_path / "packed" / path.with_suffix(".npy").name).symlink_to(path.with_suffix(".npy"))
        scene = json.loads(path.read_text())
        if scene["about"]["part"] == missing:
            scene["about"]["part"] = "test"
        (tmp_path / "packed" / path.name).write_text(json.dumps(scene))
    with pytest.raises(ConfigError, match=missing):
        packed_scenes((str(tmp_path),), 1)


def test_what_changed_beside_the_anomaly_is_ignored_and_devices_of_one_class_touch():
    counts = torch.zeros(1, 128, 8, 8, dtype=torch.uint8)
    counts[0, 0, 2, 2] = 16  # an anomaly
    counts[0, 127, 5, 5] = 16
    counts[0, 2, :, :] = 16  # class of both devices
    counts[0, FIRST_DEVICE, :, :4] = counts[0, FIRST_DEVICE + 1, :, 4:] = 16
    target = Targets.of(
        CropBatch(torch.zeros(1), counts, torch.tensor([1])), list("abc"), Categories(2, 1)
    )
    assert target.anomaly[0, 0, 2, 2] == 1
    assert target.ignored[0, 0, 5, 5] == 1
    assert target.host[0, 0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert target.contact[0, 0, 3].tolist() == [0, 0, 0, 1, 1, 0, 0, 0]


def test_boxes_of_items_are_filled_in_every_map():
    shares = torch.zeros(1, 2, 5, 6)
    shares[0, 0, 1, 4] = shares[0, 0, 3, 2] = 0.3
    boxes = fill_boxes(shares)
    expected = torch.zeros(5, 6)
    expected[1:4, 2:5] = 1
    assert torch.equal(boxes[0, 0], expected)
    assert not boxes[0, 1].any()


def test_a_run_goes_on_after_a_kill_and_with_more_steps_from_before_the_cooldown(
    config, tmp_path, said
):
    rates = [
        learning_rate_at(i, LoopConfig(steps=10, warmup=2, cooldown=4, learning_rate=1.0))
        for i in range(10)
    ]
    assert rates == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(read_experiment(config, ["loop.steps=6"]), whole)
    train(read_experiment(config), parts)  # cools down from step 2 on
    said.clear()
    train(read_experiment(config, ["loop.steps=6"]), parts)
    assert any("resuming at step 2 of 6" in line for line in said)
    steps = [
        [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        for out in (whole, parts)
    ]
    losses = [{line["step"]: line["loss"] for line in lines if "loss" in line} for lines in steps]
    assert losses[0].keys() == losses[1].keys() == set(range(1, 7))
    assert list(losses[0].values()) == pytest.approx(list(losses[1].values()), rel=1e-3)


@pytest.mark.slow
def test_a_model_folder_comes_back_and_all_runtimes_agree(trained, made, tmp_path):
    folder = trained / "model"
    detector = Detector.load(folder)
    assert detector.network.config.categories[: len(KINDS)] == KINDS
    assert (detector.kinds, detector.devices) == (len(KINDS), 2)
    detector.save(tmp_path / "again")
    again = Detector.load(tmp_path / "again")
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            detector.network.state_dict().values(), again.network.state_dict().values(), strict=True
        )
    )
    with pytest.raises(ModelError):
        load_model(tmp_path / "again", "onnxruntime")
    export_onnx(tmp_path / "again")
    result = verify(tmp_path / "again", sizes=((96, 128), (75, 131)))
    assert result["agree"], result
    (tmp_path / "again" / "weights.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError):
        Detector.load(tmp_path / "again")


@pytest.mark.slow
def test_calibration_keeps_to_its_share_of_false_alarms_and_bags_are_screened(
    config, ranking, made
):
    with pytest.raises(ModelError):
        Screener.load(ranking)
    calibrate_detector(read_experiment(config).sets, ranking, 0.25)
    usable = load_model(ranking, "torch")
    assert usable.operating_point.chosen_on_split == "val"
    assert usable.operating_point.expected_fpr <= 0.35
    bags = score_dataset(made, usable, "val")
    result = measure(bags, usable.thresholds)
    assert result["bag_fp"] == pytest.approx(usable.operating_point.expected_fpr)
    assert 0 <= result["on_the_anomaly"] <= result["bag_tp"] <= 1
    screener = Screener.load(ranking, runtime="torch")
    for bag in bags[:4]:
        views = tuple(
            replace(read_scan(made / "raw" / f"{bag.id}_{name}.tif").views[0], view_id=name)
            for name in ("below", "side")
        )
        report = screener.screen(Scan(bag.id, views))
        alarm = any((s >= 0.5).any() for s in report.scores.values())
        assert report.decision is (Decision.ALARM if alarm else Decision.CLEAR)
        for view in views:
            assert report.regions[view.view_id].shape == view.shape
            assert np.isfinite(report.scores[view.view_id]).all()


@pytest.mark.slow
def test_commands_calibrate_and_evaluate_a_detector(config, ranking, tmp_path):
    folder = str(ranking)
    calibrate = ["calibrate", str(config), "--model", folder, "--max-fpr", "0.3"]
    changed = Options(mirrored=True, item_smoothing=2.0)
    for option, expected in (
        ([], Options()),
        (["--mirrored", "--item-smoothing", "2"], changed),
        ([], changed),
    ):
        done = CliRunner().invoke(app, [*calibrate, *option])
        assert done.exit_code == 0, done.output
        assert "95 % interval" in done.output
        calibrated = Detector.load(folder)
        assert calibrated.options == expected
    done = CliRunner().invoke(
        app,
        [
            "evaluate",
            str(config),
            "--model",
            folder,
            "--part",
            "val",
            "--out",
            str(tmp_path / "figures.json"),
            "--json",
        ],
    )
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "figures.json").read_text())
    assert set(result["groups"]) == {"new_stagings", "unseen_families"}
    assert result["all"]["bags"] == sum(group["bags"] for group in result["groups"].values())


def test_a_detector_for_colour_is_trained_and_judged_on_colour(config, made, tmp_path):
    settings = ["images=colour", "training.displays=0.5", "loop.steps=3"]
    experiment = read_experiment(config, settings)
    train(experiment, tmp_path)
    detector = Detector.load(tmp_path / "model")
    assert (detector.images, detector.network.config.channels) == ("colour", 3)
    usable = load_model(tmp_path / "model", "torch")
    assert usable.config.input.channels == ("red", "green", "blue")
    assert len(score_dataset(made, usable, "val", 2)) == 4
    with pytest.raises(ConfigError):
        read_experiment(config, ["images=grey"])


@pytest.mark.slow
def test_a_frozen_backbone_keeps_its_weights_and_gets_the_statistics_of_crops(
    config, trained, tmp_path
):
    frozen = ["images=colour", "training.backbone=frozen"]
    started, ended = (train_for(config, steps, frozen, tmp_path / str(steps)) for steps in (2, 6))
    for name, value in started.items():
        same = torch.equal(value, ended[name])
        assert same == name.startswith("backbone.") or "num_batches" in name, name
    means = [value for name, value in ended.items() if name.endswith("running_mean")]
    assert all(mean.abs().sum() > 0 for mean in means)
    tuned = train_for(
        config, 4, [*frozen[:1], "training.backbone=fixed_statistics"], tmp_path / "tuned"
    )
    first = next(name for name in tuned if name.endswith("weight") and "backbone" in name)
    assert not torch.equal(tuned[first], started[first])


def train_for(config, steps, settings, out):
    """Train for some steps and return the weights."""
    loop = [f"loop.steps={steps}", f"loop.validate_every={steps}", "loop.cooldown=1"]
    train(read_experiment(config, [*settings, *loop]), out)
    return Detector.load(out / "model").network.state_dict()


def test_a_training_begins_with_a_trained_detectors_weights_of_the_same_or_other_images(
    config, trained, tmp_path
):
    before = Detector.load(trained / "model").network.state_dict()
    still = [
        "loop.steps=1",
        "loop.learning_rate=1e-12",
        "loop.weight_decay=0.0",
        "loop.ema=0.0",
        f"start={trained}/model",
    ]
    train(read_experiment(config, still), tmp_path / "raw")
    after = Detector.load(tmp_path / "raw" / "model").network.state_dict()
    assert all(
        torch.allclose(value, after[name], atol=1e-6)
        for name, value in before.items()
        if name.endswith("weight")
    )
    train(read_experiment(config, [*still, "images=colour"]), tmp_path / "colour")
    colour = Detector.load(tmp_path / "colour" / "model").network.state_dict()
    differ = [name for name, value in before.items() if value.shape != colour[name].shape]
    assert len(differ) == 1
    assert torch.allclose(before["verdict.0.weight"], colour["verdict.0.weight"], atol=1e-6)
    assert colour[differ[0]].sum((1, 2, 3)) == pytest.approx(
        before[differ[0]].sum((1, 2, 3)), rel=0.02, abs=1e-3
    ), "as much of a grey picture as before"
    with pytest.raises(ConfigError, match="start"):
        train(read_experiment(config, [*still, "network.width=24"]), tmp_path / "other")


def test_read_packed_gives_parts_apart(made):
    packed_scenes((str(made),), 1)
    parts = {part: {s.id for s in read_packed(made, (part,))} for part in ("train", "val", "test")}
    assert parts["train"]
    assert not parts["train"] & parts["val"]
    assert not parts["test"]


@pytest.fixture(scope="module")
def armed(tmp_path_factory):
    """A set of four scenes with prohibited items of two classes."""
    root = tmp_path_factory.mktemp("armed") / "set"
    recipe = Recipe(
        ("phone",),
        count=8,
        seed=5,
        profile="g640_coarse",
        parts={"train": 1, "val": 1},
        items=(0, 1),
        prohibited=(3, 3),
        prohibited_classes=("wrench", "pistol"),
    )
    simulate(recipe, root)
    return root


def test_places_of_prohibited_items_lie_on_them_and_classes_are_equally_frequent(armed):
    scenes, categories = packed_scenes((str(armed),), 1)
    first = len(KINDS) + 1
    assert categories[first - 1 : first + 2] == ("phone", "pistol", "wrench")
    views = [view for part in scenes.values() for scene in part for view in scene.views]
    places = ProhibitedPlaces(views, range(first, first + 2))
    rng, drawn = np.random.default_rng(0), Counter()
    for _ in range(200):
        view, (row, column) = places.draw(rng)
        here = set(view.sets[view.labels[0, int(row) // 2, int(column) // 2]].tolist())
        assert here & {first, first + 1}
        drawn.update(here & {first, first + 1})
    assert min(drawn.values()) > 70
    assert len(ProhibitedPlaces(views, range(0))) == 0


def test_cells_of_prohibited_items_are_validated_by_class():
    shares = np.array([[1.0, 0.0], [0.0, 0.0], [0.3, 0.0], [0.0, 0.0]])
    logits = np.array([[2.0, 0.0], [1.0, 0.0], [9.0, 0.0], [3.0, 0.0]])
    assert mean_class_auroc([(shares[:2], logits[:2]), (shares[2:], logits[2:])]) == 0.5
    assert math.isnan(mean_class_auroc([]))
    assert math.isnan(mean_class_auroc([(shares[1:2], logits[1:2])]))


def test_the_loss_of_items_falls_as_a_class_is_shown_where_it_lies():
    shares = torch.zeros(2, 3, 8, 8)
    shares[0, 1, 2:5, 2:5] = 1.0
    right, elsewhere = torch.full_like(shares, -8.0), torch.full_like(shares, -8.0)
    right[0, 1, 2:5, 2:5] = 8.0
    elsewhere[0, 2, 2:5, 2:5] = 8.0
    nothing = torch.full_like(shares, -8.0)
    assert item_loss(right, shares) < 0.02 < item_loss(nothing, shares)
    assert item_loss(nothing, shares) < item_loss(elsewhere, shares)
    assert item_loss(nothing, torch.zeros_like(shares)) < 0.02


@pytest.mark.slow
def test_a_training_with_prohibited_items_begins_with_categories_of_the_same_name(
    config, trained, armed, tmp_path
):
    settings = [
        f"sets=[{armed}]",
        f"start={trained / 'model'}",
        "training.prohibited=1.0",
        "training.clutter=0.0",
        "loop.steps=2",
        "loop.learning_rate=1e-12",
        "loop.weight_decay=0.0",
        "loop.ema=0.0",
    ]
    best = train(read_experiment(config, settings), tmp_path)
    assert best["monitor"] == pytest.approx((best["devices"] + best["prohibited"]) / 2)
    before, after = Detector.load(trained / "model"), Detector.load(tmp_path / "model")
    assert after.prohibited == 2
    names = [d.network.config.categories for d in (before, after)]
    assert "battery_cell" in set(names[0]) & set(names[1])
    for name in set(names[0]) & set(names[1]):
        rows = [
            d.network.categories.weight[own.index(name)]
            for d, own in zip((before, after), names, strict=True)
        ]
        assert torch.allclose(*rows, atol=1e-5)


@pytest.fixture(scope="module")
def together(made, trained, tmp_path_factory):
    """The two-view network, on the trained detector."""
    path = tmp_path_factory.mktemp("two_views") / "two_views.yaml"
    path.write_text(
        f"kind: two_views\nsets: [{made}]\nstart: {trained / 'model'}\n"
        "pack_workers: 1\nthreads: 1\n"
        "two_views: {width: 8, hidden: 16}\n"
        "training: {rows: 12, bags: 2, one_view_share: 0.5, val_bags: 4}\n"
        "loop: {steps: 6, warmup: 1, validate_every: 3, checkpoint_every: 3, ema: 0.5}\n"
    )
    out = path.parent / "run"
    best = train(read_experiment(path), out)
    return path, out, best


@pytest.mark.slow
def test_both_views_are_trained_on_a_detector_that_stays_as_it_is(together, trained):
    _, out, best = together
    assert 0 <= best["monitor"] <= 1
    before, after = (
        Detector.load(trained / "model").network.state_dict(),
        Detector.load(out / "model").network.state_dict(),
    )
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert any(name.startswith("two_views.") for name in after)


@pytest.mark.slow
def test_maps_that_were_seen_are_what_the_detector_shows(together, trained, made):
    _, out, _ = together
    detector = Detector.load(trained / "model")
    scene = next(s for s in read_packed(made, ("train",)) if s.views[0].host >= 0)
    (seen,) = load_scene_maps(detector, [scene], out / "seen" / detector.id)
    for anomalous in (False, True):
        for view, shown in zip(scene.views, seen.scans(anomalous), strict=True):
            features, counts = whole_view(view, anomalous)
            h, w = shown.anomaly.shape[1:]
            with torch.inference_mode():
                maps = detector.network(torch.from_numpy(features.copy())[None])
            assert shown.anomaly[0] == pytest.approx(
                maps.anomaly[0, 0, :h, :w].numpy(), abs=0.5
            )  # in 16 bits
            assert np.array_equal(shown.truth[2:], counts[FIRST_DEVICE : FIRST_DEVICE + 8, :h, :w])
            assert len(shown.verdicts) == len(view.devices)


@pytest.mark.slow
def test_bags_are_shown_as_they_are_cut(together):
    path, out, _ = together
    task, _ = read_experiment(path).prepare(out)
    batch = task.batch(np.random.default_rng(3))
    n = len(batch.merged) // 2
    assert n == 4, "two bags, each without and with its anomaly"
    for k in range(0, n, 2):
        assert torch.equal(batch.there[k::n], batch.there[k + 1 :: n]), (
            "both scans of a bag are shown alike"
        )
        assert not batch.truth[k::n][:, 0].any()
    for d in range(len(batch.bag)):
        mask = batch.devices[d] > 0
        shown = batch.there[int(batch.bag[d]) :: n, 0] > 0
        assert mask.any()
        assert not (mask & ~shown).any(), "a view that is missing shows no device"
        assert not (batch.hidden[d] and batch.bag[d] % 2 == 0)


@pytest.fixture(scope="module")
def whole_bags(made, together):
    """The experiment that trains the network and its detector together."""
    path = together[0].parent / "whole_bags.yaml"
    path.write_text(
        f"kind: whole_bags\nsets: [{made}]\nstart: {together[1] / 'model'}\n"
        "pack_workers: 1\nthreads: 1\n"
        "training: {margin: 2, bags: 2, one_view_share: 0.5, overlay: 0.5, val_bags: 4}\n"
        "loop: {steps: 2, warmup: 1, validate_every: 1, checkpoint_every: 1, ema: 0.5}\n"
    )
    return read_experiment(path)


@pytest.mark.slow
def test_whole_bags_train_all_of_a_detector(whole_bags, together, trained, tmp_path):
    assert 0 <= train(whole_bags, tmp_path)["monitor"] <= 1
    before, after = (
        Detector.load(together[1] / "model").network.state_dict(),
        Detector.load(tmp_path / "model").network.state_dict(),
    )
    for part in (
        "backbone.",
        "categories.",
        "verdict.",
        "two_views.begin.",
        "two_views.verdict_layers.",
    ):
        assert any(
            not torch.equal(value, after[name])
            for name, value in before.items()
            if name.startswith(part) and name.endswith("weight")
        ), part
    with pytest.raises(ConfigError):  # it examines views one at a time
        replace(whole_bags, start=str(trained / "model")).prepare(tmp_path / "other")
    of_items = Detector.load(Path(whole_bags.start))
    of_items.prohibited = 1
    of_items.save(tmp_path / "of_items")
    with pytest.raises(ConfigError, match="prohibited"):
        replace(whole_bags, start=str(tmp_path / "of_items")).prepare(tmp_path / "none")


@pytest.mark.slow
def test_a_batch_of_projected_anomalies_alone_has_a_finite_loss(whole_bags, tmp_path):
    """No single view has a verdict then."""
    config = replace(whole_bags.training, projected=1.0, one_view_share=0.0, overlay=0.0)
    task, _ = replace(whole_bags, training=config).prepare(tmp_path)
    batch = next(
        batch
        for batch in (task.batch(np.random.default_rng(seed)) for seed in range(50))
        if all((view.device == -1).all() for view in batch.views)
    )
    assert batch.bags.hidden.any()
    loss, terms = task.loss(batch)
    assert torch.isfinite(loss)
    assert all(math.isfinite(value) for value in terms.values())
    loss.backward()


@pytest.mark.slow
def test_whole_bags_are_validated_as_their_maps_were(whole_bags, together, tmp_path):
    of_maps, _ = read_experiment(together[0]).prepare(together[1])
    of_maps.network.load_state_dict(
        {
            k.removeprefix("two_views."): v
            for k, v in Detector.load(together[1] / "model").network.state_dict().items()
            if k.startswith("two_views.")
        }
    )
    of_pixels, _ = whole_bags.prepare(tmp_path)
    assert of_pixels.validate() == pytest.approx(
        of_maps.validate(), abs=0.1
    )  # maps in 16 bits, of views with more padding


@pytest.mark.slow
def test_windows_of_whole_bags_lie_on_the_same_rows(whole_bags, tmp_path):
    task, _ = whole_bags.prepare(tmp_path)
    batch = task.batch(np.random.default_rng(3))
    n = len(batch.bags.truth) // 2
    assert n == 4, "two bags, each without and with its anomaly"
    below, side = (
        view.counts[:, FIRST_DEVICE : FIRST_DEVICE + 8].sum((1, 3)) for view in batch.views
    )
    for k in range(0, n, 2):
        assert torch.equal(batch.bags.there[k::n], batch.bags.there[k + 1 :: n]), (
            "both scans of a bag are shown alike"
        )
        assert not batch.bags.truth[k::n][:, 0].any()
        rows = [set(np.flatnonzero(profile[k] > 0)) for profile in (below, side)]
        assert len(rows[0] & rows[1]) >= 0.6 * len(rows[0] | rows[1]), (
            "devices lie on the same lines of both views"
        )
    for d in range(len(batch.bags.bag)):
        shown = batch.bags.there[int(batch.bags.bag[d]) :: n, 0] > 0
        assert not ((batch.bags.devices[d] > 0) & ~shown).any(), (
            "a view that is missing shows no device"
        )
        assert not (batch.bags.hidden[d] and batch.bags.bag[d] % 2 == 0)


@pytest.fixture(scope="module")
def hosts(made):
    """Scenes with two views and a device under test."""
    scenes = read_packed(made, ("train",))
    return [s for s in scenes if s.views[0].host >= 0 and len(s.views) > 1]


def batch_of(window):
    return build_pixel_batch([window], len(KINDS), "raw", 0.0, np.random.default_rng(0))


def window_of(scene, box, mirrored=(False, False, False)):
    return select_window(scene, box, mirrored, np.ones((2, 2)))


def test_a_window_holds_the_whole_device_in_both_views(hosts):
    rng = np.random.default_rng(4)
    for scene in hosts:
        host = scene.views[0].host
        box = box_around(scene, host, 16)
        for least in (box, Box(0, 256, ((0, 200), (0, 320)))):
            placed = enlarge(box, least, scene, rng)
            window = window_of(scene, placed)
            assert host in window.devices
            sides = [placed.rows, *(number for _, number in placed.columns)]
            needed = [max(box.rows, least.rows)]
            needed += [
                max(pair[1] for pair in pairs)
                for pairs in zip(box.columns, least.columns, strict=True)
            ]
            assert all(side % 64 == 0 for side in sides)
            assert all(0 <= side - least < 64 for side, least in zip(sides, needed, strict=True))
            batch = batch_of(window)
            assert len(batch.bags.devices) == len(window.devices)
            for v, view in enumerate(scene.views[:2]):
                everything = batch_of(window_of(scene, whole_box(scene)))
                whole, shown = (
                    b.views[v].counts[0, FIRST_DEVICE + host] for b in (everything, batch)
                )
                assert int(shown.sum()) >= 0.9 * int(whole.sum())
                assert placed.columns[v][0] >= 0
                if placed.columns[v][1] <= view.pixels.shape[2]:
                    assert sum(placed.columns[v]) <= view.pixels.shape[2]


def test_a_device_that_the_window_cuts_gets_no_verdict(hosts):
    scene = hosts[0]
    host = scene.views[0].host
    box = box_around(scene, host, 0)
    half = replace(box, rows=box.rows // 2)
    assert host not in window_of(scene, half).devices
    half = replace(box, columns=(box.columns[0], (box.columns[1][0], box.columns[1][1] // 2)))
    assert host not in window_of(scene, half).devices


@pytest.mark.parametrize("axis", ["across", "along"])
def test_mirrored_windows_are_the_windows_mirrored(hosts, axis):
    scene = hosts[0]
    box = Box(16, 64, tuple((8, min(128, view.pixels.shape[2] - 16)) for view in scene.views[:2]))
    flips, dim = ((True, True, False), 2) if axis == "across" else ((False, False, True), 1)
    plain, mirrored = (batch_of(window_of(scene, box, f)) for f in ((False,) * 3, flips))
    for v, (view, other) in enumerate(zip(plain.views, mirrored.views, strict=True)):
        columns = slice(0, box.columns[v][1])
        assert view.features[0, :2, :, columns].flip(dim) == pytest.approx(
            other.features[0, :2, :, columns], abs=1e-5
        )


def test_the_contents_of_another_bag_add_up(hosts):
    rows, other = (
        window_of(scene, replace(whole_box(scene), first_row=16, rows=64)) for scene in hosts[:2]
    )
    plain, added, both = map(batch_of, (rows, other, replace(rows, over=other)))
    for v in range(2):
        first, second, total = (batch.views[v].features[0] for batch in (plain, added, both))
        width = min(first.shape[2], second.shape[2])
        expected = first[:2].clone()
        expected[:, :, :width] += second[:2, :, :width]
        clear = expected[0] < 3  # not at the limit of the detector
        assert total[:2][:, clear] == pytest.approx(expected[:, clear], abs=1e-4)
        only_first = second[0, :, :width] == 0
        assert torch.equal(total[3, :, :width][only_first], first[3, :, :width][only_first])
        z = total[3, :, :width]
        highest = torch.maximum(first[3, :, :width], second[3, :, :width])
        assert (z <= highest + 1e-4).all()
        instances = slice(FIRST_DEVICE, FIRST_DEVICE + 8)
        assert torch.equal(both.views[v].counts[:, instances], plain.views[v].counts[:, instances])
        categories = both.views[v].counts[:, :FIRST_DEVICE].int()
        assert (categories >= plain.views[v].counts[:, :FIRST_DEVICE]).all()
        assert categories.sum() > plain.views[v].counts[:, :FIRST_DEVICE].int().sum()
    assert torch.equal(both.bags.hidden, plain.bags.hidden)


@pytest.mark.slow
def test_a_bag_is_exported_and_screened_over_both_views(together, made):
    folder = together[1] / "model"
    detector = Detector.load(folder)
    detector.operating_point = OperatingPoint(0.5, "by hand", "val", 0.1)
    detector.save(folder)
    export_onnx(folder)
    assert (folder / "both_views.onnx").is_file()
    assert verify(folder, sizes=[(160, 200), (120, 264)])["agree"]
    screener = Screener.load(folder, runtime="onnxruntime")
    for views in (("below", "side"), ("below",)):
        scan = Scan(
            "bag",
            tuple(
                replace(read_scan(made / "raw" / f"00000a_{view}.tif").views[0], view_id=view)
                for view in views
            ),
        )
        assert screener.screen(scan).decision in (Decision.ALARM, Decision.CLEAR)
    again = tuple(
        replace(read_scan(made / "raw" / f"00000a_{view}.tif").views[0], view_id=view)
        for view in ("side", "below")
    )
    assert (
        screener.screen(Scan("bag", again)).decision
        == screener.screen(Scan("bag", again[::-1])).decision
    )
