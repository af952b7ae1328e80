-- One reservation a request, of a random tenant and user, each with an Idempotency-Key of its own.
local key = os.getenv("BENCH_KEY")
local tenants = tonumber(os.getenv("BENCH_TENANTS"))
local users = tonumber(os.getenv("BENCH_USERS"))
local run = os.getenv("BENCH_RUN")
local sent = 0

math.randomseed(1)

function request()
  sent = sent + 1
  local body = '{"resource_type":"llm","tenant_id":"t-' .. math.random(tenants) .. '","user_id":"u-' .. math.random(users)
    .. '","conversation_id":"c-' .. sent
    .. '","llm":{"provider":"openai","model":"gpt-6.1-sol","input_tokens":1200,"max_output_tokens":200}}'
  return wrk.format("POST", "/v1/reservations", {
    ["authorization"] = "Bearer " .. key,
    ["content-type"] = "application/json",
    ["idempotency-key"] = '"' .. run .. "-" .. sent .. '"',
  }, body)
end
