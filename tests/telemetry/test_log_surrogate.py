"""A log line with half a character in it (a folder's name that is not UTF-8, say) must not be lost."""

import json
import logging

from proxy.telemetry.log import JsonFormatter


def test_half_a_character_costs_no_line() -> None:
    record = logging.makeLogRecord({"msg": "cannot read /etc/\udcff/routes.yaml"})
    assert json.loads(JsonFormatter().format(record))["event"].startswith("cannot read /etc/")
