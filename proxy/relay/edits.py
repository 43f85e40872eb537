"""Making the edits that a decision asks for, the rest of the body staying byte for byte."""

from __future__ import annotations

import msgspec

from proxy.relay.json_bytes import end_of_value, members
from proxy.routing.edits import Edits


def edit_body(body: bytes, edits: Edits) -> bytes:
    """
    The same body with its top level edited.

    A key that stands twice is edited both times. Renaming leaves a key alone whose new name is there already: the
    client has said what it wants under that name.

    Args:
        body: a JSON object that a parser has already found valid.
        edits: made in the order rename, drop, default, set.
    """
    found = list(members(body))
    present = {member.key.decode("utf-8", "replace") for member in found}
    renamed = {old: new for old, new in edits.rename.items() if old in present and new not in present}
    names = {renamed.get(name, name) for name in present} - edits.drop
    pieces = [body[: found[0].key_start] if found else body[: body.index(b"{") + 1]]
    is_first = True
    for index, member in enumerate(found):
        key = member.key.decode("utf-8", "replace")
        name = renamed.get(key, key)
        if name in edits.drop:
            continue
        if not is_first:
            pieces.append(body[found[index - 1].end : member.key_start])  # the comma as it was written
        is_first = False
        key_end = end_of_value(body, member.key_start)
        pieces.append(msgspec.json.encode(name) if name != key else body[member.key_start : key_end])
        pieces.append(body[key_end : member.start])
        pieces.append(edits.set.get(name, body[member.start : member.end]))
    new = {key: value for key, value in edits.default.items() if key not in names}
    new |= {key: value for key, value in edits.set.items() if key not in names}
    for key, value in new.items():
        pieces.append(b"" if is_first else b",")
        pieces += (msgspec.json.encode(key), b":", value)
        is_first = False
    pieces.append(body[found[-1].end if found else len(pieces[0]) :])
    return b"".join(pieces)
