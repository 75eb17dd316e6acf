"""Start the service, listen, and stop in order."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
import threading

import uvicorn

from bagscan.core.errors import ConfigError
from bagscan.model_folder import shipped_models
from bagscan.runtime.load import chosen_runtime
from bagscan.service.demo import fill_queue, make_accounts, refuse_demo_accounts
from bagscan.service.http.app import create_app
from bagscan.service.inference.models import place_of, runtime_here, serving
from bagscan.service.service import Service
from bagscan.service.settings import ServiceConfig

SWITCH_S = 0.0005  # threads wait on each other for short pieces of work: Python's own 5 ms would be most of an answer's time
LOCAL = ("127.0.0.1", "localhost", "::1")


def run(config: ServiceConfig, demo: bool = False) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: the port is taken, or may not be used. StoreError: the store cannot be used.
    """
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    access, lines = (
        logging.getLogger("bagscan.access"),
        logging.StreamHandler(sys.stderr),
    )  # each line is a JSON document and nothing else
    access.propagate, access.handlers = False, [lines]
    for noisy in ("alembic", "tifffile", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if demo and config.host not in LOCAL:
        raise ConfigError(
            "--demo makes accounts of a password that everybody knows: it listens on 127.0.0.1 alone"
        )
    sys.setswitchinterval(SWITCH_S)
    os.umask(0o077)  # scans, notes, keys: nobody else's
    for folder in shipped_models():
        chosen_runtime(
            folder
        )  # a runtime that is asked for and not there is told before anything starts
    service = Service(config)
    address = f"http://{config.host}:{config.port}"
    try:
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(service),
                host=config.host,
                port=config.port,
                log_level="warning",
                timeout_graceful_shutdown=5,
                server_header=False,
            )
        )
        listening = _bound(config.host, config.port)
        if not demo:
            refuse_demo_accounts(service)
        token = service.start()
        if demo:
            make_accounts(service, _say)
            threading.Thread(
                target=fill_queue, args=(service, _say), daemon=True, name="demo"
            ).start()
        with service.store.read() as connection:
            runtimes = sorted(
                {
                    runtime_here(place_of(one.folder, config.models_folder), one.model_id)
                    for one in serving(connection)
                }
            )
        _greet(config, address, None if demo else token, runtimes)
        server.run([listening])
    finally:
        service.stop()


def _bound(host: str, port: int) -> socket.socket:
    """The listening socket, bound before workers start: a port that cannot be had is told at once."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} of {host} is taken; give another with --port"
            ) from error
        raise ConfigError(f"cannot listen on {host}, port {port}: {error.strerror}") from error
    return listening


def _greet(config: ServiceConfig, address: str, token: str | None, runtimes: list[str]) -> None:
    _say(
        f"bagscan listens on {address} · store: {config.database.split('@')[-1] or config.folder.absolute()} · {config.workers} worker{'s' * (config.workers > 1)}"
    )
    _say(f"health: {address}/v1/health/ready · scans are judged by {', '.join(runtimes)}")
    if token:
        reached = address if config.host != "0.0.0.0" else f"http://127.0.0.1:{config.port}"
        _say(
            f"No admin yet. Make the first one within an hour, with this one-time link:\n\n  {reached}/#setup={token}\n"
        )
    if config.host not in LOCAL:
        _say(
            "Passwords and scans go over the network in the clear unless a proxy before this ends TLS; see docs/service.md."
        )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
