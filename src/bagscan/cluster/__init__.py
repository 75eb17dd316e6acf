"""Past one machine: the only room that imports Ray (``pip install 'bagscan[cluster]'``)."""
