"""X-ray physics: materials, spectra, detectors, transmission, effective Z, pseudo-colour.

Functions are pure and work on NumPy arrays.
"""
