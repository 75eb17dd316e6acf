"""Runtimes: inference with torch, ONNX Runtime or OpenVINO. Does not import torch.

Only the networks differ between runtimes; all other steps share one implementation.
:mod:`bagscan.runtime.load` chooses the runtime, :mod:`bagscan.runtime.exported` is a model of
exported graphs, and :mod:`bagscan.runtime.engines` runs graphs. :mod:`bagscan.export` writes them.
"""
