"""What commands share: options that mean the same everywhere, and what they say."""

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
    typer.Option("--json", help="Print the result as JSON on stdout; progress goes to stderr."),
]
Settings = Annotated[
    list[str], typer.Option("--set", help="Change one setting, for example --set loop.steps=100.")
]


def _model_named(text: str) -> Path:
    from bagscan.model_folder import model_named  # imports numpy, which --help need not wait for

    return model_named(text)


PRESETS = Path(bagscan.training.__file__).parent / "presets"
PRESET_NAMES = sorted(path.stem for path in PRESETS.glob("*.yaml"))
Config = Annotated[
    Path | None, typer.Argument(help="A configuration: a YAML file.", show_default=False)
]
Preset = Annotated[
    str | None,
    typer.Option(help=f"A bundled configuration, instead of a file: {', '.join(PRESET_NAMES)}."),
]
ModelFolder = Annotated[
    Path, typer.Option("--model", help="A model folder, for example runs/xray_joint/model.")
]
AnyModel = Annotated[
    Path | None,
    typer.Option(
        "--model",
        parser=_model_named,
        metavar="FOLDER",
        help="A model folder, or the name of a bundled model (raw, colour). By default each scan goes to the bundled model for its channels.",
    ),
]
Cluster = Annotated[
    str,
    typer.Option(
        help="Work on a Ray cluster: its address, auto for the one that this machine is of, local for one made here; --workers cores of it."
    ),
]
Runtime = Annotated[
    str,
    typer.Option(
        help="torch, onnxruntime, openvino, or auto: the first of onnxruntime, openvino and torch that is installed and that the model was exported for.",
        envvar="BAGSCAN_RUNTIME",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="What training computes on: cpu, cuda, cuda:1 ..., or auto: the accelerator where there is one.",
        envvar="BAGSCAN_DEVICE",
    ),
]


def say(text: str) -> None:
    """Progress and trouble go to stderr; stdout holds the result alone."""
    typer.echo(text, err=True)


def show(result: dict[str, Any], as_json: bool, text: Callable[[], str]) -> None:
    """The result, as JSON or as text for people."""
    typer.echo(json.dumps(result, indent=1) if as_json else text())


def check_folders(named: Mapping[str, Path], written: Container[str] = ()) -> None:
    """Fail fast if a path that must be a directory is a file or not writable.

    Args:
        named: by their options; they may be absent. written: options of those that are written to.

    Raises:
        ConfigError: the option and what is in the way.
    """
    for option, folder in named.items():
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if not there.is_dir():
            raise ConfigError(f"{option} {folder}: {there} is not a directory")
        if option in written and not os.access(there, os.W_OK):
            raise ConfigError(f"{option} {folder}: {there} is not writable")


def compute_on(device: str) -> None:
    """For this process and those that it starts."""
    os.environ["BAGSCAN_DEVICE"] = device


def configuration(config: Path | None, preset: str | None) -> Path:
    """The YAML file that a command was given, or the one of a preset.

    Raises:
        ConfigError: none or both were given, or there is no such preset.
    """
    if config is not None and preset is not None:
        raise ConfigError(f"{config} and --preset {preset}: give one of them")
    if config is not None:
        if not config.exists() and config.name in PRESET_NAMES:
            raise ConfigError(
                f"{absent(config, 'file')}; --preset {config.name} is the bundled configuration"
            )
        return config
    if preset is None:
        raise ConfigError(f"give a YAML file, or --preset and one of {', '.join(PRESET_NAMES)}")
    if preset not in PRESET_NAMES:
        raise ConfigError(
            f"no preset {preset!r}{nearest(preset, PRESET_NAMES)}; there are {', '.join(PRESET_NAMES)}"
        )
    return PRESETS / f"{preset}.yaml"
