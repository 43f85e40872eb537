"""The simulated upstreams as one ASGI app."""

from collections import defaultdict, deque

from starlette.types import Receive, Scope, Send

from proxy.simulator.api import read_request, refused, reply_to
from proxy.simulator.client import Client
from proxy.simulator.control import control, is_control
from proxy.simulator.delivery import deliver
from proxy.simulator.errors import Refusal
from proxy.simulator.kept import Kept
from proxy.simulator.knobs import NONE, Knobs, read_knobs
from proxy.simulator.log import Log
from proxy.simulator.qualities import Known, Qualities
from proxy.simulator.wire import stamp


def build_simulator(*, pace: float = 1.0, api_key: str | None = None, known: Known | None = None) -> "Simulator":
    """
    Make simulated upstreams, with a log of their own.

    Args:
        pace: what the personas' waiting is multiplied with; 0 answers at once.
        api_key: what clients must present as their bearer token; None lets everybody in.
        known: how good models are, by topic; the others are as good as their personas.
    """
    return Simulator(pace, api_key, Log(), Qualities(known))


class Simulator:
    """
    An ASGI app; `log` shows what arrived and how it ended, `script` says what comes next, `qualities` are what its
    models are worth, from one request to the next.
    """

    def __init__(self, pace: float, api_key: str | None, log: Log, qualities: Qualities) -> None:
        self.log = log
        self.qualities = qualities
        self._pace = pace
        self._api_key = api_key
        self._kept = Kept()
        self._scripts: defaultdict[str, deque[Knobs]] = defaultdict(deque)

    def script(self, *days: Knobs, at: str = "") -> None:
        """
        Give the next requests these knobs, one each, instead of what they ask for.

        Args:
            days: `Knobs()` is a good day. They queue up behind those of earlier calls.
            at: the upstream or model that they are for; "" is any.
        """
        self._scripts[at].extend(days)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            raise NotImplementedError(f"the simulator speaks HTTP, not {scope['type']}")
        method, path, headers = scope["method"], scope["path"], scope["headers"]
        body, arrived = await _read_body(receive)
        if is_control(path):
            await control(method, path, body, self.log, self.qualities, send)
            return
        query = scope["query_string"].decode("latin-1")
        entry = self.log.open(method, path, query, headers, body, scope["client"])
        if not arrived:
            self.log.note_disconnect(entry)
            self.log.note_end(entry, complete=False)
            return
        request = read_request(method, path, query, headers, body)
        try:
            knobs = self._scripted(request.upstream, request.model) or read_knobs(
                headers, request.upstream, request.model
            )
        except Refusal as refusal:
            knobs, made = NONE, stamp(None, body)
            reply = refused(refusal, request, knobs, made)
        else:
            made = stamp(knobs.seed, body)
            reply = reply_to(request, knobs, made, self._kept, self.qualities, self._api_key)
        async with Client(receive, send, self.log, entry) as client:
            await deliver(reply, client, knobs, made, self._pace)

    def _scripted(self, upstream: str, model: str) -> Knobs | None:
        if self._scripts:
            for name in (upstream, model, ""):
                if days := self._scripts.get(name):
                    return days.popleft()
        return None


async def _read_body(receive: Receive) -> tuple[bytes, bool]:
    """The body, and whether all of it arrived before the client left."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts), False
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts), True


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            return await send({"type": "lifespan.shutdown.complete"})
