"""What runs exported graphs, each on one thread in 32 bits, so that the last bit of a score does not depend on how many there are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bagscan.core.errors import ModelError
from bagscan.model_folder import graphs_in
from bagscan.runtime.graph_file import (
    WEIGHTS,
    refers_to_weights,
    refuse_external_data,
    with_weights,
)
from bagscan.runtime.quiet import import_onnxruntime, import_openvino


class Engine(Protocol):
    """Named graphs that take and give arrays."""

    name: str

    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name.

        Raises:
            ModelError: the graph does not take these inputs, or fails on them.
        """


class OnnxRuntime:
    """ONNX Runtime on the CPU."""

    name = "onnxruntime"

    def __init__(self, graphs: Mapping[str, bytes]) -> None:
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # views differ in size
        options.log_severity_level = 3
        try:
            self._sessions = {
                name: onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])
                for name, graph in graphs.items()
            }
        except Exception as error:  # its errors share no class of their own
            raise ModelError(f"ONNX Runtime cannot load the exported graphs: {error}") from error

    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        session = self._sessions[graph]
        try:
            found = session.run(None, dict(inputs))
        except Exception as error:
            raise ModelError(f"{graph}.onnx: {error}") from error
        return {
            output.name: value for output, value in zip(session.get_outputs(), found, strict=True)
        }


class OpenVino:
    """OpenVINO on the CPU. It computes in 16 bits where it can unless told otherwise, and pins its threads, so that processes would share a core."""

    name = "openvino"
    SETTINGS: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }

    def __init__(self, graphs: Mapping[str, bytes]) -> None:
        core = openvino_core()
        try:
            compiled = {
                name: core.compile_model(core.read_model(graph), "CPU", self.SETTINGS)
                for name, graph in graphs.items()
            }
        except Exception as error:
            raise ModelError(f"OpenVINO cannot load the exported graphs: {error}") from error
        self._graphs = graphs  # whose numbers it may go on reading
        self._requests = {name: model.create_infer_request() for name, model in compiled.items()}

    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            found = self._requests[graph].infer(dict(inputs))
        except Exception as error:
            raise ModelError(f"{graph}.onnx: {error}") from error
        # Its buffers are written over by the next inference; a port goes by every name that the graph has for it.
        return {
            alias: value
            for port, buffer in found.items()
            for value in [np.array(buffer)]
            for alias in port.names
        }


_FIRST_TO_ASK = threading.Lock()


def openvino_core() -> Any:
    """The one ``openvino.Core`` of this process, kept to its end.

    OpenVINO gives the thread that first uses it a stack for its signal handlers and takes that memory back when the core goes. Where another
    thread drops the core, the first keeps the address: its next signal, a stop of the service for one, would end the process without a word.
    """
    with _FIRST_TO_ASK:
        return _made_once()


@cache
def _made_once() -> Any:
    return import_openvino().Core()


class Torch:
    """torch, on the weights of a model folder in place of its graphs ``maps`` and ``score``; what the others are held against."""

    name = "torch"

    def __init__(self, folder: Path) -> None:
        from bagscan.model import Model

        self._model = Model.load(folder)

    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with self._model.judging():
            return (
                {graph: self._model.maps(inputs["pixels"])}
                if graph == "maps"
                else {"scores": self._model.score_means(inputs["means"])}
            )


ENGINES: dict[str, type[OnnxRuntime] | type[OpenVino]] = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
}  # the fastest first, see docs/performance.md


class Late:
    """An engine that loads its graphs when they are first needed."""

    def __init__(self, name: str, make: Callable[[], Engine]) -> None:
        self.name, self._make = name, make
        self._engine: Engine | None = None

    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self.load().run(graph, inputs)

    def load(self) -> Engine:
        """Now."""
        self._engine = self._engine or self._make()
        return self._engine


def read_graphs(folder: Path) -> dict[str, bytes]:
    """The exported graphs of a model folder, by name; none where it was never exported.

    Raises:
        ModelError: a graph keeps weights in a file that is not the folder's own, which could be any file of the machine, or is none.
    """
    graphs = {
        name.removesuffix(".onnx"): (folder / name).read_bytes() for name in graphs_in(folder)
    }
    if any(map(refers_to_weights, graphs.values())):
        weights = (folder / WEIGHTS).read_bytes()
        graphs = {
            name: with_weights(graph, weights, f"{folder / name}.onnx")
            for name, graph in graphs.items()
        }
    for name, graph in graphs.items():
        refuse_external_data(graph, f"{folder / name}.onnx")
    return graphs


def installed(name: str) -> str | None:
    """Version of a runtime; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
