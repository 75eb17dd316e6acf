"""Simulated datasets on disk: equal bytes for any worker count, resumed, refused, read back."""

import dataclasses
import hashlib
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import yaml

from bagscan.core.errors import ConfigError, DataError, ReadError
from bagscan.datasets import simulated
from bagscan.datasets.packing import categories_of
from bagscan.datasets.splits import given_split
from bagscan.formats import read_scan
from bagscan.formats.coco import read_coco
from bagscan.imaging.channels import Calibration, read_wedges
from bagscan.imaging.convert import convert_scan
from bagscan.imaging.scanner import load_profile
from bagscan.simulate import compass, preset_names
from bagscan.simulate.anomalies import KINDS
from bagscan.simulate.dataset import Import, load_recipe, simulate
from bagscan.simulate.devices import Family
from bagscan.simulate.mesh import box, cylinder
from bagscan.simulate.recipe import Recipe
from bagscan.simulate.scene import build_scene, plan
from bagscan.simulate.stl import read_stl
from bagscan.simulate.summary import read_scans, statistics_auc

RECIPE = Recipe(
    devices=("phone", "bottle"),
    count=8,
    seed=3,
    profile="g640_coarse",
    items=(1, 2),
    more_devices=0.0,
)


def hashes(folder):
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("simulated") / "set"
    simulate(RECIPE, out)
    return out


@pytest.mark.slow
def test_two_workers_write_the_same_bytes_as_one(made, tmp_path, monkeypatch):
    monkeypatch.delenv(
        "OMP_NUM_THREADS", raising=False
    )  # like a user's shell: matrix libraries take all cores by default
    simulate(RECIPE, tmp_path / "two", workers=2)
    assert hashes(made) == hashes(tmp_path / "two")


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_the_same(made, tmp_path, said):
    out = tmp_path / "killed"
    simulate(dataclasses.replace(RECIPE, count=4), out)
    (out / "scans" / "00001.json").unlink()  # as if killed before the end
    (out / "raw" / "00001a_below.tif").write_bytes(b"half")
    said.clear()
    simulate(RECIPE, out)
    assert "1 of 4 scenes" in said[0]
    assert said[1].startswith("4 of 4 scenes, ")
    ours, theirs = hashes(out), hashes(made)
    assert ours == theirs


def test_a_folder_holds_one_recipe(made, tmp_path):
    with pytest.raises(DataError, match=r"seed.*3.*4"):
        simulate(dataclasses.replace(RECIPE, seed=4), made)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        simulate(RECIPE, tmp_path)


def test_presets_load_and_deei_is_that_of_the_paper():
    assert {"deei", "operational", "second_scanner", "pairs", "smoke", "demo"} <= set(
        preset_names()
    )
    for name in preset_names():
        load_recipe(name)
    deei = load_recipe("deei")
    assert deei.count == 7022
    assert set(deei.devices) == {"bottle", "hairdryer", "iron", "toaster", "phone", "laptop"}
    plans = [plan(deei, k) for k in range(deei.scenes)]
    assert np.mean([p.part == "test" for p in plans]) == pytest.approx(0.3, abs=0.005)
    # Six pieces of each class in three stagings each, in every part: the paper's random split.
    for part in ("train", "val", "test"):
        seen = {(p.family.device, p.family.piece, p.staging) for p in plans if p.part == part}
        every = {
            (device, piece, staging)
            for device in deei.devices
            for piece in range(6)
            for staging in range(3)
        }
        assert seen == every if part != "val" else seen <= every


def test_a_preset_plans_the_same_scenes_in_every_version():
    """Published results name datasets by preset and seed: these scenes must stay what they are."""
    families = [plan(load_recipe("demo"), index).family.name for index in range(6)]
    assert families == [
        "laptop/battery_front/00",
        "phone/cell_beside/09",
        "toaster/two_slots/05",
        "bottle/glass/03",
        "hairdryer/folding/08",
        "iron/dry/03",
    ]


def test_prohibited_items_lie_in_both_scans_and_change_nothing_else(tmp_path):
    """They come from a random stream of their own: bags without them stay as they were."""
    without = Recipe(("phone",), count=4, seed=3, profile="g640_coarse", items=(1, 2))
    recipe = replace(without, prohibited=(2, 2), prohibited_classes=("pistol", "wrench"))
    plans = plan(recipe, 0), plan(without, 0)
    assert plans[0] == plans[1]
    tunnel = load_profile("g640_coarse").tunnel_mm
    scenes = [build_scene(r, plans[0], tunnel) for r in (recipe, without)]
    roles = [Counter(thing.role for thing in scene.things) for scene in scenes]
    assert roles[1]["prohibited"] == 0
    assert 1 <= roles[0]["prohibited"] <= 2
    found = [thing for thing in scenes[0].things if thing.role == "prohibited"]
    assert {thing.name for thing in found} <= {"pistol", "wrench"}
    assert all(Family(*thing.about["family"].split("/")[:2], 0).part for thing in found)
    simulate(recipe, tmp_path / "set")
    truth = [json.loads(path.read_text()) for path in (tmp_path / "set" / "truth").glob("*.json")]
    entries = [entry for one in truth for entry in one["annotations"]]
    assert {entry["role"] for entry in entries} >= {"prohibited", "device", "item"}
    names = categories_of(tmp_path / "set", KINDS)
    assert set(names) & {"pistol", "wrench"}


def test_sets_of_the_same_collection_show_the_same_pieces_and_stagings():
    deei, other = load_recipe("deei"), load_recipe("demo", seed=77)
    assert deei.collection == load_recipe("operational").collection == other.collection
    known = next(p for p in (plan(other, k) for k in range(60)) if p.group == "known_stagings")
    assert known.family in {p.family for p in (plan(deei, k) for k in range(600))}


def test_wrong_recipes_are_told(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'deei'"):
        load_recipe("deeI")
    with pytest.raises(ConfigError, match="count"):
        load_recipe("smoke", count=0)
    mine = tmp_path / "mine.yaml"
    mine.write_text("devices: [phone]\nprofile: g640\nprofile_sha256: abc\n")
    with pytest.raises(ConfigError, match="profile_sha256"):
        load_recipe(mine)
    mine.write_text("devices: [phone]\nstaggings: 5\n")
    with pytest.raises(ConfigError, match="did you mean 'stagings'"):
        load_recipe(mine)


def test_what_was_written_reads_back(made):
    records = read_scans(made)
    assert len(records) == 8
    assert [r["label"] for r in records].count("anomalous") == 4
    for record in records:
        for name, view in record["views"].items():
            raw = read_scan(made / "raw" / f"{record['id']}_{name}.tif").views[0]
            assert raw.channels == ("low", "high", "zeff")
            assert raw.quantity == "dual_energy"
            assert raw.shape == (view["height"], view["width"])
            assert np.median(raw.pixels[0]) == pytest.approx(1, abs=0.3)
            assert np.quantile(raw.pixels[0], 0.999) == pytest.approx(1, abs=0.03)
            colour = read_scan(made / "colour" / f"{record['id']}_{name}.png").views[0]
            assert colour.shape == raw.shape
    total = {
        p: read_coco(made / f"annotations_{p}.json") for p in sorted({r["part"] for r in records})
    }
    images = [image for part in total.values() for image in part]
    assert len(images) == 16
    ids = {a.id for image in images for a in image.annotations}
    assert all(a.parent_id in ids for image in images for a in image.annotations if a.parent_id)
    anomalies = [a for image in images for a in image.annotations if a.label == "anomaly"]
    assert len(anomalies) == sum(2 for r in records if r["label"] == "anomalous")


def test_the_collection_gives_anomalies_and_its_own_split(made):
    colour, raw = simulated.load(made), simulated.load(made, "raw", "below")
    assert len(colour.records) == 16
    assert len(raw.records) == 8
    assert {r.labels["anomaly"] for r in colour.records} == {1, -1}
    for record in colour.records:
        assert not record.annotations or record.labels["anomaly"] == 1
        assert all(a.mask is not None and a.mask.area for a in record.annotations)
    split = given_split(colour.records, {"train": 0.6, "val": 0.1, "test": 0.3})
    assert sum(map(len, split.parts.values())) == 16
    with pytest.raises(ConfigError, match="images"):
        simulated.load(made, "grey")
    with pytest.raises(DataError, match="bagscan simulate"):
        simulated.load(made / "raw")


def test_a_family_in_two_parts_is_refused(made):
    records = list(simulated.load(made).records)
    records[0] = dataclasses.replace(records[0], part="val" if records[0].part != "val" else "test")
    with pytest.raises(DataError, match="another part"):
        given_split(records, {"train": 0.6, "val": 0.1, "test": 0.3})


def test_twins_share_everything_but_the_anomaly(made):
    records = read_scans(made)
    by_scene = {}
    for record in records:
        by_scene.setdefault(record["scene"], {})[record["label"]] = record
    assert len(by_scene) == 4
    for twins in by_scene.values():
        benign, anomalous = twins["benign"], twins["anomalous"]
        a, b = (
            read_scan(made / "raw" / f"{m['id']}_below.tif").views[0].pixels[:2]
            for m in (benign, anomalous)
        )
        assert 0 < (a != b).mean() < 1
        for shared in ("things", "noise_seed", "part", "group"):
            assert benign[shared] == anomalous[shared]
    ids = [v["image_id"] for r in records for v in r["views"].values()]
    assert len(set(ids)) == len(ids)


def test_views_of_an_anomaly_tell_how_it_shows(made):
    anomalous = [r for r in read_scans(made) if r["label"] == "anomalous"]
    for record in anomalous:
        views = record["views"].values()
        assert record["anomaly"]["visible"] == any(v["visible"] for v in views)
        for view in views:
            assert view["visible"] == (view["area_mm2"] >= 150 and view["change"] >= 0.08)
            assert view["standing_out"] >= 0
    assert any(r["anomaly"]["visible"] for r in anomalous)


def test_neither_names_nor_seeds_tell_the_label():
    letters = [int(RECIPE.stream(k, "pair").integers(2)) for k in range(400)]
    seeds = [int(RECIPE.stream(k, "noise_seed").integers(2**31)) % 2 for k in range(400)]
    assert abs(np.mean(letters) - 0.5) < 0.1
    assert abs(np.corrcoef(letters, seeds)[0, 1]) < 0.2


def test_a_missing_file_is_made_again_and_a_torn_record_is_named(made, tmp_path):
    import shutil

    out = tmp_path / "copy"
    shutil.copytree(made, out)
    (out / "raw" / "00002b_side.tif").unlink()
    simulate(RECIPE, out)
    assert hashes(out) == hashes(made)
    with pytest.raises(DataError, match="8 scans"):
        simulate(dataclasses.replace(RECIPE, count=2), out)
    (out / "scans" / "00001.json").write_text("{")
    with pytest.raises(DataError, match=r"00001\.json"):
        simulate(RECIPE, out)


def test_a_mesh_that_fits_nowhere_is_told(tmp_path, said):
    write_stl(tmp_path / "big.stl", box((300, 300, 300)))
    recipe = dataclasses.replace(RECIPE, count=1)
    summary = simulate(recipe, tmp_path / "set", insert=Import(str(tmp_path / "big.stl")))
    assert summary["no_place_found"] == 1
    assert "no place was found" in said[-1]


def test_a_baseline_on_statistics_sees_a_short_cut():
    rng = np.random.default_rng(0)

    def records(shift):
        return [
            {
                "label": "anomalous" if k % 2 else "benign",
                "family": f"f{k % 17}",
                "views": {"below": {"statistics": [*rng.normal(shift * (k % 2), 1, 4).tolist()]}},
            }
            for k in range(240)
        ]

    assert statistics_auc(records(0)) < 0.6
    assert statistics_auc(records(2)) > 0.95
    assert statistics_auc(records(0)[:20]) is None
    assert statistics_auc([r | {"family": "f1"} for r in records(0)]) is None, (
        "one family cannot be kept apart"
    )


def test_compass_layout(made, tmp_path):
    assert compass.export(made, tmp_path) == 16
    rows = (tmp_path / "meta.txt").read_text().splitlines()
    assert len(rows) == 17
    name = rows[1].split("\t")[0]
    for folder in compass.FOLDERS:
        assert (tmp_path / folder / f"{name}.png").is_file()
    with pytest.raises(DataError, match="bagscan simulate"):
        compass.export(tmp_path, tmp_path)


# --- a user's own files


def write_stl(path, mesh, text=False):
    corners = mesh.vertices[mesh.faces].astype("<f4")
    if text:
        facets = "".join(
            "facet normal 0 0 0\nouter loop\n"
            + "".join(f"vertex {x} {y} {z}\n" for x, y, z in face)
            + "endloop\nendfacet\n"
            for face in corners
        )
        path.write_text(f"solid a\n{facets}endsolid a\n")
        return
    record = np.zeros(len(corners), np.dtype([("n", "<f4", 3), ("c", "<f4", (3, 3)), ("a", "<u2")]))
    record["c"] = corners
    path.write_bytes(b"\0" * 80 + np.uint32(len(corners)).tobytes() + record.tobytes())


@pytest.mark.parametrize("text", [False, True])
def test_stl_comes_back_closed_and_outward(tmp_path, text):
    mesh = cylinder(5, 20)
    write_stl(tmp_path / "a.stl", dataclasses.replace(mesh, faces=mesh.faces[:, ::-1]), text)
    found = read_stl(tmp_path / "a.stl")
    assert found.watertight
    assert found.volume_mm3 == pytest.approx(mesh.volume_mm3, rel=1e-3)


def test_broken_stl_is_refused(tmp_path):
    mesh = box((4, 4, 4))
    write_stl(tmp_path / "open.stl", dataclasses.replace(mesh, faces=mesh.faces[1:]))
    with pytest.raises(ReadError, match="not closed"):
        read_stl(tmp_path / "open.stl")
    (tmp_path / "no.stl").write_bytes(b"\1" * 300)
    with pytest.raises(ReadError, match="not an STL"):
        read_stl(tmp_path / "no.stl")
    (tmp_path / "text.stl").write_text("solid a\nvertex 1 2 x\n")
    with pytest.raises(ReadError, match=r"text\.stl"):
        read_stl(tmp_path / "text.stl")


@pytest.mark.parametrize("size_mm", [(0.06, 0.03, 0.01), (6000, 30, 10)])
def test_a_mesh_in_metres_or_inches_is_refused_by_its_size(tmp_path, size_mm):
    write_stl(tmp_path / "a.stl", box(size_mm))
    with pytest.raises(ReadError):
        read_stl(tmp_path / "a.stl")


def test_a_mesh_takes_the_place_of_every_anomaly(tmp_path):
    write_stl(tmp_path / "bar.stl", box((6, 3, 2)))
    recipe = dataclasses.replace(RECIPE, count=2)
    simulate(recipe, tmp_path / "set", insert=Import(str(tmp_path / "bar.stl"), "lead"))
    hidden = [r["anomaly"]["materials"] for r in read_scans(tmp_path / "set") if "anomaly" in r]
    assert hidden
    assert all(materials == ["lead"] for materials in hidden)
    assert {r["anomaly"]["kind"] for r in read_scans(tmp_path / "set") if "anomaly" in r} == {
        "imported"
    }


def test_convert_images_a_users_scan_and_says_how(made, tmp_path):
    path = next((made / "raw").glob("*_below.tif"))
    one = convert_scan(path, tmp_path)
    assert "nearest" in one.description
    truth, found = read_scan(path).views[0], read_scan(one.files[0]).views[0]
    both = (truth.pixels[2] > 0) & (found.pixels[2] > 0)
    assert both.mean() > 0.05
    assert np.median(np.abs(truth.pixels[2] - found.pixels[2])[both]) < 0.2
    with pytest.raises(DataError, match="--out"):
        convert_scan(path, path.parent.parent)
    (tmp_path / "again").mkdir()
    result = convert_scan(
        path, tmp_path / "again", Calibration.of_profile(load_profile("g640_coarse"))
    ).description
    assert "g640_coarse" in result


def test_convert_finds_air_where_it_is_not_full_scale(made, tmp_path):
    from bagscan.formats.tiff import write_counts

    pixels = read_scan(next((made / "raw").glob("*_below.tif"))).views[0].pixels[:2]
    dim = np.rint(pixels * np.array([30000, 24000])[:, None, None]).clip(0, 65535).astype(np.uint16)
    write_counts(tmp_path / "dim.tif", dim, ("low", "high"))
    (tmp_path / "out").mkdir()
    one = convert_scan(tmp_path / "dim.tif", tmp_path / "out")
    assert "air taken from the brightest per cent" in one.description
    found = read_scan(one.files[0]).views[0].pixels[:2]
    assert found == pytest.approx(pixels, abs=0.03)


def test_convert_refuses_energies_that_are_swapped(made, tmp_path):
    from bagscan.formats.tiff import write_counts

    counts = (
        np.rint(read_scan(next((made / "raw").glob("*_below.tif"))).views[0].pixels[1::-1] * 60000)
        .clip(0, 65535)
        .astype(np.uint16)
    )
    write_counts(tmp_path / "swapped.tif", counts, ("low", "high"), air_counts=60000)
    with pytest.raises(ReadError, match="swapped"):
        convert_scan(tmp_path / "swapped.tif", tmp_path / "out")
    assert not any((tmp_path / "out").rglob("*.*"))


def test_convert_refuses_what_has_no_two_energies(made, tmp_path):
    with pytest.raises(ReadError, match="low and high"):
        convert_scan(next((made / "colour").glob("*.png")), tmp_path)


def test_wedges_of_a_users_own(tmp_path):
    from bagscan.physics.materials import material
    from bagscan.physics.transmission import exact

    spectral = exact(load_profile("g640").response)
    rows = []
    for name in ("polyethylene", "pmma", "aluminium", "iron"):
        steps = np.geomspace(0.5, 60, 12)[:, None] * (0.1 if name == "iron" else 1)
        low, high = spectral.transmission(steps, [material(name)]).T
        rows.append({"z": material(name).effective_z, "low": low.tolist(), "high": high.tolist()})
    path = tmp_path / "wedges.yaml"
    path.write_text(json.dumps({"wedges": rows}))
    calibration = read_wedges(path)
    low, high = spectral.transmission(np.array([[8.0]]), [material("aluminium")])[0]
    assert calibration.table(-np.log(low), -np.log(high)) == pytest.approx(13, abs=0.3)
    assert "4 wedges" in calibration.description
    for change, result in (
        ({"scatter": {"share": 0.02, "sigma_px": 0}}, "sigma_px above 0"),
        ({"scatter": {"share": -0.5, "sigma_px": 20}}, "scatter.share"),
        ({"electronic": -3}, "electronic"),
        ({"photons": [float("nan"), 1e4]}, "photons"),
        ({"wedges": [rows[0] | {"low": [93, 80, 62]}, *rows[1:]]}, "as shares of air"),
        (
            {"wedges": [rows[0] | {"low": [float("nan"), *rows[0]["low"][1:]]}, *rows[1:]]},
            "as shares of air",
        ),
    ):
        path.write_text(yaml.safe_dump({"wedges": rows} | change))
        with pytest.raises(ConfigError, match=result):
            read_wedges(path)
    path.write_text("wedges: [{z: 7}]\n")
    with pytest.raises(ConfigError, match="not a wedge file"):
        read_wedges(path)
