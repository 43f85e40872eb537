"""POST /v1/feedback: a rating for one decision."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from proxy.endpoints.answers import send_json
from proxy.endpoints.keeping import caller_of
from proxy.endpoints.running import Running, running_of
from proxy.errors import NotKept, RatedTooOften, StoreDown, UnknownDecision
from proxy.learning.feedback import kind_of, read_feedback
from proxy.learning.stored_rows import MOST_SOURCES, RatedDecision, Rating
from proxy.learning.trouble import RowsRefused, StoreRefused, StoreUnavailable, TooManySources
from proxy.learning.writer import Writer
from proxy.relay.body import ClientLeft, read_body
from proxy.routing.reading import header_map
from proxy.telemetry.metrics import UNROUTED

_MOST_BYTES = 64 * 1024


class Feedback:
    """
    Keeps ratings beside the decisions.

    A decision that was made with a key is rated with the same key, in either header; for any other it is unknown.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Keep one rating; of one source for one decision the last one counts.

        Raises:
            BadRequest: the body is no rating.
            UnknownDecision: there is no such decision, or it is somebody else's.
            NotKept: routes.yaml has no store.
            StoreDown: the rating cannot be kept now.
            RatedTooOften: the decision has as many sources as are kept.
        """
        running = running_of(scope)
        try:
            body = await read_body(scope, receive, max_bytes=_MOST_BYTES, timeout_s=running.config.server.body_timeout)
        except ClientLeft:
            return
        rating = read_feedback(body)
        if running.writer is None:
            raise NotKept("No decisions are kept here, so none can be rated; `store` in routes.yaml turns that on.")
        try:
            rated = await running.writer.rate(rating, caller_of(header_map(scope["headers"])))
        except (StoreUnavailable, StoreRefused, RowsRefused):
            raise StoreDown("The store does not answer; the rating was not kept. Try again.") from None
        except TooManySources:
            raise RatedTooOften(
                f"Decision {rating.id!r} was rated by {MOST_SOURCES} sources, and no more are kept.", param="source"
            ) from None
        if rated is None:
            raise UnknownDecision(
                f"There is no decision {rating.id!r}; those of routed requests are kept, once their answer has ended, "
                "and one that was made with a key is rated with the same key.",
                param="id",
            )
        _count(running, running.writer, rating, rated)
        await send_json(
            send,
            {
                "id": rating.id,
                "decision": rated.decision,
                "rating": rating.value,
                "source": rating.source,
                "route": rated.route,
                "model": rated.model,
                "replaced": rated.before is not None,
            },
        )


def _count(running: Running, writer: Writer, rating: Rating, rated: RatedDecision) -> None:
    """Once for each thing that is said; under names of this routes.yaml, for the decision may be older."""
    kind = kind_of(rating.value)
    if rated.before is not None and kind_of(rated.before) == kind:
        return
    is_known = (rated.route, rated.model) in running.router.possible.ways
    route, model = (rated.route, rated.model) if is_known else (UNROUTED, UNROUTED)
    writer.metrics.rated(route, model, kind)
