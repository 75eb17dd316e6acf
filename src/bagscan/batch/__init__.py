"""Archives of scans: an index, parts of it judged by worker processes or cluster nodes, Parquet out.

::

    OUT/_index.arrow                every bag and its files, in a fixed order, written once
    OUT/_ledger/part-00000.jsonl    rows of a part that is not finished, as they are judged
    OUT/part-00000.parquet          a finished part; written whole or not at all

A part's bytes follow from its scans, models and runtime: any number of workers, of machines of one kind, and of kills gives the same.
"""
