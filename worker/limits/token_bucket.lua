-- A token bucket whose tokens return W + guard after they were spent: the limits of one key, checked and charged in one step.
-- docs/limits.md says why this holds; here is what is stored, asked and answered. All times and spans are whole microseconds.
--
-- KEYS[1] = base, "<prefix>{<key>}". Everything else is named after it:
--   base:seed              hash    nonce, run_id, signature: the state is valid only if all three agree with caller and server
--                                  skip, seen: the key's own clock is TIME - skip and never runs back; seen is where it stood last
--                                  a:<host>: that host's line, the least it saw of the key's clock less its monotonic clock;
--                                  d:<host>: it cannot vouch for the time since the key was last seen
--   base:closed            hash    <field>:<class> with the class "*" for the whole key: until (or "operator"), why, probe, hold
--   base:limit:<name>      hash    total, rest: tokens out, and those of them not of priority high (rolling windows)
--                                  t:<start>, r:<start>: the same for the calendar day that starts then (day quotas)
--                                  cap_left, cap_reset, cap_since: what the provider said is left, until when, as of when
--   base:log:<name>        list    first:last:tokens:rest, oldest first; a day's log is kept for two minutes, for cap only
--   base:answer:<caller>   string  operation id, high, rest, monotonic, probe: the caller's last answer, kept for two minutes
--
-- ARGV[1] = fields, each ended by a tab: op, nonce, signature, host, monotonic, tolerance, confirm ("1": believe a forward step of the clock), then
--   acquire  class, caller, operation id, high, rest, probe hold, limits
--   stamp    class, high, rest, limits
--   levels   class, limits
--   within   class, for, limits
--   cap      limit name, span, remaining, reset in, age of the request
--   close    class, for (or "operator"), why, probe, force, probed ("1": the closing request was the probe)
--   open     class
--   seeded   (nothing)
--   seed     expected nonce ("" for none), image: JSON {closed: [[class, for|"operator", why, probe]],
--            rolling: [[name, [[age of first, age of last, tokens, rest], ...]]], days: [[name, guard, b1..b4, [[age, tokens, rest], ...]]]}
-- limits = ten values each: name, N, reserve, span (W + guard; 0 for a day), guard, then when the previous day, this one,
--   the next and the one after begin (0 for a rolling window); last, how much later than now a token spent by this call is
--   logged (a rolling window whose pace varies; the chance is the caller's).
--
-- The answer is a string of fields with tabs between them. It begins with a word:
--   UNSEEDED               no valid seed, or an unknown host after a silence: nothing happened; seed the key from the ledger
--   CLOCK now most         TIME seems to have stepped forward, TIME - monotonic being over `most`: nothing happened; ask again, with
--                          confirm once it is certain.
--                          Without `most` the host is new here: ask again, with confirm after a call that was quick
--   DAY now                the days passed do not surround TIME: nothing happened; ask again with those that do
--   REFUSED                (seed) the nonce is not the expected one: nothing happened
--   OK                     stamp, cap, close, open, seed
--   OK nonce valid         seeded; valid is 1 or 0
--   OK now high rest room_high room_rest wait_high wait_rest closed_for why probe monotonic binding     acquire
--   OK now closed_for why  then name, total, rest, room_high, room_rest, wait_high, wait_rest a limit   levels
--   OK now high rest                                                  within: how many tokens could go in that time
--   Waits are the time until one token may go; -1 stands for ever.

local FOREVER = -1
local RESOLUTION = 1024
local DAY = 86400 * 1000000
local DAY_LOG = 120 * 1000000
local SILENCE = 5 * 1000000
local SAME_RESET = 5 * 1000000
local ANSWERS_KEPT = 120
local MOST_HOSTS = 256

local fields = {}
for field in string.gmatch(ARGV[1], '([^\t]*)\t') do fields[#fields + 1] = field end

local base, op, nonce, signature, host = KEYS[1], fields[1], fields[2], fields[3], fields[4]
local monotonic, tolerance, confirmed = tonumber(fields[5]), tonumber(fields[6]), fields[7] == '1'

local function server_time()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function server_run_id()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
end

local function int(number)
  return string.format('%.0f', number)
end

local function later(a, b)
  if a == FOREVER or b == FOREVER then return FOREVER end
  return math.max(a, b)
end

local now = server_time()
local at -- the key's own time

-- The seed and the key's clock ------------------------------------------------------------------------------------------

local seed_name = base .. ':seed'
local seed = redis.call('HMGET', seed_name, 'nonce', 'run_id', 'signature', 'skip', 'seen', 'a:' .. host, 'd:' .. host)
local run_id = server_run_id()
local same_run = seed[2] == run_id
local valid = seed[1] == nonce and same_run and seed[3] == signature
local skip, seen, anchor = tonumber(seed[4] or 0), tonumber(seed[5] or 0), tonumber(seed[6] or nil)
local doubted = seed[7] == '1'

local function others(prefix)
  local found, all = {}, redis.call('HGETALL', seed_name)
  for i = 1, #all, 2 do
    local name = string.match(all[i], '^' .. prefix .. ':(.*)$')
    if name and name ~= host then found[name] = tonumber(all[i + 1]) end
  end
  return found
end

-- An unknown host, or one that an unknown host has spoken before, cannot vouch for the time since the key was last seen.
local function stranger()
  return (not anchor or doubted) and now - skip - seen > SILENCE
end

-- The time the key may count as passed. Only ever less than true time, never more, as far as this caller's own clock can tell.
local function read_clock()
  return math.max(now - skip, seen)
end

-- What others may count on when `lost` of the key's time was not counted; doubted, they count nothing at their next call.
-- Of very many hosts (each process is one, where the system has no boot id) the lines are dropped: they come as newcomers.
local function tell_others(lost, doubt)
  local lines, count = others('a'), 0
  for _ in pairs(lines) do count = count + 1 end
  for name, line in pairs(lines) do
    if count > MOST_HOSTS then
      redis.call('HDEL', seed_name, 'a:' .. name, 'd:' .. name)
    else
      if lost > 0 then redis.call('HSET', seed_name, 'a:' .. name, int(line - lost)) end
      if doubt then redis.call('HSET', seed_name, 'd:' .. name, '1') end
    end
  end
end

-- Moves the key's clock, and no further than the caller's own clock can vouch for. Answers false when it must be asked again.
local function keep_clock()
  local counted = read_clock()
  at = (doubted or not anchor) and seen or counted
  local ahead = anchor and at - monotonic - anchor or 0 -- TIME stepped forward, or this host's line lies low
  local behind = anchor and anchor - (counted - monotonic) or 0 -- TIME stepped back, or others counted less
  if (not anchor or ahead > tolerance) and not confirmed then return false end
  if at < counted then tell_others(counted - at, false) end
  if ahead > tolerance then
    if anchor + monotonic < seen then anchor = nil end -- overtaken: the line says nothing any more
    at = math.max(at - ahead, seen)
  end
  if not anchor or ahead > tolerance or behind > tolerance then tell_others(0, true) end
  if doubted then redis.call('HDEL', seed_name, 'd:' .. host) end
  anchor = math.min(anchor or at - monotonic, at - monotonic)
  skip, seen = now - at, at
  redis.call('HSET', seed_name, 'skip', int(skip), 'seen', int(seen), 'a:' .. host, int(anchor))
  return true
end

-- Limits ----------------------------------------------------------------------------------------------------------------

local function parse(entry)
  local first, last, tokens, rest = string.match(entry, '^(%d+):(%d+):(%d+):(%d+)$')
  return tonumber(first), tonumber(last), tonumber(tokens), tonumber(rest)
end

-- The days a token charges at this moment: one, or two near midnight. Nil if the caller's days are not today's.
local function days_at(days, moment, guard)
  if moment < days[2] or moment >= days[3] then return nil end
  if moment - days[2] < guard then return { 1, 2 } end
  if days[3] - moment <= guard then return { 2, 3 } end
  return { 2 }
end

-- Takes what has returned off the log. `peek` leaves the log as it is: the time may not be certain.
local function drop_returned(limit, peek)
  local total, rest, gone = limit.total, limit.rest, 0
  while true do
    local head = redis.call('LINDEX', limit.log, peek and gone or 0)
    if not head then break end
    local _, last, tokens, rest_part = parse(head)
    if last + limit.kept > at then break end
    if not peek then redis.call('LPOP', limit.log) end
    total, rest, gone = total - tokens, rest - rest_part, gone + 1
  end
  limit.first = peek and gone or 0
  if limit.span == 0 or gone == 0 then return end
  limit.total, limit.rest = total, rest
  if not peek then redis.call('HSET', limit.hash, 'total', int(total), 'rest', int(rest)) end
end

local function read_limit(from)
  local limit = { name = fields[from], n = tonumber(fields[from + 1]), reserve = tonumber(fields[from + 2]),
    span = tonumber(fields[from + 3]), guard = tonumber(fields[from + 4]), delay = tonumber(fields[from + 9]) }
  limit.hash, limit.log = base .. ':limit:' .. limit.name, base .. ':log:' .. limit.name
  local state
  if limit.span > 0 then
    limit.kept = limit.span
    state = redis.call('HMGET', limit.hash, 'cap_left', 'cap_reset', 'total', 'rest')
    limit.total, limit.rest = tonumber(state[3] or 0), tonumber(state[4] or 0)
  else
    limit.kept = DAY_LOG
    limit.days = { tonumber(fields[from + 5]), tonumber(fields[from + 6]), tonumber(fields[from + 7]), tonumber(fields[from + 8]) }
    limit.charged = days_at(limit.days, now, limit.guard)
    if not limit.charged then return nil end
    local names = { 'cap_left', 'cap_reset' }
    for day = 1, 3 do
      names[#names + 1], names[#names + 2] = 't:' .. int(limit.days[day]), 'r:' .. int(limit.days[day])
    end
    state = redis.call('HMGET', limit.hash, unpack(names))
    limit.totals = { tonumber(state[3] or 0), tonumber(state[5] or 0), tonumber(state[7] or 0) }
    limit.rests = { tonumber(state[4] or 0), tonumber(state[6] or 0), tonumber(state[8] or 0) }
    limit.total, limit.rest = 0, 0
    for _, day in ipairs(limit.charged) do
      limit.total, limit.rest = math.max(limit.total, limit.totals[day]), math.max(limit.rest, limit.rests[day])
    end
  end
  if state[1] and tonumber(state[2]) > at then limit.cap_left, limit.cap_reset = tonumber(state[1]), tonumber(state[2]) end
  return limit
end

local function read_limits(from)
  local limits = {}
  for i = from, #fields, 10 do
    local limit = read_limit(i)
    if not limit then return nil end
    limits[#limits + 1] = limit
  end
  return limits
end

-- Room for high, and room for the rest: they leave the reserve alone, and what is left of it when the provider caps us.
local function room(limit)
  local high, rest = limit.n - limit.total, limit.n - limit.reserve - limit.rest
  if limit.cap_left then
    high = math.min(high, limit.cap_left)
    rest = math.min(rest, limit.cap_left - math.max(0, limit.reserve - (limit.total - limit.rest)))
  end
  return math.max(0, high), math.max(0, math.min(high, rest))
end

-- A log stays in order: what is spent before a token that is logged for later is logged with it.
local function append(limit, tokens, rest)
  local tail, moment = redis.call('LINDEX', limit.log, -1), at + limit.delay
  if tail then
    local first, last, before, rest_before = parse(tail)
    moment = math.max(moment, last)
    if moment - first < limit.kept / RESOLUTION then
      redis.call('LSET', limit.log, -1, int(first) .. ':' .. int(moment) .. ':' .. int(before + tokens) .. ':' .. int(rest_before + rest))
      return
    end
  end
  redis.call('RPUSH', limit.log, int(moment) .. ':' .. int(moment) .. ':' .. int(tokens) .. ':' .. int(rest))
end

local function forget_old_days(limit)
  for _, field in ipairs(redis.call('HKEYS', limit.hash)) do
    local start = string.match(field, '^[tr]:(%d+)$')
    if start and tonumber(start) < limit.days[1] then redis.call('HDEL', limit.hash, field) end
  end
end

local function charge(limit, tokens, rest)
  drop_returned(limit)
  append(limit, tokens, rest)
  limit.total, limit.rest = limit.total + tokens, limit.rest + rest
  if limit.span > 0 then
    redis.call('HSET', limit.hash, 'total', int(limit.total), 'rest', int(limit.rest))
  else
    for _, day in ipairs(limit.charged) do
      if limit.totals[day] == 0 then forget_old_days(limit) end
      limit.totals[day], limit.rests[day] = limit.totals[day] + tokens, limit.rests[day] + rest
      redis.call('HINCRBY', limit.hash, 't:' .. int(limit.days[day]), tokens)
      redis.call('HINCRBY', limit.hash, 'r:' .. int(limit.days[day]), rest)
    end
  end
  if limit.cap_left then
    limit.cap_left = limit.cap_left - tokens
    redis.call('HSET', limit.hash, 'cap_left', int(limit.cap_left))
  end
end

-- How long until one more token fits ------------------------------------------------------------------------------------

local function rolling_wait(limit, fits)
  local total, rest, from, size = limit.total, limit.rest, limit.first, 8
  while true do
    local entries = redis.call('LRANGE', limit.log, from, from + size - 1)
    if #entries == 0 then return FOREVER end
    for _, entry in ipairs(entries) do
      local _, last, tokens, rest_part = parse(entry)
      total, rest = total - tokens, rest - rest_part
      if fits(total, rest) then return math.max(0, last + limit.span - at) end
    end
    from, size = from + size, math.min(size * 2, 256)
  end
end

local function day_wait(limit, fits)
  for day = 2, 3 do
    local opens = limit.days[day] + limit.guard
    if opens > now and fits(limit.totals[day], limit.rests[day]) then return opens - now end
  end
  return fits(0, 0) and limit.days[4] + limit.guard - now or FOREVER
end

local function wait(limit, for_high)
  local high, rest = room(limit)
  if (for_high and high or rest) > 0 then return 0 end
  local function fits(total, rest_part)
    return total < limit.n and (for_high or rest_part < limit.n - limit.reserve)
  end
  local until_room = 0
  if not fits(limit.total, limit.rest) then
    until_room = limit.span > 0 and rolling_wait(limit, fits) or day_wait(limit, fits)
  end
  if limit.cap_left then
    local capped = limit.cap_left
    if not for_high then capped = capped - math.max(0, limit.reserve - (limit.total - limit.rest)) end
    if capped < 1 then until_room = later(until_room, limit.cap_reset - at) end
  end
  return until_room
end

-- Closures --------------------------------------------------------------------------------------------------------------

local closed_name = base .. ':closed'

local function read_closure(class)
  local state = redis.call('HMGET', closed_name, 'until:' .. class, 'why:' .. class, 'probe:' .. class, 'hold:' .. class)
  local closure = { class = class, left = 0, why = state[2] or '', probe = state[3] == '1' }
  if state[1] == 'operator' then
    closure.left = FOREVER
  elseif state[1] then
    closure.ends = tonumber(state[1])
    closure.left = math.max(0, math.max(closure.ends, tonumber(state[4] or 0)) - at)
  end
  return closure
end

local function longer(a, b)
  if a.left == FOREVER then return a end
  return (b.left == FOREVER or b.left > a.left) and b or a
end

-- Operations ------------------------------------------------------------------------------------------------------------

local function summary(limits, closure)
  local room_high, room_rest, wait_high, wait_rest, binding, tightest_room
  for _, limit in ipairs(limits) do
    local high, rest = room(limit)
    if not room_high or high < room_high then room_high = high end
    if not room_rest or rest < room_rest then room_rest = rest end
    local limit_wait_high, limit_wait_rest = wait(limit, true), wait(limit, false)
    local longest = wait_rest and limit_wait_rest ~= wait_rest and later(wait_rest, limit_wait_rest) == limit_wait_rest
    if not binding or longest or (limit_wait_rest == wait_rest and rest < tightest_room) then
      binding, tightest_room = limit.name, rest
    end
    wait_high, wait_rest = later(wait_high or 0, limit_wait_high), later(wait_rest or 0, limit_wait_rest)
  end
  if closure.left ~= 0 then room_high, room_rest = 0, 0 end
  return room_high, room_rest, later(wait_high, closure.left), later(wait_rest, closure.left), binding
end

local function acquire()
  local class, caller, operation, asked_high, asked_rest = fields[8], fields[9], fields[10], tonumber(fields[11]), tonumber(fields[12])
  local answer_name = base .. ':answer:' .. caller
  local kept, high, rest, probe = redis.call('GET', answer_name), nil, nil, '0'
  if not keep_clock() then return { 'CLOCK', now, anchor and anchor + skip or '' } end
  if kept then
    local id, kept_high, kept_rest, kept_monotonic, kept_probe = string.match(kept, '^(%S+) (%d+) (%d+) (%-?%d+) ([01])$')
    if id == operation then
      high, rest, monotonic, probe = tonumber(kept_high), tonumber(kept_rest), tonumber(kept_monotonic), kept_probe
    end
  end
  local limits = read_limits(14)
  if not limits then return { 'DAY', now } end
  for _, limit in ipairs(limits) do drop_returned(limit) end
  local lane, key = read_closure(class), read_closure('*')
  local closure = longer(lane, key)
  if not high then
    high, rest = asked_high, asked_rest
    for _, limit in ipairs(limits) do
      local room_high = room(limit)
      high = math.min(high, room_high)
    end
    if closure.left ~= 0 then high, rest = 0, 0 end
    if lane.probe or key.probe then
      high = math.min(high, 1)
      rest = math.min(rest, 1 - high)
    end
    for _, limit in ipairs(limits) do
      local room_high, room_rest = room(limit)
      local unreserved = limit.cap_left and limit.cap_left - math.max(0, limit.reserve - (limit.total - limit.rest + high)) - high
      rest = math.max(0, math.min(rest, room_rest, room_high - high, unreserved or room_rest))
    end
    if high + rest > 0 then
      for _, limit in ipairs(limits) do charge(limit, high + rest, rest) end
      for _, probed in ipairs({ lane, key }) do
        if probed.probe then
          probe = '1'
          redis.call('HSET', closed_name, 'hold:' .. probed.class, int(at + tonumber(fields[13])))
        end
      end
      if probe == '1' then closure = longer(read_closure(class), read_closure('*')) end
    end
    redis.call('SET', answer_name, operation .. ' ' .. int(high) .. ' ' .. int(rest) .. ' ' .. int(monotonic) .. ' ' .. probe, 'EX', ANSWERS_KEPT)
  end
  local room_high, room_rest, wait_high, wait_rest, binding = summary(limits, closure)
  if lane.probe or key.probe then room_high, room_rest = math.min(room_high, 1), math.min(room_rest, 1) end
  return { 'OK', now, high, rest, room_high, room_rest, wait_high, wait_rest, closure.left, closure.why, tonumber(probe), monotonic, binding }
end

local function stamp()
  confirmed = true
  keep_clock()
  local limits = read_limits(11)
  if not limits then return { 'DAY', now } end
  local high, rest = tonumber(fields[9]), tonumber(fields[10])
  for _, limit in ipairs(limits) do charge(limit, high + rest, rest) end
  return { 'OK' }
end

local function levels()
  at = read_clock()
  local limits = read_limits(9)
  if not limits then return { 'DAY', now } end
  local closure = longer(read_closure(fields[8]), read_closure('*'))
  local answer = { 'OK', now, closure.left, closure.why }
  for _, limit in ipairs(limits) do
    drop_returned(limit, true)
    local high, rest = room(limit)
    for _, value in ipairs({ limit.name, limit.total, limit.rest, high, rest, wait(limit, true), wait(limit, false) }) do
      answer[#answer + 1] = value
    end
  end
  return answer
end

-- How many tokens of one limit can go within `span` of time: what returns returns again a window later, a quota each day.
local function tokens_within(limit, span, for_high)
  local most = for_high and limit.n or limit.n - limit.reserve
  local total, rest, rounds = limit.total, limit.rest, 0
  if limit.span > 0 then
    rounds = math.floor(span / limit.span)
    for _, entry in ipairs(redis.call('LRANGE', limit.log, limit.first, -1)) do
      local _, last, tokens, rest_part = parse(entry)
      if last + limit.span - at > span - rounds * limit.span then break end
      total, rest = total - tokens, rest - rest_part
    end
  else
    local midnight = limit.days[3] + limit.guard - now
    if span >= midnight then rounds = 1 + math.floor((span - midnight) / DAY) end
  end
  local left = limit.n - total
  if not for_high then left = math.min(left, most - rest) end
  local count = rounds * most + math.max(0, left)
  if limit.cap_left and at + span < limit.cap_reset then
    local high, others = room(limit)
    count = math.min(count, for_high and high or others)
  end
  return count
end

local function within()
  at = read_clock()
  local limits = read_limits(10)
  if not limits then return { 'DAY', now } end
  local high, rest
  for _, limit in ipairs(limits) do
    drop_returned(limit, true)
    local limit_high, limit_rest = tokens_within(limit, tonumber(fields[9]), true), tokens_within(limit, tonumber(fields[9]), false)
    high, rest = math.min(high or limit_high, limit_high), math.min(rest or limit_rest, limit_rest)
  end
  return { 'OK', now, high, rest }
end

-- The newest request's answer wins: one sent before it knows less. A reset before the known one belongs to a window gone by.
local function cap()
  at = read_clock()
  local name, span, remaining, reset, since = fields[8], tonumber(fields[9]), tonumber(fields[10]), at + tonumber(fields[11]), at - tonumber(fields[12])
  local hash, log = base .. ':limit:' .. name, base .. ':log:' .. name
  local known = redis.call('HMGET', hash, 'cap_reset', 'cap_since')
  local known_reset, known_since = tonumber(known[1] or 0), tonumber(known[2] or 0)
  if known_reset <= at then known_reset, known_since = 0, 0 end
  if reset <= at or at - since > DAY_LOG or reset < known_reset - SAME_RESET then return { 'OK' } end
  if reset <= known_reset + SAME_RESET and since < known_since then return { 'OK' } end
  local unseen, from, size = 0, -1, 8
  while true do
    local entries = redis.call('LRANGE', log, from - size + 1, from)
    local older = false
    for i = #entries, 1, -1 do
      local _, last, tokens = parse(entries[i])
      if last < since then older = true break end
      unseen = unseen + tokens
    end
    if older or #entries < size then break end
    from = from - size
  end
  redis.call('HSET', hash, 'cap_left', int(remaining - unseen), 'cap_reset', int(math.max(reset, known_reset)), 'cap_since', int(since))
  return { 'OK' }
end

local function vouch()
  confirmed = true
  if anchor then keep_clock() else at = read_clock() end
end

local function close()
  vouch()
  local class, length, why, probe, force, probed = fields[8], fields[9], fields[10], fields[11] == '1', fields[12] == '1', fields[13] == '1'
  local known = read_closure(class)
  if probed or force then redis.call('HDEL', closed_name, 'hold:' .. class) end
  if (probe or known.probe) and not (force and not probe) then redis.call('HSET', closed_name, 'probe:' .. class, '1') end
  if force and not probe then redis.call('HDEL', closed_name, 'probe:' .. class) end
  local ends = length ~= 'operator' and at + tonumber(length)
  local extends = known.left ~= FOREVER and (not ends or ends > (known.ends or 0))
  if force or extends then
    redis.call('HSET', closed_name, 'until:' .. class, ends and int(ends) or 'operator', 'why:' .. class, why)
  end
  return { 'OK' }
end

local function open()
  local class = fields[8]
  redis.call('HDEL', closed_name, 'until:' .. class, 'why:' .. class, 'probe:' .. class, 'hold:' .. class)
  return { 'OK' }
end

local function clear()
  local image = cjson.decode(fields[9])
  for _, kind in ipairs({ 'rolling', 'days' }) do
    for _, limit in ipairs(image[kind]) do
      redis.call('DEL', base .. ':limit:' .. limit[1], base .. ':log:' .. limit[1])
    end
  end
  redis.call('DEL', closed_name)
  return image
end

local function seed_rolling(name, entries)
  local total, rest = 0, 0
  for _, entry in ipairs(entries) do
    redis.call('RPUSH', base .. ':log:' .. name, int(math.max(0, at - entry[1])) .. ':' .. int(math.max(0, at - entry[2])) .. ':' .. int(entry[3]) .. ':' .. int(entry[4]))
    total, rest = total + entry[3], rest + entry[4]
  end
  redis.call('HSET', base .. ':limit:' .. name, 'total', int(total), 'rest', int(rest))
end

local function seed_day(name, guard, days, entries)
  for _, entry in ipairs(entries) do
    local moment = now - entry[1]
    for day = 1, 3 do
      if moment >= days[day] - guard and moment < days[day + 1] + guard then
        redis.call('HINCRBY', base .. ':limit:' .. name, 't:' .. int(days[day]), entry[2])
        redis.call('HINCRBY', base .. ':limit:' .. name, 'r:' .. int(days[day]), entry[3])
      end
    end
  end
end

local function sow()
  if (seed[1] or '') ~= fields[8] then return { 'REFUSED' } end
  for _, limit in ipairs(cjson.decode(fields[9]).days) do
    if now < limit[4] or now >= limit[5] then return { 'DAY', now } end
  end
  if not same_run then
    redis.call('DEL', seed_name)
    anchor, doubted, skip, seen = nil, false, 0, now
  end
  confirmed = true
  keep_clock()
  local image = clear()
  for _, limit in ipairs(image.rolling) do seed_rolling(limit[1], limit[2]) end
  for _, limit in ipairs(image.days) do seed_day(limit[1], limit[2], { limit[3], limit[4], limit[5], limit[6] }, limit[7]) end
  for _, closed in ipairs(image.closed) do
    redis.call('HSET', closed_name, 'until:' .. closed[1], closed[2] == 'operator' and 'operator' or int(at + closed[2]), 'why:' .. closed[1], closed[3], 'probe:' .. closed[1], closed[4])
  end
  redis.call('HSET', seed_name, 'nonce', nonce, 'run_id', run_id, 'signature', signature)
  return { 'OK' }
end

local function run()
  if op == 'seed' then return sow() end
  if op == 'seeded' then
    return { 'OK', seed[1] or '', (same_run and seed[3] == signature and not stranger()) and 1 or 0 }
  end
  local plain = op == 'levels' or op == 'within' or op == 'cap' or op == 'open' or op == 'close'
  if not valid or (not plain and stranger()) then return { 'UNSEEDED' } end
  local operations = { acquire = acquire, stamp = stamp, levels = levels, within = within, cap = cap, close = close, open = open }
  return operations[op]()
end

local answer = run()
for i, value in ipairs(answer) do
  if type(value) == 'number' then answer[i] = int(value) end
end
return table.concat(answer, '\t')
