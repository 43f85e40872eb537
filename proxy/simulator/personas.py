"""How a model answers, from nothing but its name: its pace, its length, its manner."""

import re
from functools import lru_cache
from zlib import crc32

import msgspec


class Persona(msgspec.Struct, frozen=True, kw_only=True):
    """One way to answer. `{topic}` in a sentence stands for what the prompt is about."""

    name: str
    first_token_s: float
    tokens_per_s: float
    sentences: tuple[int, int]  # fewest, most; drawn by the prompt
    opening: tuple[str, ...]
    remarks: tuple[str, ...]
    closing: tuple[str, ...]
    writes_code: bool = False
    context: int = 128_000  # tokens
    reasoning_tokens: int = 0  # at medium effort
    shows_reasoning: bool = False  # in `reasoning_content`, as DeepSeek's API does


SMALL = Persona(
    name="small",
    first_token_s=0.12,
    tokens_per_s=120,
    sentences=(1, 2),
    opening=("In short:", "Quick answer:", "Sure!"),
    remarks=(
        "{topic} comes down to one idea, so keep it simple.",
        "Start with the plainest version of {topic} and stop when it works.",
        "For {topic}, the usual choice is the right one.",
        "Nothing about {topic} needs more than a few lines.",
    ),
    closing=("Hope that helps!", "Ask away if you need more.", "Done."),
)

LARGE = Persona(
    name="large",
    first_token_s=0.35,
    tokens_per_s=55,
    sentences=(5, 8),
    opening=(
        "Let us look at this from several sides.",
        "There is more to this than it seems, so here is a thorough answer.",
        "A careful answer has to separate what is known from what is assumed.",
    ),
    remarks=(
        "First, be precise about what {topic} is meant to achieve, because most disagreements start there.",
        "Second, the constraints around {topic} matter more than the tools, and they are cheaper to find early.",
        "It also helps to ask what would have to be true for {topic} to fail, and to look there first.",
        "A common objection is that {topic} is too costly; measured over a year, the opposite is usually the case.",
        "The literature on {topic} agrees on the principle and differs on the details, which is a good sign.",
        "In practice, a small trial with {topic} teaches more than a long plan, provided that it can be undone.",
        "Compare at least two alternatives to {topic}, one of which should be doing nothing at all.",
        "Finally, write down how you will know that {topic} has worked, before you begin.",
        "Where the evidence on {topic} is thin, say so, and prefer the choice that keeps others open.",
    ),
    closing=(
        "Taken together, this argues for a modest first step and an honest look at its result.",
        "I can go deeper into any of these points.",
    ),
)

CODER = Persona(
    name="coder",
    first_token_s=0.25,
    tokens_per_s=80,
    sentences=(1, 2),
    context=32_768,
    writes_code=True,
    opening=("Here is an implementation.", "This does it:", "A version that handles the edge cases:"),
    remarks=(
        "It runs in linear time and needs no dependencies.",
        "The empty input is handled by the first branch.",
        "For {topic}, a plain loop is easier to test than a clever expression.",
        "Add a test for the boundary before you change it.",
    ),
    closing=("Tell me your language and I will adapt it.", "Run the tests before you merge."),
)

REASONER = Persona(
    name="reasoner",
    first_token_s=1.2,
    tokens_per_s=45,
    sentences=(3, 5),
    reasoning_tokens=384,
    opening=("After working through it step by step:", "Having checked the alternatives, I conclude this:"),
    remarks=(
        "Suppose the opposite about {topic}: it leads to a contradiction in the second step.",
        "The claim about {topic} holds in the base case, and each further case reduces to it.",
        "Two of the three readings of {topic} give the same result, and the third is excluded by the wording.",
        "A check with small numbers confirms what the argument about {topic} says.",
        "The bound is tight, as an example for {topic} shows.",
    ),
    closing=("Therefore the answer stands.", "That settles the question, within these assumptions."),
)

THINKING_ALOUD = msgspec.structs.replace(
    REASONER, name="thinking aloud", tokens_per_s=60, reasoning_tokens=48, shows_reasoning=True
)

FRIENDLY = Persona(
    name="friendly",
    first_token_s=0.2,
    tokens_per_s=90,
    sentences=(2, 4),
    opening=("Great question!", "Happy to help with this one.", "Oh, I like this topic."),
    remarks=(
        "Think of {topic} as a recipe: a few good ingredients, in the right order.",
        "People often worry about {topic}, and there is really no need to.",
        "My favourite way into {topic} is a small example that you can play with.",
        "Take {topic} one step at a time, and it turns out to be friendly.",
    ),
    closing=("You have got this!", "Let me know how it goes."),
)

DRY = Persona(
    name="dry",
    first_token_s=0.3,
    tokens_per_s=70,
    sentences=(2, 3),
    opening=("Noted.", "The facts are these.", "Briefly and without ornament:"),
    remarks=(
        "{topic} is a means, not an end.",
        "Whoever sells {topic} recommends it.",
        "Measure {topic} first; opinions can follow.",
        "The defaults for {topic} exist for a reason.",
    ),
    closing=("That is all.", "No further remarks."),
)

_OTHERS = (FRIENDLY, DRY, SMALL, LARGE)

# The first that matches decides, so the more particular stands first.
_BY_NAME: tuple[tuple[re.Pattern[str], Persona], ...] = (
    (re.compile(r"(^|[-_/.:])r1($|[-_:.])|qwq|magistral|thinking|deepseek-reasoner"), THINKING_ALOUD),
    (re.compile(r"^(.*/)?o[1-9]($|-)|reason"), REASONER),
    (re.compile(r"cod(er|e|ex|estral)($|[^a-z])|starcoder|devstral"), CODER),
    (re.compile(r"(?<!ge)mini|nano|small|tiny|haiku|flash|lite|turbo|instant|(^|\D)[1-9](\.\d)?b($|\W)"), SMALL),
    (re.compile(r"gpt-[4-9]|large|opus|sonnet|ultra|(^|\W)(pro|max)($|\W)|\d{2,3}b($|\W)"), LARGE),
)

WELL_KNOWN = ("gpt-4o-mini", "gpt-4o", "o3-mini", "deepseek-r1", "qwen2.5-coder-32b", "text-embedding-3-small")


@lru_cache(maxsize=1024)
def persona_of(model: str) -> Persona:
    """The persona of any name; the same name always has the same one."""
    plain = model.lower().partition("+")[0]
    for pattern, persona in _BY_NAME:
        if pattern.search(plain):
            return persona
    return _OTHERS[crc32(plain.encode()) % len(_OTHERS)]
