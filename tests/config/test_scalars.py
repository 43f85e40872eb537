"""Durations, URLs, secrets."""

import pytest

from proxy.config.problems import Place
from proxy.config.scalars import CUSTOM, Unfit
from proxy.config.tree import Scalar
from proxy.config.values import Duration, Secret, Url


def read(kind: type, text: str, *, plain: bool = True) -> object:
    value = CUSTOM[kind][1](Scalar(Place(1, 1), text, plain=plain))
    assert type(value) is kind
    return value


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("3s", 3),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("10m", 600),
        ("1h", 3600),
        ("2d", 172_800),
        ("8784h", 31_622_400),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert read(Duration, text) == seconds
    assert read(Duration, text, plain=False) == seconds


@pytest.mark.parametrize(
    "text", ["3", "3.5", "s", "3 s", "3S", "1m30s", "-1s", "0s", "0.0h", "1e3s", "8785h", "367d", "inf", "3w", "٣s"]
)
def test_no_durations(text: str) -> None:
    with pytest.raises(Unfit):
        read(Duration, text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        ("http://vllm-a:8000/v1/", "http://vllm-a:8000/v1"),
        ("http://localhost", "http://localhost"),
        ("http://localhost//", "http://localhost"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("http://gpu_1.internal/v1", "http://gpu_1.internal/v1"),
        ("https://bücher.example/v1", "https://bücher.example/v1"),
        ("https://x/a%20b", "https://x/a%20b"),
    ],
)
def test_urls(text: str, url: str) -> None:
    assert read(Url, text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "/v1",
        "//x/v1",
        "https://",
        "https:///v1",
        "https:x",
        "ftp://x",
        "unix:/run/x",
        "http://x:0",
        "http://x:port",
        "http://x:70000",
        "http://a b/",
        "http://x/\x00",
        "http://x\\y",
        "http://x?",
        "http://x#",
        "http://u@x",
        "http://[x",
        "http://x/{y}",
    ],
)
def test_no_urls(text: str) -> None:
    with pytest.raises(Unfit):
        read(Url, text)


@pytest.mark.parametrize(
    "text",
    ["https://u:hunter2@x", "https://x?k=hunter2", "https://x#hunter2", "ftp://u:hunter2@x", "https://u:hunter2@[x"],
)
def test_what_may_be_a_credential_in_a_url_is_not_quoted(text: str) -> None:
    with pytest.raises(Unfit) as error:
        read(Url, text)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("text", ["sk-hunter2", "12345", "no", "", "a b", "schlüssel"])
def test_secrets(text: str) -> None:
    secret = read(Secret, text, plain=False)
    assert isinstance(secret, Secret)
    assert secret.reveal() == text


@pytest.mark.parametrize("text", ["hunter2\n", "hunter2\r", "\thunter2", "hun\x00ter2"])
def test_no_secrets(text: str) -> None:
    with pytest.raises(Unfit) as error:
        read(Secret, text)
    assert "hun" not in str(error.value)
