"""What is not YAML, said in words that help."""

import pytest
import yaml

from proxy.config.problems import ConfigError, Report
from proxy.config.tree import read_tree
from tests.config.files import NO_MODELS, add, problems, put


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(
            "\tversion: 1\n",
            [
                "1:1 a tab cannot indent YAML; use spaces",
            ],
            id="tab-at-the-top",
        ),
        pytest.param(
            "upstreams:\n\topenai: x\n",
            [
                "2:1 a tab cannot indent YAML; use spaces",
            ],
            id="tab-in-a-mapping",
        ),
        pytest.param(
            "version: 1\n\tdefault: small\n",
            [
                "2:1 a tab cannot indent YAML; use spaces",
            ],
            id="tab-after-a-value",
        ),
        pytest.param(
            add("rewrite: ['gpt-*]\n"),
            [
                "8:11 this quote is never closed",
            ],
            id="open-single-quote",
        ),
        pytest.param(
            add("""\
rewrite:
  - "gpt-*
"""),
            [
                "9:5 this quote is never closed",
            ],
            id="open-double-quote",
        ),
        pytest.param(
            add("""\
tests:
  - prompt: 'it's late'
"""),
            [
                "9:17 expected a key; check the indentation here and the quotes before it",
            ],
            id="apostrophe-in-single-quotes",
        ),
        pytest.param(
            add("text: {turns: 2\n"),
            [
                "8:7 this '{' is not closed by a '}'",
            ],
            id="open-brace",
        ),
        pytest.param(
            add("""\
rewrite: [a
text: {}
"""),
            [
                "8:10 this '[' is not closed by a ']'",
            ],
            id="open-bracket-then-key",
        ),
        pytest.param(
            add("text: {turns: 2]\n"),
            [
                "8:16 expected ',' or '}'",
            ],
            id="wrong-bracket",
        ),
        pytest.param(
            add("""\
rewrite:
  - note: this: that
"""),
            [
                "9:15 a ':' cannot stand here; check the indentation, or put the text in quotes",
            ],
            id="colon-in-text",
        ),
        pytest.param(
            add("""\
text
rewrite: []
"""),
            [
                "8:1 expected a ':' after this key",
            ],
            id="key-without-colon",
        ),
        pytest.param(
            add("""\
text:
    turns: 2
  max_tokens: 64
"""),
            [
                "10:3 expected a key; check the indentation here and the quotes before it",
            ],
            id="indented-too-little",
        ),
        pytest.param(
            add("rewrite: - a\n"),
            [
                "8:10 a list cannot begin here; put each '-' on a line of its own",
            ],
            id="dash-beside-key",
        ),
        pytest.param(
            add("""\
rewrite:
  - a
  b: c
"""),
            [
                "10:3 expected '- ' or the end of the list; check the indentation",
            ],
            id="list-then-key",
        ),
        pytest.param(
            add("""\
---
version: 1
"""),
            [
                "8:1 a second document begins here; a file holds one",
            ],
            id="second-document",
        ),
        pytest.param(
            add("""\
...
version: 1
"""),
            [
                "9:1 nothing may stand after the end of the document",
            ],
            id="text-after-the-end",
        ),
        pytest.param(
            add("rewrite: [*]\n"),
            [
                "8:11 a '*' begins an alias in YAML; put a pattern in quotes, like \"*\"",
            ],
            id="star",
        ),
        pytest.param(
            add("rewrite: [*-mini]\n"),
            [
                '8:11 rewrite[0]: alias *-mini: no anchor has this name; put a pattern in quotes, like "*"',
            ],
            id="star-and-name",
        ),
        pytest.param(
            add("rewrite: [@x]\n"),
            [
                "8:11 a value cannot begin with '@'; put it in quotes",
            ],
            id="at-sign",
        ),
        pytest.param(
            add("rewrite: [`x`]\n"),
            [
                "8:11 a value cannot begin with '`'; put it in quotes",
            ],
            id="backquote",
        ),
        pytest.param(
            add("""\
rewrite:
  - %x
"""),
            [
                "9:5 a value cannot begin with '%'; put it in quotes",
            ],
            id="percent",
        ),
        pytest.param(
            add('rewrite: ["\\d+"]\n'),
            [
                "8:12 an unknown escape in double quotes; write \\\\ for a backslash",
            ],
            id="unknown-escape",
        ),
        pytest.param(
            put("https://api.openai.com/v1}", "${BASE_URL}}"),
            [
                '3:23 a variable inside { } or [ ] needs quotes: "${NAME}"',
            ],
            id="bare-variable-in-braces",
        ),
        pytest.param(
            add("text: !e!x {}\n"),
            [
                "8:7 an unknown YAML tag; put the text in quotes",
            ],
            id="tag-handle",
        ),
        pytest.param(
            add("default: >+x\n"),
            [
                "8:12 not YAML: did not find expected comment or line break",
            ],
            id="block-header",
        ),
        pytest.param(
            """\
%YAML 9.9
---
version: 1
""",
            [
                "1:1 not YAML: found incompatible YAML document",
            ],
            id="yaml-directive",
        ),
    ],
)
def test_syntax(text: str | bytes, lines: list[str]) -> None:
    """One problem: where the file stops being YAML."""
    assert problems(text) == lines


@pytest.mark.parametrize(
    "text", ["\ta: 1", "a: 'x\nb: 1\n", "a: [b\nc: 1\n", "a: [*]", "a: - b", "a: @b", "x: {a: ${KEY}}"]
)
def test_the_slow_parser_says_the_same(text: str) -> None:
    """PyYAML without libyaml words its errors a little differently; ours are recognised in both."""

    def said(loader: type) -> str:
        with pytest.raises(ConfigError) as error:
            read_tree(text, Report("x"), loader=loader)
        return str(error.value)

    assert said(yaml.SafeLoader) == said(yaml.CSafeLoader)


def test_nothing_of_the_line_is_quoted() -> None:
    assert "hunter2" not in str(problems(NO_MODELS + "    api_key: 'hunter2\n"))
    assert "hunter2" not in str(problems(NO_MODELS + "    api_key: hunter2: x\n"))
    assert "hunter2" not in str(problems(NO_MODELS + "    api_key: {hunter2\n"))
