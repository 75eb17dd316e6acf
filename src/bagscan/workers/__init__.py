"""Worker processes: what opens scans and models does so in a process of its own, which may die, hang or be replaced."""
