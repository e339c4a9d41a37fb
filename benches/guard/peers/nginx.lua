-- What nginx asks of each request: who calls, and whether every call of the body is on the list.
local json = require "cjson.safe"
json.decode_max_depth(64)

local callers = { ["CN=bench"] = true }
local methods = {}
for _, method in ipairs {
  "eth_blockNumber", "eth_call", "eth_chainId", "eth_estimateGas", "eth_gasPrice", "eth_getBalance",
  "eth_getBlockByNumber", "eth_getCode", "eth_getLogs", "eth_getTransactionCount", "eth_getTransactionReceipt",
  "eth_sendRawTransaction", "net_version", "web3_clientVersion",
} do
  methods[method] = true
end

local function may_be_called(call)
  return type(call) == "table" and call.jsonrpc == "2.0" and methods[call.method]
end

function authorise()
  if not callers[ngx.var.ssl_client_s_dn] then return ngx.exit(403) end
  if ngx.req.get_method() ~= "POST" then return ngx.exit(405) end
  if ngx.var.content_type ~= "application/json" then return ngx.exit(415) end
  ngx.req.read_body()
  local body = json.decode(ngx.req.get_body_data() or "")
  if type(body) ~= "table" then return ngx.exit(400) end
  local count = #body
  if count == 0 then
    ngx.var.rpc_method = type(body.method) == "string" and body.method or ""
    if not may_be_called(body) then return ngx.exit(403) end
    return
  end
  if count > 100 then return ngx.exit(400) end
  ngx.var.rpc_method = "batch"
  for _, call in ipairs(body) do
    if not may_be_called(call) then return ngx.exit(403) end
  end
end
