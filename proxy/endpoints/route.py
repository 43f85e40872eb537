"""POST /v1/route: the decision for a request's very body, explained; nothing is sent on."""

from __future__ import annotations

from time import perf_counter
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from proxy.endpoints.answers import send_json
from proxy.endpoints.map import place_of
from proxy.endpoints.running import new_id, running_of
from proxy.endpoints.ui import need_ui
from proxy.errors import BadRequest
from proxy.relay.body import ClientLeft, read_body
from proxy.routing.apis import api_of
from proxy.routing.explain import explain
from proxy.routing.reading import header_map
from proxy.telemetry.record import Record


class ExplainRoute:
    """Decides as the API would that the body is of, and tells why; is not counted as a decision."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Answer one body. With `?signals=all` the text is looked at even where no rule asks for it. With `?map=1` the
        answer has its place on the map of topics, where it was looked at and there are topics.

        Raises:
            ProxyError: what the same body would get there.
        """
        running = running_of(scope)
        query = parse_qs(scope["query_string"].decode("latin-1"))
        signals_wanted, map_wanted = query.get("signals", ["needed"])[-1], query.get("map", ["0"])[-1]
        if signals_wanted not in ("needed", "all"):
            raise BadRequest(f"signals={signals_wanted!r}: give 'all' or leave it out.", param="signals")
        if map_wanted not in ("0", "1"):
            raise BadRequest(f"map={map_wanted!r}: give 1 or leave it out.", param="map")
        limits = running.config.server
        try:
            body = await read_body(scope, receive, max_bytes=limits.max_body, timeout_s=limits.body_timeout)
        except ClientLeft:
            return
        headers = header_map(scope["headers"])
        facts = api_of(body, headers).read(body, headers)
        decision_id = new_id()
        record = Record(id=decision_id, request_id=decision_id, path=scope["path"])
        decision, signals = await running.decide(facts, record, remember=False)
        if not signals.is_final and signals_wanted == "all":
            signals = await running.signals(facts, record)
        began = perf_counter()
        explained = explain(running.router, running.config, facts, signals, decision, decision_id=decision_id)
        record.stages_s["explain"] = perf_counter() - began
        explained["timings_ms"] = {stage: round(seconds * 1e3, 3) for stage, seconds in record.stages_s.items()}
        if map_wanted == "1":
            need_ui(running.config)
            explained["map"] = (
                None
                if signals.vector is None or running.topics is None
                else await place_of(running.config, running.topics, signals.vector)
            )
        await send_json(send, explained)
