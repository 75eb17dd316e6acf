"""bagscan finds what does not belong in a bag's X-ray image, down to the sub-component."""

__version__ = "0.1.0"
