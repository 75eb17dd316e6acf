"""Screening and simulation on a Ray cluster. Only this package imports Ray (extra ``cluster``)."""
