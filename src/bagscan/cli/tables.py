"""The tables and figures of the two sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bagscan.cli.terminal import EXIT_BAD_ITEMS, AsJson, Device, check_folders, compute_on, say, show
from bagscan.core.errors import ConfigError, nearest

WHAT = ("table-1", "table-2", "ablation", "figures", "gbad", "gbad-figures", "unseen")


def benchmark(
    what: Annotated[str, typer.Argument(help="table-1 (object level), table-2 (sub-component level), ablation, figures; gbad (report B), gbad-figures; unseen (kinds left out).")],
    scale: Annotated[str, typer.Option(help="smoke, small, medium (minutes of an accelerator) or full; report B has no medium.")] = "small",
    data: Annotated[Path, typer.Option(help="Folder of simulated sets; what is missing is simulated.")] = Path("simulated"),
    runs: Annotated[Path, typer.Option(help="Folder of checkpoints and models.")] = Path("runs/benchmark"),
    results: Annotated[
        Path | None, typer.Option(help="Folder of results, one JSON a cell; a cell that is there is not run again. Default benchmarks/results/paper_a, gbad or unseen.")
    ] = None,
    only: Annotated[list[str], typer.Option(help="Cells whose name holds this, for example resnet-50; given several times, all of them.")] = [],  # noqa: B006
    workers: Annotated[int, typer.Option(min=1, help="Processes that simulate; cells of paper A at a time, each with its share of the cores, but one on an accelerator.")] = 1,
    out: Annotated[Path, typer.Option(help="figures: folder for the pictures.")] = Path("figures"),
    dataset: Annotated[str, typer.Option(help="gbad: simulated or sixray; unseen: simulated or real.")] = "simulated",
    list_of: Annotated[list[str], typer.Option("--list", help="gbad --dataset sixray: 10, 100 or 1000; may be given several times.")] = [],  # noqa: B006
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """The tables and figures of paper A and report B; the same line goes on where it was stopped."""

    if what not in WHAT:
        raise ConfigError(f"nothing is called {what!r}{nearest(what, WHAT)}; there are {', '.join(WHAT)}")
    if only and what.endswith("figures"):
        raise ConfigError(f"{what} draws every cell that is there: leave out --only")
    if (dataset != "simulated" and not what.startswith(("gbad", "unseen"))) or (list_of and not what.startswith("gbad")):
        raise ConfigError(f"{what} is of simulated scans alone: leave out {'--list' if list_of else '--dataset'}")
    results = results or Path("benchmarks/results") / (what.removesuffix("-figures") if what.startswith(("gbad", "unseen")) else "paper_a")
    written = {"--out": out} if what.endswith("figures") else {"--runs": runs, "--results": results}
    check_folders({"--data": data, "--runs": runs, "--results": results, **written}, written)
    compute_on(device)
    if what in ("gbad", "gbad-figures"):
        _benchmark_gbad(what, scale, dataset, list_of, data, runs, results, only, workers, out, as_json)
        return

    from bagscan.benchmark.cells import cells
    from bagscan.benchmark.place import Place
    from bagscan.benchmark.run import run_cells
    from bagscan.benchmark.scales import scale_named
    from bagscan.benchmark.tables import markdown, read_cells
    from bagscan.core.machine import usable_cores
    from bagscan.training.compute import device_named

    cores = usable_cores()
    at_a_time = workers if device_named(device).type == "cpu" else 1
    place = Place(scale_named(scale), data, runs, results, max(1, cores // at_a_time))
    if what == "unseen":
        _benchmark_unseen(place, dataset, only, workers, as_json)
        return
    if what == "figures":
        from bagscan.benchmark.figures import draw_all

        _show_drawn(draw_all(place, out, say), as_json)
        return
    read_cells(place.results / scale, what)  # what does not belong there is told before hours of training
    wanted = _chosen(cells(what, place.scale), only)
    failed = run_cells(place, wanted, at_a_time, say, simulating=workers)
    found = read_cells(place.results / scale, what)
    show({"table": what, "scale": scale, "cells": found}, as_json, lambda: markdown(what, scale, found))
    _end_of_cells(failed, len(wanted))


def _benchmark_gbad(what: str, scale: str, dataset: str, lists: list[str], data: Path, runs: Path, results: Path, only: list[str], workers: int, out: Path, as_json: bool) -> None:
    from bagscan.benchmark.gbad import run_gbad
    from bagscan.benchmark.gbad_cells import SCALES, GBADPlace, cells
    from bagscan.benchmark.gbad_tables import draw, markdown, read_gbad

    if scale not in SCALES:
        raise ConfigError(f"no scale {scale!r}{nearest(scale, SCALES)}; there are {', '.join(SCALES)}")
    place = GBADPlace(SCALES[scale], data, runs, results, workers)
    wanted = _chosen(cells(dataset, place.scale, lists), only)
    if what == "gbad-figures":
        _show_drawn(draw(place, dataset, out, say), as_json)
        return
    failed = run_gbad(place, wanted, say)
    found = read_gbad(results / scale, dataset)
    show({"table": what, "scale": scale, "cells": found}, as_json, lambda: markdown(dataset, scale, found))
    _end_of_cells(failed, len(wanted))


def _show_drawn(paths: Sequence[Path], as_json: bool) -> None:
    show({"figures": [str(path) for path in paths]}, as_json, lambda: "\n".join(map(str, paths)))


def _benchmark_unseen(place: Any, dataset: str, only: list[str], workers: int, as_json: bool) -> None:
    from bagscan.benchmark.unseen import markdown
    from bagscan.benchmark.unseen_run import read_unseen, run_unseen

    failed = run_unseen(place, dataset, only, say, workers)
    found = read_unseen(place.results / place.scale.name / dataset)
    show({"table": "unseen", "kinds": found}, as_json, lambda: markdown(found, f"{dataset}, scale {place.scale.name}") if found else "nothing is there yet")
    _end_of_cells(failed, len(found) + failed)


def _chosen(cells: list[Any], only: list[str]) -> list[Any]:
    from bagscan.benchmark.cells import names_with

    names = names_with([cell.slug for cell in cells], only)
    return [cell for cell in cells if cell.slug in names]


def _end_of_cells(failed: int, wanted: int) -> None:
    if failed:
        say(f"bagscan: {failed} of {wanted} cells failed; what they said stands above, and the same line tries them again")
        raise typer.Exit(EXIT_BAD_ITEMS)
