"""The files that routes.yaml names beside itself: found from its folder, read, and looked at once."""

from __future__ import annotations

import hashlib
import ssl
import stat
from pathlib import Path as FilePath

import msgspec

from proxy.config.judging import Judge
from proxy.config.problems import Path, quote
from proxy.config.schema import Config
from proxy.config.schema_upstreams import Tls, Upstream
from proxy.config.schema_uses import Shadow
from proxy.config.typed import BROKEN
from proxy.config.values import File

_MAX_BYTES = 4 * 1024 * 1024  # a bundle of all the authorities of the world has a quarter of a megabyte
_MAX_POLICY_BYTES = 64 * 1024 * 1024
_LONGEST_SOCKET = 107  # what the system has room for; 103 on some


def with_files(config: Config, folder: FilePath, file: Judge) -> Config:
    """
    The config with every path in full and every certificate and shadow read, which is told in what is equal to it.

    A file that is missing, or that is not what it should be, is reported.

    Args:
        config: as the file says, with BROKEN in place of what could not be read.
        folder: where relative paths begin.
        file: where it says so.
    """
    if isinstance(config.policy, File):
        # What is in it is told apart by the policy itself, and it may come later than the config that names it.
        config = msgspec.structs.replace(config, policy=File(folder / config.policy.path))
    if config.shadow is not None and config.shadow is not BROKEN:
        config = msgspec.structs.replace(config, shadow=_shadow(config.shadow, folder, file))
    upstreams = {
        name: upstream if upstream is BROKEN else _upstream(("upstreams", name), upstream, folder, file)
        for name, upstream in config.upstreams.items()
    }
    return msgspec.structs.replace(config, upstreams=upstreams)


def _shadow(shadow: Shadow, folder: FilePath, file: Judge) -> Shadow:
    """With the hashes of its files: unlike the policy, neither may come later, since nothing waits for it."""
    read = {
        name: found[0]
        for name, most in (("policy", _MAX_POLICY_BYTES), ("routes", _MAX_BYTES))
        if isinstance(named := getattr(shadow, name), File)
        and (found := _read(("shadow", name), named, folder, file, most)) is not None
    }
    return msgspec.structs.replace(shadow, **read)


def _upstream(path: Path, upstream: Upstream, folder: FilePath, file: Judge) -> Upstream:
    tls, socket = upstream.tls, upstream.socket
    if socket is not None and socket is not BROKEN:
        # Whether somebody listens there is nothing that a file can be blamed for: that may come and go.
        socket = File(folder / socket.path)
        if len(str(socket).encode(errors="surrogateescape")) > _LONGEST_SOCKET:
            file.say((*path, "socket"), f"a path of more than {_LONGEST_SOCKET} bytes, which no socket can have")
    if tls is not None and tls is not BROKEN:
        tls = _tls((*path, "tls"), tls, folder, file)
    return msgspec.structs.replace(upstream, tls=tls, socket=socket)


def _tls(path: Path, tls: Tls, folder: FilePath, file: Judge) -> Tls:
    read = {
        name: _read((*path, name), found, folder, file)
        for name in ("ca", "certificate", "key")
        if (found := getattr(tls, name)) is not None and found is not BROKEN
    }
    for name in ("ca", "certificate"):
        if (content := read.get(name)) is not None and not _has_certificate(content[0].path):
            file.say((*path, name), "holds no certificate in PEM form")
            read[name] = None
    certificate, key = read.get("certificate"), read.get("key", read.get("certificate"))
    if certificate is not None and key is not None and tls.key is not BROKEN:
        where = "key" if tls.key is not None else "certificate"
        if problem := _mismatch(certificate[0].path, *key, has_own_file=tls.key is not None):
            file.say((*path, where), problem)
    return msgspec.structs.replace(tls, **{name: found[0] for name, found in read.items() if found is not None})


def _read(path: Path, named: File, folder: FilePath, file: Judge, most: int = _MAX_BYTES) -> tuple[File, bytes] | None:
    """The file with its hash, and what it holds; None when it cannot be read, which is said."""
    where = folder / named.path
    shown = file.variable(path) or quote(str(where), limit=300)
    try:
        if not stat.S_ISREG(where.stat().st_mode):
            file.say(path, f"{shown} is not a file")
            return None
        with where.open("rb") as opened:
            content = opened.read(most + 1)
    except FileNotFoundError:
        file.say(path, f"there is no file {shown}")
    except PermissionError:
        file.say(path, f"{shown} may not be read by this user; check its permissions")
    except OSError as error:
        file.say(path, f"{shown} cannot be read: {error.strerror or 'the system gives no reason'}")
    else:
        if len(content) <= most:
            return File(where, hashlib.sha256(content).hexdigest()), content
        file.say(path, f"{shown} is larger than {most // 1024**2} MB; is this the right file?")
    return None


def _has_certificate(path: FilePath) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except OSError:  # which ssl.SSLError is
        return False
    return context.cert_store_stats()["x509"] > 0


def _mismatch(certificate: FilePath, key: File, content: bytes, *, has_own_file: bool) -> str | None:
    """What is wrong with a certificate and its key, which may be in one file."""
    if b"ENCRYPTED" in content:
        # Asking for the pass phrase would stop a start without a terminal for good.
        return "is encrypted; write the key without a pass phrase, as `openssl pkey -in OLD -out NEW` does"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key.path, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return "holds the key of another certificate"
        if has_own_file:
            return "holds no private key in PEM form"
        return "holds no private key; name the file that does under 'key'"
    except OSError:
        return "cannot be read"
    return None


def _no_password() -> str:
    return ""
