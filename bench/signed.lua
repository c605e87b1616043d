-- bench/signed.lua - wrk sends GETs that were signed beforehand, in random order.
--   wrk -s signed.lua http://127.0.0.1:3000 -- PAYLOAD-HASH FILE
-- FILE: a line for each request: path, x-amz-date, authorization, between tabs.

local requests = {}

function init(args)
   math.randomseed(1)
   for line in io.lines(args[2]) do
      local path, date, authorization = line:match("^([^\t]+)\t([^\t]+)\t(.+)$")
      requests[#requests + 1] = wrk.format("GET", path, {
         ["Host"] = wrk.headers["Host"],
         ["x-amz-content-sha256"] = args[1],
         ["x-amz-date"] = date,
         ["authorization"] = authorization,
      })
   end
end

function request()
   return requests[math.random(#requests)]
end
