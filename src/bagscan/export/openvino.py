"""Export to OpenVINO's format, for other programs; bagscan reads ONNX files in all runtimes."""

from __future__ import annotations

from pathlib import Path

from bagscan.core.errors import ModelError
from bagscan.model_folder import verified_id
from bagscan.runtime.engines import openvino_core, read_graphs
from bagscan.runtime.quiet import import_openvino


def export_openvino(folder: str | Path, out: str | Path) -> dict[str, int]:
    """Write the graphs of an exported model folder as ``NAME.xml`` and ``NAME.bin``, in 32 bits.

    Args:
        folder: exported model folder.
        out: output folder, created if missing.

    Returns:
        Size of every written file in bytes, by name.

    Raises:
        ModelError: if the model is altered, or was never exported.
    """
    openvino = import_openvino()
    folder, out = Path(folder), Path(out)
    verified_id(folder)
    graphs = read_graphs(folder)
    if not graphs:
        raise ModelError(
            f"{folder}: model was never exported; run: bagscan export onnx --model {folder}"
        )
    out.mkdir(parents=True, exist_ok=True)
    for name, graph in graphs.items():
        openvino.save_model(
            openvino_core().read_model(graph), out / f"{name}.xml", compress_to_fp16=False
        )
    return {
        path.name: path.stat().st_size
        for path in sorted(out.iterdir())
        if path.suffix in (".xml", ".bin")
    }
