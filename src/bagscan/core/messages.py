"""Progress messages and warnings on the terminal.

Modules write to a logger of their own below ``bagscan``. As a library, bagscan is therefore silent
unless its user sets up :mod:`logging`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

logger = logging.getLogger("bagscan")
Handler = TypeVar("Handler", bound=logging.Handler)


class TerminalHandler(logging.Handler):
    """Handler that prints messages to stderr; stdout is for results."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message, with its level if it is a warning or worse."""
        level = f"{record.levelname.lower()}: " if record.levelno > logging.INFO else ""
        # The stream is looked up each time, since tests and notebooks replace it.
        print(f"{level}{record.getMessage()}", file=sys.stderr, flush=True)


class MessageRecorder(logging.Handler):
    """Handler that keeps messages."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message of a record."""
        self.messages.append(record.getMessage())


@contextmanager
def attach_handler(handler: Handler, to: logging.Logger = logger) -> Iterator[Handler]:
    """Attach a handler to a logger, for its messages and those of the loggers below it."""
    level = to.level
    if not to.isEnabledFor(logging.INFO):
        to.setLevel(logging.INFO)
    to.addHandler(handler)
    try:
        yield handler
    finally:
        to.setLevel(level)
        to.removeHandler(handler)
        handler.close()


def show_messages() -> None:
    """Print the messages of all modules from now on. A second call changes nothing."""
    logger.setLevel(logging.INFO)
    if not any(isinstance(handler, TerminalHandler) for handler in logger.handlers):
        logger.addHandler(TerminalHandler())


def hide_messages() -> None:
    """Undo :func:`show_messages`, for programs that set up logging themselves."""
    for handler in list(logger.handlers):
        if isinstance(handler, TerminalHandler):
            logger.removeHandler(handler)
