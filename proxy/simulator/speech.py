"""`/v1/audio/speech`: silence that lasts as long as the text, in frames that come one by one."""

from __future__ import annotations

from proxy.simulator.chat_request import read_model
from proxy.simulator.errors import Refusal, missing
from proxy.simulator.knobs import Knobs
from proxy.simulator.personas import persona_of
from proxy.simulator.prose import pieces_of
from proxy.simulator.reply import Reply, Request

FRAMES_PER_WORD = 12  # of 26 ms
# MPEG 1 layer III at 128 kbit/s and 44.1 kHz: a header, and side information that says there is no sound.
_HEADER = b"\xff\xfb\x90\x64" + bytes(32)
FRAME_BYTES = 417
_PCM_PER_WORD = bytes(2 * 24_000 * 26 * FRAMES_PER_WORD // 1000)
_KINDS = {"mp3": b"audio/mpeg", "pcm": b"audio/pcm"}


def create(request: Request, knobs: Knobs, *_: object) -> Reply:
    """`POST /audio/speech`. `x-simulate-tokens` says how many words there are."""
    fields = request.json()
    persona = persona_of(read_model(fields))
    for name in ("input", "voice"):
        if not fields.get(name):
            raise missing(name)
    form = str(fields.get("response_format") or "mp3")
    if form not in _KINDS:
        raise Refusal(
            f"Invalid value: '{form}'. Supported values are: 'mp3' and 'pcm'.", param="response_format",
            code="invalid_value",
        )  # fmt: skip
    words = len(pieces_of(str(fields["input"]))) if knobs.tokens is None else knobs.tokens
    events = [(word, _frames(word) if form == "mp3" else _PCM_PER_WORD) for word in range(words)]
    return Reply(
        kind=_KINDS[form], events=events, error_event=b"", first_token_s=persona.first_token_s,
        token_s=1 / persona.tokens_per_s,
    )  # fmt: skip


def _frames(word: int) -> bytes:
    """Frames that carry their number where nothing is played, so that no two are alike."""
    first = word * FRAMES_PER_WORD
    return b"".join(
        (_HEADER + number.to_bytes(4, "big")).ljust(FRAME_BYTES, b"\0")
        for number in range(first, first + FRAMES_PER_WORD)
    )
