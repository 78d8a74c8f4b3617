-- requeue(namespace, queue, worker, id, …): calls go back to the head of the queue, in the order given.
local list = ARGV[1] .. ':' .. ARGV[2]
local running = ARGV[1] .. ':__acks__.' .. ARGV[3] .. '.' .. ARGV[2]
local back = 0
for i = #ARGV, 4, -1 do
    local id = ARGV[i]
    if redis.call('srem', running, id) > 0 and redis.call('hexists', list .. '.msgs', id) > 0 then
        redis.call('lpush', list, id)
        if redis.call('hexists', ARGV[1] .. ':crashes', id) > 0 then  -- it gave its worker back alive
            redis.call('hset', ARGV[1] .. ':crashes', id, 1)
        end
        back = back + 1
    end
end
if back > 0 then
    redis.call('publish', ARGV[1] .. ':wake', ARGV[2])
end
return back
