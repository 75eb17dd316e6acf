"""Scripts that measure bagscan, their records and tables; not part of the package."""
