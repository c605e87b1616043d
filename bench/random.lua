-- bench/random.lua - wrk asks for the lines of a file in random order.
--   wrk -s random.lua http://127.0.0.1:3000 -- METHOD FILE
-- Every request is made beforehand, so that both sides of a comparison cost wrk the same.

local requests = {}

function init(args)
   math.randomseed(1)
   for path in io.lines(args[2]) do
      requests[#requests + 1] = wrk.format(args[1], path)
   end
end

function request()
   return requests[math.random(#requests)]
end
