"""Imports of the runtimes with their telemetry disabled."""

from __future__ import annotations

import os
import sys
from types import ModuleType


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime with telemetry disabled.

    Otherwise it writes a device id and events into the home folder, and contacts its vendor.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    module: ModuleType = onnxruntime
    return module


def import_openvino() -> ModuleType:
    """Import OpenVINO without ``openvino_telemetry``, which is optional."""
    # None makes its import fail.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    module: ModuleType = openvino
    return module
