"""Archives: an index of scans, screened in parts by worker processes or cluster nodes, to Parquet.

::

    OUT/_index.arrow                every bag and its files, in a fixed order, written once
    OUT/_ledger/part-00000.jsonl    rows of an unfinished part
    OUT/part-00000.parquet          a finished part, written atomically

The bytes of a part depend only on its scans, the models, the runtime and the kind of machine. The
number of workers and interruptions do not change them.
"""
