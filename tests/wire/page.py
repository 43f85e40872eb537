"""The fault matrix as a page to read: what was seen when it was played."""

from __future__ import annotations

import json

import httpx

from tests.wire.faults import BREAKS, FAULTS, ODDITIES, Fault, answer_of
from tests.wire.matrix import CASES, SETUPS, Ask, Case, Played, odd_ask

_HEAD = """\
# What happens when an upstream fails

Every row is a real upstream that misbehaves at its socket in front of a real Pointsman; the tests assert each cell byte
for byte, with what each upstream saw and what was counted. `python -m tests.wire > docs/wire.md` plays all of it and
writes this page from what was seen; `pytest tests/wire` fails when the page and the product differ.

## Before there is content

Nothing has been sent yet, so another can still answer: another target of the same model, else a fallback model. A
cell tells what the client got with one target alone, with a second one, and with a fallback model; the number in
brackets is that of attempts. *Answered* is a right answer, byte for byte as the other upstream sent it; *theirs* is the
failing upstream's own answer, byte for byte; a code is that of Pointsman's own error. Unless a row says otherwise, it
is the same for a stream and for a whole answer.

| the upstream | counted as | alone | second target | fallback model |
|---|---|---|---|---|
"""
_BREAKS_HEAD = """
## After content was sent

Nobody else is asked, since two answers would be mixed. The client gets every whole event, then one event with the
error, and no `[DONE]`; OpenAI's SDKs raise an `APIError`. Of an event above 256 KB, such as one with an image, a part may
be out already. Then nothing can follow that would be read as an event: the answer is cut off.

| the upstream | counted as | the error's code |
|---|---|---|
"""
_ODD_HEAD = """
## Odd, and right

These pass byte for byte, and count as `ok`.

"""


def page(played: Played) -> str:
    """The page, as Markdown."""
    faults = "".join(_row(fault, played) for fault in FAULTS)
    breaks = "".join(
        f"| {broken.name} | `{_outcome(played, f'break-{number}')}` | {_told(played, Ask(f'break-{number}', True))} |\n"
        for number, broken in enumerate(BREAKS)
    )
    too_long = _cell_of(played.answers[Ask("small", True)]), _cell_of(played.answers[Ask("small", False)])
    odd = "".join(
        f"- {name}\n" for number, name in enumerate(ODDITIES) if played.answers[odd_ask(number, name)].is_success
    )
    faults += f"| 400, `context_length_exceeded` | `rejected` | | | by one with a larger `context`, or none: {'; '.join(dict.fromkeys(too_long))} |\n"
    return _HEAD + faults + _BREAKS_HEAD + breaks + _ODD_HEAD + odd


def _row(fault: Fault, played: Played) -> str:
    name = fault.name + {"": "", "stream": " (stream)", "whole": " (whole answer)"}[fault.only]
    cells = [_cell([case for case in CASES if case.fault is fault and case.setup == setup], played) for setup in SETUPS]
    first = next(case for case in CASES if case.fault is fault)
    return f"| {name} | `{_outcome(played, first.model)}` | {' | '.join(cells)} |\n"


def _cell(cases: list[Case], played: Played) -> str:
    told = list(dict.fromkeys(_got(case, played.answers[Ask(case.model, case.stream)]) for case in cases))
    return "; ".join(told)


def _got(case: Case, answer: httpx.Response) -> str:
    attempts = answer.headers["x-pointsman-attempts"]
    if answer.status_code == 200 and answer.content == answer_of(stream=case.stream):
        return f"answered ({attempts})"
    error = json.loads(answer.content)["error"]
    whose = "theirs" if error["message"] == "theirs" else f"`{error['code']}`"
    return f"{answer.status_code} {whose} ({attempts})"


def _cell_of(answer: httpx.Response) -> str:
    told = "answered" if answer.status_code == 200 else str(answer.status_code)
    return f"{told} ({answer.headers['x-pointsman-attempts']})"


def _outcome(played: Played, model: str) -> str:
    return next(outcome for (target, outcome) in played.counted[model] if not target.startswith("well/"))


def _told(played: Played, ask: Ask) -> str:
    if ask in played.cut:
        return "none: cut off"
    last = played.answers[ask].content.rstrip(b"\n").rsplit(b"\n\n", 1)[-1]
    return f"`{json.loads(last.removeprefix(b'data: '))['error']['code']}`"
