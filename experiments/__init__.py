"""Scripts that measure bagscan, and the records and tables that they leave. Not part of the package."""
