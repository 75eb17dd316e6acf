"""``bagscan serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def serve(
    folder: Annotated[
        Path | None,
        typer.Option(help="Folder for the data of the service. Default: bagscan-service."),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            help="SQLAlchemy URL of the database. By default, a SQLite file in the folder."
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Address to listen on. Default: 127.0.0.1. "
            "Use any other address only behind a proxy that terminates TLS."
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on. Default: 8765.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Number of screening processes, each on one core. Default: 1."),
    ] = None,
    watch: Annotated[
        list[Path],
        typer.Option(help="Folder that a scanner writes scans to. Can be given several times."),
    ] = [],  # noqa: B006
    demo: Annotated[
        bool,
        typer.Option(
            "--demo", help="Fill the queue with simulated bags and create four accounts to try."
        ),
    ] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file (YAML).")] = None,
    settings: Annotated[
        list[str],
        typer.Option(
            "--set",
            help="Override one setting, for example --set second_reader=all. "
            "Can be given several times.",
        ),
    ] = [],  # noqa: B006
) -> None:
    """Run the screening service, with a web page for reviewers.

    The service receives scans over HTTP and from watched folders.
    """
    from dataclasses import replace

    from bagscan.service.settings import read_settings

    given: dict[str, Any] = {
        "folder": folder,
        "database": database,
        "host": host,
        "port": port,
        "workers": workers,
        "watch": tuple(watch) or None,
    }
    given = {name: value for name, value in given.items() if value is not None}
    # The demo reviews all scans and projects many threats, so that every feature has examples.
    defaults: dict[str, Any] = {"reviewed": "all", "tip_rate": 0.2} if demo else {}
    service_config = read_settings(config, settings)
    from bagscan.service.run import run  # heavy; settings are checked first

    run(replace(service_config, **defaults, **given), demo)
