"""Runtimes: a model folder judged by torch, ONNX Runtime or OpenVINO, with one fixed kernel around the networks. No torch here.

:mod:`bagscan.runtime.load` chooses, :mod:`bagscan.runtime.exported` is a model made of exported graphs,
:mod:`bagscan.runtime.engines` runs them. The graphs are written by :mod:`bagscan.export`.
"""
