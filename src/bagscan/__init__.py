"""Detection of anomalies in X-ray images of bags, down to components of devices."""

import logging

from bagscan.kernel_cache import choose_place

__version__ = "0.2.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent; see core.messages
choose_place()
