"""
What of a text is the same request without it: greetings and thanks around it, and the marks at its end.

"Could you please fix this loop? Thanks!" asks for what "fix this loop" asks for, and must take the same route. The
network sees more in such words than there is: a `?` left out moved one route in eight, a thank-you one in six
(`python -m bench.stability`). The words are English ones, the marks anybody's.
"""

from __future__ import annotations

import re

_OPENINGS = (
    r"hi(?: there)?", r"hello(?: there)?", r"hey(?: there)?", r"good (?:morning|afternoon|evening)",
    r"ok", r"okay", r"so", r"well", r"please", r"pls", r"kindly", r"excuse me", r"sorry",
    r"(?:could|can|would|will) you(?: please| kindly)?", r"would you mind", r"(?:could|would) you be so kind as to",
    r"i (?:would|need|want)(?: like)? you to", r"i'd like you to",
    r"i(?:'d| would) (?:be grateful|appreciate it) if you could",
)  # fmt: skip
_CLOSINGS = (
    r"please", r"pls", r"thx", r"cheers", r"(?:many )?thanks(?: a lot| so much)?(?: in advance)?",
    r"thank you(?: very much| so much)?(?: in advance)?",
    r"if you don't mind", r"if you can", r"if possible", r"for me",
)  # fmt: skip
_OPENING = re.compile(rf"(?:(?:{'|'.join(_OPENINGS)})\b[\s,.!:;-]*)+", re.IGNORECASE)
_CLOSING = re.compile(rf"(?:[\s,.!?;:-]*\b(?:{'|'.join(_CLOSINGS)})\b)+[\s.!?]*$", re.IGNORECASE)
_END_MARKS = " \t\r\n.!?…;:,。！？"
# Nobody is polite for longer than this, in characters; it bounds what a stranger's text may cost.
_LONGEST = 80
_LEAST_WORDS = 2


def without_courtesy(text: str) -> str:
    """
    The request itself; the whole text where what would be left says nothing, such as of "thanks!".

    Takes bounded time beside copying the text.
    """
    opening = _OPENING.match(text[:_LONGEST])
    if opening and _says_something(rest := text[opening.end() :]):
        text = rest
    tail = text[-_LONGEST:]
    closing = _CLOSING.search(tail)
    if closing and _says_something(rest := text[: len(text) - len(tail) + closing.start()]):
        text = rest
    return text.rstrip(_END_MARKS) or text


def _says_something(text: str) -> bool:
    return len(text[:_LONGEST].split(maxsplit=_LEAST_WORDS)) >= _LEAST_WORDS
