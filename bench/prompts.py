"""
The requests that every proxy gets: realistic in size, and new texts without end.

One owner for both load generators: wrk reads these parts from its environment (`requests.lua`), the Python
client calls `body()`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

__all__ = ["WORDS", "WORDS_PER_TEXT", "body", "body_parts", "head", "texts"]

# Common words, one token each in MiniLM's vocabulary, so that a text's length in tokens is known.
COMMON = (
    "time year people way day man thing woman life child world school state family student group country "
    "problem hand part place case week company system program question work government number night point "
    "home water room mother area money story fact month lot right study book eye job word business issue side "
    "kind head house service friend father power hour game line end member law car city community name "
    "president team minute idea kid body information back parent face others level office door health person "
    "art war history party result change morning reason research girl guy moment air teacher force education "
    "foot boy age policy music market sense nation plan college interest death experience effect use class "
    "control care field development role effort rate heart drug show leader light voice wife police mind "
    "price report decision son view relationship town road arm difference value building action season "
    "society tax director position player record paper space ground form event official matter center couple "
    "site project activity star table need court oil situation cost industry figure street image phone data "
    "picture practice piece land product doctor wall patient worker news test movie north love support write "
    "read explain compare find fix sort plan draw build count merge list train move call run check green "
    "small large short long early old new open clear hard simple strong whole free full final"
)
WORDS = COMMON.split()
WORDS_PER_TEXT = 28
"""With the tokenizer's two own tokens, a text of 30."""

SYSTEM = "You are a helpful assistant. Answer in at most three sentences."


def body_parts(model: str, *, stream: bool, user: str = "bench") -> tuple[str, str]:
    """A chat completion request's JSON, cut where the user's text goes."""
    mark = "\N{BLACK SQUARE}"
    request: dict[str, object] = {
        "model": model,
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": mark}],
        "temperature": 0.7,
        "max_tokens": 256,
        "user": user,
    }
    if stream:
        request |= {"stream": True, "stream_options": {"include_usage": True}}
    before, after = json.dumps(request, separators=(",", ":"), ensure_ascii=False).split(mark)
    return before, after


def body(model: str, text: str, *, stream: bool, user: str = "bench") -> bytes:
    """The same request, whole."""
    before, after = body_parts(model, stream=stream, user=user)
    return f"{before}{text}{after}".encode()


def head(port: int, path: str, headers: dict[str, str]) -> str:
    """The request's head, up to the value of content-length."""
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    lines += [f"{name}: {value}" for name, value in BASE_HEADERS.items() | headers.items()]
    return "\r\n".join([*lines, "Content-Length: "])


# What the OpenAI SDK for Python sends, less the fields that describe the client's machine.
BASE_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Authorization": "Bearer sk-bench",
    "Content-Type": "application/json",
    "User-Agent": "OpenAI/Python 2.8.0",
}


def texts(seed: int) -> Iterator[str]:
    """New texts without end; the same ones for the same seed."""
    choose = random.Random(seed)
    while True:
        yield " ".join(choose.choices(WORDS, k=WORDS_PER_TEXT))
