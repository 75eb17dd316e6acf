"""Imaging of raw low and high counts, real or simulated.

Scanner profiles, effective Z and pseudo-colour.
"""
