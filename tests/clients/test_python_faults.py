"""
The fault matrix as OpenAI's Python SDK meets it: with somebody else to answer, it meets no fault at all.

It tries nothing again itself; that is Pointsman's doing, with as many attempts as it makes by default.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.clients.calls import ask
from tests.wire.faults import BREAKS, Break
from tests.wire.matrix import CASES, Ask, Case, open_wire

REPAIRED = [case for case in CASES if case.fault.moves_on and case.setup != "one target"]
ASKS = [
    *(Ask(case.model, case.stream) for case in REPAIRED),
    *(Ask(f"break-{number}", True) for number in range(len(BREAKS))),
]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[Ask, Future[str]]:
    """What each answer said, or the error, of all calls made at once: many of them wait for something."""
    with (
        open_wire(tmp_path_factory.mktemp("certificates")) as (_, _, http),
        OpenAI(base_url=f"{http.base_url}/v1", api_key="sk-test", max_retries=0) as client,
        ThreadPoolExecutor(16) as pool,
    ):
        return {one: pool.submit(_talk, client, one) for one in ASKS}


def _talk(client: OpenAI, one: Ask) -> str:
    answer: Any = ask(client, model=one.model, stream=one.stream)
    if not one.stream:
        return str(answer.choices[0].message.content)
    text = ""
    try:
        for chunk in answer:
            text += chunk.choices[0].delta.content or ""
    except openai.APIError as error:
        error.add_note(text)  # what came before it
        raise
    return text


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in REPAIRED])
def test_a_fault_before_there_is_content_is_not_seen(said: dict[Ask, Future[str]], case: Case) -> None:
    assert said[Ask(case.model, case.stream)].result() == ("é one two" if case.stream else "é 🚀")


@pytest.mark.parametrize(
    ("number", "broken"), [pytest.param(n, broken, id=broken.name.replace(" ", "_")) for n, broken in enumerate(BREAKS)]
)
def test_a_fault_after_content_is_told_after_the_content(
    said: dict[Ask, Future[str]], number: int, broken: Break
) -> None:
    error = said[Ask(f"break-{number}", True)].exception()
    # As it is when OpenAI tells an error within a stream, and when it can tell none any more.
    assert type(error) is (openai.APIError if broken.code else openai.APIConnectionError)
    assert error.code == (broken.code or None)
    assert error.__notes__ == ["é one"]
