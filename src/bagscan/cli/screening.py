"""Screen a folder, or an archive."""

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
    say,
    show,
)

ScannerViews = Annotated[
    str,
    typer.Option(
        "--scanner-views",
        help="Views that the scanner makes of every bag: one of which a view is missing is REVIEW. By default those that any bag here has.",
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
            help="Names of views: ID_below.png and ID_side.png are one bag with one decision. Empty: every file by itself."
        ),
    ] = "below,side",
    scanner_views: ScannerViews = "",
    dicos: Annotated[
        bool,
        typer.Option(
            "--dicos",
            help="Write a DICOS threat detection report of every bag, too: OUT/dicos/ID.dcs.",
        ),
    ] = False,
    fail_on_alarm: Annotated[
        bool,
        typer.Option(
            help="Exit with 1 when a scan raises an alarm, with 4 when none does and one needs a person (REVIEW)."
        ),
    ] = False,
    runtime: Runtime = "auto",
    as_json: AsJson = False,
) -> None:
    """Screen scans: JSON, COCO and one HTML report. A bad file becomes an error row."""
    from bagscan.evaluation.meaning import of_screening
    from bagscan.model_folder import shipped_models
    from bagscan.reporting.folder import screen_folder

    tally = screen_folder(
        paths,
        [model] if model else shipped_models(),
        out,
        say,
        _names(views),
        _names(scanner_views),
        dicos,
        runtime,
    )
    show(
        tally,
        as_json,
        lambda: (
            f"{tally['truth']}\n{of_screening(tally)}\n{_counts(tally)}; judged by {tally['runtime']}; report: {out / 'report.html'}".lstrip()
        ),
    )
    if fail_on_alarm and tally["ALARM"]:
        raise typer.Exit(EXIT_ALARM)
    if tally["errors"]:
        raise typer.Exit(EXIT_BAD_ITEMS)
    if fail_on_alarm and tally["REVIEW"]:
        raise typer.Exit(EXIT_REVIEW)


def batch(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Folders of scans, or scans; also in object storage: s3://BUCKET/FOLDER, gs://, az://."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder of Parquet parts: part-*.parquet in it, which DuckDB, Polars and Arrow read as one table."
        ),
    ] = Path("results.parquet"),
    model: AnyModel = None,
    workers: Annotated[
        int,
        typer.Option(min=1, help="Processes, each on one core. Any number writes the same bytes."),
    ] = 1,
    timeout: Annotated[
        float, typer.Option(help="Seconds for one bag; one that takes longer is an error row.")
    ] = 60.0,
    part_size: Annotated[int, typer.Option(min=1, help="Bags in each Parquet file.")] = 1000,
    views: Annotated[str, typer.Option(help="Names of views, as for screen.")] = "below,side",
    scanner_views: ScannerViews = "",
    cluster: Cluster = "",
    to: Annotated[
        str,
        typer.Option(
            help="Copy every finished part to this folder in object storage, s3://BUCKET/FOLDER."
        ),
    ] = "",
    runtime: Runtime = "auto",
    index_only: Annotated[
        bool, typer.Option("--index-only", help="List the bags, judge none.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Screen an archive of any size into Parquet; the same line goes on after a kill, and nothing is judged twice."""
    from bagscan.batch.run import INDEX, BatchConfig, only_run, prepare, screen_archive
    from bagscan.batch.storage import file_system
    from bagscan.evaluation.meaning import of_screening
    from bagscan.model_folder import shipped_models

    config = BatchConfig(
        workers, timeout, part_size, tuple(_names(views)), tuple(_names(scanner_views)), runtime
    )
    models = [model] if model else shipped_models()
    if cluster and not index_only:
        import ray  # noqa: F401  # missing, it should be told before an archive is listed
    if to:
        file_system(to)
    with only_run(out, say):
        count = prepare(sources, models, out, config, say)
        if index_only:
            show(
                {"bags": count, "out": str(out)},
                as_json,
                lambda: f"{count:,} bags in {out / INDEX}",
            )
            return
        result = screen_archive(out, config, _judges(models, config, cluster), say, to)
    alarms = f"duckdb -c \"SELECT * FROM '{out}/part-*.parquet' WHERE decision = 'ALARM' ORDER BY top_score DESC\""
    listed = f"\nThe alarms, the highest first: {alarms}" if result["ALARM"] else ""
    show(
        result,
        as_json,
        lambda: (
            f"{of_screening(result)}\n{_counts(result)}, {result['errors']:,} errors; judged by {result['runtime']}; {out}/part-*.parquet{listed}"
        ),
    )
    if result["errors"]:
        raise typer.Exit(EXIT_BAD_ITEMS)


def _counts(tally: dict[str, Any]) -> str:
    return f"{tally['ALARM']:,} ALARM, {tally['CLEAR']:,} CLEAR, {tally['REVIEW']:,} REVIEW"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _judges(models: list[Path], config: Any, cluster: str) -> Any:
    if not cluster:
        from bagscan.batch.pool import Pool

        return Pool(models, config)
    from bagscan.cluster.pool import RayPool

    return RayPool(models, config, cluster)
