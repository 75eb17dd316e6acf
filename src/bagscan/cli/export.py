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
            help=(
                "onnx: the graphs that bagscan's runtimes read. "
                "openvino: also the same graphs in OpenVINO's own format."
            ),
        ),
    ] = "onnx",
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", help="Model folder. With --verify, it defaults to all bundled models."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Copy the model folder to this path and write there. Default: write in place."
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help=(
                "Check that torch, ONNX Runtime and OpenVINO give the same scores. "
                "Existing graphs are checked as they are, not exported again."
            ),
        ),
    ] = False,
    scans: Annotated[
        list[Path],
        typer.Option(
            help=("Scans to check with, in addition to synthetic ones. Can be given several times.")
        ),
    ] = [],  # noqa: B006
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result to stdout as JSON.")
    ] = False,
) -> None:
    """Export a model for machines without torch.

    With --verify, the exit code is 3 if the runtimes give different scores.
    """
    from bagscan.core.errors import ConfigError
    from bagscan.model_folder import shipped_models

    if kind not in ("onnx", "openvino"):
        raise ConfigError(f"unknown format {kind!r}; expected onnx or openvino")
    if model is None and (out is not None or not verify):
        raise ConfigError(
            "--model is missing; it can be left out only with --verify and without --out, "
            "to check the bundled models"
        )
    summary = {
        str(out or folder): _export(kind, folder, out, verify, scans)
        for folder in ([model] if model else shipped_models())
    }
    if as_json:
        typer.echo(json.dumps(summary, indent=1))
    else:
        typer.echo("\n\n".join(_text(folder, result) for folder, result in summary.items()))
    if not all(result.get("parity", {"agree": True})["agree"] for result in summary.values()):
        sys.exit(EXIT_DISAGREE)


def _export(
    kind: str, model: Path, out: Path | None, verify: bool, scans: list[Path]
) -> dict[str, Any]:
    from bagscan.export.graphs import export_onnx
    from bagscan.export.openvino import export_openvino
    from bagscan.export.parity import verify as compare_runtimes
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
        summary["parity"] = compare_runtimes(model, scans)
    return summary


def _text(folder: str, result: dict[str, Any]) -> str:
    from bagscan.export.parity import table

    files = result.get("files", {})
    lines = [folder, *(f"  {name}: {size / 1e6:.2f} MB" for name, size in files.items())]
    if "parity" in result:
        lines.append(table(result["parity"]))
    return "\n".join(lines)
