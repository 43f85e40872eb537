"""`pointsman train` and `evaluate`, from lines to a file that decides."""

from __future__ import annotations

import gzip
import json
import os
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result

from proxy.cli import main
from proxy.learning.preparing import OUTPUT_TOKENS
from proxy.learning.reading import MOST_LINE, read_rated
from proxy.learning.training_rows import LEAST_CHANCE
from proxy.reload.policies import read_policy
from proxy.routing.policy import ALWAYS_SINGLE
from proxy.routing.policy_file import pack, unpack
from tests.config.files import BASE
from tests.learning.made import made


def lines(count: int = 150, *, seed: int = 0, **options: Any) -> list[dict[str, Any]]:
    rows = made(count, seed=seed, **options)
    return [
        {
            "prompt": f"question {seed} {number}",
            "vector": rows.inputs[number, :768].tolist(),
            "scores": dict(zip(rows.models, rows.scores[number].tolist(), strict=True)),
            "costs": dict(zip(rows.models, rows.costs[number].tolist(), strict=True)),
        }
        for number in range(count)
    ]


def write(path: Path, rows: list[Any]) -> Path:
    content = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments], env={"POINTSMAN_CONFIG": None})


def test_a_policy_is_written_with_its_proof(trained: Path, tmp_path: Path) -> None:
    data, out = write(tmp_path / "rated.jsonl.gz", lines()), tmp_path / "policy.npz"
    told = run("train", data, "--out", out, "--folds", 3, "--json", "--plot", tmp_path / "p.svg")
    assert (told.exit_code, told.stderr) == (0, "")
    found = json.loads(told.stdout)
    policy = read_policy(out)
    assert policy is not None
    assert (found["version"], found["reason"], found["single"]) == (policy.version, None, "large")
    assert (policy.about["forced"], policy.about["rows"]) == (False, 150)
    assert policy.about["gain"] == found["gain"] > 0
    assert unpack(trained.read_bytes()).about["gain"] != found["gain"], "of the same requests, held out in two folds"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    picture = ElementTree.fromstring((tmp_path / "p.svg").read_text())
    assert picture.tag.endswith("svg")
    assert "prefers-color-scheme: dark" in (tmp_path / "p.svg").read_text()

    told = run("evaluate", out, write(tmp_path / "others.jsonl", lines(80, seed=9)), "--json")
    found = json.loads(told.stdout)
    assert (told.exit_code, found["version"], found["left_out"], found["rows"]) == (0, policy.version, 0, 80)
    told = run("evaluate", out, data)
    assert (told.exit_code, "was trained on each of these requests" in told.stderr) == (2, True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    told = run("train", write(folder / "rated.jsonl", lines()), "--out", folder / "policy.npz", "--folds", 2)
    assert told.exit_code == 0, told.output
    return folder / "policy.npz"


def test_the_model_that_is_compared_is_the_one_that_is_named(trained: Path, tmp_path: Path) -> None:
    """The best single model is the one that training chose, whatever is best on the other requests."""
    others = [{**each, "scores": {**each["scores"], "small": 1}} for each in lines(60, seed=9)]
    told = run("evaluate", trained, write(tmp_path / "others.jsonl", others), "--json")
    found = json.loads(told.stdout)
    quality = {each["model"]: each["quality"] for each in found["models"]}
    assert (found["single"], found["single_quality"]) == ("large", quality["large"])
    best = found["settings"]["quality"]
    assert best["above_single"] == pytest.approx(best["quality"] - quality["large"], abs=1e-3)


def test_a_dear_choice_saves_less_than_nothing_between_its_bounds(trained: Path, tmp_path: Path) -> None:
    others = [{**each, "costs": {"small": 0.015, "large": 0.01, "coder": 0.012}} for each in lines(60, seed=9)]
    data = write(tmp_path / "others.jsonl", others)
    setting = json.loads(run("evaluate", trained, data, "--json").stdout)["settings"]["balanced"]
    low, high = setting["saved_interval"]
    assert low < setting["saved"] < high < 0
    assert f"({low:.0%} to {high:.0%})" in run("evaluate", trained, data).stdout


def test_what_is_never_reached_or_not_known_is_null(trained: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "few.jsonl", lines(30, seed=10))
    whole, nearly = json.loads(run("evaluate", trained, data, "--json").stdout)["saved"]
    assert (whole["saved"], whole["interval"]) == (None, None)
    assert nearly["interval"][0] is None
    assert 0.8 < nearly["saved"] < nearly["interval"][1] < 1
    shown = run("evaluate", trained, data).stdout
    assert re.search(r"saved at 100% of best single +never *\n", shown)
    assert re.search(r"saved at 95% of best single +\d\d\.\d% \(never to \d\d%\)", shown)
    data = write(tmp_path / "free.jsonl", [each | {"costs": {}} for each in lines(60)])
    found = json.loads(run("train", data, "--out", tmp_path / "p.npz", "--folds", 2, "--json").stdout)
    assert [each["interval"] for each in found["saved"]] == [None, None]
    assert {each["saved_interval"] for each in found["settings"].values()} == {None}


def test_of_few_requests_it_says_so(trained: Path, tmp_path: Path) -> None:
    assert "say little" not in run("evaluate", trained, write(tmp_path / "30.jsonl", lines(30, seed=9))).stdout
    told = run("evaluate", trained, write(tmp_path / "29.jsonl", lines(29, seed=9)))
    assert "few: the intervals of fewer than 30 requests say little" in told.stdout


def test_of_one_text_in_two_domains_nothing_is_held_out(trained: Path, tmp_path: Path) -> None:
    rows = [each | {"domain": domain} for each, domain in zip(lines(1, seed=9) * 2, ("law", "tax"), strict=True)]
    told = run("evaluate", trained, write(tmp_path / "same.jsonl", rows), "--json")
    assert (told.exit_code, told.stderr) == (0, ""), "no warning of numpy's either"
    assert json.loads(told.stdout)["true_domain"] is None


def test_a_picture_that_cannot_be_written_is_told(trained: Path, tmp_path: Path) -> None:
    data, picture = write(tmp_path / "others.jsonl", lines(60, seed=9)), tmp_path / "none" / "p.svg"
    told = run("evaluate", trained, data, "--plot", picture)
    assert (told.exit_code, told.stdout) == (2, "")
    assert f"{picture}: there is no folder {picture.parent}." in told.stderr


def test_one_who_knows_the_true_domain_stands_beside_the_policy(tmp_path: Path) -> None:
    rated = lines()
    plain = run("train", write(tmp_path / "a.jsonl", rated), "--out", tmp_path / "plain.npz", "--json")
    assert json.loads(plain.stdout)["true_domain"] is None
    for number, each in enumerate(rated):  # the domain says all: which model is right, and which is cheap
        each["domain"] = "even" if number % 2 == 0 else "odd"
        each["scores"] = {"small": (number + 1) % 2, "large": number % 2}
        each["costs"] = {"small": 0.001, "large": 0.01}
    data, out = write(tmp_path / "b.jsonl", rated), tmp_path / "policy.npz"
    knowing = json.loads(run("train", data, "--out", out, "--json", "--force").stdout)["true_domain"]
    assert knowing["quality"] == 1.0
    assert knowing["saved"][0]["saved"] > 0
    told = run(
        "evaluate", out, write(tmp_path / "c.jsonl", [{**each, "vector": each["vector"][::-1]} for each in rated])
    )
    assert "one who knows the true domain" in told.stdout


def test_the_table_names_each_model_whole_and_what_is_compared_with(tmp_path: Path) -> None:
    names = {
        each: f"a-model-with-a-name-as-long-as-those-of-today-20241022-{each}" for each in ("small", "large", "coder")
    }
    rows = lines(120)
    for row in rows:
        row["scores"] = {names[name]: score for name, score in row["scores"].items()}
        row["costs"] = {names[name]: usd for name, usd in row["costs"].items()}
    told = run("train", write(tmp_path / "r.jsonl", rows), "--out", tmp_path / "p.npz", "--folds", 2)
    assert all(name in told.stdout for name in names.values())
    assert "-0%" not in told.stdout
    assert re.search(r"best single +0\.\d{4} +\d", told.stdout)

    for number, row in enumerate(rows):  # one is best on all of them, and the other on those of the other fold
        row["scores"] = {"a": number % 2, "b": (number + 1) % 2}
        row["costs"] = {}
    data = write(tmp_path / "even.jsonl", rows)
    told = run("train", data, "--out", tmp_path / "q.npz", "--folds", 3, "--seed", 1)
    assert "best single: a or b, as it is chosen without the requests that it is measured on" in told.stdout
    found = json.loads(run("train", data, "--out", tmp_path / "q.npz", "--folds", 3, "--seed", 1, "--json").stdout)
    assert found["singles"] == ["a", "b"]
    assert found["models"][0]["quality"] == 0.5
    assert found["single_quality"] < 0.5
    assert "'a' or 'b' alone" in found["reason"]


def test_a_policy_that_learned_nothing_is_refused_unless_forced(tmp_path: Path) -> None:
    rows = lines(150)
    scores = [row["scores"] for row in rows]
    for row, other in zip(rows, reversed(scores), strict=True):
        row["scores"] = {"small": other["small"], "large": 1.0, "coder": other["coder"]}
        row["costs"] = dict.fromkeys(row["costs"], 0.01)
    data, out = write(tmp_path / "rated.jsonl", rows), tmp_path / "policy.npz"
    told = run("train", data, "--out", out, "--folds", 2)
    assert told.exit_code == 1
    assert "No better than what there is" in told.stdout
    assert not out.exists()
    told = run("train", data, "--out", out, "--folds", 2, "--force")
    assert told.exit_code == 0
    policy = read_policy(out)
    assert policy is not None
    assert policy.about["forced"] is True


def test_every_bad_line_is_told(tmp_path: Path) -> None:
    bad = [
        "{",
        "[1]",
        {"prompt": "x"},
        {"scores": {"a": 1}},
        {"prompt": "x", "scores": {"a": 1.5}},
        '{"prompt": "x", "scores": {"a": NaN}}',
        {"prompt": "x", "scores": {"a": "good"}},
        {"prompt": "x", "scores": {"a": 1}, "costs": {"a": -1}},
        {"prompt": "x", "scores": {"a": 1}, "propensity": 0},
        {"vector": [1, 2], "scores": {"a": 1}},
        {"prompt": "", "scores": {"a": 1}},
        {"prompt": "x", "scores": {}},
        {"vector": [1e30] * 768, "scores": {"a": 1}},
        {"vector": [1e-44] * 768, "scores": {"a": 1}},
        {"vector": [1e300] * 768, "scores": {"a": 1}},
        {"prompt": "\ud800", "vector": [1] * 768, "scores": {"a": 1}},
        {"prompt": "x", "scores": {"[/b]": 1}},
        {"prompt": "x", "scores": {"\ud800": "?"}},
        {"prompt": "x", "scores": {"a": 1}, "costs": {"\x1b[31m": 1}},
        '{"prompt": "' + "x" * MOST_LINE + '"}',
        '{"prompt": "x", "scores": {"a": 1, "b": 0, "a": 0}}',
        {"prompt": "x", "scores": {"a": 1}, "costs": {"a": 1e300}},
        {"prompt": "x", "scores": {"a": 7}},
    ]
    told = run("train", write(tmp_path / "r.jsonl", bad), "--out", tmp_path / "p.npz")
    assert (told.exit_code, len(told.stderr.splitlines())) == (2, len(bad) + 1)
    for number, what in enumerate(
        (
            "not JSON", "not an object", "'scores' is missing", "'prompt' is missing", "1.5 is outside 0 to 1",
            "NaN is not a number", '"good" is not a number', "-1 is outside 0 to 1,000,000", "'propensity' is not", "list of 768 numbers",
            "nothing is looked at", "no scores", "list of 768 numbers", "list of 768 numbers", "list of 768 numbers",
            "an escape in 'prompt' means half", "'[/b]' is not a name", r"'\ud800' is not a name", r"'\x1b[31m' is not",
            "longer than 16,777,216 bytes", "'a' stands twice in one object", "1e+300 is outside", "7 is outside 0 to 1",
        ),
        start=1,
    ):  # fmt: skip
        assert any(f"r.jsonl:{number}:1" in line and what in line for line in told.stderr.splitlines()), what


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        pytest.param([], (), "no rated requests", id="empty"),
        pytest.param(lines(10), (), "10 different requests; at least 50 are needed", id="ten-rows"),
        pytest.param(lines(), ("--models", "small"), "only one model", id="one-model"),
        pytest.param(lines(), ("--models", "small,larg"), "did you mean 'large'?", id="unknown-model"),
        pytest.param(
            [row | {"costs": {"smal": 1}} for row in lines(60)],
            (),
            "no line has a score of 'smal', which some have a cost of; did you mean 'small'?",
            id="costs-of-an-unknown-model",
        ),
        pytest.param(
            [row | {"scores": {"a": 1, "b": 1}, "costs": {}} for row in lines(60)],
            (),
            "every score is 1",
            id="one-class-only",
        ),
        pytest.param(
            [row | {"scores": {"a": i % 2, "b": i % 2}, "costs": {}} for i, row in enumerate(lines(60))],
            (),
            "the same score on every request",
            id="no-difference",
        ),
        pytest.param(
            [*lines(60), lines(1, seed=1)[0] | {"scores": {"smal": 1}, "costs": {}}],
            (),
            "too few have 'smal' (1); did you mean 'small'?",
            id="a-model-that-is-mistyped-once",
        ),
        pytest.param(["{"] * 200, (), "the rest was not read", id="no-end-of-mistakes"),
        pytest.param(lines(10) * 20, (), "10 different requests", id="duplicates"),
    ],
)
def test_what_cannot_be_learned_from(rows: list[Any], options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    told = run("train", write(tmp_path / "r.jsonl", rows), "--out", tmp_path / "p.npz", *options)
    assert (told.exit_code, told.stdout) == (2, "")
    assert said in told.stderr
    assert not (tmp_path / "p.npz").exists()


def test_a_cut_gzip_and_a_missing_file(tmp_path: Path) -> None:
    data = write(tmp_path / "r.jsonl.gz", lines(60))
    data.write_bytes(data.read_bytes()[:2000])
    assert "gzip is damaged or cut short" in run("train", data).stderr
    assert "cannot be read: No such file" in run("train", tmp_path / "none").stderr


def test_of_a_long_file_it_is_told_how_far_it_is_read(tmp_path: Path) -> None:
    told: list[int] = []
    data = write(tmp_path / "r.jsonl", [{"prompt": f"question {n}", "scores": {"a": n % 2}} for n in range(2_500)])
    read_rated(data, limit=10, tell=told.append)
    assert told == [1_000, 2_000]


def test_a_sample_has_as_many_of_the_first_lines_as_of_the_last(tmp_path: Path) -> None:
    data = write(tmp_path / "r.jsonl", [{"prompt": f"{n}", "scores": {"a": n % 2}} for n in range(2_000)])
    found = [int(one.prompt) for one in read_rated(data, limit=400).rows]
    assert len(set(found)) == 400
    assert all(70 <= count <= 130 for count in np.bincount(np.array(found) // 500))


def test_what_was_all_but_never_drawn_is_not_all_that_is_heard(tmp_path: Path) -> None:
    data = write(tmp_path / "r.jsonl", [{"prompt": "x", "scores": {"a": 1}, "propensity": 1e-300}])
    assert read_rated(data).rows[0].weight == 1 / LEAST_CHANCE


def test_what_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    data, pipe = write(tmp_path / "r.jsonl", lines(60)), tmp_path / "pipe"
    os.mkfifo(pipe)
    before = data.read_bytes()
    for options, said in (
        (("--out", tmp_path / "none" / "p.npz"), f"there is no folder {tmp_path / 'none'}."),
        (("--out", tmp_path), "is a folder; name a file in it"),
        (("--out", data), "never was a policy; name another file with --out"),
        (("--out", pipe), "is a pipe, a socket or a device; name a file"),
        (("--plot", tmp_path / "none" / "p.svg"), f"there is no folder {tmp_path / 'none'}."),
        (("--plot", tmp_path / "p.png"), "the picture is an SVG; give it a name that ends in .svg"),
        (("--seed", -1), "-1 is not in the range x>=0"),
    ):
        told = run("train", data, "--out", tmp_path / "p.npz", *options)
        assert (told.exit_code, told.stdout) == (2, ""), options
        assert said in " ".join(told.stderr.split()), options
    assert {path.name for path in tmp_path.iterdir()} == {"r.jsonl", "pipe"}
    assert data.read_bytes() == before
    assert pipe.is_fifo()


def test_what_a_link_leads_to_is_written(tmp_path: Path) -> None:
    data, real, link = write(tmp_path / "r.jsonl", lines(60)), tmp_path / "real" / "target.npz", tmp_path / "link.npz"
    link.symlink_to("real/target.npz")
    told = run("train", data, "--out", link, "--folds", 2, "--force")
    assert (told.exit_code, told.stdout) == (2, "")
    assert f"there is no folder {real.parent}." in " ".join(told.stderr.split())
    real.parent.mkdir()
    for seed in (0, 1):  # there is nothing yet, and there is a policy
        before = read_policy(real)
        assert run("train", data, "--out", link, "--folds", 2, "--force", "--seed", seed).exit_code == 0
        after = read_policy(real)
        assert after is not None
        assert before is None or before.version != after.version
        assert link.is_symlink()
        assert [path.name for path in real.parent.iterdir()] == ["target.npz"]


def test_a_policy_for_others_is_no_incumbent(tmp_path: Path) -> None:
    old, data = tmp_path / "old.npz", write(tmp_path / "r.jsonl", lines(150))
    assert run("train", data, "--out", old, "--models", "small,coder", "--folds", 2, "--force").exit_code == 0
    policy = read_policy(old)
    assert policy is not None
    other, out = tmp_path / "other.npz", tmp_path / "p.npz"
    other.write_bytes(pack(replace(policy, embedder="another")))
    for incumbent, options, said in (
        (old, (), "it does not know 'large'; it knows 'small', 'coder'"),
        (old, ("--models", "small,large"), "it does not know 'large'; it knows 'small', 'coder'"),
        (other, (), "it was trained on vectors of 'another', and here runs 'all-MiniLM-L6-v2"),
    ):
        told = run("train", data, "--incumbent", incumbent, "--out", out, *options)
        assert (told.exit_code, told.stdout) == (2, "")
        assert f"{incumbent}: {said}" in told.stderr
    assert not out.exists()
    told = run("train", data, "--out", old, "--folds", 3)
    assert told.exit_code == 0
    assert f"warning: {old}: it does not know 'large'" in told.stderr
    told = run("train", data, "--out", old, "--folds", 3, "--models", "large,small", "--force")
    assert "it knows 'coder' too, and rated are 'large', 'small'; what is trained is not compared" in told.stderr


def test_a_policy_that_its_routes_would_refuse_is_warned_of(tmp_path: Path) -> None:
    routes = tmp_path / "routes.yaml"
    coder = "models:\n  coder: {target: {upstream: openai, name: c}}\n"
    learned = "routes: [{name: r, use: {learned: [small, large, coder]}}]\n"
    routes.write_text(BASE.replace("models:\n", coder) + learned)
    data, out = write(tmp_path / "r.jsonl", lines(60)), tmp_path / "p.npz"
    told = run("train", data, "--out", out, "-c", routes, "--folds", 2, "--force", "--models", "small,large")
    assert told.exit_code == 0
    said = "its learned routes choose 'coder' too, of which no score is given; it will refuse this policy"
    assert told.stderr.splitlines() == [f"warning: {routes}: {said}"]
    out.unlink()
    assert run("train", data, "--out", out, "-c", routes, "--folds", 2, "--force").stderr == ""


def test_a_model_that_routes_yaml_does_not_have_is_told_with_its_line(tmp_path: Path) -> None:
    routes, out = tmp_path / "routes.yaml", tmp_path / "p.npz"
    routes.write_text(BASE)
    rows = [row | {"scores": {"small": 1 - n % 2, "large": n % 2}, "costs": {}} for n, row in enumerate(lines(60))]
    rows[40]["scores"]["Large"] = rows[40]["scores"].pop("large")
    rows[50]["scores"]["Large"] = 1
    rows[17]["scores"]["reasoner"] = 1
    options = ("--out", out, "-c", routes, "--folds", 2, "--force")
    told = run("train", write(tmp_path / "r.jsonl", rows), *options)
    assert (told.exit_code, told.stdout, out.exists()) == (2, "", False)
    for line, said in (
        (18, "'reasoner'; there are 'small' and 'large'. To leave it out: --models small,large"),
        (41, "'Large'; did you mean 'large'? To leave it out: --models small,large"),
    ):
        assert f"r.jsonl:{line}:1 scores: routes.yaml has no model {said}\n" in told.stderr
    assert run("train", tmp_path / "r.jsonl", *options, "--models", "small,large").exit_code == 0
    assert run("train", tmp_path / "r.jsonl", *options, "--models", "small,Large,reasoner").exit_code == 2, "too few"


@pytest.mark.parametrize("priced", ["small", "large", "coder"])
def test_costs_of_some_models_alone_are_said_not_to_count(priced: str, tmp_path: Path) -> None:
    rows = [row | {"costs": {priced: row["costs"][priced]}} for row in lines(60)]
    options = (write(tmp_path / "r.jsonl", rows), "--out", tmp_path / "p.npz", "--folds", 2, "--force")
    told = run("train", *options, "--json")
    others = [repr(name) for name in ("small", "large", "coder") if name != priced]
    assert f"no cost is known of {' or '.join(others)}, so those of the others do not count" in told.stderr
    assert json.loads(told.stdout)["single_cost"] is None
    told = run("train", *options)
    assert not {"never", "cheapest"} & set(re.findall(r"\w+", told.stdout)), "of what is not known nothing is said"


def test_costs_are_made_of_prices_and_an_expected_length(tmp_path: Path) -> None:
    """Of a line that is a vector alone the prompt is taken to be as long as the others are."""
    routes, out = tmp_path / "routes.yaml", tmp_path / "p.npz"
    prices = {"small": (1.0, 3.0), "large": (20.0, 50.0)}
    text = BASE
    for name, (usd_in, usd_out) in prices.items():
        text = text.replace(f"{name}: {{", f"{name}: {{price: {{input: {usd_in}, output: {usd_out}}}, ")
    routes.write_text(text)
    for seed, command, options, length in (
        (0, "train", ("--models", "small,large", "--out", out, "--folds", 2, "--force", "--output-tokens", 50), 50),
        (9, "evaluate", (), OUTPUT_TOKENS),
    ):
        rows = [row | {"costs": {}} for row in lines(60, seed=seed)]
        for row in rows[::3]:
            del row["prompt"]
        data = write(tmp_path / f"{seed}.jsonl", rows)
        read = float(np.nanmean([one.tokens for one in read_rated(data).rows]))
        told = run(command, *(() if command == "train" else (out,)), data, "-c", routes, *options, "--json")
        assert (told.exit_code, told.stderr) == (0, "")
        found = {each["model"]: each["cost"] for each in json.loads(told.stdout)["models"]}
        assert found == pytest.approx({name: (i * read + o * length) / 1e3 for name, (i, o) in prices.items()})


def test_without_any_cost_it_is_said_that_prefer_means_nothing(tmp_path: Path) -> None:
    data = write(tmp_path / "r.jsonl", [row | {"costs": {}} for row in lines(60)])
    told = run("train", data, "--out", tmp_path / "p.npz", "--folds", 2, "--force")
    assert "no costs are known, so `prefer` chooses by quality alone" in told.stderr


def test_where_costs_are_missing_a_policy_that_knows_them_is_measured_by_what_it_expects(
    trained: Path, tmp_path: Path
) -> None:
    data = write(tmp_path / "others.jsonl", [row | {"costs": {}} for row in lines(80, seed=9)])
    told = run("evaluate", trained, data, "--json")
    assert "no cost is known of 'small', 'large' or 'coder'; what the policy expects stands for it" in told.stderr
    assert json.loads(told.stdout)["settings"]["quality"]["cost"] > 0


def test_where_what_is_written_leaves_all_to_the_best_single_model_is_told(tmp_path: Path) -> None:
    """The figures are those of policies that were trained on fewer requests, which may have decided otherwise."""
    random, rows = np.random.default_rng(5), lines(100, seed=5, learnable=False)
    for row in rows:
        row["scores"]["large"] = float(random.random() < 0.6)
        del row["prompt"]
    data, out = write(tmp_path / "r.jsonl", rows), tmp_path / "p.npz"
    found = json.loads(run("train", data, "--out", out, "--folds", 2, "--force", "--json").stdout)
    policy = unpack(out.read_bytes())
    begins = policy.single_from
    assert begins is not None, "the subject of this test"
    assert found["single_from"] == begins
    is_single = policy.prefer[:, 1] >= ALWAYS_SINGLE
    assert is_single[round(100 * begins) :].all()
    assert not is_single[round(100 * begins) - 1]
    told = run("train", data, "--out", tmp_path / "q.npz", "--folds", 2, "--force")
    assert f"takes 'small' for every request from prefer {begins:g} on" in told.stdout


def test_on_what_the_incumbent_was_compared_is_told(tmp_path: Path) -> None:
    first, out = write(tmp_path / "first.jsonl", lines(200, seed=4)), tmp_path / "p.npz"
    told = run("train", first, "--out", out, "--folds", 2, "--json")
    assert (told.exit_code, json.loads(told.stdout)["incumbent"]) == (0, None)
    gain = 100 * json.loads(told.stdout)["gain"]
    again = run("train", first, "--out", out, "--folds", 2, "--seed", 1)
    assert "Incumbent: the incumbent has seen all but 0 of these requests" in again.stdout
    assert f"held out, when it was trained: {gain:+.2f} points" in again.stdout
    other = write(tmp_path / "other.jsonl", lines(200, seed=5))
    assert "Incumbent: compared with the incumbent on the 200 of these" in run("train", other, "--out", out).stdout


def test_a_damaged_policy_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "p.npz"
    out.write_bytes(b"PK, and no more")
    told = run("train", write(tmp_path / "r.jsonl", lines(150)), "--out", out, "--folds", 3)
    assert told.exit_code == 0
    assert "warning" in told.stderr
    assert "damaged, or no policy" in told.stderr
    assert read_policy(out) is not None


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
def test_a_pipe_is_read_to_its_end(tmp_path: Path, name: str) -> None:
    """As `train <(...)` makes one."""
    rows = [{"prompt": f"question {number}", "scores": {"a": number % 2}} for number in range(2_000)]
    content = write(tmp_path / name, rows).read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    try:
        read = read_rated(pipe)
    finally:
        writer.join()
    assert (read.found, read.rows[0].prompt) == (2_000, "question 0")


def test_of_a_long_file_a_sample_is_learned_from(tmp_path: Path) -> None:
    data = write(tmp_path / "r.jsonl", lines(200))
    found = json.loads(run("train", data, "--limit", 100, "--folds", 2, "--json", "--out", tmp_path / "p").stdout)
    assert (found["read"], found["rows"]) == (200, 100)


def test_a_broken_incumbent(tmp_path: Path) -> None:
    broken = tmp_path / "old.npz"
    broken.write_bytes(b"PK")
    told = run("train", write(tmp_path / "r.jsonl", lines(60)), "--incumbent", broken, "--out", tmp_path / "p")
    assert (told.exit_code, "damaged, or no policy" in told.stderr) == (2, True)


def test_a_missing_incumbent_is_a_mistake_and_no_verdict(tmp_path: Path) -> None:
    data = write(tmp_path / "r.jsonl", lines(60))
    told = run("train", data, "--out", tmp_path / "p.npz", "--incumbent", tmp_path / "none.npz")
    assert (told.exit_code, told.stdout) == (2, "")
    assert "none.npz: no such file, so nothing to beat" in told.stderr
