-- Says how many streams a process serves for each tenant, and lets them count for another while.
--
-- KEYS: the tenants' streams (see rates.lua)
-- ARGV: the name of the process, the seconds of its lease, and for each key how many
local owner, lease = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local till = string.format('%.17g', time[1] + time[2] / 1e6 + lease)
for i, key in ipairs(KEYS) do
  if tonumber(ARGV[i + 2]) > 0 then
    redis.call('HSET', key, owner, ARGV[i + 2] .. ' ' .. till)
    redis.call('EXPIRE', key, math.ceil(lease) + 60)
  else
    redis.call('HDEL', key, owner)
  end
end
return #KEYS
