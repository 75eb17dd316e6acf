"""X-ray physics: materials, spectra, detectors, transmission, effective Z, pseudo-colour. Pure functions, numpy only."""
