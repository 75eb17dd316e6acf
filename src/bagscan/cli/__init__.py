"""The command line. Nothing heavy is imported until a command needs it: ``--help`` answers at once."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bagscan import __version__
from bagscan.cli.data import data_check, data_convert
from bagscan.cli.export import export
from bagscan.cli.formats import formats
from bagscan.cli.machine import doctor
from bagscan.cli.models import calibrate, evaluate, train
from bagscan.cli.scanner import convert, export_compass, gallery, simulate, tip
from bagscan.cli.screening import batch, screen
from bagscan.cli.service import audit_app, serve, store_app
from bagscan.cli.terminal import EXIT_USAGE, say
from bagscan.core.extras import extra_of, how_to_install, or_make_setup

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find what does not belong in a bag's X-ray image, down to the sub-component.",
)
for command in (
    train,
    calibrate,
    evaluate,
    screen,
    batch,
    simulate,
    convert,
    tip,
    gallery,
    export,
    export_compass,
    formats,
    doctor,
    serve,
):
    app.command()(command)
data_app = typer.Typer(no_args_is_help=True, help="Check datasets, and convert them.")
data_app.command("check")(data_check)
data_app.command("convert")(data_convert)
app.add_typer(data_app, name="data")
app.add_typer(audit_app, name="audit")
app.add_typer(store_app, name="store")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"bagscan {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    """Find what does not belong in a bag's X-ray image, down to the sub-component."""


def main() -> None:
    """Entry point: bagscan's own errors become one line and exit code 2."""
    from bagscan.core.errors import BagscanError

    try:
        app()
    except BagscanError as error:
        say(f"bagscan: {error}")
        sys.exit(EXIT_USAGE)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = extra_of(package)
        say(
            f"bagscan: this needs the package {package}, which is not installed: {how_to_install(extra)}{or_make_setup(extra)}"
        )
        sys.exit(EXIT_USAGE)
    except OSError as error:  # a full disk, a folder that may not be written
        say(f"bagscan: {error}")
        sys.exit(EXIT_USAGE)
    except KeyboardInterrupt:
        say("bagscan: interrupted; the same line resumes")
        sys.exit(130)
