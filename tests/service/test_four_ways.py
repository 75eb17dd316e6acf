"""Command line, archive, API and watched folder give equal results for difficult files."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner

from bagscan.cli import app
from bagscan.formats import read_scan, write_image, write_npz, write_png_set, write_tiff
from bagscan.formats.scans import VIEWS, as_text, find_scans, group_views, set_at
from bagscan.service.inference.worker import serve_tasks
from tests.service.conftest import until


def raw(root, name, view="below"):
    return read_scan(root / "raw" / f"{name}_{view}.tif").views[0]


@pytest.fixture(scope="module")
def difficult(tmp_path_factory, simulated_root):
    """Sixty files: sound bags, and typical faults of scanners, converters and people."""
    folder = tmp_path_factory.mktemp("difficult")
    names = sorted({path.stem.rpartition("_")[0] for path in (simulated_root / "raw").iterdir()})
    for k, name in enumerate(names[:6]):
        for view in VIEWS:
            (folder / f"{k}_{view}.{'TIF' if k == 1 else 'tif'}").write_bytes(
                (simulated_root / "raw" / f"{name}_{view}.tif").read_bytes()
            )
            (folder / f"c{k}_{view}.png").write_bytes(
                (simulated_root / "colour" / f"{name}_{view}.png").read_bytes()
            )
    view, other = raw(simulated_root, names[0]), raw(simulated_root, names[0], "side")
    floats = {"counts": 65535, "percent": 100, "twice": 2}
    for name, factor in floats.items():
        write_npz(
            folder / f"{name}.npz",
            replace(view, pixels=np.array(view.pixels) * np.float32(factor), bit_depth=None),
        )
    write_npz(folder / "exact_below.npz", replace(view, bit_depth=None))
    write_npz(folder / "exact_side.npz", replace(other, bit_depth=None))
    write_tiff(folder / "lone_below.tif", view)  # the scanner's other bags have two views
    write_tiff(folder / "alone.tif", view)  # not named by view: a separate bag
    for own, name in ((view, "set_below"), (other, "set_side")):
        write_png_set(folder, name, own)  # and pictures of the same names beside it
        write_image(
            folder / f"{name}.png",
            read_scan(simulated_root / "colour" / f"{names[1]}_{name[4:]}.png").views[0],
        )
    write_tiff(
        folder / "inverted.tif",
        replace(
            view,
            pixels=np.concatenate([1 - np.array(view.pixels[:2]), view.pixels[2:]]).clip(0, 65),
        ),
    )
    write_tiff(
        folder / "high.tif",
        replace(
            view, pixels=np.array(view.pixels[1:2]), channels=("high",), quantity="transmission"
        ),
    )
    write_image(
        folder / "strip.png",
        replace(
            read_scan(folder / "c0_below.png").views[0],
            pixels=np.array(read_scan(folder / "c0_below.png").views[0].pixels[:, 100:133]),
        ),
    )
    rng = np.random.default_rng(0)
    write_image(
        folder / "noise.png",
        replace(
            read_scan(folder / "c0_below.png").views[0],
            pixels=rng.random((3, 80, 90)).astype(np.float32),
        ),
    )
    write_image(
        folder / "blank.png",
        replace(
            read_scan(folder / "c0_below.png").views[0], pixels=np.ones((3, 80, 90), np.float32)
        ),
    )
    for name in ("tüte", "~x", "_below", "a,b (2)"):
        write_image(folder / f"{name}.png", read_scan(folder / "c0_below.png").views[0])
    (folder / os.fsdecode(b"no_text\xe9.tif")).write_bytes((folder / "0_below.tif").read_bytes())
    (folder / "is_a_png.jpg").write_bytes((folder / "c0_below.png").read_bytes())
    drawn = Image.new("RGB", (300, 200), "white")
    drawn.paste((0, 90, 200), (50, 50, 200, 150))
    drawn.save(folder / "drawn.png")
    torn = (folder / "0_below.tif").read_bytes()
    (folder / "torn.tif").write_bytes(torn[: len(torn) // 2])
    (folder / "half_below.tif").write_bytes(torn)
    (folder / "half_side.tif").write_bytes(torn[: len(torn) // 3])
    (folder / "text.png").write_text("no picture")
    (folder / "empty.tif").touch()
    for name, counts in (("air_true", "true"), ("air_one", "1"), ("air_inf", "Infinity")):
        with tifffile.TiffWriter(folder / f"{name}.tif") as file:
            for plane in [
                page.asarray() for page in tifffile.TiffFile(folder / "0_below.tif").pages
            ]:
                file.write(
                    plane,
                    photometric="minisblack",
                    metadata=None,
                    description=f'{{"air_counts": {counts}}}',
                )
    tifffile.imwrite(
        folder / "lab.tif", np.full((80, 90, 3), 120, np.uint8), photometric="cielab", metadata=None
    )
    (folder / "gone.tif").symlink_to(folder / "nowhere.tif")
    os.mkfifo(folder / "pipe.png")
    (folder / "notes.txt").write_text("not ours")
    (folder / "._0_below.tif").write_bytes(b"AppleDouble")
    return folder


def by_bag(rows):
    """Verdict and codes by the first file of each bag."""
    return {
        Path(row["path"]).name: (row["decision"], tuple(sorted(row["reason_codes"])))
        for row in rows
    }


@pytest.mark.slow
def test_four_ways_in_say_the_same(difficult, make_house, tmp_path):
    runner = CliRunner()
    runner.invoke(app, ["screen", str(difficult), "--out", str(tmp_path / "screened")])
    screened = by_bag(json.loads((tmp_path / "screened" / "findings.json").read_text()))
    runner.invoke(app, ["batch", str(difficult), "--out", str(tmp_path / "batch")])
    assert (
        by_bag(
            ds.dataset(sorted(map(str, (tmp_path / "batch").glob("part-*")))).to_table().to_pylist()
        )
        == screened
    )

    decisions = {decision for decision, _ in screened.values()}
    assert "REVIEW" in decisions and decisions != {"REVIEW"}  # noqa: PT018
    assert screened["lone_below.tif"] == ("REVIEW", ("missing_view",))
    assert screened["1_below.TIF"][0] != "REVIEW"
    assert {
        "torn.tif",
        "empty.tif",
        "gone.tif",
        "pipe.png",
        "text.png",
        "set_below.png",
        "set_below_low.png",
    } <= screened.keys()

    watched = tmp_path / "gate"
    watched.mkdir()
    house = make_house(
        target=serve_tasks,
        screen_timeout_s=120.0,
        watch=(watched,),
        settle_s=0.5,
        pair_s=1.0,
        reviewed="all",
    )
    machine, answered = house.machine(), {}
    for views in group_views(find_scans([difficult]), VIEWS):
        files = sorted(
            {file for path in views.values() for file in (set_at(path).values() or [path])}
        )
        name = next(iter(views.values())).name
        if not all(
            file.is_file() and file.stat().st_size and as_text(file.name) == file.name
            for file in files
        ):
            continue  # nothing to send
        answer = machine.post(
            "/v1/screen", files=[("files", (file.name, file.read_bytes())) for file in files]
        )
        answered[name] = (
            ("REVIEW", ("unreadable",))
            if answer.status_code == 422
            else (answer.json()["decision"], tuple(sorted(answer.json()["reason_codes"])))
        )
    assert answered == {name: outcome for name, outcome in screened.items() if name in answered}
    assert len(answered) >= len(screened) - 4

    for path in sorted(difficult.iterdir()):
        if path.is_symlink():
            (watched / path.name).symlink_to("nowhere.tif")
        elif path.name == "pipe.png":
            os.mkfifo(watched / path.name)
        else:
            (watched / path.name).write_bytes(path.read_bytes())
    until(
        lambda: len(list((watched / "results").glob("*.json"))) >= len(screened),
        120,
        "not every bag has a result",
    )
    laid = [json.loads(path.read_text()) for path in (watched / "results").glob("*.json")]
    assert sorted((row["decision"], tuple(sorted(row["reason_codes"]))) for row in laid) == sorted(
        screened.values()
    )
    assert sorted(path.name for path in watched.iterdir() if path.is_file()) == [
        "._0_below.tif",
        "notes.txt",
    ]
