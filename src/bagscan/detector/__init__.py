"""The detector: one pass over a view finds devices, what they are made of, and what does not belong in them.

:mod:`bagscan.detector.features` brings a view to the network, :mod:`bagscan.detector.network` is it,
:mod:`bagscan.detector.sampling` cuts what it is trained on out of packed scenes.
"""
