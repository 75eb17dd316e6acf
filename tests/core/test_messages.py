"""Messages reach the terminal only if asked for, once each, and never on stdout."""

import logging

import pytest

from bagscan.core.messages import MessageRecorder, attach_handler, hide_messages, show_messages

log = logging.getLogger("bagscan.somewhere")


@pytest.fixture(autouse=True)
def as_before():
    logger = logging.getLogger("bagscan")
    handlers, level = list(logger.handlers), logger.level
    logger.handlers, logger.level = [logging.NullHandler()], logging.NOTSET
    yield
    logger.handlers = handlers
    logger.setLevel(level)


def test_a_library_is_silent(capsys):
    log.info("one bag")
    log.warning("half a bag")
    assert capsys.readouterr() == ("", "")


def test_messages_are_printed_once_to_stderr_and_warnings_say_so(capsys):
    show_messages()
    show_messages()
    log.info("one bag")
    log.warning("half a bag")
    assert capsys.readouterr() == ("", "one bag\nwarning: half a bag\n")
    hide_messages()
    log.info("no bag")
    assert capsys.readouterr() == ("", "")


def test_a_handler_is_attached_for_a_while_and_to_loggers_below():
    elsewhere = logging.getLogger("bagscan.elsewhere")
    with attach_handler(MessageRecorder(), logging.getLogger("bagscan.somewhere")) as recorder:
        log.info("one bag")
        elsewhere.info("another bag")
    log.info("no bag")
    assert recorder.messages == ["one bag"]


def test_a_handler_is_detached_after_an_error():
    with pytest.raises(KeyError), attach_handler(MessageRecorder()) as recorder:
        raise KeyError
    log.info("no bag")
    assert recorder.messages == []
    assert len(logging.getLogger("bagscan").handlers) == 1
