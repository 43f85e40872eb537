"""The error envelopes, and what OpenAI says for each status."""

import msgspec


class Refusal(Exception):
    """An error answer in OpenAI's words."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",  # the envelope's `type`
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param
        self.code = code

    def body(self) -> bytes:
        """The envelope, indented as api.openai.com indents it."""
        error = {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}
        return msgspec.json.format(msgspec.json.encode({"error": error}), indent=4) + b"\n"


class TooLong(Refusal):
    """The prompt exceeds the context."""

    def __init__(self, tokens: int, context: int) -> None:
        super().__init__(
            f"This model's maximum context length is {context} tokens. However, your messages resulted in "
            f"{tokens} tokens. Please reduce the length of the messages.",
            param="messages",
            code="context_length_exceeded",
        )
        self.for_anthropic = f"prompt is too long: {tokens} tokens > {context} maximum"


# status: (type, code, message); {model} is the requested name.
_BY_STATUS: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "Invalid request, as asked for by x-simulate-status."),
    401: (
        "invalid_request_error",
        "invalid_api_key",
        "Incorrect API key provided: sk-simul****ated. "
        "You can find your API key at https://platform.openai.com/account/api-keys.",
    ),
    403: (
        "request_forbidden",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    404: (
        "invalid_request_error",
        "model_not_found",
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    408: ("server_error", "timeout", "Request timed out."),
    409: ("invalid_request_error", "conflict", "The request conflicts with another one. Please try again."),
    413: ("invalid_request_error", "request_too_large", "The request is too large."),
    422: ("invalid_request_error", "unprocessable_entity", "The request was well formed but could not be followed."),
    429: (
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for {model} in organization org-simulated on requests per min (RPM): "
        "Limit 500, Used 500, Requested 1. Please try again in 120ms. "
        "Visit https://platform.openai.com/account/rate-limits to learn more.",
    ),
    500: (
        "server_error",
        None,
        "The server had an error while processing your request. Sorry about that! You can retry your request.",
    ),
    502: ("server_error", "bad_gateway", "Bad gateway."),
    503: (
        "service_unavailable_error",
        "slow_down",
        "The engine is currently overloaded, please try again later.",
    ),
    504: ("server_error", "gateway_timeout", "The server did not answer in time."),
    529: ("overloaded_error", "overloaded", "Overloaded."),
}


def refusal_for(status: int, model: str) -> Refusal:
    """What OpenAI says with this status; for statuses it does not use, a plain sentence."""
    fallback = ("server_error" if status >= 500 else "invalid_request_error", None, f"Simulated status {status}.")
    kind, code, message = _BY_STATUS.get(status, fallback)
    return Refusal(message.replace("{model}", model), status=status, kind=kind, code=code)


# By status; others are `invalid_request_error` below 500 and `api_error` from there.
_ANTHROPIC_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def anthropic_body(refusal: Refusal, request_id: str) -> bytes:
    """The same in Anthropic's envelope, which has neither `param` nor `code`."""
    kind = _ANTHROPIC_KINDS.get(refusal.status, "invalid_request_error" if refusal.status < 500 else "api_error")
    message = refusal.for_anthropic if isinstance(refusal, TooLong) else str(refusal)
    error = {"type": kind, "message": message}
    return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id})


def bad_json() -> Refusal:
    return Refusal(
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
        "library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you have "
        "trouble figuring out how to fix this, please contact us through our help center at help.openai.com.)"
    )


def missing(param: str) -> Refusal:
    return Refusal(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def wrong_type(param: str, expected: str, value: object) -> Refusal:
    return Refusal(
        f"Invalid type for '{param}': expected {expected}, but got {_kind(value)} instead.",
        param=param,
        code="invalid_type",
    )


def unknown_url(method: str, path: str) -> Refusal:
    return Refusal(f"Invalid URL ({method} {path})", status=404)


def wrong_method(method: str, path: str) -> Refusal:
    return Refusal(
        f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)",
        status=405,
        code="method_not_supported",
    )


def _kind(value: object) -> str:
    """How OpenAI names the JSON type of a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a decimal"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"
