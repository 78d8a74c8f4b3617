-- dead_letter(namespace, queue, worker, id, …): calls that no program here understands, kept under Dramatiq's own names.
local list = ARGV[1] .. ':' .. ARGV[2]
local running = ARGV[1] .. ':__acks__.' .. ARGV[3] .. '.' .. ARGV[2]
local time = redis.call('time')
for i = 4, #ARGV do
    local id = ARGV[i]
    local call = redis.call('hget', list .. '.msgs', id)
    if redis.call('srem', running, id) > 0 and call then
        redis.call('hdel', list .. '.msgs', id)
        redis.call('zadd', list .. '.XQ', time[1] * 1000, id)
        redis.call('hset', list .. '.XQ.msgs', id, call)
        redis.call('hincrby', ARGV[1] .. ':depth', ARGV[2], -(tonumber(string.match(id, '^%x+%.(%d+)%.')) or 1))
    end
end
return #ARGV - 3
