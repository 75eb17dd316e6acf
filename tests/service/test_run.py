"""Listening: what is told where a port cannot be had."""

import socket

import pytest

from bagscan.core.errors import ConfigError
from bagscan.service.run import _bound


def test_a_port_that_is_taken_is_told_once_and_in_plain_words(caplog, capfd):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 is taken; give another with --port"):
            _bound("127.0.0.1", port)
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


def test_an_address_that_is_none_of_this_machines_is_not_called_taken():
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1, port 8000: "):
        _bound("192.0.2.1", 8000)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_free_port_is_bound(host):
    with _bound(host, 0) as listening:
        assert listening.getsockname()[1] > 0
