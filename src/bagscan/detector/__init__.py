"""Detector: a network that finds devices, their components and anomalies in one pass over a view.

:mod:`bagscan.detector.features` computes the network's input. :mod:`bagscan.detector.network`
defines the network. :mod:`bagscan.detector.sampling` crops training samples from packed scenes.
"""
