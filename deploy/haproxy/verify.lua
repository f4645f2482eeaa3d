-- `http-request lua.verify`: may this request pass? Asks /verify of Gatehouse, as nginx's auth_request does.
-- 200: what it says of the user goes on to the application, and txn.verified is set, which the configuration demands.
-- 401, 403: answered as Gatehouse answers. Anything else, also a fault in here, leaves txn.verified unset.

local URL = "http://auth.example.org/api/auth/v2/verify"
local SOCKET = "abns@gatehouse-verify"  -- a frontend of the same configuration
local SECONDS = 8  -- until it says something; that frontend itself would try three times 2 s to connect, then wait 5 s
local REFUSALS = {[401] = true, [403] = true}
local SAID = {"x-auth-user-id", "x-auth-username", "x-auth-roles", "x-auth-session-id"}
local PASSED_ON = {"content-type", "www-authenticate", "cache-control", "x-request-id"}

-- The lines of a header, as the client of HAProxy wants them.
local function lines(headers, name)
  local found = {}
  for number, line in pairs(headers[name] or {}) do
    found[number + 1] = line
  end
  return found
end

local function verify(txn)
  local sent = txn.http:req_get_headers()
  local headers = {
    ["authorization"] = lines(sent, "authorization"),
    ["user-agent"] = lines(sent, "user-agent"),
    ["x-request-id"] = lines(sent, "x-request-id"),
    ["x-forwarded-for"] = {tostring(txn.f:src())},
  }
  local permission = txn:get_var("txn.require")
  local url = permission and URL .. "?require=" .. permission or URL
  local answer = core.httpclient():get{url = url, headers = headers, dst = SOCKET, timeout = SECONDS * 1000}

  if answer.status == 200 then
    for _, name in ipairs(SAID) do
      for _, line in ipairs(lines(answer.headers, name)) do
        txn.http:req_set_header(name, line)
      end
    end
    txn:set_var("txn.verified", true)
  elseif REFUSALS[answer.status] then
    local reply = txn:reply{status = answer.status, reason = answer.reason}
    for _, name in ipairs(PASSED_ON) do
      for _, line in ipairs(lines(answer.headers, name)) do
        reply:add_header(name, line)
      end
    end
    reply:set_body(answer.body or "")
    txn:done(reply)
  end
end

core.register_action("verify", {"http-req"}, verify)
