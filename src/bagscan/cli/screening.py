"""``bagscan screen`` and ``bagscan batch``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bagscan.cli.terminal import (
    EXIT_ALARM,
    EXIT_BAD_ITEMS,
    EXIT_REVIEW,
    AnyModel,
    AsJson,
    Cluster,
    Runtime,
    show,
)

ScannerViews = Annotated[
    str,
    typer.Option(
        "--scanner-views",
        help=(
            "Names of the views that the scanner makes of every bag. A bag that lacks a view "
            "becomes REVIEW. Default: all views that occur in the input."
        ),
    ),
]

Sources = Annotated[
    list[str],
    typer.Argument(
        help=(
            "Scans or folders of scans, on disk or in object storage "
            "(s3://BUCKET/FOLDER, gs://, az://)."
        )
    ),
]


def screen(
    paths: Annotated[list[Path], typer.Argument(help="Scans, or folders of scans.")],
    model: AnyModel = None,
    out: Annotated[
        Path, typer.Option(help="Folder for findings.json, findings.coco.json and report.html.")
    ] = Path("screened"),
    views: Annotated[
        str,
        typer.Option(
            help=(
                "Names of views, as they end the file names: ID_below.png and ID_side.png are one "
                "bag, with one verdict. If empty, every file is a bag of its own."
            )
        ),
    ] = "below,side",
    scanner_views: ScannerViews = "",
    dicos: Annotated[
        bool,
        typer.Option(
            "--dicos",
            help="Also write a DICOS threat detection report per bag, OUT/dicos/ID.dcs.",
        ),
    ] = False,
    fail_on_alarm: Annotated[
        bool,
        typer.Option(
            help=(
                "Exit with 1 if any bag is ALARM; with 4 if none is, but one is REVIEW "
                "(a person must look)."
            )
        ),
    ] = False,
    runtime: Runtime = "auto",
    as_json: AsJson = False,
) -> None:
    """Screen scans, and write an HTML report.

    The findings are also written as JSON and COCO. A file that cannot be read is listed as an
    error, and the exit code is 3.

    Example: bagscan screen my_scans/ --out screened
    """
    from bagscan.evaluation.meaning import summarise_screening
    from bagscan.model_folder import shipped_models
    from bagscan.reporting.folder import screen_folder

    tally = screen_folder(
        paths,
        [model] if model else shipped_models(),
        out,
        _names(views),
        _names(scanner_views),
        dicos,
        runtime,
    )
    show(
        tally,
        as_json,
        lambda: (
            f"{tally['truth']}\n{summarise_screening(tally)}\n{_counts(tally)}; "
            f"runtime: {tally['runtime']}; report: {out / 'report.html'}".lstrip()
        ),
    )
    if fail_on_alarm and tally["ALARM"]:
        raise typer.Exit(EXIT_ALARM)
    if tally["errors"]:
        raise typer.Exit(EXIT_BAD_ITEMS)
    if fail_on_alarm and tally["REVIEW"]:
        raise typer.Exit(EXIT_REVIEW)


def batch(
    sources: Sources,
    out: Annotated[
        Path,
        typer.Option(
            help=(
                "Folder for the results, part-*.parquet. "
                "DuckDB, Polars and Arrow read them as one table."
            )
        ),
    ] = Path("results.parquet"),
    model: AnyModel = None,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            help="Number of processes, each on one core. It does not change the files written.",
        ),
    ] = 1,
    timeout: Annotated[
        float,
        typer.Option(help="Time limit per bag in seconds. A bag that exceeds it is an error."),
    ] = 60.0,
    part_size: Annotated[int, typer.Option(min=1, help="Bags per Parquet file.")] = 1000,
    views: Annotated[str, typer.Option(help="Names of views, as for screen.")] = "below,side",
    scanner_views: ScannerViews = "",
    cluster: Cluster = "",
    to: Annotated[
        str,
        typer.Option(
            help="Also copy every finished Parquet file to object storage, s3://BUCKET/FOLDER."
        ),
    ] = "",
    runtime: Runtime = "auto",
    index_only: Annotated[
        bool, typer.Option("--index-only", help="Only list the bags; do not screen them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Screen an archive of any size, and write Parquet files.

    If it is interrupted, run the same command again to resume. No bag is screened twice. The exit
    code is 3 if a file cannot be read.
    """
    from bagscan.batch.run import INDEX, BatchConfig, only_run, prepare, screen_archive
    from bagscan.batch.storage import file_system
    from bagscan.evaluation.meaning import summarise_screening
    from bagscan.model_folder import shipped_models

    config = BatchConfig(
        workers, timeout, part_size, tuple(_names(views)), tuple(_names(scanner_views)), runtime
    )
    models = [model] if model else shipped_models()
    if cluster and not index_only:
        import ray  # noqa: F401  # fails here if missing, not after a long listing
    if to:
        file_system(to)
    with only_run(out):
        count = prepare(sources, models, out, config)
        if index_only:
            show(
                {"bags": count, "out": str(out)},
                as_json,
                lambda: f"{count:,} bags in {out / INDEX}",
            )
            return
        result = screen_archive(out, config, _start_pool(models, config, cluster), to)
    show(
        result,
        as_json,
        lambda: (
            f"{summarise_screening(result)}\n{_counts(result)}, {result['errors']:,} errors; "
            f"runtime: {result['runtime']}; {out}/part-*.parquet{_alarm_hint(result, out)}"
        ),
    )
    if result["errors"]:
        raise typer.Exit(EXIT_BAD_ITEMS)


def _alarm_hint(result: dict[str, Any], out: Path) -> str:
    if not result["ALARM"]:
        return ""
    query = f"SELECT * FROM '{out}/part-*.parquet' WHERE decision = 'ALARM' ORDER BY top_score DESC"
    return f'\nTo list the alarms, highest score first: duckdb -c "{query}"'


def _counts(tally: dict[str, Any]) -> str:
    return f"{tally['ALARM']:,} ALARM, {tally['CLEAR']:,} CLEAR, {tally['REVIEW']:,} REVIEW"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _start_pool(models: list[Path], config: Any, cluster: str) -> Any:
    if not cluster:
        from bagscan.batch.pool import Pool

        return Pool(models, config)
    from bagscan.cluster.pool import RayPool

    return RayPool(models, config, cluster)
