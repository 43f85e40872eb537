"""Bytes that are no text, and files that cannot be read."""

from pathlib import Path

import pytest

from proxy.config import ConfigError, load_config, parse_config
from proxy.config.problems import Place
from proxy.config.source import MAX_BYTES, Lines
from tests.config.files import BASE, problems


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(
            "",
            [
                "1:1 the file is empty; `pointsman init` writes a starter",
            ],
            id="empty",
        ),
        pytest.param(
            """\
# nothing yet

""",
            [
                "1:1 the file is empty; `pointsman init` writes a starter",
            ],
            id="only-comments",
        ),
        pytest.param(
            "~\n",
            [
                "1:1 the file is empty; `pointsman init` writes a starter",
            ],
            id="null",
        ),
        pytest.param(
            "- version: 1\n",
            [
                "1:1 expected keys and values, such as `version: 1`",
            ],
            id="a-list",
        ),
        pytest.param(
            "version\n",
            [
                "1:1 expected keys and values, such as `version: 1`",
            ],
            id="one-word",
        ),
        pytest.param(
            b"version: 1\ndefault: caf\xe9\n",
            [
                "2:13 not UTF-8 (byte 0xe9); save the file as UTF-8",
            ],
            id="not-utf-8",
        ),
        pytest.param(
            "version: 1".encode("utf-16"),
            [
                "1:1 UTF-16; save the file as UTF-8",
            ],
            id="utf-16",
        ),
        pytest.param(
            "version: 1\na: b\x00c\n",
            [
                "2:5 a control character (U+0000) cannot stand here; remove it, or write \\x00 in double quotes",
            ],
            id="nul",
        ),
        pytest.param(
            "a: \x07\nb: \x1b[31m\n",
            [
                "1:4 a control character (U+0007) cannot stand here; remove it, or write \\x07 in double quotes",
                "2:4 a control character (U+001B) cannot stand here; remove it, or write \\x1b in double quotes",
            ],
            id="several-control-characters",
        ),
        pytest.param(
            "a: one\u2028two\n",
            [
                "1:7 a line separator (U+2028) cannot stand here; remove it, or write \\u2028 in double quotes",
            ],
            id="line-separator",
        ),
        pytest.param(
            "a: \ufeffb\n",
            [
                "1:4 a byte order mark (U+FEFF) inside the file; remove it",
            ],
            id="mark-inside",
        ),
        pytest.param(
            "a: \ud83d\n",
            [
                "1:4 half of a character (U+D83D); remove it",
            ],
            id="surrogate",
        ),
    ],
)
def test_bad_text(text: str | bytes, lines: list[str]) -> None:
    """Refused before YAML sees it, with the place and the way out."""
    assert problems(text) == lines


def test_too_large() -> None:
    assert problems(b"#" * (MAX_BYTES + 1)) == ["1:1 larger than 8 MB; is this the right file?"]
    assert problems(BASE.encode() + b"#" * (MAX_BYTES - len(BASE))) == []


def test_only_the_first_control_characters_are_named() -> None:
    assert len(problems(bytes(1000))) == 10


@pytest.mark.parametrize("text", [BASE.encode(), b"\xef\xbb\xbf" + BASE.encode(), BASE, "\ufeff" + BASE])
def test_a_byte_order_mark_does_not_matter(text: str | bytes) -> None:
    assert parse_config(text, source="x", environ={}).default == "small"
    moved = text + (b"what" if isinstance(text, bytes) else "what")  # type: ignore[operator]
    assert problems(moved) == ["8:1 expected a ':' after this key"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_places_do_not_depend_on_line_ends(end: str) -> None:
    text = BASE.replace("default: small", "default: nobody").replace("\n", end)
    assert [line.split()[0] for line in problems(text)] == ["7:10"]


@pytest.mark.parametrize(
    ("line", "column", "place"),
    [
        pytest.param(0, 0, (1, 1), id="start"),
        pytest.param(1, 1, (2, 2), id="end-of-last-line"),
        pytest.param(1, 9, (2, 2), id="beyond-the-line"),
        pytest.param(2, 0, (2, 2), id="behind-the-final-line-break"),
        pytest.param(99, 99, (2, 2), id="far-out"),
    ],
)
def test_a_place_is_inside_the_text(line: int, column: int, place: tuple[int, int]) -> None:
    assert Lines("ab\r\nc\n").inside(line, column) == place


def test_an_empty_text_has_one_place() -> None:
    assert Lines("").inside(3, 3) == Place(1, 1) == Lines("").place(0)


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    with pytest.raises(ConfigError) as error:
        load_config(path, {})
    assert str(error.value) == f"{path}: no such file; `pointsman init` writes a starter"
    (problem,) = error.value.problems
    assert (problem.line, problem.column, problem.path) == (0, 0, "")


class _Refused(type(Path())):  # type: ignore[misc]
    """A path whose file gives the error it holds; the tests may run as root, whom no permission stops."""

    error: Exception

    def stat(self, *_: object, **__: object) -> object:
        raise self.error


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (PermissionError(13, "Permission denied"), "may not be read by this user; check its permissions"),
        (OSError(5, "Input/output error"), "cannot be read: Input/output error"),
        (OSError(), "cannot be read: the system gives no reason"),
    ],
)
def test_an_unreadable_file(raised: Exception, message: str) -> None:
    path = _Refused("secret.yaml")
    path.error = raised
    with pytest.raises(ConfigError) as error:
        load_config(path, {})
    assert str(error.value) == f"secret.yaml: {message}"


def test_a_path_that_no_system_knows() -> None:
    with pytest.raises(ConfigError, match="is not a path"):
        load_config(Path("a\0b"), {})


def test_problems_are_named_after_the_path(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(BASE.replace("default: small", "default: large"))
    assert load_config(path, {}).default == "large"
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError) as error:
        load_config(path, {})
    assert str(error.value) == f"{path}:1:1 not UTF-8 (byte 0xff); save the file as UTF-8"
