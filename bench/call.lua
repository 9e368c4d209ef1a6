-- One tool call for wrk: wrk -s call.lua URL -- FILE, where FILE holds the bearer token on its first line and the body
-- on its second. Prints one line with the percentiles.
function init(args)
  local file = assert(io.open(args[1]))
  local token, body = file:read("*l"), file:read("*l")
  file:close()
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["Accept"] = "application/json, text/event-stream"
  wrk.headers["MCP-Protocol-Version"] = "2025-11-25"
  wrk.headers["Authorization"] = "Bearer " .. token
  wrk.body = body
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\nRESULT {"calls":%d,"seconds":%.6f,"p50_us":%.1f,"p99_us":%.1f,"non_2xx":%d,"socket_errors":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write + e.timeout))
end
