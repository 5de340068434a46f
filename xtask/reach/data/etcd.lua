-- Reads one key, by the JSON form of etcd's API.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"key":"a2V5"}'
