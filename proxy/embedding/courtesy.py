"""
What of a text is the same request without it: greetings, thanks and the like around it, and the marks at its end.

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
_THANKS = (
    r"thx", r"cheers", r"(?:many )?thanks(?: a lot| so much)?(?: in advance)?",
    r"thank you(?: very much| so much)?(?: in advance)?",
)  # fmt: skip
_CLOSINGS = (*_THANKS, r"please", r"pls", r"if you don't mind", r"if you can", r"if possible", r"for me")
_APPRECIATIONS = (
    r"i(?:'d| would)?(?: really)? appreciate (?:it|(?:your|the|any) help)",
    r"any help (?:is|would be)(?: much| greatly| really)? appreciated",
)
_OPENED = rf"(?:(?:{'|'.join(_OPENINGS)})\b[\s,.!:;-]*)"
_CLOSED = rf"\b(?:{'|'.join((*_CLOSINGS, *_APPRECIATIONS))})\b"
_OPENING = re.compile(rf"{_OPENED}+", re.IGNORECASE)
_CLOSING = re.compile(rf"(?:[\s,.!?;:-]*\b(?:{'|'.join(_CLOSINGS)})\b)+[\s.!?]*$", re.IGNORECASE)
_THANKED = re.compile(rf"\b(?:{'|'.join(_THANKS)})[\s.!?]*$", re.IGNORECASE)
# A sentence of its own: "help me with this function" asks for help with a function.
_HELP = re.compile(
    rf"help me with (?:this|that|the following)(?:,? (?:please|pls))?\s*[.!?:]+\s+(?=\S){_OPENED}*", re.IGNORECASE
)
# Apart from the request, since it may be what is to be translated: behind a mark or on a line of its own, and not where
# a colon leads to it; or begun by thanks in advance.
_APPRECIATION = re.compile(
    r"(?<=[^\s:])(?:[^\S\n]*[.!?,;\n][\s,.!?;-]*|\s+(?=(?:(?:many )?thanks|thank you)(?: [a-z]+)* in advance))"
    rf"(?:{_CLOSED}[\s,.!?;-]*)*\b(?:{'|'.join(_APPRECIATIONS)})\b(?:[\s,.!?;-]*{_CLOSED})*[\s.!?]*$",
    re.IGNORECASE,
)
_END_MARKS = " \t\r\n.!?…;:,。！？"
# Nobody is polite for longer than this, in characters; it bounds what a stranger's text may cost.
_LONGEST = 80
_LEAST_WORDS = 2


def without_courtesy(text: str) -> str:
    """
    The request itself; the whole text where what would be left says nothing, such as of "thanks!".

    Takes bounded time beside copying the text.
    """
    text = _after(_OPENING, text)
    rest = _before(_APPRECIATION, text)
    if not _THANKED.search(rest[-_LONGEST:]):  # else it is not apart, as in "translate: thanks, I appreciate it"
        text = rest
    text = _before(_CLOSING, text)
    text = _after(_HELP, text)
    return text.rstrip(_END_MARKS) or text


def _after(opening: re.Pattern[str], text: str) -> str:
    found = opening.match(text[:_LONGEST])
    return rest if found and _says_something(rest := text[found.end() :]) else text


def _before(closing: re.Pattern[str], text: str) -> str:
    tail = text[-_LONGEST:]
    found = closing.search(tail)
    return rest if found and _says_something(rest := text[: len(text) - len(tail) + found.start()]) else text


def _says_something(text: str) -> bool:
    return len(text[:_LONGEST].split(maxsplit=_LEAST_WORDS)) >= _LEAST_WORDS
