"""``bagscan export``."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

EXIT_DISAGREE = 3


def export(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="[onnx|openvino]",
            help="onnx: the graphs that bagscan's runtimes read. openvino: the same in OpenVINO's own format too.",
        ),
    ] = "onnx",
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", help="A model folder; by default every one that comes with bagscan."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write to a copy of the model folder; by default into the folder itself."
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Check that torch, ONNX Runtime and OpenVINO agree; of a folder that has graphs, without writing them anew.",
        ),
    ] = False,
    scans: Annotated[
        list[Path],
        typer.Option(help="Scans to check on beside drawn ones; may be given several times."),
    ] = [],  # noqa: B006
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON on stdout.")
    ] = False,
) -> None:
    """Export a model for machines without torch, and check that every runtime gives the same scores."""
    from bagscan.core.errors import ConfigError
    from bagscan.model_folder import shipped_models

    if kind not in ("onnx", "openvino"):
        raise ConfigError(f"no format {kind!r}: onnx or openvino")
    if model is None and (out is not None or not verify):
        raise ConfigError(
            "give --model FOLDER; without it only --verify works, on the bundled models"
        )
    summary = {
        str(out or one): _export(kind, one, out, verify, scans)
        for one in ([model] if model else shipped_models())
    }
    typer.echo(
        json.dumps(summary, indent=1)
        if as_json
        else "\n\n".join(_text(folder, one) for folder, one in summary.items())
    )
    if not all(one.get("parity", {"agree": True})["agree"] for one in summary.values()):
        sys.exit(EXIT_DISAGREE)


def _export(
    kind: str, model: Path, out: Path | None, verify: bool, scans: list[Path]
) -> dict[str, Any]:
    from bagscan.export.graphs import export_onnx
    from bagscan.export.openvino import export_openvino
    from bagscan.export.parity import verify as hold_together
    from bagscan.model_folder import graphs_in

    if out is not None and out.resolve() != model.resolve():
        shutil.copytree(model, out, dirs_exist_ok=True)
        model = out
    summary: dict[str, Any] = {}
    if not verify or not graphs_in(model):
        summary["files"] = export_onnx(model)
    if kind == "openvino":
        summary["files"] = summary.get("files", {}) | export_openvino(model, model / "openvino")
    if verify:
        summary["parity"] = hold_together(model, scans)
    return summary


def _text(folder: str, told: dict[str, Any]) -> str:
    from bagscan.export.parity import table

    lines = [
        folder,
        *(f"  {name}: {size / 1e6:.2f} MB" for name, size in told.get("files", {}).items()),
    ]
    return "\n".join([*lines, table(told["parity"])] if "parity" in told else lines)
