"""Certificates for tests, good and bad, made by the `openssl` program."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
HERE = "subjectAltName=IP:127.0.0.1,DNS:localhost"


class Authority:
    """A private authority: what it signs is good for whoever trusts `certificate`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self.certificate, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        _openssl(
            "req", "-x509", *_CURVE, "-keyout", self._key, "-out", self.certificate, "-days", "2", "-subj", f"/CN={name}",
            "-addext", "keyUsage=critical,keyCertSign",
        )  # fmt: skip

    def sign(self, name: str, extension: str = HERE, *, days: int = 2) -> tuple[Path, Path]:
        """A certificate and its key; with fewer than 0 days it has expired."""
        certificate, key, request, extra = (self._folder / f"{name}.{kind}" for kind in ("pem", "key", "csr", "ext"))
        _openssl("req", "-new", *_CURVE, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        extra.write_text(extension)
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial", "-days",
            str(days), "-extfile", extra, "-out", certificate,
        )  # fmt: skip
        return certificate, key


def self_signed(folder: Path, name: str = "alone") -> tuple[Path, Path]:
    """A certificate that nobody vouches for, and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    _openssl(
        "req", "-x509", *_CURVE, "-keyout", key, "-out", certificate, "-days", "2", "-subj", f"/CN={name}", "-addext", HERE,
    )  # fmt: skip
    return certificate, key


def encrypted(key: Path, to: Path) -> Path:
    """The same key under a pass phrase."""
    _openssl("pkey", "-in", key, "-out", to, "-aes128", "-passout", "pass:hunter2")
    return to


def serving_with(pair: tuple[Path, Path], *, asks_for: Path | None = None) -> ssl.SSLContext:
    """What a server shows; with `asks_for`, clients must show a certificate that this authority signed."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=asks_for)
    context.load_cert_chain(*pair)
    if asks_for is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, done.stderr
