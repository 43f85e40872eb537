"""Several keys of one upstream: their turn, their rest, and what an operator sees of it."""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from openai import OpenAI, PermissionDeniedError

from proxy.config import Config
from proxy.relay.headers import OwnHeaders
from proxy.relay.keys import Key, Keys, Rest
from proxy.relay.reply import Outcome
from proxy.relay.upstreams import Fleet, Target, open_upstreams
from tests.relay.test_health import Clock
from tests.relay.wire import MESSAGES, Exchange, House, config_of
from tests.relay.wire import house as open_house

ANSWER = b'{"choices": []}'
JSON = b"content-type: application/json"
TEXT = """
version: 1
upstreams:
  many: {base_url: "${RAW}/v1", api_keys: [sk-1, sk-2, sk-3]}
  other: {base_url: "${RAW}/v1", api_key: sk-other}
models:
  small: {target: {upstream: many, name: small}}
  large: {target: {upstream: many, name: large}}
  spread: {targets: [{upstream: many, name: spread, weight: 1000000}, {upstream: other, name: spread, weight: 0.000001}]}
rewrite: []
default: small
"""


class Keyed:
    """Pointsman before an upstream that answers each key as `says` tells."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.says: dict[str, tuple[bytes, ...]] = {}
        self.error: dict[str, Any] = {"message": "theirs"}
        house.raw.script = self._answer

    def _answer(self, exchange: Exchange) -> None:
        status, *headers = self.says.get(key_of(exchange), (b"200 OK",))
        refusal = json.dumps({"error": self.error}).encode()
        exchange.answer(ANSWER if status == b"200 OK" else refusal, *headers, status=status)

    def asked(self) -> list[str]:
        """The keys that the upstream saw, since the last look."""
        found = [key_of(exchange) for exchange in self.house.raw.exchanges]
        self.house.raw.exchanges.clear()
        return found

    def target(self, label: str) -> dict[str, Any]:
        models = self.house.http.get("/v1/targets").json()["models"]
        found: dict[str, Any] = next(
            target for model in models for target in model["targets"] if target["target"] == label
        )
        return found


def key_of(exchange: Exchange) -> str:
    return exchange.values(b"authorization")[0].decode().removeprefix("Bearer ")


@contextmanager
def keyed(text: str = TEXT, **environ: str) -> Iterator[Keyed]:
    with open_house(text, environ=environ) as house:
        yield Keyed(house)


@pytest.fixture
def upstream() -> Iterator[Keyed]:
    with keyed() as upstream:
        yield upstream


def test_requests_use_them_in_turn(upstream: Keyed) -> None:
    for _ in range(6):
        assert upstream.house.chat("small", headers={"authorization": "Bearer mine"}).content == ANSWER
    assert upstream.asked() == ["sk-1", "sk-2", "sk-3"] * 2
    told = upstream.target("many/small")
    assert (told["keys"], told["keys_resting"]) == (3, [])
    assert (upstream.target("other/spread")["keys"], upstream.target("other/spread")["keys_resting"]) == (1, [])


def _in(seconds: float) -> bytes:
    return email.utils.formatdate(time.time() + seconds, usegmt=True).encode()


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        pytest.param(lambda: [b"retry-after: 20"], 15, 20, id="seconds"),
        pytest.param(lambda: [b"retry-after: " + _in(60)], 50, 60, id="date"),
        pytest.param(lambda: [b"retry-after-ms: 20000"], 15, 20, id="milliseconds"),
        pytest.param(lambda: [b"retry-after: 86400"], 290, 300, id="a-day"),
    ],
)
def test_one_that_is_busy_rests_and_another_is_asked_at_once(
    headers: Callable[[], list[bytes]], least: float, most: float, upstream: Keyed, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.says["sk-1"] = (b"429 Busy", *headers())
    began = time.monotonic()
    answer = upstream.house.chat("small")
    assert time.monotonic() - began < 1.0
    assert (answer.content, answer.headers["x-pointsman-attempts"]) == (ANSWER, "2")
    assert upstream.asked() == ["sk-1", "sk-2"]
    upstream.house.wait_for_metric('pointsman_attempts_total{outcome="rate_limited",target="many/small"}', 1)
    assert upstream.house.metric('pointsman_attempts_total{outcome="ok",target="many/small"}') == 1
    assert upstream.house.metric('pointsman_fallbacks_total{cause="rate_limited",from="small",to="large"}') == 0
    told = upstream.target("many/small")
    assert told["state"] == "closed", "the target goes on"
    (resting,) = told["keys_resting"]
    assert (resting["key"], resting["reason"]) == (1, "rate_limited")
    assert least <= resting["rest_s"] <= most
    for _ in range(4):
        upstream.house.chat("small")
    assert upstream.asked() == ["sk-3", "sk-2", "sk-3", "sk-2"]
    assert upstream.target("many/large")["keys_resting"] == [], "limits are each model's"
    (line,) = [record for record in caplog.records if record.getMessage() == "key rests"]
    assert (line.levelno, line.__dict__["target"], line.__dict__["key"]) == (logging.WARNING, "many/small", "1 of 3")


def test_one_that_is_unknown_rests_long_everywhere_and_loudly(
    upstream: Keyed, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.says["sk-2"] = (b"401 Who",)
    for _ in range(5):
        assert upstream.house.chat("small").content == ANSWER
    assert upstream.asked() == ["sk-1", "sk-2", "sk-3", "sk-1", "sk-3", "sk-1"]
    for label in ("many/small", "many/large"):
        (resting,) = upstream.target(label)["keys_resting"]
        assert (resting["key"], resting["reason"]) == (2, "unauthorized")
        assert 290 < resting["rest_s"] <= 300
    for _ in range(2):
        upstream.house.chat("large")
    assert upstream.asked() == ["sk-1", "sk-3"]
    (line,) = [record for record in caplog.records if record.getMessage() == "key rests"]
    assert (line.levelno, line.__dict__["key"], line.__dict__["reason"]) == (logging.ERROR, "2 of 3", "unauthorized")
    assert "sk-" not in "".join(str(record.__dict__) for record in caplog.records)


def test_one_that_is_forbidden_something_again_and_again_rests_there(upstream: Keyed) -> None:
    upstream.says["sk-1"] = (b"403 Not this model",)
    for _ in range(4):
        for _ in range(2):  # by turns with sk-1 first, and with sk-3
            assert upstream.house.chat("small").content == ANSWER
        assert upstream.target("many/small")["keys_resting"] == []
    assert upstream.house.chat("small").content == ANSWER
    (resting,) = upstream.target("many/small")["keys_resting"]
    assert (resting["key"], resting["reason"], resting["rest_s"] <= 30) == (1, "forbidden", True)
    assert upstream.target("many/large")["keys_resting"] == []


LOW = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade."
REFUSALS = [
    pytest.param(402, {"message": "Insufficient Balance", "code": "invalid_request_error"}, "rate_limited", id="402"),
    pytest.param(400, {"message": LOW, "type": "invalid_request_error"}, "rate_limited", id="no-credit"),
    pytest.param(400, {"message": "No.", "code": "billing_not_active"}, "rate_limited", id="billing"),
    pytest.param(404, {"message": "No.", "code": "model_not_found"}, "forbidden", id="model"),
    pytest.param(404, {"message": "The model `small` does not exist.", "code": 404}, "forbidden", id="model-of-vllm"),
    pytest.param(404, {"message": 'model "small" not found, try pulling it'}, "forbidden", id="model-of-ollama"),
    pytest.param(404, {"message": "model: small", "type": "not_found_error"}, "forbidden", id="model-of-anthropic"),
    pytest.param(400, {"message": "No.", "code": "model_decommissioned"}, "forbidden", id="model-of-groq"),
    pytest.param(400, {"message": "No.", "type": "invalid_model", "code": "1500"}, "forbidden", id="model-of-mistral"),
    pytest.param(413, {"message": "Too large.", "type": "tokens", "code": "rate_limit_exceeded"}, "forbidden", id="size"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "error", "outcome"), REFUSALS)
def test_what_is_told_of_a_key_or_a_model_of_ours_is_no_clients_mistake(
    status: int, error: dict[str, Any], outcome: str, upstream: Keyed, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.says["sk-1"], upstream.error = (b"%d No" % status,), error
    answer = upstream.house.chat("small")
    assert (answer.content, answer.headers["x-pointsman-attempts"]) == (ANSWER, "2")
    assert upstream.asked() == ["sk-1", "sk-2"]
    upstream.house.wait_for_metric(f'pointsman_attempts_total{{outcome="{outcome}",target="many/small"}}', 1)
    rests = [resting["reason"] for resting in upstream.target("many/small")["keys_resting"]]
    assert rests == (["rate_limited"] if outcome == "rate_limited" else []), "one refusal may be about the request"
    (line,) = [record.__dict__ for record in caplog.records if record.getMessage() == "upstream refused"]
    word = error.get("code") or error.get("type") or ""
    assert (line["target"], line["status"], line["error"]) == ("many/small", status, str(word))

    upstream.says |= dict.fromkeys(("sk-2", "sk-3"), upstream.says["sk-1"])
    last = upstream.house.chat("small")
    assert (last.status_code, last.json()) == (status, {"error": error}), "nobody betters it"


def test_requests_that_are_too_large_for_our_keys_take_none_away(upstream: Keyed) -> None:
    upstream.says |= dict.fromkeys(("sk-1", "sk-2", "sk-3"), (b"413 No",))
    upstream.error = {"code": "rate_limit_exceeded"}
    for _ in range(16):
        assert upstream.house.chat("small").status_code == 413
    target = upstream.target("many/small")
    assert (target["state"], target["keys_resting"], target["error_rate"]) == ("closed", [], 0.0)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        pytest.param(400, {"message": "No.", "code": "previous_response_not_found"}, id="response"),
        pytest.param(404, {"message": "Previous response with id 'small' not found."}, id="response-by-a-models-name"),
        pytest.param(404, {"message": "Response 'r' not found.", "code": 404}, id="response-of-vllm"),
        pytest.param(404, {"message": "No such File object: model: small"}, id="file"),
        pytest.param(400, {"message": "The model `small` does not support images."}, id="what-the-model-cannot"),
        pytest.param(400, {"message": f"Invalid value: '{LOW}'.", "type": "invalid_request_error"}, id="quoted"),
        pytest.param(404, ["odd"], id="odd"),
    ],
)
def test_a_clients_mistake_is_told_at_once(status: int, error: Any, upstream: Keyed) -> None:
    upstream.says["sk-1"], upstream.error = (b"%d No" % status,), error
    answer = upstream.house.chat("small")
    assert (answer.status_code, answer.json()) == (status, {"error": error})
    assert upstream.asked() == ["sk-1"]
    upstream.house.wait_for_metric('pointsman_attempts_total{outcome="rejected",target="many/small"}', 1)


def test_a_model_that_the_client_alone_names_is_the_clients(upstream: Keyed) -> None:
    upstream.says["sk-1"], upstream.error = (b"404 No",), {"message": "No.", "code": "model_not_found"}
    answer = upstream.house.http.post("/v1/moderations", json={"model": "elsewhere", "input": "hi"})
    assert (answer.status_code, upstream.asked()) == (404, ["sk-1"])


def test_the_account_of_a_client_takes_no_key_away(upstream: Keyed) -> None:
    """As OpenAI does, the upstream refuses a key that is sent with an organization it is not of."""

    def script(exchange: Exchange) -> None:
        is_theirs = exchange.values(b"openai-organization") + exchange.values(b"openai-project")
        exchange.answer(ANSWER, status=b"401 Mismatched" if is_theirs else b"200 OK")

    upstream.house.raw.script = script
    with OpenAI(
        base_url=f"{upstream.house.url}/v1", api_key="mine", organization="org-1", project="proj-1", max_retries=0
    ) as client:
        assert client.chat.completions.create(model="small", messages=MESSAGES).choices == []  # type: ignore[arg-type]
    assert upstream.asked() == ["sk-1"]
    told = upstream.target("many/small")
    assert (told["state"], told["keys_resting"]) == ("closed", [])


class Accounts:
    """An upstream of which each key has an account of its own, and knows no other's files, responses and the like."""

    def __init__(self, upstream: Keyed) -> None:
        self._owners: dict[str, str] = {}
        upstream.house.raw.script = self._answer

    def _answer(self, exchange: Exchange) -> None:
        method, path, _ = exchange.line.decode().split(" ")
        sent = json.loads(exchange.body) if method == "POST" and exchange.body[:1] == b"{" else {}
        kept = [sent.get("previous_response_id"), sent.get("conversation"), None if method == "POST" else path[-4:]]
        kept += re.findall(r'"(?:file_id|encrypted_content)": ?"([^"]+)"', json.dumps(sent))
        if any(self._owners.get(name) != key_of(exchange) for name in kept if name is not None):
            exchange.answer(b'{"error": {"message": "not found"}}', JSON, status=b"404 Not Found")
            return
        made = f"id-{len(self._owners)}" if method == "POST" else path[-4:]
        self._owners[made] = key_of(exchange)
        exchange.answer(b'{"id": "%s", "output": [], "data": []}' % made.encode(), JSON)


def _user(*parts: dict[str, str]) -> Any:
    return {"role": "user", "content": list(parts)}


@pytest.fixture
def accounts(upstream: Keyed) -> Iterator[OpenAI]:
    Accounts(upstream)
    with OpenAI(base_url=f"{upstream.house.url}/v1", api_key="mine", max_retries=0) as client:
        yield client


def test_what_goes_on_from_a_response_is_asked_with_the_key_of_that_one(upstream: Keyed, accounts: OpenAI) -> None:
    for model in ("small", "auto"):  # insisted on, and routed
        for _ in range(4):
            first = accounts.responses.create(model=model, input="hi")
            second = accounts.responses.create(model=model, input="more", previous_response_id=first.id)
            accounts.responses.create(model=model, input="more", previous_response_id=second.id)
    seen = upstream.asked()
    assert seen[::3] == seen[1::3] == seen[2::3]
    assert set(seen) == {"sk-1", "sk-2", "sk-3"}, "those that begin use the keys in turn"


def test_so_is_reasoning_that_only_its_account_can_read(upstream: Keyed, accounts: OpenAI) -> None:
    for model in ("small", "auto"):
        for turn in range(4):
            said: Any = [{"role": "user", "content": f"{turn} for {model}"}]
            for _ in range(3):
                given = accounts.responses.create(model=model, input=said, store=False)
                said.append({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": given.id})
            accounts.responses.input_tokens.count(model=model, input=said)
            accounts.responses.compact(model="small", input=said)
    seen = upstream.asked()
    assert seen[::5] == seen[1::5] == seen[2::5] == seen[3::5] == seen[4::5]
    assert set(seen) == {"sk-1", "sk-2", "sk-3"}


@pytest.mark.parametrize("named", [{}, {"x-pointsman-model": "large"}], ids=["any-model", "always-the-same-model"])
def test_so_is_a_response_that_is_read_again(upstream: Keyed, accounts: OpenAI, named: dict[str, str]) -> None:
    client = accounts.with_options(default_headers=named)
    for _ in range(3):
        made = client.responses.create(model="auto", input="hi", background=True)
        assert client.responses.retrieve(made.id).id == made.id
        client.responses.delete(made.id)
    assert upstream.asked() == [key for key in ("sk-1", "sk-2", "sk-3") for _ in range(3)]


def test_so_are_its_tokens_when_they_are_counted_and_what_is_made_short(upstream: Keyed, accounts: OpenAI) -> None:
    for named in ({}, {"x-pointsman-model": "large"}):
        for _ in range(3):
            made = accounts.responses.create(model="auto", input="hi", extra_headers=named)
            for model in ("auto", "small"):
                accounts.responses.input_tokens.count(
                    model=model, input="more", previous_response_id=made.id, extra_headers=named
                )
            accounts.responses.input_tokens.count(input="more", previous_response_id=made.id)
            accounts.responses.compact(model="small", previous_response_id=made.id)
    assert upstream.asked() == [key for key in ("sk-1", "sk-2", "sk-3") * 2 for _ in range(5)]


def test_one_that_is_polled_stays_known_while_others_come() -> None:
    with keyed(f"{TEXT}conversation: {{cache: 4}}\n") as upstream:
        Accounts(upstream)
        with OpenAI(base_url=f"{upstream.house.url}/v1", api_key="mine", max_retries=0) as client:
            client.responses.create(model="auto", input="hi")
            made = client.responses.create(model="auto", input="polled", background=True)
            for said in ("one", "two", "three"):
                assert client.responses.retrieve(made.id).id == made.id
                client.responses.create(model="auto", input=said)


def test_so_is_what_goes_on_in_a_stored_conversation(upstream: Keyed, accounts: OpenAI) -> None:
    accounts.responses.create(model="auto", input="hi")
    for _ in range(2):
        created = accounts.conversations.create()
        for _ in range(2):
            accounts.responses.create(model="auto", input="more", conversation=created.id)
    assert set(upstream.asked()) == {"sk-1"}


def test_what_an_upstream_keeps_is_asked_with_the_first_key(upstream: Keyed, accounts: OpenAI) -> None:
    for named in ({}, {"x-pointsman-model": "large"}):
        for _ in range(2):
            made = accounts.files.create(file=("a", b"x"), purpose="user_data", extra_headers=named)
            accounts.files.retrieve(made.id, extra_headers=named)
            batch = accounts.batches.create(
                input_file_id=made.id, endpoint="/v1/responses", completion_window="24h", extra_headers=named
            )
            accounts.batches.retrieve(batch.id, extra_headers=named)
    assert upstream.asked() == ["sk-1"] * 16
    for _ in range(3):
        accounts.responses.input_tokens.count(model="small", input=[_user({"type": "input_file", "file_id": made.id})])
        edited = {"prompt": "brighter", "images": [{"file_id": made.id}]}
        assert upstream.house.http.post("/v1/images/edits", json=edited).status_code == 200
    assert upstream.asked() == ["sk-1"] * 6
    for _ in range(3):
        assert upstream.house.http.post("/v1/embeddings", json={"model": "small", "input": "x"}).status_code == 200
    assert upstream.asked() == ["sk-1", "sk-2", "sk-3"], "of which nothing is kept"


def test_so_is_what_names_it_and_insists_on_a_model_elsewhere() -> None:
    lone = "models:\n  lone: {target: {upstream: other, name: lone}}"
    with keyed(TEXT.replace("models:", lone).replace("default: small", "default: lone")) as upstream:
        Accounts(upstream)
        with OpenAI(base_url=f"{upstream.house.url}/v1", api_key="mine", max_retries=0) as client:
            named = {"x-pointsman-model": "small"}
            sent = client.files.create(file=("a", b"x"), purpose="user_data", extra_headers=named)
            said = [_user({"type": "input_file", "file_id": sent.id})]
            for _ in range(3):
                client.responses.create(model="auto", input=said, extra_headers=named)
                client.responses.create(model="large", input=said)
            assert upstream.asked() == ["sk-1"] * 7
            for _ in range(2):
                created = client.conversations.create(extra_headers=named)
                client.responses.create(model="auto", input="hi", conversation=created.id, extra_headers=named)
            assert upstream.asked() == ["sk-1"] * 4


def test_the_next_one_stands_in_for_a_key_that_rests(upstream: Keyed) -> None:
    """It knows what is kept if both are of one account; else nobody could be asked."""
    upstream.says["sk-1"] = (b"401 Who",)
    assert upstream.house.chat("small").status_code == 200
    upstream.asked()
    for _ in range(2):
        assert upstream.house.http.get("/v1/files/file-1").status_code == 200
    assert upstream.asked() == ["sk-2", "sk-2"]


def test_when_all_rest_the_target_does_until_the_first_is_back(upstream: Keyed) -> None:
    for key, seconds in (("sk-1", 30), ("sk-2", 10), ("sk-3", 20)):
        upstream.says[key] = (b"429 Busy", b"retry-after: %d" % seconds)
    answer = upstream.house.chat("spread")
    assert answer.headers["x-pointsman-target"] == "many/spread"
    assert (answer.status_code, answer.headers["x-pointsman-attempts"]) == (429, "3"), "no fourth"
    assert upstream.asked() == ["sk-1", "sk-2", "sk-3"]
    told = upstream.target("many/spread")
    assert (told["state"], told["reason"]) == ("open", "rate_limited")
    assert 5 < told["next_probe_s"] <= 10
    assert [key["key"] for key in told["keys_resting"]] == [1, 2, 3]
    assert upstream.house.chat("spread").headers["x-pointsman-target"] == "other/spread"
    assert upstream.asked() == ["sk-other"]


def test_the_last_one_standing_is_asked_with_the_key_that_is_back_first(upstream: Keyed) -> None:
    """And one that is taken though it should rest is well again."""
    for key, seconds in (("sk-1", 30), ("sk-2", 10), ("sk-3", 20)):
        upstream.says[key] = (b"429 Busy", b"retry-after: %d" % seconds)
    assert upstream.house.chat("small").status_code == 429
    upstream.says.clear()
    upstream.asked()
    assert upstream.house.chat("small").content == ANSWER
    assert upstream.asked() == ["sk-2"]
    assert [key["key"] for key in upstream.target("many/small")["keys_resting"]] == [1, 3]


def test_all_unknown_is_the_operator_s_trouble(upstream: Keyed) -> None:
    upstream.says = dict.fromkeys(("sk-1", "sk-2", "sk-3"), (b"401 Who",))
    answer = upstream.house.chat("small")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unauthorized")
    assert "sk-" not in answer.text
    assert upstream.asked() == ["sk-1", "sk-2", "sk-3"]
    told = upstream.target("many/small")
    assert (told["state"], told["in_flight"]) == ("open", 0)


def test_a_target_rests_no_longer_than_its_keys(upstream: Keyed) -> None:
    """After a moment in which a provider knew none: another model shows that it does again."""
    upstream.says = dict.fromkeys(("sk-1", "sk-2", "sk-3"), (b"401 Who",))
    assert upstream.house.chat("spread").status_code == 502
    assert upstream.house.chat("spread").headers["x-pointsman-target"] == "other/spread"
    upstream.says.clear()
    assert upstream.house.chat("large").content == ANSWER
    told = upstream.target("many/spread")
    assert (told["state"], [key["key"] for key in told["keys_resting"]]) == ("closed", [2, 3])
    assert upstream.house.chat("spread").headers["x-pointsman-target"] == "many/spread"


def test_a_target_whose_own_limits_last_rests_on(upstream: Keyed) -> None:
    """A key that another model takes has still no room left at this one."""
    upstream.says = dict.fromkeys(("sk-1", "sk-2", "sk-3"), (b"429 Busy", b"retry-after: 20"))
    assert upstream.house.chat("small").status_code == 429
    assert upstream.house.chat("large").status_code == 429
    upstream.says.clear()
    assert upstream.house.chat("large").content == ANSWER
    assert upstream.target("many/large")["state"] == "closed"
    assert upstream.target("many/small")["state"] == "open"


def test_a_request_that_is_not_liked_takes_nothing_from_the_others(upstream: Keyed) -> None:
    """As where a prompt was flagged: every key is tried, and the client is told why."""
    upstream.says = dict.fromkeys(("sk-1", "sk-2", "sk-3"), (b"403 Flagged",))
    for _ in range(4):
        with (
            OpenAI(base_url=f"{upstream.house.url}/v1", api_key="mine", max_retries=0) as client,
            pytest.raises(PermissionDeniedError, match="theirs"),
        ):
            client.chat.completions.create(model="small", messages=MESSAGES)  # type: ignore[arg-type]
        assert sorted(upstream.asked()) == ["sk-1", "sk-2", "sk-3"]
        told = upstream.target("many/small")
        assert (told["state"], told["keys_resting"]) == ("closed", [])
        upstream.says.clear()
        for _ in range(3):
            assert upstream.house.chat("small").content == ANSWER
        assert upstream.asked() == ["sk-1", "sk-2", "sk-3"]
        upstream.says = dict.fromkeys(("sk-1", "sk-2", "sk-3"), (b"403 Flagged",))
    assert upstream.house.metric('pointsman_attempts_total{outcome="forbidden",target="many/small"}') == 12
    assert upstream.house.metric('pointsman_attempts_total{outcome="unauthorized",target="many/small"}') == 0


@pytest.mark.parametrize(
    ("retry", "asked"),
    [
        pytest.param("{attempts: 2}", ["sk-1", "sk-2"], id="attempts"),
        pytest.param("{share: 0, free: 0}", ["sk-1"], id="budget"),
    ],
)
def test_another_key_is_another_attempt(retry: str, asked: list[str]) -> None:
    with keyed(f"{TEXT}retry: {retry}\n") as upstream:
        upstream.says = dict.fromkeys(("sk-1", "sk-2"), (b"429 Busy", b"retry-after: 9"))
        assert upstream.house.chat("small").status_code == 429
        assert upstream.asked() == asked


def test_requests_earn_further_attempts_by_the_share() -> None:
    with keyed(f"{TEXT}retry: {{share: 0.6, free: 0}}\n") as upstream:
        upstream.says = dict.fromkeys(("sk-1", "sk-2", "sk-3"), (b"429 Busy", b"retry-after: 0"))
        attempts = [upstream.house.chat("small").headers["x-pointsman-attempts"] for _ in range(4)]
        assert attempts == ["1", "2", "1", "2"]


LAST = """
version: 1
upstreams:
  many: {base_url: "${RAW}/v1", api_keys: [sk-1, sk-2, sk-3]}
  one: {base_url: "${RAW}/v1", api_key: sk-one}
  down: {base_url: "${RAW}/v1", api_key: sk-down}
  other: {base_url: "${RAW}/v1", api_key: sk-other}
models:
  keys: {target: {upstream: many, name: keys}, fallbacks: [tired, spare]}
  targets: {targets: [{upstream: one, name: a}, {upstream: one, name: b}, {upstream: one, name: c}], fallbacks: [spare]}
  alone: {target: {upstream: many, name: alone}, fallbacks: [tired]}
  tired: {target: {upstream: down, name: tired}}
  spare: {target: {upstream: other, name: spare}}
rewrite: []
default: spare
"""


@pytest.mark.parametrize(
    ("attempts", "model", "asked"),
    [
        pytest.param(3, "keys", ["sk-1", "sk-2", "sk-other"], id="keys"),
        pytest.param(2, "keys", ["sk-1", "sk-other"], id="keys-and-two-attempts"),
        pytest.param(1, "keys", ["sk-1"], id="one-attempt"),
        pytest.param(3, "targets", ["sk-one", "sk-one", "sk-other"], id="targets"),
        pytest.param(3, "alone", ["sk-1", "sk-2", "sk-3"], id="a-fallback-that-rests"),
    ],
)
def test_the_last_attempt_is_a_fallbacks_if_one_can_be_asked(attempts: int, model: str, asked: list[str]) -> None:
    with keyed(f"{LAST}retry: {{attempts: {attempts}}}\n") as upstream:
        busy = (b"429 Busy", b"retry-after: 60")
        upstream.says = dict.fromkeys(("sk-1", "sk-2", "sk-3", "sk-down"), busy) | {"sk-one": (b"500 No",)}
        assert upstream.house.chat("tired").status_code == 429
        upstream.asked()
        answer = upstream.house.chat(model)
        assert (answer.status_code == 200) == (asked[-1] == "sk-other")
        assert answer.headers["x-pointsman-attempts"] == str(attempts)
        assert upstream.asked() == asked


def test_another_key_is_asked_without_a_pause() -> None:
    """The pause before the same target is asked again would take 3 s on average."""
    with keyed(f"{TEXT}retry: {{free: 1000}}\n") as upstream:
        upstream.says = dict.fromkeys(("sk-1", "sk-2"), (b"429 Busy", b"retry-after: 0"))
        began = time.monotonic()
        for _ in range(20):
            assert upstream.house.chat("small").headers["x-pointsman-attempts"] == "3"
        assert time.monotonic() - began < 2.0
        assert upstream.target("many/small")["keys_resting"] == [], "they may be asked again at once"


def test_other_troubles_are_not_the_key_s(upstream: Keyed) -> None:
    upstream.says = {"sk-1": (b"500 Oh",), "sk-2": (b"400 No",)}
    answer = upstream.house.chat("small")
    assert (answer.status_code, upstream.asked()) == (400, ["sk-1", "sk-2"])
    assert upstream.target("many/small")["keys_resting"] == []


def test_a_variable_that_is_empty_is_no_key_and_keeps_its_place(caplog: pytest.LogCaptureFixture) -> None:
    text = TEXT.replace("[sk-1, sk-2, sk-3]", '["${ONE:-}", "${TWO:-}", "${THREE:-}"]')
    with keyed(text, ONE="sk-1", TWO="", THREE="sk-3") as upstream:
        upstream.says["sk-3"] = (b"401 Who",)
        for _ in range(3):
            assert upstream.house.chat("small").content == ANSWER
        assert upstream.asked() == ["sk-1", "sk-3", "sk-1", "sk-1"]
        assert upstream.target("many/small")["keys"] == 3, "so that 3 of 3 is the third that is written"
        assert [record.__dict__["key"] for record in caplog.records if record.getMessage() == "key rests"] == ["3 of 3"]
    with keyed(text) as upstream:
        assert upstream.house.chat("small", headers={"authorization": "Bearer mine"}).status_code == 200
        assert upstream.asked() == ["mine"], "as with an empty api_key"
        assert upstream.target("many/small")["keys"] == 0


# Without a server, on a clock that stands until it is moved.


def keys_of(count: int, clock: Clock) -> Keys:
    own = OwnHeaders([(b"authorization", b"x")])
    keys = [Key(number + 1, b"%d" % number, own, Rest(), Rest()) for number in range(count)]
    return Keys(keys, written=count, label="u/m", clock=clock)


def test_rests_without_a_time_double_until_the_key_is_taken() -> None:
    clock = Clock()
    keys = keys_of(2, clock)
    one = keys.pick()
    rests = []
    for _ in range(9):
        keys.refused(one, "rate_limited", None)
        rests.append(keys.standing()[0].rest_s)
        clock.now += rests[-1]
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    keys.accepted(one, despite_rest=False)
    keys.refused(one, "rate_limited", None)
    assert keys.standing()[0].rest_s == 1


def test_refusals_that_may_be_about_requests_count_in_a_row() -> None:
    keys = keys_of(2, Clock())
    one = keys.pick()
    for _ in range(2):
        for _ in range(4):
            keys.refused(one, "forbidden", None)
        assert keys.standing() == []
        keys.accepted(one, despite_rest=False)


def test_a_key_that_rests_is_passed_over_though_it_is_preferred() -> None:
    clock = Clock()
    keys = keys_of(3, clock)
    keys.refused(keys.pick(key_hash=b"1"), "rate_limited", 20)
    assert [keys.pick(key_hash=b"1").position for _ in range(3)] == [1, 3, 1]
    clock.now += 20
    assert keys.pick(key_hash=b"1").position == 2
    assert keys.standing() == [], "its rest is over"


def test_where_all_rest_one_that_was_not_tried_is_asked_before_one_that_is_back_sooner() -> None:
    keys = keys_of(2, Clock())
    one, other = keys.pick(), keys.pick()
    keys.refused(one, "rate_limited", 5)
    keys.refused(other, "rate_limited", 20)
    for choose in (keys.pick, keys.first):
        assert (choose(), choose({one}), choose({one, other})) == (one, other, one)


def test_an_answer_to_an_earlier_request_does_not_end_a_rest() -> None:
    keys = keys_of(2, Clock())
    one = keys.pick()
    keys.refused(one, "rate_limited", 20)
    keys.accepted(one, despite_rest=False)
    assert keys.rests(one)
    keys.accepted(one, despite_rest=True)
    assert not keys.rests(one)


def test_a_later_and_shorter_rest_does_not_shorten_an_earlier() -> None:
    keys = keys_of(2, Clock())
    one = keys.pick()
    keys.refused(one, "rate_limited", 20)
    keys.refused(one, "rate_limited", 5)
    keys.refused(one, "rate_limited", 0)
    assert [standing.rest_s for standing in keys.standing()] == [20]


async def _targets(config: Config, fleet: Fleet) -> Target:
    """The one target of the config, as a reload makes it."""
    fleet.adopt(config)
    async with open_upstreams(
        config, lambda upstream: httpx.MockTransport(lambda request: httpx.Response(200)), fleet
    ) as found:
        return found.all_targets()[0]


def _config(keys: str, at: str = "http://u/v1") -> Config:
    return config_of(
        f"version: 1\nupstreams: {{u: {{base_url: '{at}', {keys}}}}}\n"
        "models: {m: {target: {upstream: u, name: m}}}\ndefault: m\n"
    )


async def _over_reloads() -> None:
    clock = Clock()
    fleet = Fleet(clock=clock)
    first = await _targets(_config("api_keys: [sk-1, sk-2]"), fleet)
    first.keys.refused(first.keys.pick(), "unauthorized", None)
    second = await _targets(_config("api_keys: [sk-0, sk-2, sk-1]"), fleet)
    assert [key.position for key in second.keys.standing()] == [3], "it is known by what it is, not by its place"
    assert "sk-" not in str(vars(fleet)), "nor is it known by itself"
    for _ in range(2):
        second.keys.refused(second.keys.pick(), "unauthorized", None)
    second.health.rests(second.keys.rest_s, "unauthorized")
    assert not second.health.is_available
    same = await _targets(_config("api_keys: [sk-0, sk-2, sk-1]"), fleet)
    assert not same.health.is_available
    changed = await _targets(_config("api_keys: [sk-0, sk-2, sk-new]"), fleet)
    assert changed.health.is_available, "a target that rested for its keys does not rest for others"
    assert changed.keys.pick().position == 3


def test_rests_outlive_a_reload_and_end_with_the_keys_they_were_for() -> None:
    asyncio.run(_over_reloads())


async def _at_another_address() -> None:
    fleet = Fleet(clock=Clock())
    keys = "api_keys: [sk-1, sk-2]"
    here = await _targets(_config(keys), fleet)
    here.keys.refused(here.keys.pick(), "unauthorized", None)
    fleet.guests.limited(here.label, b"guest", 60.0)
    there = await _targets(_config(keys, "http://other/v1"), fleet)
    assert not there.keys.standing()
    assert fleet.guests.rest_s(there.label, b"guest") == 0.0
    through_a_proxy = await _targets(_config(f"{keys}, proxy: 'http://proxy:3128'"), fleet)
    assert not through_a_proxy.keys.standing()
    back = await _targets(_config(keys), fleet)
    assert [key.position for key in back.keys.standing()] == [1]


def test_rests_of_keys_and_clients_are_those_at_one_address() -> None:
    asyncio.run(_at_another_address())


async def _with_another_key(outcome: Outcome, where: str) -> bool:
    """Whether a target that failed so is well once it has another key there."""
    fleet = Fleet(clock=Clock())
    target = await _targets(_config(where.replace("KEY", "sk-1")), fleet)
    for _ in range(5):
        target.health.failed(outcome)
    again = await _targets(_config(where.replace("KEY", "sk-2")), fleet)
    assert again.health is target.health
    return again.health.is_available


@pytest.mark.parametrize("where", ["api_key: KEY", "headers: {api-key: KEY}", "query: {key: KEY}"])
@pytest.mark.parametrize(("outcome", "is_well"), [("unauthorized", True), ("forbidden", True), ("unreachable", False)])
def test_another_key_ends_a_rest_for_the_key_and_makes_no_dead_server_well(
    outcome: Outcome, is_well: bool, where: str
) -> None:
    assert asyncio.run(_with_another_key(outcome, where)) == is_well
