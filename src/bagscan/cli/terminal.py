"""Options, messages and checks that several commands share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

import bagscan.training
from bagscan.core.errors import ConfigError, absent, nearest

EXIT_ALARM, EXIT_USAGE, EXIT_BAD_ITEMS, EXIT_REVIEW = 1, 2, 3, 4  # see docs/reference.md

AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="Print the result to stdout as JSON. Progress messages go to stderr."
    ),
]
Settings = Annotated[
    list[str],
    typer.Option(
        "--set",
        help="Override one setting, for example --set loop.steps=100. Can be given several times.",
    ),
]


def find_model(text: str) -> Path:
    from bagscan.model_folder import locate_model  # imports numpy, which would slow down --help

    return locate_model(text)


PRESETS = Path(bagscan.training.__file__).parent / "presets"
PRESET_NAMES = sorted(path.stem for path in PRESETS.glob("*.yaml"))
Config = Annotated[
    Path | None, typer.Argument(help="Configuration file (YAML).", show_default=False)
]
Preset = Annotated[
    str | None,
    typer.Option(
        help=f"Bundled configuration to use in place of a file: {', '.join(PRESET_NAMES)}."
    ),
]
ModelFolder = Annotated[
    Path, typer.Option("--model", help="Model folder, for example runs/xray_joint/model.")
]
AnyModel = Annotated[
    Path | None,
    typer.Option(
        "--model",
        parser=find_model,
        metavar="FOLDER",
        help=(
            "Model folder, or name of a bundled model (raw, prohibited, colour). "
            "By default, each scan is screened by the bundled model for its channels."
        ),
    ),
]
Cluster = Annotated[
    str,
    typer.Option(
        help=(
            "Run on a Ray cluster, on as many cores as --workers. Give its address, "
            "auto for the cluster that this machine belongs to, "
            "or local to start one on this machine."
        )
    ),
]
Runtime = Annotated[
    str,
    typer.Option(
        help=(
            "Runtime of the networks: onnxruntime, openvino, torch or auto. auto takes the first "
            "of these three that is installed and that the model is exported for."
        ),
        envvar="BAGSCAN_RUNTIME",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help=(
            "Device to train on: cpu, cuda, cuda:1, ..., or auto. "
            "auto takes an accelerator if the machine has one, else the CPU."
        ),
        envvar="BAGSCAN_DEVICE",
    ),
]


def say(text: str) -> None:
    """Print a progress message or a warning to stderr; stdout is for the result."""
    typer.echo(text, err=True)


def show(result: dict[str, Any], as_json: bool, text: Callable[[], str]) -> None:
    """Print the result to stdout, as JSON or as readable text."""
    typer.echo(json.dumps(result, indent=1) if as_json else text())


def check_folders(named: Mapping[str, Path], written: Container[str] = ()) -> None:
    """Fail fast if a path that must be a directory is a file or not writable.

    Args:
        named: the paths, keyed by the option that names them. They need not exist.
        written: options whose directories are written to.

    Raises:
        ConfigError: a path, or its nearest existing parent, is a file or is not writable.
    """
    for option, folder in named.items():
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        if not existing.is_dir():
            raise ConfigError(f"{option} {folder}: {existing} is not a directory")
        if option in written and not os.access(existing, os.W_OK):
            raise ConfigError(f"{option} {folder}: {existing} is not writable")


def configuration(config: Path | None, preset: str | None) -> Path:
    """Return the configuration file of a command: the file given, or that of the preset.

    Raises:
        ConfigError: neither or both are given, or the preset is unknown.
    """
    if config is not None and preset is not None:
        raise ConfigError(
            f"both a file ({config}) and --preset {preset} are given; give only one of them"
        )
    if config is not None:
        if not config.exists() and config.name in PRESET_NAMES:
            raise ConfigError(
                f"{absent(config, 'file')}; for the bundled configuration, "
                f"use --preset {config.name}"
            )
        return config
    known = ", ".join(PRESET_NAMES)
    if preset is None:
        raise ConfigError(f"configuration is missing; give a YAML file, or --preset with {known}")
    if preset not in PRESET_NAMES:
        raise ConfigError(
            f"unknown preset {preset!r}{nearest(preset, PRESET_NAMES)}; expected one of {known}"
        )
    return PRESETS / f"{preset}.yaml"
