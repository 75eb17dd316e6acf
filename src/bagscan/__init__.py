"""bagscan finds what does not belong in a bag's X-ray image, down to the sub-component."""

from bagscan.kernel_cache import choose_place

__version__ = "0.1.0"

choose_place()
