"""Screening service for scanners, with a web page for readers.

::

    settings.py   all settings, in one frozen dataclass
    store/        database (SQLite or PostgreSQL) and files by content hash
    backup.py     backup and restore of the store
    retention.py  removal of images by age
    audit.py      signed audit chain
    accounts.py   accounts, passwords, sessions, API keys; roles.py has the permissions
    clock.py      service time, which does not follow jumps of the machine's clock
    inference/    jobs, worker processes, models and their thresholds, drift
    review/       queue, decisions, second readers, test images, statistics, export
    http/         HTTP API (FastAPI)
    web/          web page: plain JavaScript modules without a build step
    watch.py      folders that scanners write into
    client.py     Python client
"""
