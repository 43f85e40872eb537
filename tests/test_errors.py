"""The errors a client may see: their envelope, their status, and the tree that describes them."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re

import pytest

import proxy
from proxy import errors
from proxy.errors import ProxyError, UnknownPath, WrongMethod

for module in pkgutil.walk_packages(proxy.__path__, "proxy."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)


def below(kind: type[ProxyError]) -> list[type[ProxyError]]:
    """Every subclass in the whole package."""
    return [found for direct in kind.__subclasses__() for found in (direct, *below(direct))]


ALL = [ProxyError, *below(ProxyError)]
TREE = [
    (name, int(status))
    for name, status in re.findall(r"^[├└]── (\w+) +(\d{3})  \S", errors.__doc__ or "", re.MULTILINE)
]


def make(kind: type[ProxyError], message: str = "Do this.") -> ProxyError:
    return kind(message, allow="GET") if issubclass(kind, WrongMethod) else kind(message)


def test_the_tree_lists_exactly_the_subclasses() -> None:
    direct = [kind for kind in ProxyError.__subclasses__() if kind.__module__ == errors.__name__]
    assert sorted(TREE) == sorted((kind.__name__, kind.status) for kind in direct)
    assert [status for _, status in TREE] == sorted(status for _, status in TREE)


def test_whatever_else_is_raised_belongs_to_a_branch_of_the_tree() -> None:
    branches = tuple(getattr(errors, name) for name, _ in TREE)
    for kind in below(ProxyError):
        assert issubclass(kind, branches)
        assert kind.status == next(branch.status for branch in branches if issubclass(kind, branch))


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_the_envelope(kind: type[ProxyError]) -> None:
    error = make(kind, 'Say "é",\nplease: \u2028😀')
    assert json.loads(error.body()) == {
        "error": {"message": 'Say "é",\nplease: \u2028😀', "type": kind.type, "param": None, "code": kind.code}
    }
    assert str(error) == 'Say "é",\nplease: \u2028😀'


@pytest.mark.parametrize("kind", below(ProxyError), ids=lambda kind: kind.__name__)
def test_the_type_says_whose_fault_it_is(kind: type[ProxyError]) -> None:
    ours = {
        errors.Overloaded: "overloaded_error",
        errors.ShuttingDown: "overloaded_error",
        errors.StoreDown: "server_error",
        errors.NotKept: "invalid_request_error",
    }.get(kind, "upstream_error")
    assert kind.type == ("invalid_request_error" if kind.status < 500 else ours)
    if kind is not errors.BadRequest:
        assert kind.code is not None
        assert re.fullmatch("[a-z_]+", kind.code)


def test_a_bare_error_is_a_500() -> None:
    assert (ProxyError.status, ProxyError.type, ProxyError.code) == (500, "server_error", None)


def test_parameter_and_code_are_this_errors_own() -> None:
    error = errors.BadRequest("x", param="model", code="invalid_type")
    assert json.loads(error.body())["error"] == {
        "message": "x", "type": "invalid_request_error", "param": "model", "code": "invalid_type",
    }  # fmt: skip
    assert errors.BadRequest.code is None
    assert UnknownPath("x", code="other").code == "other"
    assert UnknownPath("x").code == "unknown_url"


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_headers_are_ready_for_the_wire(kind: type[ProxyError]) -> None:
    for name, value in make(kind).headers:
        assert name == name.lower()
        assert b"\n" not in value


def test_a_wrong_method_names_the_right_one() -> None:
    assert WrongMethod("x", allow="GET, HEAD").headers == ((b"allow", b"GET, HEAD"),)
    assert WrongMethod.headers == ()


@pytest.mark.parametrize("kind", [errors.BodyTimeout, errors.BodyTooLarge])
def test_what_leaves_a_body_half_read_closes_the_connection(kind: type[ProxyError]) -> None:
    assert (b"connection", b"close") in kind.headers


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (errors.BadRequest, "invalid_request_error"),
        (errors.UnknownModel, "not_found_error"),
        (errors.BodyTooLarge, "request_too_large"),
        (errors.UpstreamUnavailable, "api_error"),
        (errors.Overloaded, "overloaded_error"),
        (errors.UpstreamTimeout, "api_error"),
    ],
)
def test_anthropics_envelope(kind: type[ProxyError], told: str) -> None:
    assert json.loads(kind("m").anthropic_body()) == {"type": "error", "error": {"type": told, "message": "m"}}
