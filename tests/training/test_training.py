"""Training resumes to the same weights, learns learnable data, and refuses bad settings."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bagscan.cli.terminal import PRESETS
from bagscan.core.errors import ConfigError, DataError, ModelError, TrainingError
from bagscan.core.messages import attach_handler
from bagscan.datasets import simulated
from bagscan.datasets.config import DataConfig, load_records
from bagscan.datasets.splits import make_split, read_split, write_split
from bagscan.model import Model
from bagscan.training import evaluate
from bagscan.training.augment import AugmentConfig, draw_crop, recolour
from bagscan.training.evaluate import _as_screened, evaluate_model, run_folder_of
from bagscan.training.experiment import read_experiment, train
from bagscan.training.joint import JointTask
from bagscan.training.loop import LoopConfig, learning_rate_at
from bagscan.training.samples import load_samples

CONFIGS = sorted(PRESETS.glob("*.yaml"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoint.safetensors")


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    ("mode", "loaders"),
    [
        ("joint", "0"),
        pytest.param("two_stage", "0", marks=pytest.mark.slow),
        pytest.param(
            "joint",
            "2",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(sys.platform != "linux", reason="processes draw on Linux alone"),
            ],
        ),
    ],
)
def test_killed_and_resumed_gives_the_same_weights(
    tiny_config, tmp_path, monkeypatch, mode, loaders
):
    """For any number of loader processes."""
    settings = [f"training.mode={mode}"]
    train(read_experiment(tiny_config, settings), tmp_path / "whole")

    class Kill(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("step 3/"):
                raise Killed

    monkeypatch.setenv("BAGSCAN_LOADERS", loaders)
    with attach_handler(Kill()), pytest.raises(Killed):
        train(read_experiment(tiny_config, settings), tmp_path / "cut")
    with (tmp_path / "cut" / "log.jsonl").open("a") as log:
        log.write('{"step": 1')  # truncated, as a full disk leaves it
    train(read_experiment(tiny_config, settings), tmp_path / "cut")
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[k], cut[k]) for k in whole)
    steps = [
        json.loads(line)["step"]
        for line in (tmp_path / "cut" / "log.jsonl").read_text().splitlines()
    ]
    assert steps == sorted(steps)
    assert (tmp_path / "cut" / "config.yaml").exists()


TRAIN = """
import sys
from pathlib import Path
from bagscan.core.messages import show_messages
from bagscan.training.experiment import read_experiment, train
show_messages()
experiment = read_experiment(Path(sys.argv[1]), ["loop.steps=40"])
train(experiment, Path(sys.argv[2]))
"""


@pytest.mark.weekly
def test_kill_9_ten_times_and_resumed_gives_the_same_weights(tiny_config, tmp_path):
    def start(out):
        return subprocess.Popen(
            [sys.executable, "-c", TRAIN, str(tiny_config), str(out)],
            stderr=subprocess.PIPE,
            text=True,
        )

    whole = start(tmp_path / "whole")
    whole.communicate()
    assert whole.returncode == 0
    kills, rng = 0, np.random.default_rng(0)
    while kills < 10:
        process, lines = start(tmp_path / "cut"), int(rng.integers(1, 4))
        for line in process.stderr:  # killed a little later
            lines -= line.startswith("step")
            if lines == 0:
                break
        process.kill()
        process.wait()
        kills += 1
    start(tmp_path / "cut").communicate()
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_a_full_disk_leaves_the_last_checkpoint_whole(tiny_config, tmp_path, monkeypatch):
    from bagscan.training import checkpoint

    real, saves = checkpoint.save_file, []

    def fills_up(tensors, path, **more):
        saves.append(path)
        if len(saves) == 2:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        real(tensors, path, **more)

    train(read_experiment(tiny_config), tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save_file", fills_up)
        with pytest.raises(OSError, match="No space left"):
            train(read_experiment(tiny_config), tmp_path / "full")
    assert len(saves) == 2
    train(read_experiment(tiny_config), tmp_path / "full")  # from the previous checkpoint
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "full")
    assert all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.slow
def test_joint_training_moves_the_regioner_and_two_stage_does_not(tiny_config, tmp_path):
    for mode, moves in (("joint", True), ("separate", True), ("two_stage", False)):
        torch.manual_seed(0)
        before = Model(read_experiment(tiny_config).model).regioner.state_dict()
        train(read_experiment(tiny_config, [f"training.mode={mode}"]), tmp_path / mode)
        after = Model.load(tmp_path / mode / "model").regioner.state_dict()
        assert any(not torch.equal(before[k], after[k]) for k in before) is moves


def test_it_learns_to_find_a_dark_bar(tiny_model):
    scores = Model.load(tiny_model).about["validation"]
    assert scores["auroc"] > 0.85


def test_joint_training_refuses_a_regioner_that_cannot_learn(tiny_config, tmp_path):
    with pytest.raises(ConfigError, match="two_stage"):
        train(
            read_experiment(tiny_config, ["model.regioner={name: slic}"]),
            tmp_path / "a",
        )


def test_held_out_scanner_must_exist(tiny_config, tmp_path):
    with pytest.raises(DataError, match="'x'"):
        train(
            read_experiment(tiny_config, ["data.leave_out_scanner=x"]),
            tmp_path / "a",
        )


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_configuration_loads_and_its_parts_run_tiny(path, tiny_config, tmp_path):
    from bagscan.training.joint_experiment import JointExperiment

    experiment = read_experiment(path)
    if (
        not isinstance(experiment, JointExperiment)
        or experiment.model.regioner["name"] == "mask_rcnn"
    ):
        return  # other kinds, and scorers of whole items, have separate tests; reading it is enough
    encoder = {"name": experiment.model.encoder["name"], "backbone": "test_resnet"}
    encoder |= {"size_px": 32} if encoder["name"] == "crop" else {"dim": 8}
    wanted = experiment.model.regioner
    regioner = {"n_superpixels": 20, "name": wanted.get("parts", wanted)["name"]}
    regioner |= {"width": 4} if regioner["name"] == "ssn" else {}
    tiny = read_experiment(
        tiny_config,
        [
            f"model.encoder={encoder}",
            f"model.regioner={regioner}",
            f"training.mode={experiment.training.mode}",
            "loop.steps=2",
        ],
    )
    best = train(tiny, tmp_path / "run")
    assert np.isfinite(best["monitor"])


def test_torn_checkpoint_says_what_to_do(tiny_config, tmp_path):
    train(read_experiment(tiny_config), tmp_path / "a")
    path = tmp_path / "a" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match="delete it"):
        train(read_experiment(tiny_config), tmp_path / "a")


def test_learning_rate_rises_then_falls_to_nothing():
    config = LoopConfig(steps=100, warmup=10, learning_rate=1.0)
    rates = [learning_rate_at(i, config) for i in range(101)]
    assert rates[9] == 1
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0)


def test_crop_keeps_image_and_truth_together():
    pixels = np.ones((3, 60, 90), np.float32)
    mask = np.zeros((1, 60, 90), bool)
    mask[0, 20:40, 30:60] = True
    pixels[:, mask[0]] = 0.1
    config = AugmentConfig(crop_px=48, gain=0, gamma=0, noise=0, near_object=1)
    for seed in range(20):
        image, truth = draw_crop(pixels, mask, config, np.random.default_rng(seed))
        inside = image.mean(0)[truth[0]]
        assert truth.any()
        assert inside.mean() < 0.2
        assert image.mean(0)[~truth[0]].mean() > 0.9


def test_same_generator_same_crop():
    pixels = np.random.default_rng(0).random((3, 50, 50), dtype=np.float32)
    one, two = (
        draw_crop(
            pixels, np.zeros((0, 50, 50), bool), AugmentConfig(crop_px=32), np.random.default_rng(4)
        )[0]
        for _ in range(2)
    )
    assert torch.equal(one, two)


def test_separate_training_keeps_the_classification_from_the_regioner(tiny_config):
    """mu scales the classification: if it reaches the regioner, its gradient changes with mu."""
    grads = {}
    for mode in ("joint", "separate"):
        for mu in (1.0, 5.0):
            experiment = read_experiment(
                tiny_config,
                [
                    f"training.mode={mode}",
                    f"training.mu={mu}",
                    "training.channel_reconstruction=1.0",
                ],
            )
            torch.manual_seed(0)
            model = Model(experiment.model)
            samples = load_samples(load_records(experiment.data)[:6], model.config.input)
            task = JointTask(model, samples, samples, experiment.training)
            torch.manual_seed(0)
            task.loss(task.batch(np.random.default_rng(1)))[0].backward()
            found = [p.grad for p in task.model.regioner.parameters() if p.grad is not None]
            grads[mode, mu] = torch.cat([g.flatten() for g in found])
    assert torch.allclose(grads["separate", 1.0], grads["separate", 5.0])
    assert grads["separate", 1.0].abs().max() > 0
    assert not torch.allclose(grads["joint", 1.0], grads["joint", 5.0])


def test_a_run_that_stopped_early_stays_stopped(tiny_config, tmp_path, said):
    settings = [
        "loop.patience=1",
        "loop.steps=30",
        "loop.learning_rate=1e-9",
        "loop.validate_every=3",
    ]
    train(read_experiment(tiny_config, settings), tmp_path / "a")
    assert any("stopped early" in line for line in said)
    before = (tmp_path / "a" / "log.jsonl").read_text()
    train(read_experiment(tiny_config, settings), tmp_path / "a")
    assert (tmp_path / "a" / "log.jsonl").read_text() == before


def test_a_run_is_not_resumed_with_other_settings(tiny_config, tmp_path):
    train(read_experiment(tiny_config), tmp_path / "a")
    kept = (tmp_path / "a" / "config.yaml").read_text()
    again = read_experiment(tmp_path / "a" / "config.yaml")
    first = read_experiment(tiny_config)
    assert (again.loop, again.training) == (first.loop, first.training)
    with pytest.raises(ConfigError, match=r"loop\.seed.*0.*9"):
        train(read_experiment(tiny_config, ["loop.seed=9"]), tmp_path / "a")
    assert (tmp_path / "a" / "config.yaml").read_text() == kept
    train(
        read_experiment(tiny_config, ["loop.steps=7"]), tmp_path / "a"
    )  # a longer run is not another run


def test_a_run_is_not_resumed_on_another_split(tiny_config, tmp_path):
    """Training scans of the first split could be test scans of the second, unnoticed."""
    records = load_records(read_experiment(tiny_config).data)
    for seed in (1, 2):
        write_split(
            tmp_path / f"{seed}.json",
            make_split(records, {"train": 0.5, "val": 0.25, "test": 0.25}, seed),
        )
    train(
        read_experiment(tiny_config, [f"data.split={tmp_path}/1.json"]),
        tmp_path / "a",
    )
    assert read_split(tmp_path / "a" / "split.json") == read_split(tmp_path / "1.json"), (
        "kept with the run"
    )
    with pytest.raises(ConfigError, match="another split"):
        train(
            read_experiment(tiny_config, [f"data.split={tmp_path}/2.json"]),
            tmp_path / "a",
        )
    (tmp_path / "1.json").rename(tmp_path / "moved.json")
    train(
        read_experiment(tiny_config, [f"data.split={tmp_path}/moved.json", "loop.steps=7"]),
        tmp_path / "a",
    )


def test_items_of_a_split_of_one_s_own_are_not_judged_as_whole_views():
    source = simulated.Config(format="simulated", root="s", items=True)
    with pytest.raises(DataError, match=r"own\.json"):
        _as_screened(DataConfig((source,), split="own.json"), Path("run"))
    screened, folder, same = _as_screened(DataConfig((source,)), Path("run"))
    assert (screened.sources[0].items, screened.split, folder, same) == (
        False,
        None,
        Path("run/whole_views"),
        False,
    )


def test_training_starts_from_the_weights_that_init_names(tiny_config, tmp_path):
    train(read_experiment(tiny_config, ["loop.seed=5"]), tmp_path / "start")
    still = ["loop.learning_rate=1e-12", "loop.weight_decay=0.0", "loop.steps=1"]
    train(
        read_experiment(tiny_config, [*still, f"init={tmp_path}/start/model"]),
        tmp_path / "from",
    )
    train(read_experiment(tiny_config, still), tmp_path / "scratch")
    start, begun, scratch = (
        Model.load(tmp_path / name / "model").state_dict() for name in ("start", "from", "scratch")
    )
    trained = [name for name, value in start.items() if name.endswith("weight") and value.ndim > 1]
    assert trained
    assert all(torch.allclose(start[name], begun[name], atol=1e-6) for name in trained)
    assert not any(torch.allclose(start[name], scratch[name], atol=1e-3) for name in trained)


def test_a_changed_or_new_scan_is_not_taken(tiny_config, tmp_path, yolo_root, monkeypatch, said):
    import shutil

    own = tmp_path / "data"
    shutil.copytree(yolo_root, own)
    monkeypatch.setenv("BAGSCAN_DATA", str(own))
    train(read_experiment(tiny_config), tmp_path / "a")
    (tmp_path / "a" / "checkpoint.safetensors").unlink()
    split = json.loads((tmp_path / "a" / "split.json").read_text())
    changed, other = split["parts"]["train"][:2]
    shutil.copy(own / "images" / f"{other}.png", own / "images" / f"{changed}.png")
    shutil.copy(own / "images" / f"{other}.png", own / "images" / "9new.png")
    train(read_experiment(tiny_config), tmp_path / "a")
    assert any(f"{changed}.png: changed since the split was made" in line for line in said)
    assert any("1 scans that were added" in line for line in said)


def test_checkpoints_are_written_by_the_clock_too(tiny_config, tmp_path, monkeypatch):
    """A run that stops between two checkpoints loses no more than that."""
    import bagscan.training.loop as loop

    saved: list[int] = []
    real = loop.save_checkpoint
    monkeypatch.setattr(
        loop,
        "save_checkpoint",
        lambda path, kept, optimizer, progress: (
            saved.append(progress["step"]),
            real(path, kept, optimizer, progress),
        ),
    )
    rare = ["loop.steps=4", "loop.checkpoint_every=100"]
    train(read_experiment(tiny_config, rare), tmp_path / "a")
    assert saved == [4]
    saved.clear()
    monkeypatch.setattr(loop, "CHECKPOINT_S", 0.0)
    train(read_experiment(tiny_config, rare), tmp_path / "b")
    assert saved == [1, 2, 3, 4, 4]


def test_a_loss_that_is_no_number_stops_with_advice(tiny_config, tmp_path):
    with pytest.raises(TrainingError, match="learning_rate"):
        train(
            read_experiment(
                tiny_config, ["loop.learning_rate=1e30", "loop.clip_norm=1e30", "loop.warmup=0"]
            ),
            tmp_path / "a",
        )


def test_effective_z_is_neither_clipped_nor_filled_with_metal():
    """Its values exceed 1, and pixels outside the view are air: Z 0."""
    pixels = np.stack(
        [np.full((40, 40), 0.4), np.full((40, 40), 0.5), np.full((40, 40), 26.0)]
    ).astype(np.float32)
    config = AugmentConfig(crop_px=64, scale=(1.0, 1.0), near_object=0.0)
    names = ("low", "high", "zeff")
    image, _ = draw_crop(
        pixels, np.zeros((0, 40, 40), bool), config, np.random.default_rng(0), names
    )
    image = recolour(image, config, np.random.default_rng(1), names)
    inside = image[2] > 1
    assert inside.any()
    assert image[2][inside].median() == pytest.approx(26, rel=0.05)
    assert image[2].min() < 0.2


def test_foreground_of_raw_scans_is_told_by_transmission_not_by_z():
    from bagscan.evaluation.within_bag import attenuation_map

    pixels = np.ones((3, 20, 20), np.float32)
    pixels[2] = 0
    pixels[:2, 5:10, 5:10] = 0.3
    pixels[2, 5:10, 5:10] = 26
    dark = attenuation_map(pixels, ("low", "high", "zeff"))
    assert dark[7, 7] == pytest.approx(0.7)
    assert dark[0, 0] == 0
    assert attenuation_map(pixels[2:], ("zeff",))[7, 7] == pytest.approx(26 / 30)


@pytest.mark.parametrize(
    "names", [("low", "high", "zeff", "red", "green", "blue"), ("red", "green", "blue")]
)
def test_projected_threats_darken_what_they_cover_and_nothing_else(names):
    from bagscan.training.threats import projector

    project = projector(0, 6)
    values = {"low": 0.55, "high": 0.68, "zeff": 7.0}
    pixels = torch.stack([torch.full((200, 200), values.get(name, 0.8)) for name in names])
    onto = torch.zeros(200, 200, dtype=torch.bool)
    onto[100, 100] = True
    for seed in range(6):
        image, mask = project(pixels, names, onto, np.random.default_rng(seed), (0.5, 1.0))
        changed = ((image - pixels).abs() > 1e-4).any(0)
        halo = (
            torch.nn.functional.max_pool2d(mask.float()[None], 9, 1, 4)[0] > 0
        )  # blurred like the scanner's images
        assert (changed & ~halo).sum() == 0
        assert mask.any()
        for k, name in enumerate(names):
            if name in ("low", "high"):
                assert image[k][mask].mean() < values[name] - 0.002
                assert (image[k][mask] < values[name]).float().mean() > 0.75


def test_projected_threats_have_the_noise_of_fewer_photons_and_leave_no_other_tell():
    """A slab over an even field has the noise of fewer photons; effective Z keeps its offset."""
    from dataclasses import replace

    from bagscan.physics.basis import compose
    from bagscan.physics.scatter import add_scatter
    from bagscan.training.threats import Threat, projector

    project = projector(0, 6)
    slab = Threat(
        np.stack([np.full((90, 90), 30.0), np.zeros((90, 90))]).astype(np.float32),
        np.ones((90, 90), bool),
    )
    one = replace(project, threats=(slab,))
    low, high = compose(np.array([20.0, 0.0]), project.spectral)
    names, here = ("low", "high", "zeff"), torch.ones(160, 160, dtype=torch.bool)
    share, reach = project.scatter.share, project.scatter.sigma_px
    even = [add_scatter(np.full((160, 160), v, np.float32), share, reach) for v in (low, high)]
    found = {}
    for stored_z in (6.0, 8.0):
        pixels = torch.stack(
            [*(torch.from_numpy(e).float() for e in even), torch.full((160, 160), stored_z)]
        )
        image, mask = one(pixels, names, here, np.random.default_rng(5), (1.0, 1.0))
        inside = ~(torch.nn.functional.max_pool2d((~mask).float()[None], 9, 1, 4)[0] > 0)
        found[stored_z] = float(image[2][inside].median())
        for k, photons in enumerate(project.photons):
            before, after = float(even[k].mean()), float(image[k][inside].mean())
            assert float(image[k][inside].std()) == pytest.approx(
                np.sqrt(after * (1 - after / before) / photons), rel=0.15
            )
    assert found[8.0] - found[6.0] == pytest.approx(2.0, abs=0.05)


def test_a_projected_threat_adds_to_what_is_there_as_the_physics_says():
    """10 mm of plastic on plastic is 10 mm more of it; effective Z stays that of plastic."""
    from dataclasses import replace

    from bagscan.physics.basis import compose
    from bagscan.training.threats import Threat, projector

    project = projector(0, 6)
    slab = Threat(
        np.stack([np.full((40, 40), 10.0), np.zeros((40, 40))]).astype(np.float32),
        np.ones((40, 40), bool),
    )
    one = replace(project, threats=(slab,))
    low, high = compose(np.array([20.0, 0.0]), project.spectral)
    pixels = torch.stack([torch.full((120, 120), float(v)) for v in (low, high, 6.5)])
    rng = np.random.default_rng(3)
    image, mask = one(
        pixels, ("low", "high", "zeff"), torch.ones(120, 120, dtype=torch.bool), rng, (1.0, 1.0)
    )
    inside = mask.numpy()
    thickness = project.spectral
    found = -np.log(float(image[0][mask].median()))
    thinnest, thickest = (
        -np.log(compose(np.array([20 + 10 * t, 0.0]), thickness)[0]) for t in (0.6, 1.5)
    )
    assert thinnest <= found <= thickest
    assert np.median(image[2].numpy()[inside]) == pytest.approx(6.5, abs=0.4)


@pytest.mark.slow
def test_benign_items_are_drawn_without_and_with_a_threat(tmp_path, simulated_root):
    config = tmp_path / "items.yaml"
    config.write_text(
        f"data: {{sources: [{{format: simulated, root: {simulated_root}, images: raw, "
        "items: true}], fractions: [0.34, 0.33, 0.33]}\n"
        "model:\n"
        "  input: {quantity: dual_energy, channels: [low, high, zeff], working_side_px: 0, "
        "superpixel_side_px: 8, mean: [0.9, 0.6, 8.0], std: [0.9, 0.7, 5.0]}\n"
        "  regioner: {name: ssn, width: 4, n_features: 3, stride: 2}\n"
        "  encoder: {name: pooled, backbone: test_resnet, dim: 8}\n"
    )
    experiment = read_experiment(
        config,
        ["training.augment.threats=1.0", "training.augment.crop_px=96", "training.augment.noise=0"],
    )
    model = Model(experiment.model)
    samples = load_samples(load_records(experiment.data), model.config.input)
    benign = [s for s in samples if not s.annotations]
    task = JointTask(model, benign, benign, experiment.training)
    pairs = [task.crops.draw(np.random.default_rng(seed)) for seed in range(12)]
    assert all(len(pair) == 2 for pair in pairs)
    shown = 0
    for (with_threat, objects, _, classes, _), (without, nothing, _, none, _) in pairs:
        assert not none
        assert not nothing.any()
        changed = ((with_threat - without).abs() > 1e-5).any(0)
        near = (
            torch.nn.functional.max_pool2d((objects > 0).float()[None], 13, 1, 6)[0] > 0
        )  # the crop may be blurred, and so is the threat
        assert not (changed & ~near).any()
        shown += bool(classes) and bool(changed.any())
    assert shown >= 9


@pytest.mark.slow
def test_twins_are_drawn_alike_and_differ_by_the_anomaly_alone(tmp_path):
    from bagscan.simulate.dataset import simulate
    from bagscan.simulate.recipe import Recipe

    recipe = Recipe(
        devices=("phone",),
        count=12,
        seed=5,
        profile="g640_coarse",
        parts={"train": 2, "val": 1},
        ways=("cavity_insert",),
        items=(0, 1),
        more_devices=0.0,
    )
    simulate(recipe, tmp_path / "set")
    source = (
        f"{{format: simulated, root: {tmp_path / 'set'}, images: raw, views: both, items: true}}"
    )
    config = tmp_path / "twins.yaml"
    config.write_text(
        f"data: {{sources: [{source}], fractions: [0.7, 0.3, 0.0]}}\n"
        "model:\n"
        "  input: {quantity: dual_energy, channels: [low, high, zeff], working_side_px: 0, "
        "superpixel_side_px: 8, mean: [0.9, 0.6, 8.0], std: [0.9, 0.7, 5.0]}\n"
        "  regioner: {name: ssn, width: 4, n_features: 3, stride: 2}\n"
        "  encoder: {name: pooled, backbone: test_resnet, dim: 8}\n"
    )
    experiment = read_experiment(
        config,
        [
            "training.twins=1.0",
            "training.balance_labels=1.0",
            "training.batch_size=4",
            "training.augment.crop_px=48",
        ],
    )
    model = Model(experiment.model)
    records = load_records(experiment.data)
    samples = load_samples([r for r in records if r.part == "train"], model.config.input)
    task = JointTask(model, samples, samples, experiment.training)
    pair = next(
        pair for seed in range(40) if len(pair := task.crops.draw(np.random.default_rng(seed))) == 2
    )
    (one, objects, presence, *_), (other, nothing, *_) = pair
    assert not nothing.any()
    away = ~torch.nn.functional.max_pool2d((objects > 0).float()[None], 9, 1, 4)[0].bool()
    assert away.any()
    # Low and high agree but for the steps of 16 bits and the scatter of the anomaly.
    assert torch.allclose(one[:2, away], other[:2, away], atol=5e-3)
    assert not torch.allclose(one[:2, ~away], other[:2, ~away], atol=5e-3)
    assert presence.any()
    with pytest.raises(ConfigError, match="twins"):
        JointTask(model, [s for s in samples if s.annotations], samples, experiment.training)


def test_a_model_that_comes_along_is_evaluated_without_a_trace_in_the_package(
    tiny_config, tiny_model, tmp_path, monkeypatch
):
    shipped = shutil.copytree(tiny_model, tmp_path / "package" / "colour").parent
    monkeypatch.setattr(evaluate, "SHIPPED", shipped)
    monkeypatch.chdir(tmp_path)
    before = sorted(shipped.rglob("*"))
    record = evaluate_model(
        read_experiment(tiny_config),
        shipped / "colour",
        "test",
        tmp_path / "record.json",
        everywhere=True,
    )
    assert record["results"]["per_scan"]["n"] > 0
    assert sorted(shipped.rglob("*")) == before
    assert (tmp_path / "runs" / "shipped_colour" / "split.json").exists()
    assert run_folder_of(tmp_path / "run" / "model") == tmp_path / "run"


def test_training_without_anything_marked_is_refused(tiny_config, tmp_path, yolo_root, monkeypatch):
    copy = tmp_path / "unmarked"
    shutil.copytree(yolo_root, copy)
    for label in (copy / "labels").glob("*.txt"):
        label.write_text("")
    monkeypatch.setenv("BAGSCAN_DATA", str(copy))
    with pytest.raises(DataError, match="bagscan data check"):
        train(read_experiment(tiny_config), tmp_path / "run")


def test_a_validation_without_a_number_ends_training(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr(JointTask, "validate", lambda self: {"monitor": float("nan")})
    with pytest.raises(TrainingError, match="nan"):
        train(read_experiment(tiny_config), tmp_path / "run")
