"""The simulated scanner, and raw scans of a user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bagscan.cli.terminal import EXIT_BAD_ITEMS, AsJson, Cluster, say, show
from bagscan.core.errors import ConfigError


def simulate(
    preset: Annotated[
        str,
        typer.Option(
            help="deei, operational, second_scanner, pairs, smoke, demo or specks, or a recipe's YAML file."
        ),
    ] = "smoke",
    count: Annotated[
        int | None,
        typer.Option(
            help="Scans, two of every scene, without and with its anomaly; the preset's own number by default."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Root of all random numbers; the preset's own by default.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes. Any number makes the same bytes.")
    ] = 1,
    out: Annotated[
        Path, typer.Option(help="Folder of the data set; the same line resumes it.")
    ] = Path("simulated"),
    profile: Annotated[
        str | None,
        typer.Option(help="Another scanner profile than the preset's, by name or YAML file."),
    ] = None,
    insert: Annotated[
        Path | None, typer.Option(help="Hide this STL mesh (mm) in place of every drawn anomaly.")
    ] = None,
    insert_material: Annotated[str, typer.Option(help="Material of --insert.")] = "stainless_steel",
    cluster: Cluster = "",
    as_json: AsJson = False,
) -> None:
    """Simulate dual-energy scans with masks, with and without anomalies."""
    from bagscan.physics.materials import material
    from bagscan.simulate.dataset import Import, load_recipe
    from bagscan.simulate.dataset import simulate as make

    recipe = load_recipe(preset, count, seed, profile)
    mesh = Import(str(insert.absolute()), material(insert_material).name) if insert else None
    summary = make(recipe, out, workers, mesh, say, _spread(cluster))
    show(summary, as_json, lambda: f"data set in {out}")


def _spread(cluster: str) -> Any:
    if not cluster:
        return None
    from bagscan.cluster.simulate import RaySpread

    return RaySpread(cluster)


def convert(
    paths: Annotated[
        list[Path], typer.Argument(help="Raw scans with low and high energy, or folders of them.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for raw/ (one TIFF a scan: low, high, zeff) and colour/ (one PNG a scan)."
        ),
    ] = Path("converted"),
    wedges: Annotated[
        Path | None, typer.Option(help="Your own wedge scans: a YAML file, see docs/simulator.md.")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Scanner profile by name or YAML file; without it and --wedges, the nearest one."
        ),
    ] = None,
    air: Annotated[
        float | None,
        typer.Option(help="Value of air as a share of full scale; found in the scan by default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Image raw dual-energy scans: effective Z and pseudo-colour."""
    from collections import Counter

    from bagscan.core.errors import BagscanError, ReadError
    from bagscan.core.files import atomic_write_text
    from bagscan.formats import find_scans
    from bagscan.formats.scans import CONVERTED, no_scans, told_types
    from bagscan.imaging.channels import Calibration, read_wedges
    from bagscan.imaging.convert import convert_scan
    from bagscan.imaging.scanner import load_profile

    if wedges and profile:
        raise ConfigError("give --wedges or --profile, not both")
    _check_air(air)
    calibration = (
        read_wedges(wedges)
        if wedges
        else Calibration.of_profile(load_profile(profile))
        if profile
        else None
    )
    unknown = Counter[str]()
    scans = find_scans(paths, unknown)
    if not scans:
        raise ReadError(no_scans(paths, unknown))
    if unknown:
        say(told_types(unknown))
    out.mkdir(parents=True, exist_ok=True)
    done, errors = [], {}
    for path in scans:
        try:
            one = convert_scan(path, out, calibration, air)
            done.append(
                {"scan": str(path), "files": [str(f) for f in one.files], "calibration": one.told}
            )
            say(f"{path}: {one.told}")
        except BagscanError as error:
            errors[str(path)] = str(error)
            say(f"bagscan: {error}")
    record = out / CONVERTED
    before = json.loads(record.read_text()) if record.is_file() else {}
    atomic_write_text(
        record, json.dumps(before | {one["scan"]: one["calibration"] for one in done}, indent=1)
    )
    next_step = f"; screen {out / 'raw'} or {out / 'colour'}" if done else ""
    show(
        {"converted": done, "errors": errors},
        as_json,
        lambda: f"{len(done)} converted, {len(errors)} errors{next_step}",
    )
    if errors:
        raise typer.Exit(EXIT_BAD_ITEMS)


def tip(
    scan: Annotated[
        Path,
        typer.Argument(help="Scan to put a threat into: raw low and high, or a colour picture."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="File to write: .tif for raw, .png for colour. A mask, OUT_mask.png, is written beside it."
        ),
    ],
    kind: Annotated[str, typer.Option(help="Kind of anomaly, as in simulate.")] = "sharp",
    size_mm: Annotated[
        str | None, typer.Option(help="Room for it in mm, for example 90,25,3; drawn by default.")
    ] = None,
    mesh: Annotated[Path | None, typer.Option(help="An STL mesh (mm) in place of a kind.")] = None,
    material: Annotated[str, typer.Option(help="Material of --mesh.")] = "stainless_steel",
    at: Annotated[
        str | None, typer.Option(help="Row,column of its first pixel; drawn by default.")
    ] = None,
    profile: Annotated[str, typer.Option(help="Scanner profile by name or YAML file.")] = "g640",
    air: Annotated[
        float | None,
        typer.Option(help="Value of air as a share of full scale; found in the scan by default."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Project a simulated threat into a scan that was taken (threat image projection)."""
    from bagscan.simulate.tip_file import project_file

    _check_air(air)
    result = project_file(scan, out, kind, size_mm, mesh, material, at, profile, seed, air)
    show(
        result,
        as_json,
        lambda: (
            f"{result['kind']} at row {result['at'][0]}, column {result['at'][1]}, {result['pixels']} pixels, {result['method']}: {out}"
        ),
    )


def gallery(
    out: Annotated[Path, typer.Option(help="Folder for bags.png and devices.png.")] = Path(
        "gallery"
    ),
    bags: Annotated[int, typer.Option(min=0, help="Bags to show.")] = 24,
    devices: Annotated[int, typer.Option(min=0, help="Devices to show.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Root of all random numbers.")] = 0,
    profile: Annotated[str, typer.Option(help="Scanner profile by name or YAML file.")] = "g640",
) -> None:
    """Draw contact sheets of simulated bags and devices."""
    from bagscan.simulate.gallery import contact_sheets

    for path in contact_sheets(out, bags, devices, seed, profile, say):
        typer.echo(path)


def export_compass(
    dataset: Annotated[Path, typer.Argument(help="Folder of a simulated data set.")],
    out: Annotated[
        Path, typer.Option(help="Folder for Low, High, Density, Grey, Colour and meta.txt.")
    ] = Path("compass"),
) -> None:
    """Lay a simulated data set out like COMPASS-XP."""
    from bagscan.simulate.compass import export

    export(dataset, out, say)


def _check_air(air: float | None) -> None:
    if air is not None and not 0 < air <= 1:
        raise ConfigError(f"--air must be above 0 and at most 1, got {air}")
