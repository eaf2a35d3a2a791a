-- Settles one worker's slots and turns with a provider, and tells of a pause.
-- KEYS: leases (hash: owner -> "want:held:expires_ms"), time of the next free turn (us), pause.
-- ARGV: owner, slots wanted, slots busy, turns wanted, slots in all, us between turns, lease in ms.
-- Answers: slots granted, us until the first turn, other workers, ms of pause left.
local owner, want, busy = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local turns, total, interval, lease = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local clock = redis.call('TIME')
local now_us = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local now_ms = math.floor(now_us / 1000)

local wants, others, held_by_others = {{want, owner}}, 0, 0
local rows = redis.call('HGETALL', KEYS[1])
for i = 1, #rows, 2 do
  local w, h, expires = string.match(rows[i + 1], '(%d+):(%d+):(%d+)')
  if tonumber(expires) <= now_ms then
    redis.call('HDEL', KEYS[1], rows[i])
  elseif rows[i] ~= owner then
    others = others + 1
    held_by_others = held_by_others + tonumber(h)
    wants[#wants + 1] = {tonumber(w), rows[i]}
  end
end

local granted = 0
if want > 0 then
  -- Max-min fairness: small wants are met whole, the rest is shared evenly.
  table.sort(wants, function(a, b) if a[1] ~= b[1] then return a[1] < b[1] end return a[2] < b[2] end)
  local left = total
  for i, entry in ipairs(wants) do
    local share = math.min(entry[1], math.floor(left / (#wants - i + 1)))
    if entry[2] == owner then granted = share break end
    left = left - share
  end
  granted = math.max(0, math.min(granted, total - held_by_others))
end
if want > 0 or busy > 0 then
  -- Calls under way keep their slots until they end.
  local row = string.format('%d:%d:%d', want, math.max(granted, busy), now_ms + lease)
  redis.call('HSET', KEYS[1], owner, row)
  redis.call('PEXPIRE', KEYS[1], lease)
else
  redis.call('HDEL', KEYS[1], owner)
end

local first = 0
if turns > 0 then
  local next_us = math.max(now_us, tonumber(redis.call('GET', KEYS[2]) or '0'))
  first = next_us - now_us
  -- %.0f: a plain conversion of so large a number to text loses digits.
  local after = next_us + turns * interval
  redis.call('SET', KEYS[2], string.format('%.0f', after), 'PX', math.ceil((after - now_us) / 1000) + 1000)
end

return {granted, first, others, math.max(0, redis.call('PTTL', KEYS[3]))}
