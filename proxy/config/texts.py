"""Texts as the embedding model's tokenizer reads them: two that it cannot tell apart are the same here."""

from __future__ import annotations

import unicodedata


class _Read(dict[int, int | None]):
    """What the tokenizer makes of each character: nothing of accents and of what cannot be seen."""

    def __missing__(self, code: int) -> int | None:
        category = unicodedata.category(chr(code))
        is_left_out = category == "Mn" or (category in ("Cc", "Cf") and chr(code) not in "\t\n\r")
        self[code] = None if is_left_out else code
        return self[code]


_READ = _Read()


def folded(text: str) -> str:
    """
    The text without letter case, accents, surplus white space and characters that cannot be seen.

    As BERT's uncased tokenizer cleans a text, except for a few characters that are not in its vocabulary anyway; empty
    when there is nothing in it to be read.
    """
    return " ".join(unicodedata.normalize("NFD", text).translate(_READ).lower().split())


def nothing_in(text: str) -> str:
    """What to say of a text of which nothing is left when it is folded."""
    return "nothing but white space" + (" and characters that cannot be seen" if text.split() else "")
