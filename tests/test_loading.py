"""Starts of the whole app with a folder for vectors: what is embedded, what the log says, how requests are decided."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from proxy.app import build_app
from proxy.config import Config
from proxy.embedding import MiniLM, Vector
from proxy.reload.loading import LoadingLog
from proxy.reload.prepare import prepare, texts_of
from proxy.reload.source import ConfigSource
from tests.relay.wire import WordModel, config_of
from tests.serving import serving

ROUTES = """
version: 1
upstreams: {nobody: {base_url: "http://127.0.0.1:9/v1"}}
models: {cheap: {target: {upstream: nobody, name: c}}, dear: {target: {upstream: nobody, name: d}}}
default: cheap
embedding: {deadline: 20s}
topics:
  code: {examples: [fix the bug in my code, write code for a loop]}
  law: {examples: [draft a contract, is the clause valid]}
complexity: {simple: [add one and one], complex: [prove that it halts]}
routes:
  - {name: code, when: {topic: code}, use: dear}
tests:
  - {prompt: the loop in my code, route: code}
  - {prompt: is it valid, route: default}
"""
EXAMPLES = {
    "fix the bug in my code", "write code for a loop", "draft a contract", "is the clause valid", "code", "law",
    "add one and one", "prove that it halts",
}  # fmt: skip
TESTED = {"the loop in my code", "is it valid"}
TEXTS = EXAMPLES | TESTED
PROMPTS = ("fix my loop", "a clause in a contract", "nothing of that kind")


class CountingModel(WordModel):
    """Remembers what was embedded for the file, and not for a request."""

    def __init__(self, name: bytes = b"words") -> None:
        self.texts: list[str] = []
        self._name = name

    def fingerprint(self) -> bytes:
        return self._name

    def embed(self, text: str) -> Vector:
        if text != "warm up" and text not in PROMPTS:
            self.texts.append(text)
        return super().embed(text)


class Started:
    def __init__(self, http: httpx.Client, model: CountingModel) -> None:
        self._http = http
        self.model = model

    def embedded(self) -> set[str]:
        assert len(set(self.model.texts)) == len(self.model.texts), "a text was embedded twice"
        return set(self.model.texts)

    def decisions(self) -> list[tuple[str, Any, Any]]:
        """Every figure of some decisions, to the last digit."""
        found = []
        for prompt in PROMPTS:
            body = {"model": "auto", "messages": [{"role": "user", "content": prompt}]}
            told = self._http.post("/v1/route", params={"signals": "all"}, json=body).json()
            found.append((told["route"], told["topics"], told["complexity"]))
        return found

    def reloads(self, result: str) -> float:
        series = f'pointsman_config_reloads_total{{result="{result}"}} '
        (line,) = (line for line in self._http.get("/metrics").text.splitlines() if line.startswith(series))
        return float(line.removeprefix(series))


@contextmanager
def start(
    cache_dir: Path | None, text: str = ROUTES, *, name: bytes = b"words", path: Path | None = None
) -> Iterator[Started]:
    model = CountingModel(name)

    def load(config: Config) -> MiniLM:
        return model

    source = None if path is None else ConfigSource(path, {})
    config = config_of(text) if source is None else source.load()
    app = build_app(config, load_model=load, source=source, poll_s=0.02, cache_dir=cache_dir)
    with serving(app) as served, httpx.Client(base_url=served.url, timeout=20) as http:
        yield Started(http, model)


def logged(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    return [record.__dict__ for record in caplog.records if record.getMessage() == event]


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_the_second_start_embeds_nothing_and_decides_to_the_last_digit_alike(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with start(None) as without, start(tmp_path) as first, start(tmp_path) as second:
        assert (without.embedded(), first.embedded(), second.embedded()) == (TEXTS, TEXTS, set())
        assert without.decisions() == first.decisions() == second.decisions()
        assert {route for route, _, _ in second.decisions()} == {"code", "default"}
    told = [(line["from_cache"], line["embedded"]) for line in logged(caplog, "examples embedded")]
    assert told == [(0, 10), (0, 10), (10, 0)]
    assert [line["from"] for line in logged(caplog, "topics fitted")] == ["examples", "examples", "disk"]
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_a_changed_example_is_the_only_one_to_be_embedded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with start(tmp_path):
        pass
    with start(tmp_path, ROUTES.replace("draft a contract", "end a contract")) as changed:
        assert changed.embedded() == {"end a contract"}
    with start(tmp_path) as again:
        assert again.embedded() == set(), "the old ones are still there"
    assert (logged(caplog, "examples embedded")[1]["from_cache"]) == 9


def test_another_model_embeds_all(tmp_path: Path) -> None:
    for name in (b"words", b"other words"):
        with start(tmp_path, name=name) as started:
            assert started.embedded() == TEXTS
    with start(tmp_path) as again:
        assert again.embedded() == set()


def test_a_reload_fills_the_folder_too_and_reads_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, cache = tmp_path / "routes.yaml", tmp_path / "cache"

    def write(text: str) -> None:
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(path)

    changed = ROUTES.replace("draft a contract", "end a contract")
    write(ROUTES)
    with start(cache, path=path) as started:
        before = started.embedded()
        write(changed)
        while not started.reloads("ok"):
            assert not started.reloads("error")
        assert started.embedded() - before == {"end a contract"}
    (line,) = logged(caplog, "config reloaded")
    assert (line["embedded"], line["from_cache"]) == (1, 0)
    with start(cache, path=path) as again:
        write(ROUTES)
        while not again.reloads("ok"):
            assert not again.reloads("error")
        assert again.embedded() == set(), "not the examples, not those of before, not the tests' prompts"
    assert logged(caplog, "config reloaded")[1]["from_cache"] == 1
    assert [line["fit_from"] for line in logged(caplog, "config reloaded")] == ["examples", "disk"]


def test_a_reload_that_changes_no_example_fits_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(ROUTES)
    with start(None, path=path) as started:
        before = started.decisions()
        for count, text in enumerate((ROUTES.replace("use: dear", "use: cheap"), ROUTES), start=1):
            fresh = path.with_suffix(".new")
            fresh.write_text(text)
            fresh.replace(path)
            while started.reloads("ok") < count:
                assert not started.reloads("error")
        assert started.decisions() == before
    assert [line["fit_from"] for line in logged(caplog, "config reloaded")] == ["memory", "memory"]


@pytest.mark.parametrize("trouble", ["a file where the folder should be", "a file of another program"])
def test_a_folder_that_cannot_be_used_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    if trouble == "a file of another program":
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "pointsman-vectors.bin").write_text("mine")
    else:
        (tmp_path / "cache").write_text("mine")
    with start(tmp_path / "cache") as started, start(None) as without:
        assert started.embedded() == TEXTS
        assert started.decisions() == without.decisions()
    (warning,) = [record for record in caplog.records if record.levelno > logging.INFO]
    assert warning.getMessage() == "cache unusable"
    assert str(tmp_path / "cache" / "pointsman-vectors.bin") in warning.__dict__["problem"]


def test_a_file_without_texts_says_and_writes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with start(tmp_path / "cache", ROUTES[: ROUTES.index("topics:")]):
        pass
    assert not logged(caplog, "examples embedded")
    assert not (tmp_path / "cache").exists()


def test_all_that_a_config_needs_is_embedded_beforehand() -> None:
    """What is missing from the list would be embedded one by one, beside the cache."""
    config = config_of(ROUTES)
    model = WordModel()
    known = {text: model.embed(text) for text in texts_of(config, tests=True)}

    def embed(text: str) -> Vector:
        raise AssertionError(text)

    assert prepare(config, embed, known).wrong_tests() == []
    assert set(texts_of(config)) == EXAMPLES
    assert known.keys() - EXAMPLES == TESTED
    assert all(np.isfinite(row).all() for row in known.values())


def test_a_long_start_says_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    log = LoadingLog(every_s=0)
    for done in (0, 128, 256, 300):
        log.embedding(done, 300)
    assert [(line["done"], line["texts"]) for line in logged(caplog, "embedding examples")] == [(128, 300), (256, 300)]
    log = LoadingLog()
    log.embedding(0, 300)
    log.embedding(128, 300)
    assert len(logged(caplog, "embedding examples")) == 2, "a quick one says nothing"
