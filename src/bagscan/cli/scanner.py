"""Commands for simulated scans and for raw scans of a scanner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bagscan.cli.terminal import EXIT_BAD_ITEMS, AsJson, Cluster, say, show
from bagscan.core.errors import ConfigError
from bagscan.simulate import preset_names

Air = Annotated[
    float | None,
    typer.Option(
        help="Value of air as a fraction of full scale. Default: estimated from the scan."
    ),
]
Wedges = Annotated[
    Path | None,
    typer.Option(help="Scans of your wedges, as a YAML file; see docs/simulator.md."),
]


def simulate(
    preset: Annotated[
        str,
        typer.Option(help=f"Preset ({', '.join(preset_names())}), or a recipe file (YAML)."),
    ] = "smoke",
    count: Annotated[
        int | None,
        typer.Option(
            help=(
                "Number of scans. Each scene is scanned twice, without and with its anomaly. "
                "Default: set by the preset."
            )
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of all random numbers. Default: set by the preset.")
    ] = None,
    workers: Annotated[
        int,
        typer.Option(min=1, help="Number of processes. It does not change the files written."),
    ] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the dataset.")] = Path("simulated"),
    profile: Annotated[
        str | None,
        typer.Option(help="Scanner profile, by name or YAML file. Default: set by the preset."),
    ] = None,
    insert: Annotated[
        Path | None,
        typer.Option(help="STL mesh (in mm) to hide in place of every simulated anomaly."),
    ] = None,
    insert_material: Annotated[str, typer.Option(help="Material of --insert.")] = "stainless_steel",
    cluster: Cluster = "",
    as_json: AsJson = False,
) -> None:
    """Simulate dual-energy scans of bags, with annotations.

    Every scene is scanned without and with its anomaly. If a simulation is interrupted, run the
    same command again to resume.
    """
    from bagscan.physics.materials import material
    from bagscan.simulate.dataset import Import, load_recipe
    from bagscan.simulate.dataset import simulate as make

    recipe = load_recipe(preset, count, seed, profile)
    mesh = Import(str(insert.absolute()), material(insert_material).name) if insert else None
    summary = make(recipe, out, workers, mesh, _connect_cluster(cluster))
    show(summary, as_json, lambda: f"dataset written to {out}")


def _connect_cluster(cluster: str) -> Any:
    if not cluster:
        return None
    from bagscan.cluster.simulate import RaySimulator

    return RaySimulator(cluster)


def convert(
    paths: Annotated[
        list[Path], typer.Argument(help="Raw scans with low and high energy, or folders of them.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            help=(
                "Folder for the results: raw/ with a TIFF per scan (low, high, zeff), "
                "and colour/ with a PNG per scan."
            )
        ),
    ] = Path("converted"),
    wedges: Wedges = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help=(
                "Scanner profile, by name or YAML file. "
                "Default, without --wedges: the nearest bundled profile."
            )
        ),
    ] = None,
    air: Air = None,
    as_json: AsJson = False,
) -> None:
    """Compute effective Z and pseudo-colour of raw scans.

    The scans must have low and high energy. The results can be screened. The exit code is 3 if a
    scan cannot be converted.
    """
    from collections import Counter

    from bagscan.core.errors import BagscanError, ReadError
    from bagscan.core.files import atomic_write_text
    from bagscan.formats import find_scans
    from bagscan.formats.scans import CONVERTED, describe_unknown_types, no_scans
    from bagscan.imaging.channels import Calibration, read_wedges
    from bagscan.imaging.convert import convert_scan
    from bagscan.imaging.scanner import load_profile

    if wedges and profile:
        raise ConfigError("both --wedges and --profile are given; give only one of them")
    _check_air(air)
    calibration = None
    if wedges:
        calibration = read_wedges(wedges)
    elif profile:
        calibration = Calibration.of_profile(load_profile(profile))
    unknown = Counter[str]()
    scans = find_scans(paths, unknown)
    if not scans:
        raise ReadError(no_scans(paths, unknown))
    if unknown:
        say(describe_unknown_types(unknown))
    out.mkdir(parents=True, exist_ok=True)
    done, errors = [], {}
    for path in scans:
        try:
            converted = convert_scan(path, out, calibration, air)
            files = [str(file) for file in converted.files]
            done.append({"scan": str(path), "files": files, "calibration": converted.description})
            say(f"{path}: {converted.description}")
        except BagscanError as error:
            errors[str(path)] = str(error)
            say(f"bagscan: {error}")
    record = out / CONVERTED
    calibrations = json.loads(record.read_text()) if record.is_file() else {}
    calibrations |= {entry["scan"]: entry["calibration"] for entry in done}
    atomic_write_text(record, json.dumps(calibrations, indent=1))
    next_step = f"; next: bagscan screen {out / 'raw'} (or {out / 'colour'})" if done else ""
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
        typer.Argument(help="Scan without a threat: raw low and high energy, or a colour picture."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help=(
                "File to write: .tif for raw, .png for colour. "
                "A mask of the threat is written beside it, as OUT_mask.png."
            )
        ),
    ],
    kind: Annotated[str, typer.Option(help="Kind of anomaly, as in simulate.")] = "sharp",
    size_mm: Annotated[
        str | None,
        typer.Option(help="Space for the threat in mm, for example 90,25,3. Default: random."),
    ] = None,
    mesh: Annotated[
        Path | None, typer.Option(help="STL mesh (in mm) to project in place of --kind.")
    ] = None,
    material: Annotated[str, typer.Option(help="Material of --mesh.")] = "stainless_steel",
    at: Annotated[
        str | None,
        typer.Option(help="ROW,COLUMN of the threat's top left corner. Default: random."),
    ] = None,
    profile: Annotated[str, typer.Option(help="Scanner profile, by name or YAML file.")] = "g640",
    air: Air = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Project a simulated threat into a real scan.

    This is known as threat image projection (TIP).
    """
    from bagscan.simulate.tip_file import project_file

    _check_air(air)
    result = project_file(scan, out, kind, size_mm, mesh, material, at, profile, seed, air)
    show(
        result,
        as_json,
        lambda: (
            f"{result['kind']} at row {result['at'][0]}, column {result['at'][1]}, "
            f"{result['pixels']} pixels, {result['method']}: {out}"
        ),
    )


def gallery(
    out: Annotated[Path, typer.Option(help="Folder for bags.png and devices.png.")] = Path(
        "gallery"
    ),
    bags: Annotated[int, typer.Option(min=0, help="Number of bags.")] = 24,
    devices: Annotated[int, typer.Option(min=0, help="Number of devices.")] = 32,
    device: Annotated[
        str | None, typer.Option(help="Draw every layout of this device only, in all views.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
    profile: Annotated[str, typer.Option(help="Scanner profile, by name or YAML file.")] = "g640",
) -> None:
    """Draw contact sheets of simulated bags and devices.

    With --device, the command also reports what can be hidden in each layout.
    """
    from bagscan.simulate.gallery import contact_sheets, device_sheet

    if device is not None:
        typer.echo(device_sheet(out, device, seed, profile))
        return
    for path in contact_sheets(out, bags, devices, seed, profile):
        typer.echo(path)


def export_compass(
    dataset: Annotated[Path, typer.Argument(help="Folder of a simulated dataset.")],
    out: Annotated[
        Path, typer.Option(help="Folder for Low, High, Density, Grey, Colour and meta.txt.")
    ] = Path("compass"),
) -> None:
    """Write a simulated dataset in the layout of COMPASS-XP."""
    from bagscan.simulate.compass import export

    export(dataset, out)


def _check_air(air: float | None) -> None:
    if air is not None and not 0 < air <= 1:
        raise ConfigError(f"--air is {air}; expected a value above 0 and at most 1")
