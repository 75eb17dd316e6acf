"""Simulated dual-energy scanner: renders scenes of solids to raw scans, masks and ground truth."""
