"""Start the service, listen for requests, and stop in order."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
import threading

import uvicorn

from bagscan.core.errors import ConfigError
from bagscan.core.messages import hide_messages
from bagscan.model_folder import shipped_models
from bagscan.runtime.load import chosen_runtime
from bagscan.service.demo import fill_queue, make_accounts, refuse_demo_accounts
from bagscan.service.http.app import create_app
from bagscan.service.inference.models import local_runtime, place_of, serving
from bagscan.service.service import Service
from bagscan.service.settings import ServiceConfig

# Threads wait for each other's short tasks, and Python's default of 5 ms would dominate latency.
SWITCH_S = 0.0005
LOCAL = ("127.0.0.1", "localhost", "::1")


def run(config: ServiceConfig, demo: bool = False) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        demo: create the demo accounts and fill the queue with simulated bags.

    Raises:
        ConfigError: the address cannot be used, the demo would be reachable from other machines,
            or a store of the demo is served without ``demo``.
        StoreError: the store cannot be used.
    """
    _set_up_logging()
    if demo and config.host not in LOCAL:
        raise ConfigError(
            f"--demo cannot listen on {config.host}, since its accounts have a publicly known "
            "password; use --host 127.0.0.1"
        )
    sys.setswitchinterval(SWITCH_S)
    os.umask(0o077)  # scans, notes and keys are private to this user
    for folder in shipped_models():
        chosen_runtime(folder)  # fail before anything starts if the chosen runtime is missing
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
        listening = _bind(config.host, config.port)
        if not demo:
            refuse_demo_accounts(service)
        token = service.start()
        if demo:
            make_accounts(service)
            threading.Thread(target=fill_queue, args=(service,), daemon=True, name="demo").start()
        with service.store.read() as connection:
            active = serving(connection)
        runtimes = {
            local_runtime(place_of(model.folder, config.models_folder), model.model_id)
            for model in active
        }
        _greet(config, address, None if demo else token, sorted(runtimes))
        server.run([listening])
    finally:
        service.stop()


def _set_up_logging() -> None:
    hide_messages()  # of the command line; the root handler prints them, with time and level
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    access = logging.getLogger("bagscan.access")  # its lines are plain JSON documents
    access.propagate, access.handlers = False, [logging.StreamHandler(sys.stderr)]
    for noisy in ("alembic", "tifffile", "httpx", "bagscan.simulate"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _bind(host: str, port: int) -> socket.socket:
    """Bind the listening socket before workers start, so that a port in use is reported at once.

    Raises:
        ConfigError: the port is in use, or the address cannot be used.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            message = f"port {port} of {host} is in use; choose another with --port"
        else:
            message = f"cannot listen on {host}, port {port}: {error.strerror}"
        raise ConfigError(message) from error
    return listening


def _greet(config: ServiceConfig, address: str, token: str | None, runtimes: list[str]) -> None:
    store = config.database.split("@")[-1] or config.folder.absolute()
    workers = f"{config.workers} worker{'s' * (config.workers > 1)}"
    _print(f"bagscan listens on {address} · store: {store} · {workers}")
    _print(f"health: {address}/v1/health/ready · scans are screened with {', '.join(runtimes)}")
    if token:
        reached = address if config.host != "0.0.0.0" else f"http://127.0.0.1:{config.port}"
        _print(
            "No admin exists yet. Create the first one within an hour, with this one-time link:"
            f"\n\n  {reached}/#setup={token}\n"
        )
    if config.host not in LOCAL:
        _print(
            "Passwords and scans travel unencrypted unless a proxy in front of the service "
            "provides TLS; see docs/service.md."
        )


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
