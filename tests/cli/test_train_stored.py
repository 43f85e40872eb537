"""`pointsman train` and `evaluate` on the store, from decisions that a server kept to a file that decides better."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.config import Text
from proxy.embedding.shipped_model import minilm, minilm_name
from proxy.learning.logged import ALONE, BY_ANOTHER, NO_VECTOR, OTHER_MODELS, UNDRAWN
from proxy.reload.policies import read_policy
from proxy.routing.policy_file import pack
from tests.cli.test_train import lines, run
from tests.cli.test_train import write as write_lines
from tests.learning.logs import changed, in_conversations, log, write

GOOD_CHOICE = 0.9
"""What a model earns that is chosen by the kind of text; `large` alone earns 0.85."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A route that explores, and decisions of every sort that nothing can be learned from."""
    of_no_use = [
        *changed(log(6, seed=1), propensity=1.0),
        *changed(log(5, seed=2), answered="stand-in"),
        *changed(log(4, seed=3), vector=None),
        *changed(log(3, seed=4), model="rare", answered="rare", route="everyday"),
        *changed(log(30, seed=5), model="small", answered="small", route="narrow"),
    ]
    unrated = [(decision, None) for decision, _ in log(20, seed=6)]
    return write(tmp_path_factory.mktemp("store") / "store.db", [*log(280), *of_no_use, *unrated])


@pytest.fixture(scope="module")
def trained(store: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("policy") / "policy.npz"
    told = run("train", "--store", store, "--out", out, "--folds", 2, "--json")
    assert (told.exit_code, told.stderr) == (0, "")
    return out, json.loads(told.stdout)


def test_a_better_policy_is_written_with_its_proof(trained: tuple[Path, dict[str, Any]]) -> None:
    out, found = trained
    assert found["rows"] == 280
    assert found["left_out"] == {UNDRAWN: 6, BY_ANOTHER: 5, NO_VECTOR: 4, OTHER_MODELS: 3, ALONE: 30}
    assert {each["model"]: each["rated"] > 40 for each in found["models"]} == dict.fromkeys(
        ("coder", "large", "small"), True
    )
    for setting in (found["settings"]["balanced"], found["at_logged_cost"]):
        assert setting["quality"]["low"] < GOOD_CHOICE < setting["quality"]["high"]
        assert setting["inverse_propensity"]["low"] < GOOD_CHOICE < setting["inverse_propensity"]["high"]
        assert setting["enough"]
        assert setting["over_logged"]["low"] > 0
        assert setting["cost"] <= found["logged"]["cost"]
    (route,) = found["routes"]
    assert (route["route"], route["rows"], route["enough"]) == ("everyday", 280, True)
    policy = read_policy(out)
    assert policy is not None
    assert (policy.version, policy.models) == (found["version"], ("coder", "large", "small"))
    assert (policy.about["from"], policy.about["forced"]) == ("store", False)


def test_the_policy_in_use_stays_where_the_new_one_is_no_better(
    store: str, trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """It has seen all of these decisions, so what it told of itself then is what there is to beat."""
    policy = read_policy(trained[0])
    assert policy is not None
    old, new = tmp_path / "old.npz", tmp_path / "new.npz"
    old.write_bytes(pack(replace(policy, about={"over_logged": 0.5})))
    told = run("train", "--store", store, "--incumbent", old, "--out", new, "--folds", 2, "--limit", 240)
    assert told.exit_code == 1, told.output
    assert "points over what was decided, and the incumbent +50.00" in " ".join(told.stdout.split())
    assert re.search(r"what was decided: \S+ \S+, USD \S+ per 1,000\n", told.stdout)
    assert not new.exists()


def test_a_policy_is_evaluated_on_decisions_that_it_has_not_seen(
    trained: tuple[Path, dict[str, Any]], store: str, tmp_path: Path
) -> None:
    out, _ = trained
    told = run("evaluate", out, "--store", store)
    assert (told.exit_code, "was trained on each of these decisions" in told.stderr) == (2, True)
    later = write(tmp_path / "later.db", [*log(280)[:20], *log(300, seed=21)])
    told = run("evaluate", out, "--store", later, "--json")
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert (found["rows"], found["seen"]) == (300, 20)
    quality = found["settings"]["balanced"]["quality"]
    assert quality["low"] < GOOD_CHOICE < quality["high"]
    shown = run("evaluate", out, "--store", write(tmp_path / "few.db", log(12, seed=10)))
    assert (shown.exit_code, "(few)" in shown.stdout) == (0, True)


def test_a_policy_may_know_models_that_were_never_drawn(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    without = [one for one in log(200, seed=3) if one[0].model != "coder"]
    told = run("evaluate", trained[0], "--store", write(tmp_path / "store.db", without), "--json")
    assert told.exit_code == 0, told.output
    found = {each["model"]: each for each in json.loads(told.stdout)["models"]}
    assert (found["coder"]["rated"], found["coder"]["enough"], found["coder"]["cost"]) == (0, False, None)
    assert set(found["coder"]["taken"].values()) == {0.0}
    others = write(tmp_path / "others.db", changed(without, model="x", answered="x"))
    told = run("evaluate", trained[0], "--store", others)
    assert (told.exit_code, "left out: not of these models" in told.stderr) == (2, True)


def test_the_turns_of_a_conversation_count_as_one(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """What 400 decisions tell is known; what as many turns of 50 conversations tell is not enough for a policy."""
    found, urls = {}, {}
    for count in (1, 50, 400):
        decisions = in_conversations(log(400, seed=12, explore=0.45), count)
        urls[count] = write(tmp_path / f"of-{count}.db", decisions)
        told = run("evaluate", trained[0], "--store", urls[count], "--json")
        assert told.exit_code == 0, told.stderr
        found[count] = json.loads(told.stdout)
        assert found[count]["conversations"] == count
    one, some, all_apart = (found[count]["at_logged_cost"] for count in (1, 50, 400))
    assert one["quality"]["value"] == some["quality"]["value"] == all_apart["quality"]["value"]
    assert (one["quality"]["low"], one["enough"], one["effective"] <= 1.0) == (None, False, True)
    assert (some["enough"], all_apart["enough"]) == (False, True)
    assert some["effective"] < 50 < all_apart["effective"]
    assert f" {one['quality']['value']:.3f} " in run("evaluate", trained[0], "--store", urls[1]).stdout
    told = run("train", "--store", urls[50], "--out", tmp_path / "p.npz", "--folds", 2)
    assert (told.exit_code, "(of 50 conversations, each counting as one)" in told.stdout) == (1, True), told.output
    assert not (tmp_path / "p.npz").exists()


def test_without_chance_there_is_nothing_to_learn(tmp_path: Path) -> None:
    url, out = write(tmp_path / "store.db", log(80, explore=0.0)), tmp_path / "p.npz"
    told = run("train", "--store", url, "--out", out, "--force")
    assert told.exit_code == 2
    assert "of 80 rated decisions none was drawn" in told.stderr
    assert "explore: 0.02" in told.stderr
    assert not out.exists()
    mixed = write(tmp_path / "mixed.db", [*changed(log(6), propensity=1.0), *changed(log(4, seed=3), vector=None)])
    told = run("train", "--store", mixed, "--out", out)
    assert told.exit_code == 2
    assert f"none of 10 rated decisions can be learned from; left out: {UNDRAWN} (6), {NO_VECTOR} (4)" in told.stderr


@pytest.mark.parametrize(
    ("decisions", "options", "said"),
    [
        pytest.param([], (), "no rated decisions to look at; POST /v1/feedback", id="empty"),
        pytest.param(log(10), ("--models", "large,small"), "10 rated|different requests; at least 50", id="ten-rows"),
        pytest.param([(one, 1.0) for one, _ in log(150)], (), "every score is 1", id="one-class-only"),
        pytest.param(
            log(150),
            ("--models", "large,smal"),
            "no rated decision drew 'smal'; did you mean 'small'?",
            id="unknown-model",
        ),
        pytest.param(in_conversations(log(150), 49), (), "of 49 conversations|prompt_cache_key", id="conversations"),
        pytest.param(log(150), ("--since", "1h"), " (UTC): it has no rated decisions to look at", id="too-old"),
        pytest.param(log(150), ("--route", "other"), ", of route 'other': it has no rated", id="another-route"),
        pytest.param(changed(log(60), vector=None), (), "the text was not looked at (60)", id="no-vectors"),
    ],
)
def test_what_cannot_be_learned_from(decisions: Any, options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    told = run("train", "--store", write(tmp_path / "store.db", decisions), "--out", tmp_path / "p.npz", *options)
    assert (told.exit_code, told.stdout) == (2, ""), told.output
    assert any(each in told.stderr for each in said.split("|")), told.stderr
    assert not (tmp_path / "p.npz").exists()


def test_outcomes_stand_in_for_feedback_where_asked(tmp_path: Path) -> None:
    url = write(tmp_path / "store.db", [(one, None) for one, _ in log(150)])
    assert "--implicit takes outcomes instead" in run("train", "--store", url).stderr
    assert "every score is 1" in run("train", "--store", url, "--implicit").stderr


ROUTES = """
version: 1
store: sqlite:///{file}
upstreams: {{sim: {{base_url: "http://127.0.0.1:1/v1"}}}}
models:
  small: {{target: {{upstream: sim, name: s}}}}
  large: {{target: {{upstream: sim, name: l}}}}
default: small
routes:
  - name: everyday
    use: {use}
"""


@pytest.mark.parametrize(
    "use",
    [
        pytest.param("{learned: [small, large], explore: 0.02}", id="learned"),
        pytest.param("{split: {large: 50, learned: 50}, learned: [small]}", id="experiment"),
        pytest.param("{split: {large: 50, small: 50}}", id="split"),
    ],
)
def test_the_store_and_the_models_are_those_of_routes_yaml(use: str, tmp_path: Path) -> None:
    write(tmp_path / "store.db", log(60))
    file = tmp_path / "routes.yaml"
    file.write_text(ROUTES.format(file=tmp_path / "store.db", use=use))
    told = run("train", "--store", "-c", file, "--out", tmp_path / "p.npz")
    coders = sum(one.model == "coder" for one, _ in log(60))
    assert told.exit_code == 2
    assert f"there are {60 - coders} different requests; at least 50 are needed" in told.stderr
    assert told.stderr.endswith(f"left out: not of these models ({coders})\n")


def test_a_model_that_nobody_drew_yet_is_told_with_the_way_out(tmp_path: Path) -> None:
    """Though its name is near to one that was drawn: routes.yaml has it."""
    write(tmp_path / "store.db", [one for one in log(60) if one[0].model != "coder"])
    file = tmp_path / "routes.yaml"
    file.write_text(
        ROUTES.replace("default:", "  larger: {{target: {{upstream: sim, name: x}}}}\ndefault:").format(
            file=tmp_path / "store.db", use="{learned: [small, larger, large], explore: 0.02}"
        )
    )
    told = run("train", "--store", "-c", file, "--out", tmp_path / "p.npz")
    assert told.exit_code == 2
    assert "no rated decision drew 'larger'; `explore` in its route, or a split that has it" in told.stderr
    assert "did you mean" not in told.stderr
    (named,) = re.findall(r"(--models) (\S+) trains for routes of these alone", told.stderr)
    told = run("train", "--store", "-c", file, "--out", tmp_path / "p.npz", *named)
    assert "different requests; at least 50 are needed" in told.stderr


def test_wrong_ways_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where no routes.yaml is
    data, secret = write_lines(tmp_path / "r.jsonl", lines(3)), "postgresql://name:hunter2@host"
    for arguments, said in (
        (("train",), "Give either LABELLED"),
        (("train", data, "--store", "sqlite:///x.db"), "Give either LABELLED"),
        (("train", data, "--since", "30d"), "--since goes with --store only"),
        (("train", data, "--implicit"), "--implicit goes with --store only"),
        (("train", "--store", "sqlite:///x.db", "--since", "a month"), "'a month' is no duration such as 12h or 30d"),
        (("train", "--store", "sqlite:///x.db", "--plot", "x.svg"), "--plot needs LABELLED"),
        (("train", "--store"), "Which store?"),
        (("train", "--store", secret), "needs a host and a database"),
        (("train", "--store", "none"), "keeps nothing"),
        (("train", "--store", f"sqlite:///{tmp_path / 'none.db'}"), "no such file"),
        (("evaluate", tmp_path / "p.npz", "--store", "sqlite:///x.db"), "no such file"),
        (("evaluate", "routes.yaml", data, "-c", "routes.yaml"), "-c goes with a POLICY"),
    ):
        told = run(*arguments)
        assert told.exit_code == 2, "1 says that what was trained is no better"
        assert said in " ".join(told.stderr.split()), arguments
        assert "hunter2" not in told.output


def test_a_policy_of_another_embedder_is_refused_by_both_names(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, _ = trained
    file = tmp_path / "routes.yaml"
    file.write_text(ROUTES.format(file=tmp_path / "store.db", use="small") + "text: {max_tokens: 64}\n")
    told = run("evaluate", out, "--store", "-c", file)
    assert told.exit_code == 2
    for name in (minilm_name(64), minilm_name(Text().max_tokens)):
        assert repr(name) in told.stderr


def test_where_one_model_is_rated_more_often_that_is_told(tmp_path: Path) -> None:
    decisions = log(900, seed=20)
    even = [(one, rating if at % 3 else None) for at, (one, rating) in enumerate(decisions)]
    loud = [(one, rating if at % 3 or one.model == "small" else None) for at, (one, rating) in enumerate(decisions)]
    reports = []
    for name, kept in (("even", even), ("loud", loud)):
        url, out = write(tmp_path / f"{name}.db", kept), tmp_path / f"{name}.npz"
        told = run("train", "--store", url, "--out", out, "--folds", 2, "--force")
        again = run("train", "--store", url, "--out", out, "--folds", 2, "--force", "--json")
        reports.append((json.loads(again.stdout), "rated are not as many of each model's decisions" in told.stdout))
    (found, is_told), (uneven, is_told_of_loud) = reports
    assert (found["uneven"], is_told, uneven["uneven"], is_told_of_loud) == (False, False, True, True)
    shares = {each["model"]: each for each in uneven["shares"]}
    assert shares["small"]["rated"] == shares["small"]["drawn"] == sum(one.model == "small" for one, _ in decisions)
    assert shares["large"]["rated"] < 0.8 * shares["large"]["drawn"]
    assert found["incumbent"] is not None, "the one that was written just before"
    assert "has seen all but 0 of these requests" in found["incumbent"]


def test_the_same_prompts_are_known_in_a_file_and_in_the_store(tmp_path: Path) -> None:
    """By what the embedding model sees: neither case nor a courtesy makes another request of one."""
    texts = [f"How many {thing} weigh {number} kilos?" for thing in ("pears", "cats", "cars") for number in range(20)]
    scores = [{"small": at % 2, "large": at % 3 > 0} for at in range(len(texts))]
    file, said_otherwise = (
        write_lines(
            tmp_path / name, [{"prompt": say(text), "scores": of} for text, of in zip(texts, scores, strict=True)]
        )
        for name, say in (("file.jsonl", str), ("otherwise.jsonl", lambda text: f"please, {text.lower()} Thanks!"))
    )
    model = minilm(Text().max_tokens)
    decisions = [
        changed([(one, float(of[name]))], model=name, answered=name, vector=model.embed(text))[0]
        for at, ((one, _), text, of) in enumerate(zip(log(len(texts)), texts, scores, strict=True))
        for name in [("small", "large")[at // 2 % 2]]
    ]
    store = write(tmp_path / "store.db", decisions)
    for source in ((file,), ("--store", store)):
        out = tmp_path / f"{len(source)}.npz"
        told = run("train", *source, "--out", out, "--force", "--folds", 2)
        assert told.exit_code == 0, told.output
        told = run("evaluate", out, "--store", store)
        assert (told.exit_code, "was trained on each of these decisions" in told.stderr) == (2, True), told.output
        for same in (file, said_otherwise):
            told = run("evaluate", out, same)
            assert (told.exit_code, "was trained on each of these requests" in told.stderr) == (2, True), told.output
    told = run(
        "train", "--store", store, "--incumbent", tmp_path / "1.npz", "--out", tmp_path / "new.npz", "--folds", 2
    )
    assert "the incumbent has seen all but 0 of these requests" in " ".join(told.stdout.split())

    both = tmp_path / "both.jsonl"
    both.write_bytes(file.read_bytes() + said_otherwise.read_bytes())
    told = run("train", both, "--out", tmp_path / "both.npz", "--force", "--folds", 2)
    assert "120 requests, 60 of them different" in told.stdout
