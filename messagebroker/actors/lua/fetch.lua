-- fetch(namespace, queue, worker, max_messages, max_bytes) -> {calls left, id, call, crashes, id, call, crashes, …}
-- LPOP comes first because Redis admits it above maxmemory, and what follows a write is admitted too: a full Redis drains.
local namespace, queue, worker = ARGV[1], ARGV[2], ARGV[3]
local max_messages, max_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local list = namespace .. ':' .. queue
local calls, running = list .. '.msgs', namespace .. ':__acks__.' .. worker .. '.' .. queue

local out, messages, bytes = {0}, 0, 0
local id = redis.call('lpop', list)
while id do
    local call = redis.call('hget', calls, id)
    if call then
        local crashes = redis.call('hget', namespace .. ':crashes', id)
        local n = tonumber(string.match(id, '^%x+%.(%d+)%.')) or 1
        local full = messages + n > max_messages or bytes + #call > max_bytes
        if #out > 1 and (full or crashes) then
            redis.call('lpush', list, id)
            break
        end
        redis.call('sadd', running, id)
        out[#out + 1], out[#out + 2], out[#out + 3] = id, call, crashes or ''
        messages, bytes = messages + n, bytes + #call
        if crashes or messages >= max_messages then  -- a call that was held when a worker died travels alone
            break
        end
    end
    id = redis.call('lpop', list)
end
if #out > 1 then
    local time = redis.call('time')
    redis.call('zadd', namespace .. ':__heartbeats__', time[1] * 1000 + math.floor(time[2] / 1000), worker)
    out[1] = redis.call('llen', list)
    if out[1] > 0 then  -- somebody else may be asleep
        redis.call('publish', namespace .. ':wake', queue)
    end
end
return out
