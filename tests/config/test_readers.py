"""Values of the wrong type or size."""

from typing import Annotated, Any, Literal

import msgspec
import pytest

from proxy.config import Config, parse_config
from proxy.config.annotations import reader_for
from proxy.config.problems import Report
from proxy.config.tree import Mapping, read_tree
from proxy.config.typed import Reading
from proxy.config.values import Duration
from tests.config.files import BASE, NO_MODELS, add, problems, put


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(
            put("version: 1", "version: 2"),
            [
                "1:10 version: expected 1, found '2'",
            ],
            id="version-2",
        ),
        pytest.param(
            put("version: 1", 'version: "1"'),
            [
                "1:10 version: expected 1, found '1'; leave the quotes out",
            ],
            id="version-in-quotes",
        ),
        pytest.param(
            put("version: 1", "version: 1.0"),
            [
                "1:10 version: expected 1, found '1.0'",
            ],
            id="version-as-float",
        ),
        pytest.param(
            NO_MODELS
            + """\
models: []
default: small
""",
            [
                "4:9 models: expected a mapping of names to values, found a list",
            ],
            id="list-for-mapping",
        ),
        pytest.param(
            put("{base_url: https://api.openai.com/v1}", "https://api.openai.com/v1"),
            [
                "3:11 upstreams.openai: expected a mapping with 'base_url', 'api_key', 'protocol', 'usage', 'api_keys', 'headers', 'query', 'tls', 'proxy', 'socket', 'timeouts', 'health_check' and 1 more, found text",
            ],
            id="text-for-mapping",
        ),
        pytest.param(
            put("default: small", "default: {model: small}"),
            [
                "7:10 default: expected text, found a mapping; put a text with ': ' in it in quotes",
            ],
            id="mapping-for-text",
        ),
        pytest.param(
            put("default: small", "default: [small]"),
            [
                "7:10 default: expected text, found a list",
            ],
            id="list-for-text",
        ),
        pytest.param(
            add("rewrite: gpt-*\n"),
            [
                "8:10 rewrite: expected a list, found text; write it as [...] or as lines that begin with '- '",
            ],
            id="text-for-list",
        ),
        pytest.param(
            put("default: small", "default: null"),
            [
                '7:10 default: expected text, found null; write "null" in quotes for the word',
            ],
            id="null-for-text",
        ),
        pytest.param(
            add("routes: ~\n"),
            [
                "8:9 routes: expected a list, found null; write it as [...] or as lines that begin with '- '",
            ],
            id="null-for-list",
        ),
        pytest.param(
            add("routes:\n"),
            [
                "8:8 routes: has no value; write a list, or remove it",
            ],
            id="no-value",
        ),
        pytest.param(
            add("rewrite: [a, '', b, ]\n"),
            [
                "8:14 rewrite[1]: an empty glob matches nothing",
            ],
            id="no-value-in-a-list",
        ),
        pytest.param(
            add("""\
rewrite:
  - a
  -
"""),
            [
                "10:4 rewrite[1]: has no value; write text, or remove it",
            ],
            id="empty-dash",
        ),
        pytest.param(
            NO_MODELS
            + """\
models: {}
default: small
""",
            [
                "4:9 models: must not be empty",
            ],
            id="no-models",
        ),
        pytest.param(
            add("topics: {code: {examples: []}}\n"),
            [
                "8:27 topics.code.examples: must not be empty",
            ],
            id="no-examples",
        ),
        pytest.param(
            add('topics: {code: {examples: [""]}}\n'),
            [
                "8:28 topics.code.examples[0]: must not be empty",
            ],
            id="empty-example",
        ),
        pytest.param(
            add("""\
topics:
  code:
    examples:
      - Fix this: now
"""),
            [
                "11:9 topics.code.examples[0]: expected text, found a mapping; put a text with ': ' in it in quotes",
            ],
            id="mapping-among-examples",
        ),
        pytest.param(
            add("text: {turns: two, max_tokens: 2.5}\n"),
            [
                "8:15 text.turns: expected a whole number, found 'two'",
                "8:32 text.max_tokens: expected a whole number, found 2.5",
            ],
            id="whole-number",
        ),
        pytest.param(
            add('text: {turns: "2"}\n'),
            [
                "8:15 text.turns: expected a whole number, found '2'; leave the quotes out",
            ],
            id="number-in-quotes",
        ),
        pytest.param(
            add("""\
text: {turns: 0o7, max_tokens: 1_28}
embedding: {threads: 04, queue: 1:30, cache: 0x10}
"""),
            [
                "8:15 text.turns: expected a whole number, found '0o7'; write it as a decimal number without a leading zero",
                "8:32 text.max_tokens: expected a whole number, found '1_28'; write 128",
                "9:22 embedding.threads: expected a whole number, found '04'; write it as a decimal number without a leading zero",
                "9:33 embedding.queue: expected a whole number, found '1:30'",
                "9:46 embedding.cache: expected a whole number, found '0x10'; write it as a decimal number without a leading zero",
            ],
            id="odd-numbers",
        ),
        pytest.param(
            put("gpt-4o}}", "gpt-4o}, context: 128k}").replace("gpt-4o-mini}}", "gpt-4o-mini}, context: 1.5M}")
            + "server: {max_body: 64MB, max_head: 64 KiB}\nretry: {share: 30%, attempts: 50%}\n",
            [
                "5:67 models.small.context: expected a whole number, found '1.5M'; write 1500000",
                "6:62 models.large.context: expected a whole number, found '128k'; write 128000",
                "8:20 server.max_body: expected a whole number, found '64MB'; write 64000000",
                "8:36 server.max_head: expected a whole number, found '64 KiB'; write 65536",
                "9:16 retry.share: expected a number, found '30%'; write 0.3",
                "9:31 retry.attempts: expected a whole number, found '50%'",
            ],
            id="numbers-with-units",
        ),
        pytest.param(
            add("embedding: {cache: 123456789012345678901234567890}\n"),
            [
                "8:20 embedding.cache: 123456789012345678901234567890 is too large",
            ],
            id="huge-number",
        ),
        pytest.param(
            add("topics: {a: {examples: [x], threshold: .inf}}\n"),
            [
                "8:40 topics.a.threshold: expected a number, found '.inf'",
            ],
            id="infinite",
        ),
        pytest.param(
            put("name: gpt-4o}", "name: gpt-4o, weight: 1e999}"),
            [
                "6:60 models.large.target.weight: 1e999 is too large",
            ],
            id="overflow",
        ),
        pytest.param(
            add("""\
text: {turns: 0, max_tokens: 1000}
topics: {a: {examples: [x], threshold: 1.2}}
"""),
            [
                "8:15 text.turns: 0 is outside 1 to 32",
                "8:30 text.max_tokens: 1000 is outside 8 to 512",
                "9:40 topics.a.threshold: 1.2 is outside 0 to 1",
            ],
            id="outside",
        ),
        pytest.param(
            put("name: gpt-4o}", "name: gpt-4o, weight: 0}"),
            [
                "6:60 models.large.target.weight: 0 is not above 0",
            ],
            id="not-above",
        ),
        pytest.param(
            add("server: {max_body: 12}\n"),
            [
                "8:20 server.max_body: 12 is below 1024",
            ],
            id="below",
        ),
        pytest.param(
            put("gpt-4o-mini}}", "gpt-4o-mini}, price: {input: -1, output: free}}"),
            [
                "5:73 models.small.price.input: -1 is outside 0 to 1000000",
                "5:85 models.small.price.output: expected a number, found 'free'",
            ],
            id="negative-price",
        ),
        pytest.param(
            add("embedding: {deadline: 3}\n"),
            [
                "8:23 embedding.deadline: expected a duration such as 250ms, 3s, 10m or 1h, found '3'; write 3s for seconds or 3ms for milliseconds",
            ],
            id="duration-without-unit",
        ),
        pytest.param(
            add("embedding: {deadline: 0ms}\n"),
            [
                "8:23 embedding.deadline: 0ms is not above zero",
            ],
            id="duration-of-nothing",
        ),
        pytest.param(
            add("embedding: {deadline: -3s}\n"),
            [
                "8:23 embedding.deadline: -3s is not above zero",
            ],
            id="duration-negative",
        ),
        pytest.param(
            add("embedding: {deadline: 0}\nconversation: {keep: -5}\n"),
            [
                "8:23 embedding.deadline: 0 is not above zero",
                "9:22 conversation.keep: -5 is not above zero",
            ],
            id="duration-of-nothing-without-unit",
        ),
        pytest.param(
            add("embedding: {deadline: 3 seconds}\n"),
            [
                "8:23 embedding.deadline: expected a duration such as 250ms, 3s, 10m or 1h, found '3 seconds'",
            ],
            id="duration-unit",
        ),
        pytest.param(
            add("embedding: {deadline: [3s]}\n"),
            [
                "8:23 embedding.deadline: expected a duration, found a list",
            ],
            id="duration-list",
        ),
        pytest.param(
            add("embedding: {deadline: 99999h}\n"),
            [
                "8:23 embedding.deadline: 99999h is more than a year",
            ],
            id="duration-age",
        ),
        pytest.param(
            put("https://api.openai.com/v1", "api.openai.com/v1"),
            [
                "3:22 upstreams.openai.base_url: expected an http or https URL such as https://api.openai.com/v1, found 'api.openai.com/v1'",
            ],
            id="url-without-scheme",
        ),
        pytest.param(
            put("https:", "ftp:"),
            [
                "3:22 upstreams.openai.base_url: expected an http or https URL such as https://api.openai.com/v1, found 'ftp://api.openai.com/v1'",
            ],
            id="url-other-scheme",
        ),
        pytest.param(
            put("https://", "https://me:hunter2@"),
            [
                "3:22 upstreams.openai.base_url: a URL with credentials; remove them and put the key in `api_key`, or in `headers` what is no bearer token",
            ],
            id="url-with-credentials",
        ),
        pytest.param(
            put("/v1}", "/v1?key=hunter2}"),
            [
                "3:22 upstreams.openai.base_url: a base URL ends with its path; remove everything from the '?' or '#' on",
            ],
            id="url-with-query",
        ),
        pytest.param(
            put("/v1}", "/v1#top}"),
            [
                "3:22 upstreams.openai.base_url: a base URL ends with its path; remove everything from the '?' or '#' on",
            ],
            id="url-with-fragment",
        ),
        pytest.param(
            put(".com/v1", ".com:99999/v1"),
            [
                "3:22 upstreams.openai.base_url: not a URL; expected one such as https://api.openai.com/v1",
            ],
            id="url-port",
        ),
        pytest.param(
            put("{base_url: https://api.openai.com/v1}", '{base_url: "https://[::1/v1"}'),
            [
                "3:22 upstreams.openai.base_url: not a URL; expected one such as https://api.openai.com/v1",
            ],
            id="url-brackets",
        ),
        pytest.param(
            put("api.openai.com/v1", "api.openai.com/v 1"),
            [
                "3:22 upstreams.openai.base_url: expected an http or https URL such as https://api.openai.com/v1, found 'https://api.openai.com/v 1'",
            ],
            id="url-space",
        ),
        pytest.param(
            put("/v1}", "/v1, api_key: [sk-hunter2]}"),
            [
                "3:58 upstreams.openai.api_key: expected text, found a list",
            ],
            id="secret-list",
        ),
        pytest.param(
            put("/v1}", "/v1, api_key: null}"),
            [
                '3:58 upstreams.openai.api_key: expected text, found null; write "" for none',
            ],
            id="secret-null",
        ),
        pytest.param(
            put("/v1}", '/v1, api_key: "sk-hunter2\\n"}'),
            [
                "3:58 upstreams.openai.api_key: has a line break or another control character at its end, which no header can carry",
            ],
            id="secret-line-break",
        ),
        pytest.param(
            put("  large:", "  very large:"),
            [
                "6:3 models['very large']: 'very large' is not a name; those begin with a letter or digit and go on with letters, digits and . _ : / -",
            ],
            id="name-with-space",
        ),
        pytest.param(
            put("  large:", "  " + "l" * 129 + ":"),
            [
                "6:3 models['lllllllllllllllllllllllllllllllllllllllllllllllllllllllll...']: has more than 128 characters",
            ],
            id="name-too-long",
        ),
        pytest.param(
            add("""\
routes:
  - {name: -a, use: small}
"""),
            [
                "9:12 routes[0].name: '-a' is not a name; those begin with a letter or digit and go on with letters, digits and . _ : / -",
            ],
            id="route-name",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, when: {topic: {any: x}, model: {}}}
"""),
            [
                "9:41 routes[0].when.topic: expected text or a list, found a mapping",
                "9:58 routes[0].when.model: expected text or a list, found a mapping",
            ],
            id="union-of-text-and-list",
        ),
        pytest.param(
            add("""\
routes:
  - {name: a, use: small, when: {header: [x-a]}}
"""),
            [
                "9:42 routes[0].when.header: expected a mapping of names to values, found a list",
            ],
            id="header-list",
        ),
    ],
)
def test_types(text: str | bytes, lines: list[str]) -> None:
    """What was found, what is expected, and the likely fix."""
    assert problems(text) == lines


def read(annotation: Any, text: str, environ: dict[str, str] | None = None) -> tuple[Any, list[str]]:
    """The value of `text` as that type, and the problems with it."""
    report = Report("x")
    node = read_tree(f"a: {text}", report).node(("a",))
    value = Reading(report, environ or {}).read(reader_for(annotation), node, ())
    return value, [problem.message for problem in report.problems]


Prefer = Literal["quality", "balanced", "cheap"] | Annotated[float, msgspec.Meta(ge=0, le=1)]


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        pytest.param(str, "no", "no", id="no-is-text"),
        pytest.param(str, "1:30", "1:30", id="time-is-text"),
        pytest.param(str, "1_000", "1_000", id="underscores-are-text"),
        pytest.param(str, "007", "007", id="leading-zeros-are-text"),
        pytest.param(str, "2026-01-01", "2026-01-01", id="date-is-text"),
        pytest.param(str, "1e3", "1e3", id="number-is-text"),
        pytest.param(str, "true", "true", id="true-is-text"),
        pytest.param(str, "'null'", "null", id="quoted-null-is-text"),
        pytest.param(str, "'~'", "~", id="quoted-tilde-is-text"),
        pytest.param(int, "-3", -3, id="int"),
        pytest.param(float, "3", 3.0, id="whole-float"),
        pytest.param(float, ".5", 0.5, id="float-without-zero"),
        pytest.param(float, "1e-3", 0.001, id="exponent"),
        pytest.param(bool, "true", True, id="true"),
        pytest.param(bool, "False", False, id="false"),
        pytest.param(float | None, "null", None, id="null"),
        pytest.param(float | None, "~", None, id="tilde"),
        pytest.param(float | None, "1", 1.0, id="optional"),
        pytest.param(str | tuple[str, ...], "a", "a", id="text-of-text-or-list"),
        pytest.param(str | tuple[str, ...], "[a, 1]", ("a", "1"), id="list-of-text-or-list"),
        pytest.param(Prefer, "cheap", "cheap", id="word-of-word-or-number"),
        pytest.param(Prefer, "0.5", 0.5, id="number-of-word-or-number"),
        pytest.param(int | bool | str, "7", 7, id="int-first"),
        pytest.param(int | bool | str, "true", True, id="bool-second"),
        pytest.param(int | bool | str, "'7'", "7", id="text-last"),
        pytest.param(Duration | Literal["never"], "never", "never", id="word-of-word-or-duration"),
        pytest.param(Duration | Literal["never"], "2m", 120.0, id="duration-of-word-or-duration"),
        pytest.param(tuple[int, ...], "[1, 2]", (1, 2), id="list"),
        pytest.param(dict[str, tuple[int, ...]], "{a: [1], 2: []}", {"a": (1,), "2": ()}, id="mapping"),
        pytest.param(Literal[True, "auto"], "true", True, id="literal-true"),
        pytest.param(
            Any,
            "{a: [1, 1.5, 1_0, no, true, null, x, '1'], b: {}}",
            {"a": [1, 1.5, "1_0", "no", True, None, "x", "1"], "b": {}},
            id="anything",
        ),
    ],
)
def test_values(annotation: Any, text: str, value: Any) -> None:
    got, complaints = read(annotation, text)
    assert complaints == []
    assert (got, type(got)) == (value, type(value)) or (annotation == Duration | Literal["never"] and got == value)


@pytest.mark.parametrize(
    ("annotation", "text", "message"),
    [
        pytest.param(bool, "yes", "expected true or false, found 'yes'; write true", id="yes"),
        pytest.param(bool, "OFF", "expected true or false, found 'OFF'; write false", id="off"),
        pytest.param(bool, "'true'", "expected true or false, found 'true'; leave the quotes out", id="quoted-true"),
        pytest.param(bool, "1", "expected true or false, found '1'", id="one"),
        pytest.param(int | None, "x", "expected a whole number, found 'x'", id="optional-int"),
        pytest.param(int | None, "[]", "expected a whole number, found a list", id="optional-int-list"),
        pytest.param(
            Literal["never", "upgrade"],
            "upgrad",
            "expected 'never' or 'upgrade', found 'upgrad'; did you mean 'upgrade'?",
            id="literal",
        ),
        pytest.param(Literal["never"], "{}", "expected 'never', found a mapping", id="literal-mapping"),
        pytest.param(Prefer, "cheep", "expected 'quality', 'balanced', 'cheap' or a number, found 'cheep'", id="word"),
        pytest.param(Prefer, "1.5", "1.5 is outside 0 to 1", id="number-of-word-or-number"),
        pytest.param(Annotated[int, msgspec.Meta(lt=3)], "3", "3 is not below 3", id="lt"),
        pytest.param(Annotated[int, msgspec.Meta(le=3)], "4", "4 is above 3", id="le"),
        pytest.param(Annotated[int, msgspec.Meta(multiple_of=4)], "6", "6 is not a multiple of 4", id="multiple"),
        pytest.param(Annotated[str, msgspec.Meta(min_length=2)], "a", "has fewer than 2 characters", id="short"),
        pytest.param(
            Annotated[tuple[str, ...], msgspec.Meta(max_length=1)], "[a, b]", "has more than 1 entries", id="long"
        ),
        pytest.param(
            Annotated[str, msgspec.Meta(pattern="^a+$", description="a row of a")],
            '"a\\n"',
            "'a\\n' is not a row of a",
            id="pattern-with-description-and-line-break",
        ),
    ],
)
def test_complaints(annotation: Any, text: str, message: str) -> None:
    assert read(annotation, text)[1] == [message]


def test_what_a_variable_brings_may_be_a_number_even_in_quotes() -> None:
    assert read(float, '"${N}"', {"N": "0.5"}) == (0.5, [])
    assert read(str, "${N}", {"N": "null"}) == ("null", [])
    assert read(float | None, "${N:-}", {})[1] == ["expected a number, found ${N:-}"]


def test_every_type_of_the_schema_has_a_reader() -> None:
    """A field added to schema.py is read without a change here, or this says what kind of type is new."""
    assert read_everything(reader_for(Config), set())


def read_everything(reader: Any, seen: set[int]) -> bool:
    if id(reader) in seen:
        return True
    seen.add(id(reader))
    inner = [field.reader for field in getattr(reader, "fields", {}).values()] + getattr(reader, "members", [])
    return all(read_everything(each, seen) for each in inner)


def test_a_type_without_a_reader_is_refused() -> None:
    with pytest.raises(TypeError, match="no reader for"):
        reader_for(complex)


def test_an_empty_section_is_a_mapping() -> None:
    assert isinstance(read_tree("a: {}", Report("x")).node(("a",)), Mapping)
    assert parse_config(BASE + "text: {}\n", source="x", environ={}).text.turns == 1
