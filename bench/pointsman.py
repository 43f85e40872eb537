"""What is particular to Pointsman's own rows: its routes, its decisions' times, the bare ONNX run."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.client import Asker, Target
from bench.processes import NotReady
from bench.prompts import texts

__all__ = ["SAME_TEXT", "bare_onnx_s", "decision_times", "routes"]

SAME_TEXT = (
    "Write a function in Python that merges two sorted lists into one sorted list, and explain in one sentence "
    "why it needs only a single pass over both"
)

# A deadline and a queue that never give up: under the load of 32 connections on one core the shipped limits
# would let some requests be decided without their text, and the row would look faster than it is.
ROUTES = """
version: 1
upstreams:
  model: {{base_url: "http://127.0.0.1:{upstream}/v1", api_key: sk-bench}}
models:
  small: {{target: {{upstream: model, name: gpt-4o-mini}}, price: {{input: 0.15, output: 0.60}}}}
  large: {{target: {{upstream: model, name: gpt-4o}}, price: {{input: 2.50, output: 10.00}}}}
rewrite: ["*"]
default: small
embedding: {{queue: 4096, deadline: 20s, cache: {cache}}}
topics:
  code:
    examples:
      - Write a function that merges two sorted lists
      - Why does this raise a segmentation fault?
      - Fix the off-by-one error in this loop
      - Add type hints to this Python module
  law:
    examples:
      - Is a verbal agreement binding?
      - What does this clause of my lease mean?
      - Can my employer read my private messages?
      - Draft a short non-disclosure agreement
  smalltalk:
    examples:
      - hi there
      - thanks, that helped!
      - how are you today?
      - good morning
routes:
  - {{name: fast, when: {{model: fast}}, use: small}}
  - {{name: code, when: {{topic: code}}, use: large}}
  - {{name: law, when: {{topic: law}}, use: large}}
  - {{name: smalltalk, when: {{topic: smalltalk}}, use: small}}
"""


def routes(upstream: int, *, cache: int = 10_000) -> str:
    """routes.yaml for an upstream on that port; `cache` is how many texts' vectors are kept, 10,000 as shipped."""
    return ROUTES.format(upstream=upstream, cache=cache)


async def decision_times(target: Target, count: int, seed: int) -> tuple[float, dict[str, int]]:
    """
    What the proxy itself says its decisions took, one request at a time.

    Returns:
        The p50 in seconds, and how often each reason was given. An embedded text that reaches no topic's
        threshold is decided by `default`, so a share of those is no fault; `overload` is one.
    """
    asker = await Asker.connect(target.port)
    fresh = texts(seed)
    times, reasons = [], dict[str, int]()
    try:
        for _ in range(count):
            text = target.text if target.text is not None else next(fresh)
            reply = await asker.ask(target.request(text, stream=False))
            times.append(float(reply.headers["x-pointsman-decision-ms"]) / 1000)
            reason = reply.headers.get("x-pointsman-reason", "?")
            reasons[reason] = reasons.get(reason, 0) + 1
    except KeyError as error:
        raise NotReady(f"no {error} header in Pointsman's answer") from error
    finally:
        asker.close()
    return statistics.median(times), reasons


def bare_onnx_s(core: int, runs: int = 100) -> float:
    """The p50 of one run of the model on a text of 30 tokens, in a process of its own on the proxy's core."""
    command = ["taskset", "-c", str(core), sys.executable, "-m", "bench.pointsman", str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise NotReady((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    return float(json.loads(done.stdout))


def time_onnx(runs: int) -> float:
    """Tokenise beforehand and time nothing but `run`, one thread, the ids and masks of one text."""
    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer

    folder = Path(__file__).parents[1] / "models" / "all-MiniLM-L6-v2"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    names = [argument.name for argument in session.get_inputs()]
    fresh = texts(0)
    taken = []
    for _ in range(runs + 20):
        encoded = tokenizer.encode(next(fresh))
        rows = {"input_ids": encoded.ids, "attention_mask": encoded.attention_mask, "token_type_ids": encoded.type_ids}
        feed = {name: np.array([rows[name]], dtype=np.int64) for name in names}
        began = time.perf_counter()
        session.run(None, feed)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[20:])


if __name__ == "__main__":
    print(json.dumps(time_onnx(int(sys.argv[1]))))
