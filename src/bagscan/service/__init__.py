"""The screening service: what stands beside a scanner, and the page that reviewers work at.

::

    settings.py   every setting, one frozen dataclass
    store/        database (SQLite or PostgreSQL), files by content hash; above it backup.py and retention.py
    audit.py      who did what: a signed chain
    accounts.py   people, keys, sessions, roles
    inference/    jobs, worker processes, models and their thresholds, drift
    review/       queue, decisions, second readers, test images, statistics, export
    http/         the API (FastAPI), and the page's files
    web/          the page: plain modules, no build
    watch.py      the folder that a scanner writes into
    client.py     a Python client
"""
