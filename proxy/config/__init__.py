"""routes.yaml to frozen structs, or a message that says where. The one door to YAML and to `${NAME}`."""

from __future__ import annotations

from proxy.config.editing import CannotEdit, edit_thresholds, with_thresholds
from proxy.config.json_schema import json_schema
from proxy.config.loading import load_config, parse_config
from proxy.config.problems import ConfigError, Problem, choices, did_you_mean, quote, show_path
from proxy.config.schema import (
    Block,
    Capability,
    Config,
    Conversation,
    Embedding,
    Feature,
    Level,
    Model,
    Price,
    Range,
    References,
    Route,
    RouteTest,
    Server,
    Split,
    Target,
    Text,
    TextMatch,
    Timeouts,
    Topic,
    Upstream,
    When,
)
from proxy.config.values import Duration, Regex, Secret, Url

__all__ = [
    "Block",
    "CannotEdit",
    "Capability",
    "Config",
    "ConfigError",
    "Conversation",
    "Duration",
    "Embedding",
    "Feature",
    "Level",
    "Model",
    "Price",
    "Problem",
    "Range",
    "References",
    "Regex",
    "Route",
    "RouteTest",
    "Secret",
    "Server",
    "Split",
    "Target",
    "Text",
    "TextMatch",
    "Timeouts",
    "Topic",
    "Upstream",
    "Url",
    "When",
    "choices",
    "did_you_mean",
    "edit_thresholds",
    "json_schema",
    "load_config",
    "parse_config",
    "quote",
    "show_path",
    "with_thresholds",
]
