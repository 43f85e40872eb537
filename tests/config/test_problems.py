"""Problems in words, in order, once."""

import msgspec
import pytest

from proxy.config.problems import (
    MAX_PROBLEMS,
    ConfigError,
    Path,
    Place,
    Problem,
    Report,
    TooMany,
    choices,
    did_you_mean,
    quote,
    show_path,
)


def test_a_line_has_the_place_the_path_and_the_way_out() -> None:
    problem = Problem("routes.yaml", 41, 5, "routes[2].whem", "unknown key; did you mean 'when'?")
    assert str(problem) == "routes.yaml:41:5 routes[2].whem: unknown key; did you mean 'when'?"
    assert str(Problem("routes.yaml", 3, 1, "", "not YAML")) == "routes.yaml:3:1 not YAML"
    assert str(Problem("routes.yaml", 0, 0, "", "no such file")) == "routes.yaml: no such file"
    assert msgspec.json.decode(msgspec.json.encode(problem), type=Problem) == problem


def test_an_error_is_ordered_by_place() -> None:
    one, two, three = (Problem("x", line, 1, "", "m") for line in (2, 10, 1))
    error = ConfigError([one, two, three])
    assert error.problems == (three, one, two)
    assert str(error) == "x:1:1 m\nx:2:1 m\nx:10:1 m"


def test_a_report_says_nothing_twice_and_knows_all_that_is_unsound() -> None:
    report = Report("x")
    report.add(Place(2, 1), ("a",), "m")
    report.add(Place(2, 1), ("b",), "m")
    assert [problem.path for problem in report.problems] == ["a"]
    assert report.unsound() == {(), ("a",), ("b",)}


def test_a_report_is_full_at_a_thousand_and_says_so_first() -> None:
    report = Report("x")
    for line in range(MAX_PROBLEMS):
        report.add(Place(line + 1, 2), (), "m")
        report.add(Place(line + 1, 2), (), "m")
    with pytest.raises(TooMany):
        report.add(Place(1, 2), (), "another")
    first, *others = ConfigError(report.problems).problems
    assert str(first) == "x:1:1 more than 1,000 problems; the 1,000 found first follow"
    assert len(others) == MAX_PROBLEMS


def test_a_report_knows_what_is_unsound() -> None:
    report = Report("x")
    report.unless_empty()
    report.add(Place(1, 1), ("a", 2, "b"), "m")
    assert report.unsound() == {(), ("a",), ("a", 2), ("a", 2, "b")}
    with pytest.raises(ConfigError):
        report.unless_empty()


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ((), ""),
        (("routes", 2, "when"), "routes[2].when"),
        (("models", "gpt-4.1", "target"), "models['gpt-4.1'].target"),
        (("models", "a\x1bb"), "models['a\\x1bb']"),
        ((0, "a"), "[0].a"),
        (("a" * 200,), "['" + "a" * 57 + "...']"),
    ],
)
def test_paths(path: Path, shown: str) -> None:
    assert show_path(path) == shown


def test_quotes_are_one_short_line() -> None:
    assert quote("a\nb\x1b[31m") == r"'a\nb\x1b[31m'"
    assert len(quote("x" * 1000)) == 62


def test_choices() -> None:
    assert choices([]) == ""
    assert choices(["a"]) == "a"
    assert choices(["a", "b"]) == "a or b"
    assert choices(["a", "b", "c"], last="and") == "a, b and c"
    assert choices(map(str, range(14))).endswith("11 and 2 more")


def test_guesses() -> None:
    assert did_you_mean("Smal", ["large", "Small"]) == "Small"
    assert did_you_mean("x", ["large", "Small"]) is None
    assert did_you_mean("x" * 1000, ["x" * 1001]) is None
