-- ack(namespace, queue, worker, id, …): the calls are done; the depth goes down by the messages that they carried.
local list = ARGV[1] .. ':' .. ARGV[2]
local running = ARGV[1] .. ':__acks__.' .. ARGV[3] .. '.' .. ARGV[2]
local messages = 0
for i = 4, #ARGV do
    if redis.call('srem', running, ARGV[i]) > 0 and redis.call('hdel', list .. '.msgs', ARGV[i]) > 0 then
        messages = messages + (tonumber(string.match(ARGV[i], '^%x+%.(%d+)%.')) or 1)
        redis.call('hdel', ARGV[1] .. ':crashes', ARGV[i])
    end
end
if messages > 0 then
    redis.call('hincrby', ARGV[1] .. ':depth', ARGV[2], -messages)
    local bucket = ARGV[1] .. ':rate:' .. math.floor(redis.call('time')[1] / 10)
    if redis.pcall('hincrby', bucket, 'out:' .. ARGV[2], messages) == messages then
        redis.pcall('expire', bucket, 120)
    end
end
return messages
