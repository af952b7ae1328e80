-- What wrk sends, by BENCH_LOAD: reserve (one reservation a request), pairs (each reservation is committed), refused (a
-- tenant without money), mix (see mixed() below). Every reservation has its own Idempotency-Key.
local load = os.getenv("BENCH_LOAD")
local key = os.getenv("BENCH_KEY")
local tenants = tonumber(os.getenv("BENCH_TENANTS"))
local users = tonumber(os.getenv("BENCH_USERS"))
local run = os.getenv("BENCH_RUN")
-- Milliseconds that a connection waits on average before each request; 0: it sends the next one at once.
local pause = tonumber(os.getenv("BENCH_PAUSE"))
local sent = 0
local held = {}

math.randomseed(1)

local function headers(idempotency_key)
  return {
    ["authorization"] = "Bearer " .. key,
    ["content-type"] = "application/json",
    ["idempotency-key"] = idempotency_key,
  }
end

local function tenant()
  if load == "refused" then return "t-refused" end
  return "t-" .. math.random(tenants)
end

local function reservation()
  return '{"resource_type":"llm","tenant_id":"' .. tenant() .. '","user_id":"u-' .. math.random(users)
    .. '","conversation_id":"c-' .. sent
    .. '","llm":{"provider":"openai","model":"gpt-6.1-sol","input_tokens":1200,"max_output_tokens":200},"ttl_seconds":86400}'
end

local function reserve()
  return wrk.format("POST", "/v1/reservations", headers('"' .. run .. "-" .. sent .. '"'), reservation())
end

local function settle(verb, body)
  return wrk.format("POST", "/v1/reservations/" .. table.remove(held) .. "/" .. verb, headers(nil), body)
end

local function get(path)
  return wrk.format("GET", path, headers(nil))
end

local COMMIT = '{"usage":{"input_tokens":1180,"output_tokens":150}}'

-- Of a hundred requests, once there are holds: 50 reservations, 25 commits, 8 releases, 7 extensions, 5 checks, 4 reads of
-- a tenant's quota status, 1 sum of a tenant's costs.
local function mixed()
  local dice = math.random(100)
  if dice <= 50 or #held == 0 then return reserve() end
  if dice <= 75 then return settle("commit", COMMIT) end
  if dice <= 83 then return settle("release", "{}") end
  if dice <= 90 then
    return wrk.format("POST", "/v1/reservations/" .. held[math.random(math.ceil(#held / 2))] .. "/extend", headers(nil), '{"ttl_seconds":86400}')
  end
  if dice <= 95 then return wrk.format("POST", "/v1/reservations/check", headers(nil), reservation()) end
  if dice <= 99 then return get("/v1/quotas/status?tenant_id=" .. tenant()) end
  return get("/v1/costs?group_by=model&tenant_id=" .. tenant())
end

function request()
  sent = sent + 1
  if load == "pairs" and #held > 0 then return settle("commit", COMMIT) end
  if load == "mix" then return mixed() end
  return reserve()
end

if load == "pairs" or load == "mix" then
  function response(status, _, body)
    if status ~= 201 then return end
    local id = body:match('"reservation_id":"([^"]+)"')
    if id then held[#held + 1] = id end
  end
end

-- An exponential distribution, as of independent callers. wrk does not count the pause as latency.
if pause > 0 then
  function delay()
    return math.floor(-pause * math.log(1 - math.random()) + 0.5)
  end
end

-- wrk itself prints no percentile above the 99th.
function done(_, latency)
  io.write("Latency 99.9%: " .. latency:percentile(99.9) .. " us\n")
end
