"""What a persona writes about a prompt; the same for the same model and request."""

import re
from hashlib import blake2b

from proxy.simulator.chat_request import ChatRequest
from proxy.simulator.personas import Persona

FRAGMENT = 80  # characters of the prompt that the answer quotes

_WORD = re.compile(r"[^\W\d_][\w'-]*")
_EMPTY_TEXT = """
    about after all also and any are because been before between both but can could did does doing explain each few
    for from function give had has have help her here his how into its just like list make me more most much need not
    now off one only other our out over please should show some such tell than that the their them then there these
    they this those three through too two under until use very want was were what when where which while who whom
    whose why will with would write you your
"""
_EMPTY_WORDS = frozenset(_EMPTY_TEXT.split())
# A piece is a word with the space before it; long ones are cut, so that JSON streams too.
_PIECE = re.compile(r"\s*\S{1,16}|\s+")


def write(persona: Persona, upstream: str, request: ChatRequest, choice: int) -> str:
    """The text of one choice: who answers, what was asked, and a few sentences about it."""
    draw = _Draw(f"{request.model}\0{request.prompt}\0{request.prompt_tokens}\0{choice}")
    topics = _topics(request.prompt)
    fewest, most = persona.sentences
    count = fewest + draw.below(most - fewest + 1)
    start = draw.below(len(persona.remarks))
    remarks = [
        persona.remarks[(start + index) % len(persona.remarks)].replace("{topic}", topics[index % len(topics)])
        for index in range(count)
    ]
    parts = [introduce(upstream, request), "\n\n", draw.one_of(persona.opening)]
    if persona.writes_code:
        parts += ["\n\n", _code(request.prompt, draw), "\n\n"]
    else:
        parts.append(" ")
    parts += [" ".join(_capitalised(remark) for remark in remarks), " ", draw.one_of(persona.closing)]
    return "".join(parts)


def introduce(upstream: str, request: ChatRequest) -> str:
    """The first lines: which model answers where, and what it was sent."""
    place = f" at {upstream}" if upstream else ""
    said = [f"This is {request.model}{place} (simulated)."]
    for count, thing in ((request.images, "image"), (request.audios, "audio clip")):
        if count:
            said.append(f"You sent {count} {thing}{'s' if count > 1 else ''}.")
    said += [f"The tool answered: “{fragment(result)}”." for result in request.tool_results]
    if request.prompt:
        said.append(f"You wrote: “{fragment(request.prompt)}”.")
    return " ".join(said)


def think(request: ChatRequest) -> str:
    """The reasoning that a model shows before its answer."""
    topic = _topics(request.prompt)[0]
    return (
        f"The user asks about {topic}. First I restate the question in my own words, then I look at the cases that "
        f"could decide it. The obvious reading of {topic} seems right, but let me check it against a small example "
        "before I answer."
    )


def fragment(text: str) -> str:
    """The beginning of a text, on one line, cut between words."""
    line = " ".join(text[: 4 * FRAGMENT].split())
    if len(line) <= FRAGMENT:
        return line
    return line[:FRAGMENT].rsplit(" ", 1)[0] + "…"


def pieces_of(text: str) -> list[str]:
    """The tokens of a text as it is streamed; joined they are the text."""
    return _PIECE.findall(text)


class _Draw:
    """Choices that depend on a text only."""

    def __init__(self, text: str) -> None:
        self._state = int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=16).digest(), "big")

    def below(self, bound: int) -> int:
        self._state, choice = divmod(self._state, bound)
        return choice

    def one_of(self, options: tuple[str, ...]) -> str:
        return options[self.below(len(options))]


def _topics(prompt: str) -> list[str]:
    """What the prompt seems to be about: pairs of neighbouring words that carry meaning first, never none."""
    topics: dict[str, None] = {}
    before = ""
    for word in _WORD.findall(prompt[:600]):
        if len(word) < 3 or word.lower() in _EMPTY_WORDS:
            before = ""
            continue
        if before:
            topics.pop(before, None)
            topics[f"{before} {word}"] = None
        else:
            topics[word] = None
        before = word
    return sorted(topics, key=lambda topic: topic.count(" "), reverse=True)[:3] or ["this"]


def _capitalised(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


_BODIES = (
    "    result = []\n    for item in items:\n        if item not in result:\n            result.append(item)\n"
    "    return result\n",
    "    if not items:\n        return None\n    return sorted(items)[len(items) // 2]\n",
    "    seen = {}\n    for index, item in enumerate(items):\n        seen.setdefault(item, index)\n    return seen\n",
)


def _code(prompt: str, draw: _Draw) -> str:
    words = [word for word in re.findall(r"[a-z]{3,}", prompt[:600].lower()) if word not in _EMPTY_WORDS]
    name = "_".join(words[:3]) or "solve"
    purpose = fragment(prompt).replace("\\", " ").replace('"', "'") or "Do what was asked."
    return f'```python\ndef {name}(items):\n    """{purpose}"""\n{draw.one_of(_BODIES)}```'
