"""`pointsman serve`: run the proxy, on real upstreams or on simulated ones."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
import msgspec
import uvicorn
from starlette.types import ASGIApp
from threadpoolctl import threadpool_limits

from proxy.cli.options import HERE, cache_dir_option, config_option, exit_with, load_or_exit
from proxy.cli.streams import fit_streams
from proxy.cli.writing import CannotWrite
from proxy.config import Config, ConfigError, Upstream
from proxy.config.values import Url
from proxy.server.protocol import Protocol
from proxy.server.server import Server
from proxy.server.workers import Workers, outlive_hangups
from proxy.shipped import shipped
from proxy.telemetry.log import LogFormat, configure_logging


@click.command()
@config_option
@cache_dir_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes.")
@click.option("--demo", is_flag=True, help="Answer from simulated upstreams: no key, nothing leaves this machine.")
@click.option(
    "--log", "log_format", type=click.Choice(["auto", "json", "pretty"]), default="auto", show_default=True,
    help="auto: pretty on a terminal, else JSON.",
)  # fmt: skip
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True,
    help="warning leaves out the line for each request.",
)  # fmt: skip
def serve(
    config_path: Path,
    cache_dir: Path | None,
    host: str,
    port: int,
    workers: int,
    demo: bool,
    log_format: LogFormat,
    log_level: str,
) -> None:
    """
    Run the proxy. With --demo and no routes.yaml in sight, the starter file is used.

    A file with mistakes, or that fails its own tests, ends it at once, with exit code 2.

    A change of the file is taken up while requests run, within about a second or at once by SIGHUP, if it is valid
    and its tests pass.
    """
    outlive_hangups()
    if demo and not config_path.exists() and config_path == HERE:
        config_path = shipped("routes.yaml")
    config = load_or_exit(config_path)
    with contextlib.ExitStack() as stack:
        simulator = stack.enter_context(_simulator()) if demo else None
        if workers > 1:
            # prometheus_client reads this when it is first imported, in each worker.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = stack.enter_context(_metrics())
        server_config = uvicorn.Config(
            # The workers are new processes, which read the file themselves: a config with secrets is not pickled.
            partial(worker_app, config_path, simulator, log_format, log_level, cache_dir),
            factory=True,
            host=host,
            port=port,
            workers=workers,
            loop="uvloop" if sys.platform != "win32" else "auto",
            http=Protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            # The upstream's own pass; these would double them.
            server_header=False,
            date_header=False,
            # Whose address a client claims to have is nothing that routing reads.
            proxy_headers=False,
            timeout_keep_alive=75,
        )
        configure_logging(log_format, level=log_level)
        listener = stack.enter_context(_listener(host, port))
        greet = partial(_greet, config, host, listener.getsockname()[1], simulator)
        if workers > 1:
            folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
            Workers(server_config, listener, forget=partial(_remove_metrics, folder), greet=greet).run()
        else:
            Server(server_config, greet=greet).run(sockets=[listener])


def worker_app(
    config_path: Path, simulator: str | None, log_format: LogFormat, log_level: str, cache_dir: Path | None
) -> ASGIApp:
    """
    The app, made in the process that runs it.

    Args:
        config_path: routes.yaml.
        simulator: where the simulated upstreams listen; None for the real ones.
        log_format: as on the command line.
        log_level: as on the command line.
        cache_dir: as on the command line.
    """
    # Imported here so that prometheus_client first sees the environment of the process that counts.
    from proxy.app import build_app
    from proxy.reload.source import ConfigSource

    fit_streams()
    configure_logging(log_format, level=log_level)
    overlay = partial(on_simulator, url=simulator) if simulator else None
    source = ConfigSource(config_path, os.environ, overlay=overlay)
    try:
        config = source.load()
    except ConfigError as error:
        exit_with(error)
    app = build_app(config, source=source, cache_dir=cache_dir)
    tame_the_process()
    return app


def tame_the_process() -> None:
    """Make Python and numpy fit for short requests, at the cost of what else a process may do."""
    _tame_the_collector()
    _tame_numpy()


def _tame_the_collector() -> None:
    """
    Keep Python's full garbage collections off the path of requests.

    Everything imported lives as long as the process, and walking it takes 40 ms. Requests leave no circles behind,
    so there is little to collect: measured at 32 connections, the p99 is 27 ms without this and 7 ms with it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _tame_numpy() -> None:
    """
    One thread for numpy's products.

    A decision multiplies for a tenth of a millisecond. Shared out over cores that embed other requests' texts, the
    same product waits for them: measured on two busy cores with 1,500 examples, 15 ms instead of 0.8.
    """
    threadpool_limits(limits=1, user_api="blas")


def on_simulator(config: Config, url: str) -> Config:
    """
    The same config with every upstream replaced by a simulated one of its name.

    That gets no key, header or query of the real one, and is reached directly.
    """
    upstreams = {
        name: Upstream(
            base_url=Url(f"{url}/{name}/v1"),
            protocol=upstream.protocol,
            usage=upstream.usage,
            timeouts=upstream.timeouts,
            max_in_flight=upstream.max_in_flight,
        )
        for name, upstream in config.upstreams.items()
    }
    return msgspec.structs.replace(config, upstreams=upstreams)


def _metrics() -> tempfile.TemporaryDirectory[str]:
    """The folder in which workers share what they count."""
    try:
        return tempfile.TemporaryDirectory(prefix="pointsman-metrics-")
    except OSError:  # whose text lists all places that were tried
        raise CannotWrite(
            "Several workers share their metrics in a temporary folder, and nothing can be written to any. "
            "TMPDIR names one; --workers 1 needs none."
        ) from None


def _remove_metrics(folder: Path, pid: int) -> None:
    """
    Those of a worker that never served.

    It has counted nothing, and while none can start the files of one every few seconds would fill the disk.
    """
    for file in folder.glob(f"*_{pid}.db"):
        file.unlink(missing_ok=True)


def _listener(host: str, port: int) -> socket.socket:
    """The listening socket, opened here so that all workers share it and a taken port is said in words."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)  # whoever connects from now on waits until the app is ready, and is not refused
    except (OSError, TypeError) as error:  # the latter of a name that cannot be encoded
        listener.close()
        is_of_port = isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES)
        hint = "--port takes another one, 0 any that is free" if is_of_port else "--host takes another one, 0.0.0.0 all"
        reason = error.strerror if isinstance(error, OSError) else "not the name of a host"
        raise click.ClickException(f"Cannot listen on {host}:{port}: {reason}. {hint}.") from None
    return listener


@contextlib.contextmanager
def _simulator() -> Iterator[str]:
    """Simulated upstreams in a process of their own; its URL, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy.simulator", "--port", "0", "--parent-watch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C drains the proxy, which needs them for that
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        line = process.stdout.readline()
        if "http://" not in line:
            raise click.ClickException("The simulated upstreams did not start.")
        yield line[line.index("http://") :].strip()
    finally:
        process.stdin.close()
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


def _greet(config: Config, host: str, port: int, simulator: str | None) -> None:
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    where = f"simulated upstreams at {simulator}" if simulator else ", ".join(config.upstreams)
    with contextlib.suppress(OSError):  # a full disk behind the log is no reason not to serve
        click.echo(
            f"Pointsman listens on {url}\n"
            f"  base_url  {url}/v1\n"
            f"  models    auto, {', '.join(config.models)}\n"
            f"  answers   {where}\n",
            err=True,
        )
