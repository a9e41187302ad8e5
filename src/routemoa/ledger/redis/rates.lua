-- Decides on what gateways ask of their tenants' rates, one step after the other.
--
-- KEYS: for each step its tenant's buckets, a hash of used requests and tokens and when they were looked at, and its
--       streams, a hash: process -> how many, and until when they count ("3 1790000000.5")
-- ARGV: the steps as JSON, the name of the process, the seconds of its lease
-- returns for each step: whether it was counted, and what is used now: requests, tokens, streams
local steps, owner, lease = cjson.decode(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6

local function to_text(number)  -- Lua's own has 14 digits
  return string.format('%.17g', number)
end

local function count_streams(key)
  local all, own = 0, 0
  local found = redis.call('HGETALL', key)
  for i = 1, #found, 2 do
    local count, till = string.match(found[i + 1], '^(%S+) (%S+)$')
    if tonumber(till) <= now then
      redis.call('HDEL', key, found[i])
    else
      all = all + tonumber(count)
      if found[i] == owner then own = tonumber(count) end
    end
  end
  return all, own
end

local function fits(used, amount, limit)
  return not limit or used + amount - limit <= 1e-9
end

local decisions = {}
for i, step in ipairs(steps) do
  local buckets, places = KEYS[2 * i - 1], KEYS[2 * i]
  local held = redis.call('HMGET', buckets, 'at', 'requests', 'tokens')
  local passed = math.max(0, now - (tonumber(held[1]) or now)) / 60
  local requests = math.max(0, (tonumber(held[2]) or 0) - passed * (step.rpm or 0), step.least_requests)
  local tokens = math.max(0, (tonumber(held[3]) or 0) - passed * (step.tpm or 0), step.least_tokens)
  local streams, own = count_streams(places)
  local is_taken = step.forced
    or (fits(requests, step.requests, step.rpm)
      and fits(tokens, math.max(1, step.tokens), step.tpm)
      and (step.streams == 0 or fits(streams, step.streams, step.most)))
  if is_taken then
    requests = math.max(0, requests + step.requests)
    tokens = math.max(0, tokens + step.tokens)
    local more = math.max(step.streams, -own)
    streams, own = streams + more, own + more
    redis.call('HSET', buckets, 'at', to_text(now), 'requests', to_text(requests), 'tokens', to_text(tokens))
    local full = math.max(step.rpm and requests / step.rpm or 0, step.tpm and tokens / step.tpm or 0) * 60
    redis.call('EXPIRE', buckets, math.ceil(full) + 1)
    if more ~= 0 then
      if own > 0 then
        redis.call('HSET', places, owner, own .. ' ' .. to_text(now + lease))
        redis.call('EXPIRE', places, math.ceil(lease) + 60)
      else
        redis.call('HDEL', places, owner)
      end
    end
  end
  decisions[i] = { is_taken and 1 or 0, to_text(requests), to_text(tokens), streams }
end
return decisions
