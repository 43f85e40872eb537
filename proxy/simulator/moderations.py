"""`/v1/moderations`: flags a text that names violence, and lets all else pass."""

from __future__ import annotations

from proxy.simulator.chat_request import Json
from proxy.simulator.errors import missing, wrong_type
from proxy.simulator.reply import Reply, Request
from proxy.simulator.wire import Stamp, encode

_CATEGORIES = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip
_VIOLENT = ("kill", "murder", "shoot", "stab")


def create(request: Request, _: object, stamp: Stamp, __: object) -> Reply:
    """`POST /moderations`."""
    fields = request.json()
    told = fields.get("input")
    if told is None:
        raise missing("input")
    if not isinstance(told, (str, list)):
        raise wrong_type("input", "one of a string or an array", told)
    # Strings are texts by themselves; parts of texts and images are one text together.
    texts = [told] if isinstance(told, str) or any(isinstance(part, dict) for part in told) else told
    results = [_result(str(text).lower()) for text in texts]
    model = request.model or "omni-moderation-latest"
    return Reply(body=encode({"id": f"modr-{stamp.token}", "model": model, "results": results}))


def _result(text: str) -> Json:
    is_violent = any(word in text for word in _VIOLENT)
    return {
        "flagged": is_violent,
        "categories": {name: is_violent and name == "violence" for name in _CATEGORIES},
        "category_scores": {name: 0.93 if is_violent and name == "violence" else 0.0001 for name in _CATEGORIES},
        "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
    }
