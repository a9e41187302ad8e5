-- Keeps the budgets of all gateways: what each ledger has spent, and the most that calls under way can cost.
--
-- KEYS[1]: the head of all keys of budgets
--   HEAD:server               a hash: run_id of the server process, and since when it has been asked
--   HEAD:ledgers              a hash: ledger -> where it is, and until when that counts
--   HEAD:owners               a sorted set: process -> until when it counts as alive
--   HEAD:owners_of:LEDGER     a set of processes
--   HEAD:calls:PROCESS        a hash: call under way -> JSON of its most and its windows
--   HEAD:lost:PROCESS         a hash: window -> the most of the calls under way when the process died
--   HEAD:window:WINDOW        a hash: spent and held of all, by:LEDGER
-- ARGV[1]: the request as JSON, see `BudgetRequest`. Amounts are whole nanodollars.
-- returns status, seconds to wait, what of the started calls was taken, the ledger's other processes, and for each
--   window of the request its name, what is spent, held, and spent by this ledger
local ask = cjson.decode(ARGV[1])
local head = KEYS[1]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local owners, own_calls = head .. ':owners', head .. ':calls:' .. ask.owner

local function to_text(number)
  return string.format('%.0f', number)
end

local function window_key(window)
  return head .. ':window:' .. window
end

local function get(window, field)
  return tonumber(redis.call('HGET', window_key(window), field) or 0)
end

local function add(window, field, amount)
  redis.call('HSET', window_key(window), field, to_text(math.max(0, get(window, field) + amount)))
  redis.call('EXPIRE', window_key(window), 40 * 86400)
end

local function free(calls, id, lost)  -- what a call holds is free again, or else lost: it counts as spent
  local found = redis.call('HGET', calls, id)
  if not found then return end
  redis.call('HDEL', calls, id)
  local call = cjson.decode(found)
  for i = 2, #call do
    add(call[i], 'held', -call[1])
    if lost then
      add(call[i], 'spent', call[1])
      redis.call('HINCRBY', lost, call[i], to_text(call[1]))
    end
  end
end

local function free_all(owner, lost)
  local calls = head .. ':calls:' .. owner
  for _, id in ipairs(redis.call('HKEYS', calls)) do
    free(calls, id, lost)
  end
  if lost then redis.call('EXPIRE', lost, 40 * 86400) end
end

local function forget(owner)  -- its ledger counts what it has spent
  free_all(owner, nil)
  local lost = redis.call('HGETALL', head .. ':lost:' .. owner)
  for i = 1, #lost, 2 do
    add(lost[i], 'spent', -tonumber(lost[i + 1]))
  end
  redis.call('DEL', head .. ':lost:' .. owner)
  redis.call('ZREM', owners, owner)
  redis.call('SREM', head .. ':owners_of:' .. ask.ledger, owner)
end

-- A server that has forgotten, or may have: every gateway says first what it has spent.
local server = redis.call('HMGET', head .. ':server', 'run_id', 'since')
if server[1] ~= ask.run_id then
  server = { ask.run_id, string.format('%.6f', now) }
  redis.call('HSET', head .. ':server', 'run_id', server[1], 'since', server[2])
end
local settling = tonumber(server[2]) + ask.grace - now

local place, till = string.match(redis.call('HGET', head .. ':ledgers', ask.ledger) or '', '^(%S+) (%S+)$')
if place and place ~= ask.place and tonumber(till) > now then
  return { 'copy', to_text(0), {}, {}, {} }
end
if not ask.joins and not redis.call('ZSCORE', owners, ask.owner) then
  return { 'join', to_text(0), {}, {}, {} }
end

if settling <= 0 then
  for _, owner in ipairs(redis.call('ZRANGEBYSCORE', owners, '-inf', now, 'LIMIT', 0, 10)) do
    if owner ~= ask.owner then
      free_all(owner, head .. ':lost:' .. owner)
      redis.call('ZREM', owners, owner)
    end
  end
end
if ask.joins then forget(ask.owner) end
for _, owner in ipairs(ask.dead) do forget(owner) end
for _, report in ipairs(ask.spent) do  -- what is spent only grows, but where it was corrected
  local window, spent, seen = report[1], report[2], report[3]
  local before = get(window, 'by:' .. ask.ledger)
  if spent > before or seen == before then
    add(window, 'by:' .. ask.ledger, spent - before)
    add(window, 'spent', spent - before)
  end
end
for _, id in ipairs(ask.ended) do free(own_calls, id, nil) end


local function take(call)
  for _, limit in ipairs(call.limits) do
    if get(limit[1], 'spent') + get(limit[1], 'held') + call.most > limit[2] then return 0 end
  end
  for _, limit in ipairs(call.limits) do
    add(limit[1], 'held', call.most)
  end
  redis.call('HSET', own_calls, call.id, call.record)
  return 1
end

local taken = {}
if settling <= 0 then
  for i, call in ipairs(ask.started) do taken[i] = take(call) end
end
for _, call in ipairs(ask.running) do  -- of a process that joins: they were taken before
  for _, limit in ipairs(call.limits) do add(limit[1], 'held', call.most) end
  redis.call('HSET', own_calls, call.id, call.record)
end

redis.call('ZADD', owners, string.format('%.6f', now + ask.lease), ask.owner)
redis.call('SADD', head .. ':owners_of:' .. ask.ledger, ask.owner)
redis.call('EXPIRE', head .. ':owners_of:' .. ask.ledger, 40 * 86400)
redis.call('HSET', head .. ':ledgers', ask.ledger, ask.place .. string.format(' %.6f', now + ask.lease))

local windows = {}
for i, window in ipairs(ask.windows) do
  windows[i] = {
    window, to_text(get(window, 'spent')), to_text(get(window, 'held')), to_text(get(window, 'by:' .. ask.ledger)),
  }
end
local others = redis.call('SMEMBERS', head .. ':owners_of:' .. ask.ledger)
return { 'ok', string.format('%.3f', math.max(0, settling)), taken, others, windows }
