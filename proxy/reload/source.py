"""The file that a config came from, and those that it names: read again, and asked whether they are the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from proxy.config import Config, ConfigError, load_config, load_shadow

_Mark = tuple[str | int, ...] | None
"""
Where the path leads, device, inode, time of change in ns, size, and who may read it; None when nothing is there. Not
the time when any of these changed: a further hard link is such a change.
"""


class ConfigSource:
    """A routes.yaml that may change, and the files that it names: certificates, policies, the routes of a shadow."""

    def __init__(
        self, path: Path, environ: Mapping[str, str], *, overlay: Callable[[Config], Config] | None = None
    ) -> None:
        """
        Args:
            path: the file; also a symlink, or a file in a folder that is one, as in a Kubernetes ConfigMap.
            environ: where `${NAME}` is looked up.
            overlay: changes every config that is read, as `--demo` does.
        """
        self.path = path
        self.shadow: Config | None = None
        """The other routes.yaml that the one loaded last names as its shadow."""
        self._environ = environ
        self._overlay = overlay
        self._beside: tuple[Path, ...] = ()
        self._loaded: tuple[_Mark, ...] = ()

    def load(self) -> Config:
        """
        The config that the file says now.

        Raises:
            ConfigError: it cannot be read or is not right.
        """
        self._loaded = self._marks()  # before the read: a change meanwhile is then seen as one
        try:
            config = load_config(self.path, self._environ)
        except ConfigError as error:
            if error.files:  # the last ones where it says nothing of them: they belong to what is in use
                self._watch(error.files)
            raise
        config = self._overlay(config) if self._overlay else config
        files = [file.path for file in config.files]
        self._watch(files)
        self.shadow = load_shadow(config, self._environ)
        if self.shadow is not None and self.shadow.policy is not None:
            self._watch([*files, self.shadow.policy.path])
        return config

    def has_changed(self) -> bool:
        """Whether a file is another one, or none, since it was last loaded; right or wrong, it is tried once."""
        return self._marks() != self._loaded

    def _watch(self, files: Iterable[Path]) -> None:
        known = dict(zip((self.path, *self._beside), self._loaded, strict=True))
        self._beside = tuple(files)
        self._loaded = tuple(known[path] if path in known else _mark(path) for path in (self.path, *self._beside))

    def _marks(self) -> tuple[_Mark, ...]:
        return tuple(map(_mark, (self.path, *self._beside)))


def _mark(path: Path) -> _Mark:
    try:
        # A ConfigMap's files keep their names while the folder `..data` is pointed to another one.
        real = os.path.realpath(path)
        found = os.stat(real)  # noqa: PTH116 - of the very file that `real` names
    except OSError:
        return None
    permissions = found.st_mode, found.st_uid, found.st_gid
    return real, found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, *permissions
