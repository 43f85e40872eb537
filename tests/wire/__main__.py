"""Plays the fault matrix and prints it as a page."""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

from tests.wire.matrix import play
from tests.wire.page import page

if __name__ == "__main__":
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(page(play(Path(folder))))
