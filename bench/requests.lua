-- What wrk sends: one POST whose user text is new each time, or always the same.
--
-- The parts come from bench/prompts.py by way of the environment, so Python's own client sends the same
-- bytes. Plain concatenation instead of wrk.format: this runs once a request on the load generator's core.

local head = os.getenv("BENCH_HEAD")      -- request line and headers, up to the value of content-length
local before = os.getenv("BENCH_BEFORE")  -- the body up to the user's text
local after = os.getenv("BENCH_AFTER")    -- and after it
local count = tonumber(os.getenv("BENCH_WORDS_PER_TEXT"))
local fixed = os.getenv("BENCH_TEXT")     -- not empty: the text of every request

local words = {}
for word in os.getenv("BENCH_WORDS"):gmatch("%S+") do
  words[#words + 1] = word
end

local function compose(text)
  return head .. (#before + #text + #after) .. "\r\n\r\n" .. before .. text .. after
end

local same

function init()
  math.randomseed(tonumber(os.getenv("BENCH_SEED")))
  if fixed ~= "" then
    same = compose(fixed)
  end
end

function request()
  if same then
    return same
  end
  local text = {}
  for i = 1, count do
    text[i] = words[math.random(#words)]
  end
  return compose(table.concat(text, " "))
end

-- One line of JSON instead of wrk's prose; microseconds.
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"bytes":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"max_us":%d,'
      .. '"status_errors":%d,"socket_errors":%d,"timeouts":%d}\n',
    summary.requests, summary.bytes, summary.duration,
    latency:percentile(50), latency:percentile(99), latency.max,
    errors.status, errors.connect + errors.read + errors.write, errors.timeout
  ))
end
