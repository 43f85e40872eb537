"""Which names have which persona."""

import pytest

from proxy.simulator.personas import persona_of


@pytest.mark.parametrize(
    ("model", "persona"),
    [
        ("gpt-4o-mini", "small"),
        ("gpt-4.1-nano", "small"),
        ("claude-haiku-4-5", "small"),
        ("gemini-2.5-flash", "small"),
        ("meta-llama/Llama-3.1-8B-Instruct", "small"),
        ("gpt-4o", "large"),
        ("gpt-4o+cut-3", "large"),
        ("claude-opus-4", "large"),
        ("gemini-2.5-pro", "large"),
        ("llama-3.3-70b", "large"),
        ("qwen2.5-coder-32b", "coder"),
        ("code", "coder"),
        ("deepseek-coder", "coder"),
        ("o1", "reasoner"),
        ("o3-mini", "reasoner"),
        ("openai/o4-mini-high", "reasoner"),
        ("deepseek-r1", "thinking aloud"),
        ("DeepSeek-R1-Distill-Llama-70B", "thinking aloud"),
    ],
)
def test_well_known_names(model: str, persona: str) -> None:
    assert persona_of(model).name == persona


def test_any_name_has_one_and_not_all_the_same() -> None:
    assert persona_of("zephyr") is persona_of("zephyr")
    assert len({persona_of(f"house-{letter}").name for letter in "abcdefghijkl"}) > 2


def test_small_is_quicker_than_large_and_reasoners_think() -> None:
    small, large, reasoner = (persona_of(name) for name in ("gpt-4o-mini", "gpt-4o", "o1"))
    assert small.first_token_s < large.first_token_s < reasoner.first_token_s
    assert small.tokens_per_s > large.tokens_per_s > reasoner.tokens_per_s
    assert reasoner.reasoning_tokens > 0 == small.reasoning_tokens
