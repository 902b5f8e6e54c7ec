"""Counts that servers share, in Redis or Valkey.

Laws: see `core/counting`, whose arithmetic is said again here in the server's own language, so that a question is one
round trip and no two are answered at once; time is the server's; what nobody asks about is forgotten by the server.
"""

from __future__ import annotations

from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from segue.core.counting import GRANT_SHARE, HOLD_S, SLOTS, Ask, Counters, CountersLost, Grant

_PREFIX = "{segue}:"  # the braces keep all of them in one place of a cluster
_CONNECT_S = 1.0
_FIELDS = 6  # of a question

# Numbers that are not whole come back as text: the server cuts them off otherwise.
_SCRIPT = f"""
local told = redis.call('TIME')
local now = told[1] + told[2] / 1000000
local slots, share, hold_s = {SLOTS}, {GRANT_SHARE}, {HOLD_S}
local answers = {{}}

local function window(key, most, window_s, least, want, add, back)
  local ours = math.floor(now * slots / window_s)
  local slot, kept, sum = ours, {{}}, 0
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local at = tonumber(all[i])
    if at > slot and at < ours + slots then slot = at end
  end
  for i = 1, #all, 2 do
    local at, count = tonumber(all[i]), tonumber(all[i + 1])
    if at <= slot - slots or at > slot then redis.call('HDEL', key, all[i])
    else kept[at] = count; sum = sum + count end
  end
  for at, count in string.gmatch(back, '(%d+):(%d+)') do
    at = tonumber(at)
    count = math.min(tonumber(count), kept[at] or 0)
    if count > 0 then
      kept[at] = redis.call('HINCRBY', key, string.format('%d', at), -count)
      sum = sum - count
    end
  end
  local had = 0
  sum = sum + add
  local room = most - sum
  if want > 0 and room >= least then had = math.min(want, math.max(least, math.ceil(room / share))) end
  if add + had > 0 then
    redis.call('HINCRBY', key, string.format('%d', slot), add + had)
    kept[slot] = (kept[slot] or 0) + add + had
  end
  redis.call('PEXPIRE', key, math.ceil(window_s * 2000))
  local wait = 0
  if had == 0 and want > 0 then
    wait = window_s
    for past = 1, slots do
      room = room + (kept[slot - slots + past] or 0)
      if room >= least then wait = math.max(0, (slot + past) * window_s / slots - now); break end
    end
  end
  return had, wait, slot
end

local function places(key, most, want, holder)
  local others = 0
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local count, till = string.match(all[i + 1], '^(%d+):(.+)$')
    if tonumber(till) <= now or tonumber(till) > now + 2 * hold_s then redis.call('HDEL', key, all[i])
    elseif all[i] ~= holder then others = others + tonumber(count) end
  end
  local had = math.max(0, math.min(want, most - others))
  if had > 0 then redis.call('HSET', key, holder, string.format('%d:%.6f', had, now + hold_s))
  else redis.call('HDEL', key, holder) end
  redis.call('PEXPIRE', key, math.ceil(hold_s * 2000))
  return had, had >= want and 0 or 1, 0
end

for i, key in ipairs(KEYS) do
  local at = 1 + (i - 1) * {_FIELDS}
  local most, window_s, least, want, add = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]),
    tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local had, wait, slot
  if window_s > 0 then had, wait, slot = window(key, most, window_s, least, want, add, ARGV[at + 6])
  else had, wait, slot = places(key, most, want, ARGV[1]) end
  answers[#answers + 1] = had
  answers[#answers + 1] = string.format('%.6f', wait)
  answers[#answers + 1] = string.format('%d', slot)
end
return answers
"""


class RedisCounters:
    """See `counting.Counters`.  `url` is `redis://`, `rediss://` (with TLS) or `unix://`."""

    def __init__(self, url: str) -> None:
        self._redis: Redis = Redis.from_url(url, socket_connect_timeout=_CONNECT_S)
        self._script = self._redis.register_script(_SCRIPT)

    async def ask(self, holder: str, asks: Sequence[Ask]) -> Sequence[Grant]:
        """See `counting.Counters`."""
        values: list[str | int | float] = [holder]
        for ask in asks:
            back = ";".join(f"{slot}:{count}" for slot, count in ask.back)
            values += [ask.most, ask.window_s, ask.least, ask.want, ask.add, back]
        try:
            said = await self._script(keys=[_PREFIX + ask.name for ask in asks], args=values)
        except (RedisError, OSError) as error:
            raise CountersLost(str(error)) from error
        told = zip(said[::3], said[1::3], said[2::3], strict=True)
        return [Grant(int(had), float(wait_s), int(slot)) for had, wait_s, slot in told]

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


_: type[Counters] = RedisCounters
