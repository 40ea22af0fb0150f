-- wrk -s load.lua URL -- MODEL KEY json|sse
function init(args)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["Authorization"] = "Bearer " .. args[2]
  local extra = args[3] == "sse" and ',"stream":true,"stream_options":{"include_usage":true}' or ''
  wrk.body = '{"model":"' .. args[1] .. '","messages":[{"role":"system","content":"You are a helpful assistant."},'
    .. '{"role":"user","content":"Say hello and explain in two sentences what an AI gateway does for a team that shares models."}],'
    .. '"max_tokens":64' .. extra .. '}'
end
