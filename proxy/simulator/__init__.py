"""
Simulated upstreams: the wire of api.openai.com, and of api.anthropic.com, without a model behind it.

`pointsman serve --demo` runs them so that the whole product works without a key; the tests and
the benchmark use them too. Any model name works: its persona (pace, length, manner) follows from
the name, and the text says which model at which upstream answered. The same request always gets
the same text.

    POST [/UPSTREAM]/v1/chat/completions    POST [/UPSTREAM]/v1/completions (legacy)
    POST [/UPSTREAM]/v1/responses           GET or DELETE [/UPSTREAM]/v1/responses/ID
    POST [/UPSTREAM]/v1/messages            POST [/UPSTREAM]/v1/messages/count_tokens (both Anthropic's)
    POST [/UPSTREAM]/v1/embeddings          POST [/UPSTREAM]/v1/moderations
    POST [/UPSTREAM]/v1/images/generations  POST [/UPSTREAM]/v1/audio/speech
    POST or GET [/UPSTREAM]/v1/files        POST [/UPSTREAM]/v1/audio/transcriptions
    GET [/UPSTREAM]/v1/files/ID[/content]   DELETE [/UPSTREAM]/v1/files/ID
    GET [/UPSTREAM]/v1/models[/MODEL]       DELETE [/UPSTREAM]/v1/models/MODEL
    GET /_simulator/log                     POST or DELETE /_simulator/log clears it
    GET, PATCH or DELETE [/UPSTREAM/v1]/_simulator/qualities

Each upstream keeps files and responses of its own, in memory: the last thousand of each, and 64 MiB.

Each answer of a model tells whether it is right, as nobody could say of a real one:

    x-simulated-quality: 0.85       the chance that this model answers this prompt right
    x-simulated-right: 1            whether it did: drawn by that chance, the same for the same request
    x-simulated-compared: 0.4,0.9   the chances of the models in `x-simulate-compare`, in their order

Every persona is good at some topics of prompts.py and not at others; any other prompt is of no topic. `--qualities
FILE` says otherwise of models by their names, {"gpt-4o": {"default": 0.8, "logic": 0.5}}, and so does PATCH while
it runs, so that a model silently gets worse; DELETE brings back what was said at first. `pointsman traffic` has users
who ask such prompts, and rate.

Bad days on request, by header; headers pass through a proxy, so this works end to end:

    x-simulate-status: 429          this status, with OpenAI's envelope for it
    x-simulate-retry-after: 2       that answer's Retry-After, passed as it is
    x-simulate-html: 1              an HTML page instead of JSON or events (with any status)
    x-simulate-context: 100         400 context_length_exceeded for prompts of more tokens
    x-simulate-headers-ms: 50       silence before the headers
    x-simulate-first-token-ms: 300  silence before the first event (without stream: before the headers)
    x-simulate-token-ms: 20         pause between tokens
    x-simulate-tokens: 500          an answer of exactly so many tokens (a word is a token here)
    x-simulate-text: hello%20there  this very text (percent-encoded UTF-8)
    x-simulate-cached-tokens: 64    prompt tokens that usage reports as cached
    x-simulate-cut: N               cut the connection after N events, no [DONE]; `headers`: before the headers
    x-simulate-error-event: N       after N events one SSE event with an error, then the end, no [DONE]
    x-simulate-stall: N             silence after N events, until the client leaves
    x-simulate-stall-headers: 1     silence instead of headers, until the client leaves
    x-simulate-chunk-bytes: N       write the body in pieces of N bytes, whatever the events
    x-simulate-seed: 7              ids and times derived from this and the request, not from chance
    x-simulate-compare: NAME,NAME   tell of these models' chances too (names percent-encoded)
    x-simulate-only: NAME,NAME      heed the others only at these upstreams or models: the rest is well

Without stream, `cut` and `stall` send the headers and half of the body. Events are counted from
the first one, which carries the role and no content; of a response the first two say that it has
begun, of a message the first three. Speech comes in pieces that count as events. A delay asked for
is kept exactly, also by an instant simulator; only the personas' own pace is scaled by `pace`.

Where headers are awkward, the model name can say the same, joined by `+`: `gpt-4o+cut-3`,
`gpt-4o+status-503+retry-after-2`, `gpt-4o+stall-headers`; `error-429` alone is short for
`status-429`. What a header says wins.
"""

from proxy.simulator.app import Simulator, build_simulator
from proxy.simulator.knobs import Knobs
from proxy.simulator.log import Entry, Log
from proxy.simulator.qualities import Qualities

__all__ = ["Entry", "Knobs", "Log", "Qualities", "Simulator", "build_simulator"]
