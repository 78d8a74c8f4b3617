-- enqueue(namespace, queue, id, call, messages, once)
-- The first write is one that Redis admits above maxmemory, and what follows a write is admitted too: inside a MULTI
-- (whose queueing Redis refuses when it is full) this either happens whole or not at all.
-- What can fail (a key of a wrong type, a depth that is no number) comes first, while nothing is done yet, not halfway.
local list = ARGV[1] .. ':' .. ARGV[2]
redis.call('llen', list)
redis.call('hdel', list .. '.msgs', ARGV[3])
redis.call('hincrby', ARGV[1] .. ':depth', ARGV[2], ARGV[5])
if ARGV[6] ~= '' and not redis.call('set', ARGV[6], '1', 'NX', 'EX', 604800) then
    redis.call('hincrby', ARGV[1] .. ':depth', ARGV[2], -ARGV[5])
    return 0
end
redis.call('hset', list .. '.msgs', ARGV[3], ARGV[4])
local bucket = ARGV[1] .. ':rate:' .. math.floor(redis.call('time')[1] / 10)  -- a statistic: it must never be why this fails
if redis.pcall('hincrby', bucket, 'in:' .. ARGV[2], ARGV[5]) == tonumber(ARGV[5]) then
    redis.pcall('expire', bucket, 120)
end
local length = redis.call('rpush', list, ARGV[3])
if length == 1 then  -- workers look again by themselves until a queue is empty; only then do they sleep
    redis.call('publish', ARGV[1] .. ':wake', ARGV[2])
end
return length
