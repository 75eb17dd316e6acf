"""The command line. Nothing heavy is imported until a command needs it: ``--help`` answers at once."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from bagscan import __version__
from bagscan.export.commands import export
from bagscan.service.commands import audit_app, serve, store_app

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Find what does not belong in a bag's X-ray image, down to the sub-component.",
)
data_app = typer.Typer(no_args_is_help=True, help="Look at datasets before using them.")
app.add_typer(data_app, name="data")
app.add_typer(audit_app, name="audit")
app.add_typer(store_app, name="store")
app.command()(serve)

EXIT_ALARM, EXIT_USAGE, EXIT_BAD_ITEMS = 1, 2, 3

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout; progress goes to stderr.")]
Settings = Annotated[list[str], typer.Option("--set", help="Change one setting, for example --set training.loop.steps=100.")]
Config = Annotated[Path, typer.Argument(help="A YAML file, see configs/.")]
# Packages that an extra other than train brings.
EXTRAS = {
    **dict.fromkeys(("fastapi", "uvicorn", "sqlalchemy", "alembic", "argon2", "cryptography", "httpx"), "service"),
    **{"pyarrow": "batch", "ray": "cluster", "fsspec": "storage", "onnx": "export", "openvino": "openvino", "matplotlib": "benchmark", "psycopg": "postgresql"},
}
ModelFolder = Annotated[Path, typer.Option("--model", help="A model folder, for example runs/xray_joint/model.")]


Cluster = Annotated[str, typer.Option(help="Work on a Ray cluster: its address, auto for the one that this machine is of, local for one made here; --workers cores of it.")]
Runtime = Annotated[str, typer.Option(help="torch, onnxruntime, openvino, or auto: the fastest that is installed and that the model was exported for.", envvar="BAGSCAN_RUNTIME")]


Device = Annotated[
    str,
    typer.Option(
        help="What training computes on: cpu, cuda, cuda:1 ..., or auto: the accelerator where there is one.",
        envvar="BAGSCAN_DEVICE",
    ),
]


def _compute_on(device: str) -> None:
    os.environ["BAGSCAN_DEVICE"] = device  # processes that this one starts compute there too


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _print(result: dict[str, Any], as_json: bool, text: Callable[[], str]) -> None:
    typer.echo(json.dumps(result, indent=1) if as_json else text())


def _version(value: bool) -> None:
    if value:
        typer.echo(f"bagscan {__version__}")
        raise typer.Exit


@app.callback()
def _main(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    """Find what does not belong in a bag's X-ray image, down to the sub-component."""


@app.command()
def train(
    config: Config,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/<config name>.")] = None,
    device: Device = "auto",
    settings: Settings = [],  # noqa: B006 (typer reads the default, nothing changes it)
    as_json: AsJson = False,
) -> None:
    """Train the system of a configuration; the same line resumes it after a kill."""
    _compute_on(device)
    from bagscan.training.compute import compute
    from bagscan.training.experiment import read_experiment, train_any

    experiment = read_experiment(config, settings)
    out = out or Path("runs") / config.stem
    best, written = train_any(experiment, out, _say)
    if not compute().writes:  # one of several processes tells for all
        return
    _print({"out": str(written), "best": best}, as_json, lambda: f"best model in {written}: " + ", ".join(f"{k} {v:.4f}" for k, v in best.items()))


@app.command()
def calibrate(
    config: Config,
    model: ModelFolder,
    max_fpr: Annotated[float, typer.Option(help="Largest false-positive rate per benign segment or scan.")] = 0.05,
    level: Annotated[str, typer.Option(help="What is counted: segment, or scan (split conformal: holds for new scans of the same kind).")] = "segment",
    settings: Settings = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Choose the operating point on the validation split and store it beside the weights."""
    from dataclasses import asdict

    from bagscan.training.evaluate import calibrate_model

    judged = calibrate_model(_joint_experiment(config, settings), model, max_fpr, _say, level)
    assert judged.operating_point
    point = asdict(judged.operating_point)
    _print(
        {"model": str(model), "model_id": judged.id, "operating_point": point},
        as_json,
        lambda: (
            f"threshold {point['threshold']:.4f}: false-positive rate {point['expected_fpr']:.4f} on val, 95 % interval {point['interval'][0]:.4f} to {point['interval'][1]:.4f}"
        ),
    )


@app.command()
def evaluate(
    config: Config,
    model: ModelFolder,
    part: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Result file; default results.json beside the model folder.")] = None,
    regioner: Annotated[str | None, typer.Option(help="Judge other regions than the model's own, for example '{name: grid, cell_px: 32}'.")] = None,
    everywhere: Annotated[bool, typer.Option("--everywhere", help="Judge the whole view, where the model would look on the items that it finds.")] = False,
    as_screened: Annotated[bool, typer.Option("--as-screened", help="Whole views, as screening sees them, where the configuration's data is by items.")] = False,
    settings: Settings = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Score a model per segment, object and scan, with intervals and the controls beside them."""
    from bagscan.config import parse_mapping
    from bagscan.training.evaluate import detection_summary, evaluate_detection, evaluate_model, summary
    from bagscan.training.experiment import DetectionExperiment, read_experiment

    detection = read_experiment(config, settings)
    if isinstance(detection, DetectionExperiment):
        told = evaluate_detection(detection, model, part, out or model / "results.json", _say)
        _print(told, as_json, lambda: detection_summary(told))
        return
    experiment = _joint_experiment(config, settings)
    other = parse_mapping(regioner, "--regioner") if regioner else None
    record = evaluate_model(experiment, model, part, out or model.parent / "results.json", _say, other, everywhere, as_screened)
    _print(record, as_json, lambda: summary(record))


@app.command()
def screen(
    paths: Annotated[list[Path], typer.Argument(help="Scans, or folders of scans.")],
    model: Annotated[
        Path | None, typer.Option("--model", help="A model folder; by default those that come with bagscan; each scan goes to the one that takes its channels.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for findings.json, findings.coco.json and report.html.")] = Path("screened"),
    views: Annotated[str, typer.Option(help="Names of views: ID_below.png and ID_side.png are one bag with one decision. Empty: every file by itself.")] = "below,side",
    fail_on_alarm: Annotated[bool, typer.Option(help="Exit with 1 when a scan raises an alarm.")] = False,
    runtime: Runtime = "auto",
    as_json: AsJson = False,
) -> None:
    """Screen scans: JSON, COCO and one HTML report. A bad file becomes an error row."""
    from bagscan.model_folder import shipped_models
    from bagscan.reporting.folder import screen_folder

    _use(runtime)
    tally = screen_folder(paths, [model] if model else shipped_models(), out, _say, [v for v in views.split(",") if v])
    _print(tally, as_json, lambda: ", ".join(f"{tally[k]} {k}" for k in ("ALARM", "CLEAR", "REVIEW")) + f"; judged by {tally['runtime']}; report: {out / 'report.html'}")
    if tally["errors"]:
        raise typer.Exit(EXIT_BAD_ITEMS)
    if fail_on_alarm and tally["ALARM"]:
        raise typer.Exit(EXIT_ALARM)


@app.command()
def batch(
    sources: Annotated[list[str], typer.Argument(help="Folders of scans, or scans; also in object storage: s3://BUCKET/FOLDER, gs://, az://.")],
    out: Annotated[Path, typer.Option(help="Folder of Parquet parts: part-*.parquet in it, which DuckDB, Polars and Arrow read as one table.")] = Path("results.parquet"),
    model: Annotated[
        Path | None, typer.Option("--model", help="A model folder; by default those that come with bagscan; each scan goes to the one that takes its channels.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each on one core. Any number writes the same bytes.")] = 1,
    timeout: Annotated[float, typer.Option(help="Seconds for one bag; one that takes longer is an error row.")] = 60.0,
    part_size: Annotated[int, typer.Option(min=1, help="Bags in each Parquet file.")] = 1000,
    views: Annotated[str, typer.Option(help="Names of views, as for screen.")] = "below,side",
    cluster: Cluster = "",
    to: Annotated[str, typer.Option(help="Copy every finished part to this folder in object storage, s3://BUCKET/FOLDER.")] = "",
    runtime: Runtime = "auto",
    index_only: Annotated[bool, typer.Option("--index-only", help="List the bags, judge none.")] = False,
    as_json: AsJson = False,
) -> None:
    """Screen an archive of any size into Parquet; the same line goes on after a kill, and nothing is judged twice."""
    from bagscan.batch.run import BatchConfig, prepare, screen_archive
    from bagscan.batch.storage import file_system
    from bagscan.model_folder import shipped_models

    _use(runtime)
    config = BatchConfig(workers, timeout, part_size, tuple(v for v in views.split(",") if v))
    models = [model] if model else shipped_models()
    if cluster and not index_only:
        import ray  # noqa: F401  # missing, it should be told before an archive is listed
    if to:
        file_system(to)
    count = prepare(sources, models, out, config, _say)
    if index_only:
        _print({"bags": count, "out": str(out)}, as_json, lambda: f"{count:,} bags in {out / 'index.arrow'}")
        return
    told = screen_archive(out, config, _judges(models, config, cluster), _say, to)
    _print(told, as_json, lambda: ", ".join(f"{told[k]:,} {k}" for k in ("ALARM", "CLEAR", "REVIEW", "errors")) + f"; judged by {told['runtime']}; {out}")
    if told["errors"]:
        raise typer.Exit(EXIT_BAD_ITEMS)


def _spread(cluster: str) -> Any:
    if not cluster:
        return None
    from bagscan.cluster.simulate import RaySpread

    return RaySpread(cluster)


def _judges(models: list[Path], config: Any, cluster: str) -> Any:
    if not cluster:
        from bagscan.batch.run import Pool

        return Pool(models, config)
    from bagscan.cluster.pool import RayPool

    return RayPool(models, config, cluster)


@app.command()
def simulate(
    preset: Annotated[str, typer.Option(help="deei, visible, twins, smoke, pairs or demo, or a recipe's YAML file.")] = "smoke",
    count: Annotated[int | None, typer.Option(help="Scans (pairs: scenes); the preset's own number by default.")] = None,
    seed: Annotated[int | None, typer.Option(help="Root of all random numbers; the preset's own by default.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes. Any number makes the same bytes.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the data set; the same line resumes it.")] = Path("simulated"),
    profile: Annotated[str | None, typer.Option(help="Another scanner profile than the preset's, by name or YAML file.")] = None,
    insert: Annotated[Path | None, typer.Option(help="Hide this STL mesh (mm) in place of every drawn anomaly.")] = None,
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
    summary = make(recipe, out, workers, mesh, _say, _spread(cluster))
    _print(summary, as_json, lambda: f"data set in {out}")


@app.command()
def convert(
    paths: Annotated[list[Path], typer.Argument(help="Raw scans with low and high energy, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder for one TIFF (low, high, zeff) and one PNG a scan.")] = Path("converted"),
    wedges: Annotated[Path | None, typer.Option(help="Your own wedge scans: a YAML file, see docs/simulator.md.")] = None,
    profile: Annotated[str | None, typer.Option(help="Scanner profile by name or YAML file; without it and --wedges, the nearest one.")] = None,
    air: Annotated[float | None, typer.Option(help="Value of air as a share of full scale; found in the scan by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Image raw dual-energy scans: effective Z and pseudo-colour."""
    from bagscan.core.errors import BagscanError, ConfigError
    from bagscan.formats import find_scans
    from bagscan.simulate.convert import convert_scan
    from bagscan.simulate.imaging import Calibration, read_wedges
    from bagscan.simulate.scanner import load_profile

    if wedges and profile:
        raise ConfigError("give --wedges or --profile, not both")
    if air is not None and not 0 < air <= 1:
        raise ConfigError(f"--air must be above 0 and at most 1, got {air}")
    calibration = read_wedges(wedges) if wedges else Calibration.of_profile(load_profile(profile)) if profile else None
    out.mkdir(parents=True, exist_ok=True)
    done, errors = [], {}
    for path in find_scans(paths):
        try:
            one = convert_scan(path, out, calibration, air)
            done.append({"scan": str(path), "files": [str(f) for f in one.files], "calibration": one.told})
            _say(f"{path}: {one.told}")
        except BagscanError as error:
            errors[str(path)] = str(error)
            _say(f"bagscan: {error}")
    _print({"converted": done, "errors": errors}, as_json, lambda: f"{len(done)} converted into {out}, {len(errors)} errors")
    if errors:
        raise typer.Exit(EXIT_BAD_ITEMS)


@app.command()
def tip(
    scan: Annotated[Path, typer.Argument(help="Scan to put a threat into: raw low and high, or a colour picture.")],
    out: Annotated[Path, typer.Option(help="File to write: .tif for raw, .png for colour. A mask, OUT_mask.png, is written beside it.")],
    kind: Annotated[str, typer.Option(help="Kind of anomaly, as in simulate.")] = "sharp",
    size_mm: Annotated[str | None, typer.Option(help="Room for it in mm, for example 90,25,3; drawn by default.")] = None,
    mesh: Annotated[Path | None, typer.Option(help="An STL mesh (mm) in place of a kind.")] = None,
    material: Annotated[str, typer.Option(help="Material of --mesh.")] = "stainless_steel",
    at: Annotated[str | None, typer.Option(help="Row,column of its first pixel; drawn by default.")] = None,
    profile: Annotated[str, typer.Option(help="Scanner profile by name or YAML file.")] = "g640",
    air: Annotated[float | None, typer.Option(help="Value of air as a share of full scale; found in the scan by default.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Project a simulated threat into a scan that was taken (threat image projection)."""
    from bagscan.simulate.tip_file import project_file

    told = project_file(scan, out, kind, size_mm, mesh, material, at, profile, seed, air)
    _print(told, as_json, lambda: f"{told['kind']} at row {told['at'][0]}, column {told['at'][1]}, {told['pixels']} pixels, {told['method']}: {out}")


@app.command()
def gallery(
    out: Annotated[Path, typer.Option(help="Folder for bags.png and devices.png.")] = Path("gallery"),
    bags: Annotated[int, typer.Option(min=0, help="Bags to show.")] = 24,
    devices: Annotated[int, typer.Option(min=0, help="Devices to show.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Root of all random numbers.")] = 0,
    profile: Annotated[str, typer.Option(help="Scanner profile by name or YAML file.")] = "g640",
) -> None:
    """Draw contact sheets of simulated bags and devices."""
    from bagscan.simulate.gallery import contact_sheets

    for path in contact_sheets(out, bags, devices, seed, profile, _say):
        typer.echo(path)


app.command()(export)


@app.command("export-compass")
def export_compass(
    dataset: Annotated[Path, typer.Argument(help="Folder of a simulated data set.")],
    out: Annotated[Path, typer.Option(help="Folder for Low, High, Density, Grey, Colour and meta.txt.")] = Path("compass"),
) -> None:
    """Lay a simulated data set out like COMPASS-XP."""
    from bagscan.simulate.compass import export

    export(dataset, out, _say)


@app.command()
def benchmark(
    what: Annotated[str, typer.Argument(help="table-1 (object level), table-2 (sub-component level), ablation, figures; gbad (report B), gbad-figures; unseen (kinds left out).")],
    scale: Annotated[str, typer.Option(help="smoke, small or full.")] = "small",
    data: Annotated[Path, typer.Option(help="Folder of simulated sets; what is missing is simulated.")] = Path("simulated"),
    runs: Annotated[Path, typer.Option(help="Folder of checkpoints and models.")] = Path("runs/benchmark"),
    results: Annotated[
        Path | None, typer.Option(help="Folder of results, one JSON a cell; a cell that is there is not run again. Default benchmarks/results/paper_a, gbad or unseen.")
    ] = None,
    only: Annotated[list[str], typer.Option(help="Cells whose name holds this, for example resnet-50; may be given several times.")] = [],  # noqa: B006
    workers: Annotated[int, typer.Option(min=1, help="Cells at a time, each with its share of the cores.")] = 1,
    out: Annotated[Path, typer.Option(help="figures: folder for the pictures.")] = Path("figures"),
    dataset: Annotated[str, typer.Option(help="gbad: simulated or sixray; unseen: simulated or real.")] = "simulated",
    list_of: Annotated[list[str], typer.Option("--list", help="gbad --dataset sixray: 10, 100 or 1000; may be given several times.")] = [],  # noqa: B006
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """The tables and figures of paper A and report B; the same line goes on where it was stopped."""
    _compute_on(device)
    if what in ("gbad", "gbad-figures"):
        _benchmark_gbad(what, scale, dataset, list_of, data, runs, results or Path("benchmarks/results/gbad"), only, out, as_json)
        return

    from bagscan.benchmark.cells import cells
    from bagscan.benchmark.place import Place
    from bagscan.benchmark.run import run_cells
    from bagscan.benchmark.scales import scale_named
    from bagscan.benchmark.tables import markdown, read_cells
    from bagscan.core.machine import usable_cores

    cores = usable_cores()
    default = Path("benchmarks/results") / ("unseen" if what == "unseen" else "paper_a")
    place = Place(scale_named(scale), data, runs, results or default, max(1, cores // workers))
    if what == "unseen":
        _benchmark_unseen(place, dataset, only, as_json)
        return
    if what == "figures":
        from bagscan.benchmark.figures import draw_all

        for path in draw_all(place, out, _say):
            typer.echo(path)
        return
    wanted = [cell for cell in cells(what, place.scale) if all(word.lower() in cell.slug for word in only)]
    failed = run_cells(place, wanted, workers, _say)
    found = read_cells(place.results / scale, what)
    _print({"table": what, "scale": scale, "cells": found}, as_json, lambda: markdown(what, scale, found))
    _end_of_cells(failed, len(wanted))


def _benchmark_gbad(what: str, scale: str, dataset: str, lists: list[str], data: Path, runs: Path, results: Path, only: list[str], out: Path, as_json: bool) -> None:
    from bagscan.benchmark.gbad import SCALES, GBADPlace, cells, run_gbad
    from bagscan.benchmark.gbad_tables import draw, markdown, read_gbad
    from bagscan.core.errors import ConfigError, nearest

    if scale not in SCALES:
        raise ConfigError(f"no scale {scale!r}{nearest(scale, SCALES)}; there are {', '.join(SCALES)}")
    place = GBADPlace(SCALES[scale], data, runs, results)
    wanted = [cell for cell in cells(dataset, place.scale, lists) if all(word.lower() in cell.slug for word in only)]
    if what == "gbad-figures":
        for path in draw(place, dataset, out, _say):
            typer.echo(path)
        return
    failed = run_gbad(place, wanted, _say)
    found = read_gbad(results / scale, dataset)
    _print({"table": what, "scale": scale, "cells": found}, as_json, lambda: markdown(dataset, scale, found))
    _end_of_cells(failed, len(wanted))


def _benchmark_unseen(place: Any, dataset: str, only: list[str], as_json: bool) -> None:
    from bagscan.benchmark.unseen import markdown
    from bagscan.benchmark.unseen_run import read_unseen, run_unseen

    failed = run_unseen(place, dataset, only, _say)
    found = read_unseen(place.results / place.scale.name / dataset)
    _print({"table": "unseen", "kinds": found}, as_json, lambda: markdown(found, f"{dataset}, scale {place.scale.name}") if found else "nothing is there yet")
    _end_of_cells(failed, len(found) + failed)


def _end_of_cells(failed: int, wanted: int) -> None:
    if failed:
        _say(f"bagscan: {failed} of {wanted} cells failed; what they said stands above, and the same line tries them again")
        raise typer.Exit(EXIT_BAD_ITEMS)


@data_app.command("check")
def data_check(
    config: Config,
    read: Annotated[bool, typer.Option(help="Read every scan as well, not its annotations alone.")] = False,
    settings: Settings = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Say what a configuration's datasets hold, what is absent, and what cannot be read."""
    from collections import Counter

    from bagscan.core.errors import ReadError
    from bagscan.formats import read_scan
    from bagscan.training.data import load_source

    found: list[dict[str, Any]] = []
    bad_items = 0
    for source in _joint_experiment(config, settings).data.sources:
        collection = load_source(source)
        bad = dict(collection.bad)
        if read:
            for record in collection.records:
                try:
                    read_scan(record.path)
                except ReadError as error:
                    bad[record.id] = str(error)
        bad_items += len(bad)
        objects = Counter(a.label for r in collection.records for a in r.annotations)
        scanners = Counter(r.scanner for r in collection.records)
        found.append(
            {
                "name": collection.name,
                "scans": len(collection.records),
                "absent": len(collection.absent),
                "objects": dict(objects),
                "scanners": dict(scanners),
                "notes": list(collection.notes),
                "bad": bad,
            }
        )

    def text() -> str:
        blocks = []
        for one in found:
            blocks.append(f"{one['name']}: {one['scans']} scans, {one['absent']} absent, {len(one['bad'])} bad")
            blocks += [f"  {note}" for note in one["notes"]]
            blocks.append("  objects: " + ", ".join(f"{k} {v}" for k, v in sorted(one["objects"].items())))
            blocks.append("  scanners: " + ", ".join(f"{k} {v}" for k, v in sorted(one["scanners"].items())))
            blocks += [f"  bad: {reason}" for reason in one["bad"].values()]
        return "\n".join(blocks)

    _print({"datasets": found}, as_json, text)
    if bad_items:
        raise typer.Exit(EXIT_BAD_ITEMS)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, what this machine has, and which parts there are."""
    import importlib.metadata
    import os
    import platform

    from bagscan.core.machine import usable_cores
    from bagscan.model_folder import shipped_models
    from bagscan.registry import KINDS, names
    from bagscan.runtime.load import runtime_told

    packages = (
        "numpy",
        "torch",
        "torchvision",
        "timm",
        "scikit-image",
        "scikit-learn",
        "tifffile",
        "imagecodecs",
        "numba",
        "onnxruntime",
        "openvino",
        "onnx",
        "pyarrow",
        "fastapi",
        "ray",
        "s3fs",
    )
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = f"missing: pip install 'bagscan[{EXTRAS.get(package, 'storage' if package == 's3fs' else 'train')}]'"
    from bagscan.datasets.record import data_folder

    folder = data_folder()
    result: dict[str, Any] = {
        "bagscan": __version__,
        "python": platform.python_version(),
        "cores": {"of the machine": os.cpu_count(), "usable": usable_cores()},
        "runtime": {path.name: runtime_told(path) for path in shipped_models()},
        "packages": versions,
        "parts": {kind: names(kind) for kind in KINDS},
        "data_folder": f"{folder} ({'present' if folder.is_dir() else 'absent: set BAGSCAN_DATA'})",
    }

    def text() -> str:
        cores = result["cores"]
        rows = [f"bagscan {__version__}, Python {result['python']}, {cores['usable']} of {cores['of the machine']} cores", f"data folder: {result['data_folder']}"]
        rows += [f"model {name}: judged by {runtime}" for name, runtime in result["runtime"].items()]
        rows += [f"  {name}: {version}" for name, version in versions.items()]
        rows += [f"{kind}: {', '.join(names(kind))}" for kind in KINDS]
        return "\n".join(rows)

    _print(result, as_json, text)


def _use(runtime: str) -> None:
    """For this process and the worker processes that it starts."""
    import os

    os.environ["BAGSCAN_RUNTIME"] = runtime


def _joint_experiment(config: Path, settings: list[str]) -> Any:
    from bagscan.core.errors import ConfigError
    from bagscan.training.experiment import JUDGED, read_experiment

    experiment = read_experiment(config, settings)
    if not isinstance(experiment, JUDGED):
        raise ConfigError(f"{config}: this command needs a configuration of kind joint, multi_label or one_class")
    return experiment


def main() -> None:
    """Entry point: bagscan's own errors become one line and exit code 2."""
    from bagscan.core.errors import BagscanError

    try:
        app()
    except BagscanError as error:
        _say(f"bagscan: {error}")
        sys.exit(EXIT_USAGE)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        _say(f"bagscan: this needs the package {package}, which is not installed: pip install 'bagscan[{EXTRAS.get(package, 'train')}]'")
        sys.exit(EXIT_USAGE)
    except OSError as error:  # a full disk, a folder that may not be written
        _say(f"bagscan: {error}")
        sys.exit(EXIT_USAGE)
    except KeyboardInterrupt:
        _say("bagscan: interrupted; the same line resumes")
        sys.exit(130)
