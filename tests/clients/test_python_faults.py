"""
The fault matrix as OpenAI's Python SDK meets it: with somebody else to answer, it meets no fault at all.

It tries nothing again itself; that is Pointsman's doing, with as many attempts as it makes by default.
"""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI

from tests.clients.calls import messages
from tests.wire.faults import BREAKS, Break
from tests.wire.stage import CASES, Case, open_stage

REPAIRED = [case for case in CASES if case.fault.moves_on and case.setup != "one target"]
WHOLE, STREAMED = "é 🚀", "é one two"


@pytest.fixture(scope="module")
def client() -> Iterator[OpenAI]:
    with open_stage() as stage, OpenAI(base_url=stage.url + "/v1", api_key="sk-test", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in REPAIRED])
def test_a_fault_before_there_is_content_is_not_seen(client: OpenAI, case: Case) -> None:
    if case.stream:
        chunks = list(client.chat.completions.create(model=case.model, messages=messages(), stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == STREAMED
    else:
        answer = client.chat.completions.create(model=case.model, messages=messages(), stream=False)
        assert answer.choices[0].message.content == WHOLE


@pytest.mark.parametrize(
    ("number", "broken"), [pytest.param(n, broken, id=broken.name.replace(" ", "_")) for n, broken in enumerate(BREAKS)]
)
def test_a_fault_after_content_is_told_after_the_content(client: OpenAI, number: int, broken: Break) -> None:
    said = ""
    with pytest.raises(openai.APIError) as caught:
        for chunk in client.chat.completions.create(model=f"break-{number}", messages=messages(), stream=True):
            said += chunk.choices[0].delta.content or ""
    assert type(caught.value) is openai.APIError  # as it is when OpenAI tells an error within a stream
    assert caught.value.code == broken.code
    assert said == "é one"
