"""Plays the fault matrix and prints it as a page."""

from __future__ import annotations

import logging
import sys

from tests.wire.matrix import play
from tests.wire.page import page

if __name__ == "__main__":
    logging.disable()
    sys.stdout.write(page(play()))
