"""How long an upstream asks to be left alone, in all forms in which it can say so."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from proxy.relay.headers import Headers
from proxy.relay.retry_after import retry_after_s

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param([], None, id="absent"),
        pytest.param([(b"retry-after", b"2")], 2.0, id="seconds"),
        pytest.param([(b"retry-after", b"0")], 0.0, id="none"),
        pytest.param([(b"retry-after", b"0.5")], 0.5, id="a-part-of-one"),
        pytest.param([(b"retry-after", b"Thu, 01 Jan 2026 12:00:07 GMT")], 7.0, id="date"),
        pytest.param([(b"retry-after", b"Thu, 01 Jan 2026 12:00:07 -0000")], 7.0, id="date-without-a-zone"),
        pytest.param([(b"retry-after", b"Thu, 01 Jan 2026 11:00:00 GMT")], 0.0, id="date-that-is-over"),
        pytest.param([(b"retry-after-ms", b"1500")], 1.5, id="milliseconds"),
        pytest.param([(b"retry-after", b"9"), (b"retry-after-ms", b"1500")], 1.5, id="milliseconds-are-more-exact"),
        pytest.param([(b"retry-after", b"9"), (b"retry-after-ms", b"soon")], 9.0, id="milliseconds-that-are-none"),
        pytest.param([(b"retry-after", b"301")], 300.0, id="seconds-too-many"),
        pytest.param([(b"retry-after", b"Fri, 01 Jan 2027 12:00:00 GMT")], 300.0, id="date-too-far"),
        pytest.param([(b"retry-after-ms", b"999999")], 300.0, id="milliseconds-too-many"),
        pytest.param([(b"retry-after", b"-1")], None, id="below-zero"),
        pytest.param([(b"retry-after", b"nan")], None, id="not-a-number"),
        pytest.param([(b"retry-after", b"1e300")], None, id="past-all-bounds"),
        pytest.param([(b"retry-after", b"\xff")], None, id="not-ascii"),
        pytest.param([(b"retry-after", b"")], None, id="empty"),
        pytest.param(
            [(b"retry-after", b"21 Oct 99999999999999999999 07:28:00 GMT")], None, id="a-year-past-all-bounds"
        ),
        pytest.param([(b"retry-after", b"Wed, 21 Oct 2015 07:28:00 +99999999999999999")], None, id="a-zone-past-them"),
        pytest.param([(b"retry-after", b"Mon, 01 Jan 0001 00:00:00 +2359")], 0.0, id="the-first-day-there-is"),
        pytest.param([(b"retry-after", b"Fri, 31 Dec 9999 23:59:59 -2359")], 300.0, id="the-last"),
    ],
)
def test_retry_after(headers: Headers, seconds: float | None) -> None:
    assert retry_after_s(headers, lambda: NOW) == seconds
