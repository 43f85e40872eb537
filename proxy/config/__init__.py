"""routes.yaml to frozen structs, or a message that says where. The one door to YAML and to `${NAME}`."""

from __future__ import annotations

from proxy.config.loading import load_config, parse_config
from proxy.config.problems import ConfigError, Problem
from proxy.config.schema import (
    Config,
    Embedding,
    Model,
    Price,
    Range,
    Route,
    RouteTest,
    Server,
    Target,
    Text,
    Timeouts,
    Topic,
    Upstream,
    When,
)
from proxy.config.values import Duration, Secret, Url

__all__ = [
    "Config",
    "ConfigError",
    "Duration",
    "Embedding",
    "Model",
    "Price",
    "Problem",
    "Range",
    "Route",
    "RouteTest",
    "Secret",
    "Server",
    "Target",
    "Text",
    "Timeouts",
    "Topic",
    "Upstream",
    "Url",
    "When",
    "load_config",
    "parse_config",
]
