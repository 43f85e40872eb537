"""A chat completion request, checked as OpenAI checks it."""

from typing import TypeVar

import msgspec

from proxy.routing.decoding import UNREADABLE
from proxy.simulator.errors import Refusal, bad_json, missing, wrong_type

ROLES = ("system", "assistant", "user", "function", "tool", "developer")
TOKENS_PER_MESSAGE = 4
TOKENS_PER_IMAGE = 85  # what OpenAI counts for one at low detail
TOKENS_PER_AUDIO = 50

Json = dict[str, object]
T = TypeVar("T")


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer depends on."""

    model: str
    prompt: str  # the text of the last user message
    tool_results: tuple[str, ...]  # of the tool messages at the end, "" for none
    images: int
    audios: int
    prompt_tokens: int  # an estimate
    mentions_json: bool
    stream: bool = False
    include_usage: bool = False
    obfuscate: bool = True
    n: int = 1
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Json, ...] = ()  # the `function` of each tool
    tool_choice: str | Json = "auto"
    parallel_tool_calls: bool = True
    response_format: Json = {}
    logprobs: bool = False
    top_logprobs: int = 0
    reasoning_effort: str = "medium"


def read_object(body: bytes) -> Json:
    """
    The request's JSON object.

    Raises:
        Refusal: it is none.
    """
    try:
        value = msgspec.json.decode(body)
    except UNREADABLE:
        raise bad_json() from None
    if not isinstance(value, dict):
        raise bad_json()
    return value


def read_model(fields: Json) -> str:
    model = fields.get("model")
    if model is None:
        raise Refusal("you must provide a model parameter")
    if not isinstance(model, str):
        raise wrong_type("model", "a string", model)
    if not model:
        raise Refusal("you must provide a model parameter")
    return model


def read_chat(fields: Json) -> ChatRequest:
    """
    Check a body's fields, unknown ones excepted: those are ignored.

    Raises:
        Refusal: what OpenAI answers to such a body.
    """
    model = read_model(fields)
    messages = _messages(fields)
    last_user: Json | None = None
    tokens = 3
    images = audios = 0
    mentions_json = False
    for message in messages:
        text, message_images, message_audios = _content(message.get("content"))
        tokens += TOKENS_PER_MESSAGE + estimate_tokens(text)
        tokens += TOKENS_PER_IMAGE * message_images + TOKENS_PER_AUDIO * message_audios
        mentions_json = mentions_json or "json" in text.lower()
        if message["role"] == "user":
            last_user = message
            images += message_images
            audios += message_audios
    stream = bool(_typed(fields, "stream", bool))
    stream_options = _typed(fields, "stream_options", dict) or {}
    if stream_options and not stream:
        raise Refusal(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    max_tokens = _at_least_one(fields, "max_completion_tokens")
    request = ChatRequest(
        model=model,
        prompt=_content(last_user["content"])[0] if last_user else "",
        tool_results=_tool_results(messages),
        images=images,
        audios=audios,
        prompt_tokens=tokens,
        mentions_json=mentions_json,
        stream=stream,
        include_usage=stream_options.get("include_usage") is True,
        obfuscate=stream_options.get("include_obfuscation") is not False,
        n=_at_least_one(fields, "n") or 1,
        max_tokens=max_tokens if max_tokens is not None else _at_least_one(fields, "max_tokens"),
        stop=_stop(fields.get("stop")),
        tools=_tools(fields),
        tool_choice=_tool_choice(fields.get("tool_choice")),
        parallel_tool_calls=_typed(fields, "parallel_tool_calls", bool) is not False,
        response_format=_typed(fields, "response_format", dict) or {},
        logprobs=bool(_typed(fields, "logprobs", bool)),
        top_logprobs=min(_typed(fields, "top_logprobs", int) or 0, 20),
        reasoning_effort=_typed(fields, "reasoning_effort", str) or "medium",
    )
    _number(fields, "temperature")
    _number(fields, "top_p")
    if request.n > 128:
        raise Refusal(
            f"Invalid 'n': integer above maximum value. Expected a value <= 128, but got {request.n} instead.",
            param="n",
            code="integer_above_max_value",
        )
    _check_response_format(request)
    return request


def estimate_tokens(text: str) -> int:
    """About four characters a token, as OpenAI's rule of thumb for English has it."""
    return (len(text) + 3) // 4


def _messages(fields: Json) -> list[Json]:
    messages = fields.get("messages")
    if messages is None:
        raise missing("messages")
    if not isinstance(messages, list):
        raise wrong_type("messages", "an array of objects", messages)
    if not messages:
        raise Refusal(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param="messages",
            code="empty_array",
        )
    answerable = False  # whether a tool message may stand here
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise wrong_type(f"messages[{index}]", "an object", message)
        role = message.get("role")
        if role is None:
            raise missing(f"messages[{index}].role")
        if role not in ROLES:
            supported = ", ".join(f"'{role}'" for role in ROLES[:-1])
            raise Refusal(
                f"Invalid value: '{role}'. Supported values are: {supported}, and '{ROLES[-1]}'.",
                param=f"messages[{index}].role",
                code="invalid_value",
            )
        content = message.get("content")
        if content is None and role != "assistant" and role != "function":
            raise Refusal(
                "Invalid value for 'content': expected a string, got null.", param=f"messages.[{index}].content"
            )
        if content is not None and not isinstance(content, (str, list)):
            raise wrong_type(f"messages[{index}].content", "one of a string or array of objects", content)
        if role == "tool" and not answerable:
            raise Refusal(
                # The spelling is OpenAI's.
                "Invalid parameter: messages with role 'tool' must be a response to a preceeding message "
                "with 'tool_calls'.",
                param=f"messages.[{index}].role",
            )
        answerable = role == "tool" or bool(message.get("tool_calls"))
    return messages


def _content(content: object) -> tuple[str, int, int]:
    """A message's text, images and audio clips; parts of other kinds are let pass."""
    if isinstance(content, str):
        return content, 0, 0
    texts: list[str] = []
    images = audios = 0
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            raise wrong_type("messages.content", "an object", part)
        match part.get("type"):
            case "text":
                texts.append(str(part.get("text", "")))
            case "image_url":
                images += 1
            case "input_audio":
                audios += 1
    return "\n".join(texts), images, audios


def _tool_results(messages: list[Json]) -> tuple[str, ...]:
    results: list[str] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        results.append(_content(message.get("content"))[0])
    return tuple(reversed(results))


def _tools(fields: Json) -> tuple[Json, ...]:
    functions = []
    for index, tool in enumerate(_typed(fields, "tools", list) or ()):
        if not isinstance(tool, dict):
            raise wrong_type(f"tools[{index}]", "an object", tool)
        function = tool.get("function")
        if tool.get("type", "function") != "function":
            continue  # `custom` tools and those to come: never called
        if not isinstance(function, dict):
            raise missing(f"tools[{index}].function")
        if not isinstance(function.get("name"), str):
            raise missing(f"tools[{index}].function.name")
        functions.append(function)
    return tuple(functions)


def _tool_choice(value: object) -> str | Json:
    if value is None:
        return "auto"
    if isinstance(value, dict):
        return value
    if value not in ("none", "auto", "required"):
        raise Refusal(
            f"Invalid value: '{value}'. Supported values are: 'none', 'auto', and 'required'.",
            param="tool_choice",
            code="invalid_value",
        )
    return str(value)


def _check_response_format(request: ChatRequest) -> None:
    kind = request.response_format.get("type", "text")
    if kind not in ("text", "json_object", "json_schema"):
        raise Refusal(
            f"Invalid value: '{kind}'. Supported values are: 'json_object', 'json_schema', and 'text'.",
            param="response_format.type",
            code="invalid_value",
        )
    if kind == "json_schema" and not isinstance(request.response_format.get("json_schema"), dict):
        raise missing("response_format.json_schema")
    if kind == "json_object" and not request.mentions_json:
        raise Refusal(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            param="messages",
        )


def _stop(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,) if value else ()
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(item for item in value if item)
    raise wrong_type("stop", "one of a string or array of strings", value)


_EXPECTED = {bool: "a boolean", int: "an integer", str: "a string", dict: "an object", list: "an array of objects"}


def _typed(fields: Json, name: str, kind: type[T]) -> T | None:
    value = fields.get(name)
    # bool is a subclass of int, and `"n": true` is no number
    if value is None or (isinstance(value, kind) and not (kind is int and isinstance(value, bool))):
        return value
    raise wrong_type(name, _EXPECTED[kind], value)


def _at_least_one(fields: Json, name: str) -> int | None:
    value = _typed(fields, name, int)
    if value is not None and value < 1:
        raise Refusal(
            f"Invalid '{name}': integer below minimum value. Expected a value >= 1, but got {value} instead.",
            param=name,
            code="integer_below_min_value",
        )
    return value


def _number(fields: Json, name: str) -> None:
    value = fields.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise wrong_type(name, "a decimal", value)
