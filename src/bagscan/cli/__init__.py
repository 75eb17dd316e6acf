"""The ``bagscan`` command.

Commands import heavy packages when they run, so that ``--help`` is fast.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bagscan import __version__
from bagscan.cli.audit import audit_app
from bagscan.cli.data import data_check, data_convert
from bagscan.cli.export import export
from bagscan.cli.formats import formats
from bagscan.cli.machine import doctor
from bagscan.cli.models import adapt, calibrate, evaluate, train
from bagscan.cli.scanner import convert, export_compass, gallery, simulate, tip
from bagscan.cli.screening import batch, screen
from bagscan.cli.service import serve
from bagscan.cli.store import store_app
from bagscan.cli.terminal import EXIT_USAGE, say
from bagscan.core.extras import extra_of, how_to_install, or_make_setup
from bagscan.core.messages import show_messages

ABOUT = "Find anomalies in X-ray images of bags, down to the sub-component of a device."

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=ABOUT,
)
for command in (
    train,
    calibrate,
    evaluate,
    adapt,
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
data_app = typer.Typer(no_args_is_help=True, help="Check and convert datasets.")
data_app.command("check")(data_check)
data_app.command("convert")(data_convert)
app.add_typer(data_app, name="data")
app.add_typer(audit_app, name="audit")
app.add_typer(store_app, name="store")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"bagscan {__version__}")
        raise typer.Exit


@app.callback(help=ABOUT)
def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    show_messages()


def main() -> None:
    """Run the command line; report an expected error in one line and exit with code 2."""
    from bagscan.core.errors import BagscanError

    try:
        app()
    except BagscanError as error:
        say(f"bagscan: {error}")
        sys.exit(EXIT_USAGE)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = extra_of(package)
        install = f"{how_to_install(extra)}{or_make_setup(extra)}"
        say(f"bagscan: package {package} is not installed; install it with: {install}")
        sys.exit(EXIT_USAGE)
    except OSError as error:  # for example a full disk, or a folder that is not writable
        say(f"bagscan: {error}")
        sys.exit(EXIT_USAGE)
    except KeyboardInterrupt:
        say("bagscan: interrupted; run the same command again to resume")
        sys.exit(130)
