-- For wrk: sends the tokens of a file, which is read anew each second, and counts the answers.
-- Arguments: the file, and the status that every answer must have.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  path, expected = arguments[1], tonumber(arguments[2])
  right, wrong, server_errors = 0, 0, 0
end

function request()
  if os.time() ~= read_at then
    tokens, turn, read_at = {}, 0, os.time()
    for line in io.lines(path) do
      tokens[#tokens + 1] = line
    end
  end
  turn = turn % #tokens + 1
  wrk.headers["Authorization"] = "Bearer " .. tokens[turn]
  return wrk.format()
end

function response(status)
  if status == expected then
    right = right + 1
  elseif status >= 500 then
    server_errors = server_errors + 1
  else
    wrong = wrong + 1
  end
end

function done(summary, latency)
  local sums = { right = 0, wrong = 0, server_errors = 0 }
  for _, thread in ipairs(threads) do
    for name, sum in pairs(sums) do
      sums[name] = sum + thread:get(name)
    end
  end
  local errors = summary.errors
  print(string.format(
    '{"right":%d,"wrong":%d,"server_errors":%d,"unanswered":%d,"micros":%d,"p50":%d,"p99":%d}',
    sums.right, sums.wrong, sums.server_errors,
    errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration, latency:percentile(50), latency:percentile(99)))
end
