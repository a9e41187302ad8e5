-- Adds a message for the other gateways, and returns theirs since the last time.
--
-- KEYS[1]: a stream; ARGV: the last id that was read, or nothing; the sender; the message, or nothing; how many messages
--   are kept; for how many seconds they are read at the start
-- returns the last id, and for each message its age in milliseconds and itself
local last, sender, message, kept, since = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local first = '(' .. last
if last == '' then
  first = string.format('%.0f', now - since * 1000)
  last = first .. '-0'
end
if message ~= '' then
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', kept, '*', 'from', sender, 'news', message)
end
local news = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], first, '+', 'COUNT', 1000)) do
  last = entry[1]
  if entry[2][2] ~= sender then
    news[#news + 1] = { now - tonumber(string.match(last, '^%d+')), entry[2][4] }
  end
end
return { last, news }
