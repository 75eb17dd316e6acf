"""Worker processes, which open scans and models and can be replaced when they fail."""
