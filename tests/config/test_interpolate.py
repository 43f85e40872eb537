"""`${NAME}`: what comes in, what stays out of sight."""

import pytest

from proxy.config import ConfigError, parse_config
from proxy.config.interpolate import substitute
from proxy.config.problems import Place
from proxy.config.tree import Scalar
from tests.config.files import BASE, ENVIRON, add, problems, put


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(
            put("default: small", "default: ${MODEL}"),
            [
                "7:10 default: the variable MODEL is not set; set it, give a default with ${MODEL:-...}, or write $${MODEL} for the text itself",
            ],
            id="unset",
        ),
        pytest.param(
            put("default: small", "default: ${A}-${B}"),
            [
                "7:10 default: the variable A is not set; set it, give a default with ${A:-...}, or write $${A} for the text itself",
                "7:10 default: the variable B is not set; set it, give a default with ${B:-...}, or write $${B} for the text itself",
            ],
            id="two-unset-in-one",
        ),
        pytest.param(
            put("default: small", "default: ${A-b}"),
            [
                "7:10 default: '${' begins no variable: write ${NAME}, ${NAME:-default}, or $${ for the two characters",
            ],
            id="malformed",
        ),
        pytest.param(
            put("default: small", "default: ${MODEL"),
            [
                "7:10 default: '${' begins no variable: write ${NAME}, ${NAME:-default}, or $${ for the two characters",
            ],
            id="unclosed",
        ),
        pytest.param(
            put("default: small", "default: ${A:-${B}}"),
            [
                "7:10 default: '${' begins no variable: write ${NAME}, ${NAME:-default}, or $${ for the two characters",
                "7:10 default: the variable B is not set; set it, give a default with ${B:-...}, or write $${B} for the text itself",
            ],
            id="nested",
        ),
        pytest.param(
            add('text: {turns: "${SECRET}"}\n'),
            [
                "8:15 text.turns: expected a whole number, found ${SECRET}",
            ],
            id="of-wrong-type",
        ),
        pytest.param(
            add('text: {turns: "${BIG}"}\n'),
            [
                "8:15 text.turns: ${BIG} is outside 1 to 32",
            ],
            id="outside-limits",
        ),
        pytest.param(
            put("default: small", "default: ${SECRET}"),
            [
                "7:10 default: no model is called ${SECRET}; there are 'small' and 'large'",
            ],
            id="unknown-name",
        ),
        pytest.param(
            put("default: small", "default: ${NEAR}"),
            [
                "7:10 default: no model is called ${NEAR}; there are 'small' and 'large'",
            ],
            id="not-near-names",
        ),
        pytest.param(
            put("https://api.openai.com/v1", '"${SECRET}"'),
            [
                "3:22 upstreams.openai.base_url: expected an http or https URL such as https://api.openai.com/v1, found ${SECRET}",
            ],
            id="in-a-url",
        ),
        pytest.param(
            add('embedding: {deadline: "${SECRET}"}\n'),
            [
                "8:23 embedding.deadline: expected a duration such as 250ms, 3s, 10m or 1h, found ${SECRET}",
            ],
            id="in-a-duration",
        ),
        pytest.param(
            add("""\
routes:
  - {name: "${SPACED}", use: small}
"""),
            [
                "9:12 routes[0].name: ${SPACED} is not a name; those begin with a letter or digit and go on with letters, digits and . _ : / -",
            ],
            id="in-a-name",
        ),
        pytest.param(
            put("name: gpt-4o}", 'name: "${EMPTY}"}'),
            [
                "6:44 models.large.target.name: must not be empty",
            ],
            id="empty",
        ),
        pytest.param(
            put("/v1}", '/v1, api_key: "${BROKEN}"}'),
            [
                "3:58 upstreams.openai.api_key: has a line break or another control character at its end, which no header can carry",
            ],
            id="secret-with-line-break",
        ),
        pytest.param(
            put("  large:", "  ${SECRET}:"),
            [
                "6:3 models['${SECRET}']: '${SECRET}' is not a name; those begin with a letter or digit and go on with letters, digits and . _ : / -",
            ],
            id="in-a-key",
        ),
        pytest.param(
            add('rewrite: "${LIST}"\n'),
            [
                "8:10 rewrite: expected a list, found text; write it as [...] or as lines that begin with '- '",
            ],
            id="yaml-in-a-variable",
        ),
        pytest.param(
            put("default: small", "default: ${HALF}"),
            [
                "7:10 default: the variable HALF is not UTF-8",
            ],
            id="not-utf-8",
        ),
        pytest.param(
            add("""\
routes:
  - {name: "${SECRET}", use: small}
  - {name: b, use: small}
tests: [{prompt: x, route: c}]
"""),
            [
                "10:5 routes[1]: never reached: routes[0] ${SECRET} on line 9 has no conditions and takes every request; move it to the end",
                "11:28 tests[0].route: no route is called 'c'; there are 'b' and 'default'",
            ],
            id="route-name-from-the-environment",
        ),
    ],
)
def test_variables(text: str | bytes, lines: list[str]) -> None:
    """The variable is named; its value is not shown."""
    assert problems(text) == lines


@pytest.mark.parametrize(
    ("written", "text"),
    [
        pytest.param("no variable $NAME", "no variable $NAME", id="a-dollar-is-a-dollar"),
        pytest.param("${A}", "one", id="whole"),
        pytest.param("${A}/${B}-${A}", "one/two-one", id="several"),
        pytest.param("${NONE:-three}", "three", id="default"),
        pytest.param("${NONE:-}", "", id="empty-default"),
        pytest.param("${A:-three}", "one", id="default-not-needed"),
        pytest.param("${EMPTY:-three}", "three", id="default-for-empty"),
        pytest.param("${EMPTY}", "", id="empty"),
        pytest.param("${NONE:-a b:c$}", "a b:c$", id="any-default"),
        pytest.param("$${A}", "${A}", id="escaped"),
        pytest.param("$${A} ${A}", "${A} one", id="escaped-and-not"),
        pytest.param("${LOOP}", "${A}", id="values-are-not-searched-again"),
    ],
)
def test_substitute(written: str, text: str) -> None:
    environ = {"A": "one", "B": "two", "EMPTY": "", "LOOP": "${A}"}
    once = substitute(Scalar(Place(1, 1), written), environ)
    assert once.text == text
    assert substitute(once, environ) is once


@pytest.mark.parametrize("value", ["[a, b]", "{a: b}", "a: b", "- a", "*x", "!!int 3", "'", "# no comment", "x\ny: z"])
def test_a_value_is_never_read_as_yaml(value: str) -> None:
    config = parse_config(add("tests: [{prompt: '${V}', route: default}]\n"), source="x", environ={"V": value})
    assert config.tests[0].prompt == value


def test_a_key_reaches_the_upstream_and_nothing_else() -> None:
    text = BASE.replace("/v1}", "/v1, api_key: '${SECRET}'}")
    config = parse_config(text, source="x", environ=ENVIRON)
    assert config.upstreams["openai"].api_key.reveal() == ENVIRON["SECRET"]
    assert ENVIRON["SECRET"] not in repr(config) + str(config)


def test_the_environment_is_the_one_passed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL", "small")
    with pytest.raises(ConfigError, match="the variable MODEL is not set"):
        parse_config(put("default: small", "default: ${MODEL}"), source="x", environ={})


ROUTE = "routes:\n  - name: a\n    use: small\n    set: %s\n"


@pytest.mark.parametrize("value", ["1234", "0.5", "true", "null", ".inf", "text"])
def test_under_set_and_default_quotes_make_a_variable_text(value: str) -> None:
    edits = """\
routes:
  - name: a
    use: small
    default: {unit: !!str "${TEAM}", id: "${TEAM}-1"}
    set:
      user: !!str ${TEAM}
      team: "${TEAM}"
      all:
      - '${TEAM}'
      - >-
        ${TEAM}
      - [!!str '${TEAM}']
"""
    (route,) = parse_config(add(edits), source="f", environ={"TEAM": value}).routes
    assert route.default == {"unit": value, "id": f"{value}-1"}
    assert route.set == {"user": value, "team": value, "all": [value, value, [value]]}


@pytest.mark.parametrize(("value", "meant"), [("1234", 1234), ("0.5", 0.5), ("true", True), ("text", "text")])
@pytest.mark.parametrize(
    "edits",
    [
        "\n      n: ${N}",
        '{n: "${N}"}',
        '\n      {n: "${N}"}',
        "{n: '${N}', t: !!str '${N}'}",
        '\n      n: !!int "${N}"',
    ],
)
def test_without_quotes_and_in_flow_style_it_is_what_it_looks_like(value: str, meant: object, edits: str) -> None:
    text = add(ROUTE % edits)
    (route,) = parse_config(text, source="f", environ={"N": value}).routes
    assert route.set["n"] == meant
    assert type(route.set["n"]) is type(meant)


@pytest.mark.parametrize(("value", "said"), [("010", "${N} is no number here"), (".inf", "JSON has no ${N}")])
def test_a_variable_that_is_no_number_of_the_file(value: str, said: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse_config(add(ROUTE % '{n: "${N}"}'), source="f", environ={"N": value})
    assert said in str(told.value)
    assert "behind !!str for the text" in str(told.value)
    (route,) = parse_config(add(ROUTE % '{n: !!str "${N}"}'), source="f", environ={"N": value}).routes
    assert route.set == {"n": value}
