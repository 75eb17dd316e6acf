"""Detection of anomalies in X-ray images of bags, down to components of devices."""

from bagscan.kernel_cache import choose_place

__version__ = "0.2.0"

choose_place()
