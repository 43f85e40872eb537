"""`/v1/audio/transcriptions`: hears the name and the size of the file."""

from __future__ import annotations

from proxy.simulator.chat_request import estimate_tokens, read_model
from proxy.simulator.forms import file_of
from proxy.simulator.knobs import Knobs
from proxy.simulator.reply import Reply, Request
from proxy.simulator.wire import encode

_BYTES_PER_TOKEN = 1_600


def create(request: Request, knobs: Knobs, *_: object) -> Reply:
    """`POST /audio/transcriptions`. `response_format` may be `json` or `text`; `stream` is ignored, as by Whisper."""
    model = read_model(request.fields)
    upload = file_of(request.uploads)
    text = knobs.text
    if text is None:
        place = f" at {request.upstream}" if request.upstream else ""
        text = f"This is {model}{place} (simulated). You sent {upload.name} of {len(upload.content)} bytes."
    if request.fields.get("response_format") == "text":
        return Reply(kind=b"text/plain; charset=utf-8", body=text.encode() + b"\n")
    heard, said = len(upload.content) // _BYTES_PER_TOKEN, estimate_tokens(text)
    usage = {
        "type": "tokens",
        "input_tokens": heard,
        "input_token_details": {"text_tokens": 0, "audio_tokens": heard},
        "output_tokens": said,
        "total_tokens": heard + said,
    }
    return Reply(body=encode({"text": text, "usage": usage}))
