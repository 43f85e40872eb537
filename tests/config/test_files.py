"""The files that routes.yaml names: found, read, and told where they are not what they should be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import main
from proxy.config import Config, ConfigError, load_config
from tests.certificates import Authority, encrypted
from tests.config.files import put


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good certificates, and with what is none."""
    folder = tmp_path_factory.mktemp("house")
    authority = Authority(folder, "ca")
    certificate, key = authority.sign("me")
    authority.sign("other")
    (folder / "both.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    encrypted(key, folder / "locked.key")
    (folder / "empty.pem").touch()
    (folder / "words.pem").write_text("hunter2 is no certificate")
    (folder / "half.pem").write_text(certificate.read_text()[:200])
    (folder / "large.pem").write_bytes(b"#" * 5_000_000)
    (folder / "folder.pem").mkdir()
    (folder / "sub").mkdir()
    (folder / "secret.pem").write_bytes(certificate.read_bytes())
    (folder / "secret.pem").chmod(0)
    return folder


def load(folder: Path, tls: str, where: str = "routes.yaml") -> Config:
    path = folder / where
    path.write_text(put("/v1}", f"/v1, tls: {{{tls}}}}}"))
    return load_config(path, {"FILE": "hunter2.pem", "CA": "ca.pem"})


def problems(folder: Path, tls: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(folder, tls)
    return [line.removeprefix(f"{folder / 'routes.yaml'}:") for line in str(error.value).split("\n")]


def test_paths_begin_where_the_file_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    tls = load(folder, "ca: '${CA}', certificate: ./me.pem, key: me.key").upstreams["openai"].tls
    assert tls is not None
    assert [file.path for file in tls.files] == [folder / "ca.pem", folder / "me.pem", folder / "me.key"]
    below = (
        load(folder, f"ca: ../ca.pem, certificate: {folder / 'both.pem'}", "sub/routes.yaml").upstreams["openai"].tls
    )
    assert below is not None
    assert [file.path for file in below.files] == [folder / "sub" / "../ca.pem", folder / "both.pem"]
    path = folder / "socket.yaml"
    path.write_text(put("{base_url: https://api.openai.com/v1}", "{base_url: http://x, socket: run/x.sock}"))
    assert str(load_config(path, {}).upstreams["openai"].socket) == str(folder / "run/x.sock"), (
        "whether it is there or not"
    )


def test_a_config_is_another_when_a_file_is(folder: Path) -> None:
    before = load(folder, "ca: both.pem")
    assert load(folder, "ca: both.pem") == before
    content = (folder / "both.pem").read_bytes()
    try:
        (folder / "both.pem").write_bytes(content + b"\n")
        assert load(folder, "ca: both.pem") != before
    finally:
        (folder / "both.pem").write_bytes(content)


@pytest.mark.parametrize(
    ("tls", "lines"),
    [
        pytest.param("ca: none.pem", ["3:59 {}ca: there is no file '{folder}/none.pem'"], id="missing"),
        pytest.param("ca: '${FILE}'", ["3:59 {}ca: there is no file ${{FILE}}"], id="missing-by-a-variable"),
        pytest.param("ca: me.pem/x", ["3:59 {}ca: '{folder}/me.pem/x' cannot be read: Not a directory"], id="below-a-file"),
        pytest.param("ca: folder.pem", ["3:59 {}ca: '{folder}/folder.pem' is not a file"], id="folder"),
        pytest.param("ca: /dev/null", ["3:59 {}ca: '/dev/null' is not a file"], id="device"),
        pytest.param("ca: large.pem", ["3:59 {}ca: '{folder}/large.pem' is larger than 4 MB; is this the right file?"], id="large"),
        pytest.param("ca: empty.pem", ["3:59 {}ca: holds no certificate in PEM form"], id="empty"),
        pytest.param("ca: words.pem", ["3:59 {}ca: holds no certificate in PEM form"], id="words"),
        pytest.param("ca: half.pem", ["3:59 {}ca: holds no certificate in PEM form"], id="half"),
        pytest.param("ca: me.key", ["3:59 {}ca: holds no certificate in PEM form"], id="a-key-as-certificate"),
        pytest.param("certificate: words.pem, key: me.key", ["3:68 {}certificate: holds no certificate in PEM form"], id="no-certificate"),
        pytest.param("certificate: me.pem", ["3:68 {}certificate: holds no private key; name the file that does under 'key'"], id="no-key"),
        pytest.param("certificate: me.pem, key: words.pem", ["3:81 {}key: holds no private key in PEM form"], id="words-as-key"),
        pytest.param("certificate: me.pem, key: me.pem", ["3:81 {}key: holds no private key in PEM form"], id="a-certificate-as-key"),
        pytest.param("certificate: me.pem, key: other.key", ["3:81 {}key: holds the key of another certificate"], id="another-key"),
        pytest.param(
            "certificate: me.pem, key: locked.key",
            ["3:81 {}key: is encrypted; write the key without a pass phrase, as `openssl pkey -in OLD -out NEW` does"],
            id="locked",
        ),
        pytest.param(
            "ca: none.pem, certificate: words.pem, key: none.key",
            [
                "3:59 {}ca: there is no file '{folder}/none.pem'",
                "3:82 {}certificate: holds no certificate in PEM form",
                "3:98 {}key: there is no file '{folder}/none.key'",
            ],
            id="all-at-once",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_told_with_its_place(tls: str, lines: list[str], folder: Path) -> None:
    told = problems(folder, tls)
    assert told == [line.format("upstreams.openai.tls.", folder=folder) for line in lines]
    assert "hunter2" not in str(told)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(folder: Path) -> None:
    (line,) = problems(folder, "ca: secret.pem")
    assert line.endswith("may not be read by this user; check its permissions")


def test_mistakes_in_the_text_and_in_the_files_are_told_together(folder: Path) -> None:
    path = folder / "routes.yaml"
    path.write_text(put("/v1}", "/v1, tls: {ca: none.pem, colour: x}}").replace("default: small", "default: smal"))
    with pytest.raises(ConfigError) as error:
        load_config(path, {})
    assert [problem.path for problem in error.value.problems] == [
        "upstreams.openai.tls.ca",
        "upstreams.openai.tls.colour",
        "default",
    ]


def test_a_socket_s_path_has_a_longest(folder: Path) -> None:
    path = folder / "long.yaml"
    path.write_text(put("{base_url: https://api.openai.com/v1}", f"{{base_url: http://x, socket: {'x' * 108}}}"))
    with pytest.raises(ConfigError, match="a path of more than 107 bytes, which no socket can have"):
        load_config(path, {})


def test_check_tells_of_a_missing_file(folder: Path) -> None:
    path = folder / "routes.yaml"
    path.write_text(put("/v1}", "/v1, tls: {ca: none.pem}}"))
    done = CliRunner().invoke(main, ["check", "-c", str(path)])
    assert done.exit_code == 2
    assert f"{path}:3:59 upstreams.openai.tls.ca: there is no file '{folder}/none.pem'" in done.stderr
