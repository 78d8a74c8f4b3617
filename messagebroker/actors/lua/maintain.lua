-- maintain(namespace, queue, worker, timeout_ms, all queues joined by commas, id held, …) -> {calls reclaimed, own calls found}
-- Says that this worker lives; gives back what dead workers held, and what this one was given in an answer that got lost.
local namespace, queue, worker, timeout = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local list, beats = namespace .. ':' .. queue, namespace .. ':__heartbeats__'
local time = redis.call('time')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

redis.call('zrem', beats, worker)  -- admitted above maxmemory, which lets the next one in
redis.call('zadd', beats, now, worker)

local function give_back(running, keep, crashed)
    local ids = {}
    for _, id in ipairs(redis.call('smembers', running)) do
        if not keep[id] then
            ids[#ids + 1] = id
        end
    end
    table.sort(ids)  -- by age
    for i = #ids, 1, -1 do
        redis.call('srem', running, ids[i])
        if redis.call('hexists', list .. '.msgs', ids[i]) > 0 then
            redis.call('lpush', list, ids[i])
            if crashed then  -- suspects are counted up when they start alone; see suspects.py
                redis.call('hsetnx', namespace .. ':crashes', ids[i], 1)
            end
        end
    end
    return #ids
end

local held = {}
for i = 6, #ARGV do
    held[ARGV[i]] = true
end
local found = give_back(namespace .. ':__acks__.' .. worker .. '.' .. queue, held, false)

-- No calls, no messages: should somebody have deleted keys by hand, the depth is right again from here on.
if redis.call('hlen', list .. '.msgs') == 0 and redis.call('hget', namespace .. ':depth', queue) ~= '0' then
    redis.call('hset', namespace .. ':depth', queue, 0)
end

-- When nobody came here for so long, Redis was away or all workers were: heartbeats prove nothing until the next round.
local last = tonumber(redis.call('hget', namespace .. ':maintained', queue) or '0')
redis.call('hset', namespace .. ':maintained', queue, now)
local reclaimed = 0
if now - last <= timeout then
    for _, dead in ipairs(redis.call('zrangebyscore', beats, '-inf', now - timeout)) do
        local acks = namespace .. ':__acks__.' .. dead .. '.'
        reclaimed = reclaimed + give_back(acks .. queue, {}, true)
        local holds = 0
        for name in string.gmatch(ARGV[5], '[^,]+') do
            holds = holds + redis.call('exists', acks .. name)
        end
        if holds == 0 then
            redis.call('zrem', beats, dead)
        end
    end
end
if reclaimed + found > 0 then
    redis.call('publish', namespace .. ':wake', queue)
end
return {reclaimed, found}
