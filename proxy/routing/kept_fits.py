"""
Fits of topics on disk, so that a start with the examples of an earlier one need not fit again.

A file for each fit, named by a hash of the vectors that it was made of. So a fit of other examples, of another model
or by another method is never found.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from proxy.embedding import DIMENSIONS, Vectors
from proxy.kept import KeptFile
from proxy.routing.topic_calibration import Calibration
from proxy.routing.topic_fit import TopicFit

METHOD = 2
"""To be raised with every change of `probe`, `topic_calibration` or `topic_fit` that makes another fit."""

_MAGIC = f"pointsman topics {METHOD}, {DIMENSIONS} numbers each\n".encode()
_PREFIX = "pointsman-topics-"
ROOM = 8


def fit_key(examples: Mapping[str, Vectors], names: Vectors) -> str:
    """The same for the same vectors in the same groups and order, whatever the topics are called."""
    digest = hashlib.sha256(_MAGIC)
    for rows in (*examples.values(), names):
        digest.update(len(rows).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(rows, dtype="<f4").tobytes())
    return digest.hexdigest()


class KeptFits:
    """The fits in one folder. Any number of processes may use it at once."""

    def __init__(self, folder: Path, *, room: int = ROOM) -> None:
        """
        Args:
            folder: where the files are; made when the first is written.
            room: fits that are kept, those used last; one of 1,000 topics takes 3 MB.
        """
        self._folder = folder
        self._room = room

    def read(self, key: str) -> TopicFit | None:
        """
        The fit of that key, bit for bit as it was written; None when there is none.

        Raises:
            CacheUnusable: there is something, and it cannot be read or is not what was written.
        """
        file = self._file(key)
        content = file.read()
        if content is None:
            return None
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as found:
                fit = TopicFit(found["weights"], found["bias"], Calibration.of(found["calibration"].tolist()))
        except (ValueError, KeyError, zipfile.BadZipFile) as error:
            raise file.damaged() from error
        with suppress(OSError):  # of a read-only folder
            os.utime(file.path)
        return fit

    def write(self, key: str, fit: TopicFit) -> None:
        """
        Keep a fit, and remove those that were not used for longest.

        Raises:
            CacheUnusable: it cannot be written.
        """
        content = io.BytesIO()
        np.savez(content, weights=fit.weights, bias=fit.bias, calibration=np.array(fit.calibration.numbers))
        self._file(key).write([content.getbuffer()])
        with suppress(OSError):  # another process may be quicker
            files = sorted(self._folder.glob(f"{_PREFIX}*.bin"), key=lambda path: path.stat().st_mtime)
            for path in files[: -self._room]:
                path.unlink(missing_ok=True)

    def _file(self, key: str) -> KeptFile:
        return KeptFile(self._folder / f"{_PREFIX}{key[:32]}.bin", _MAGIC, otherwise="the next start fits again")
