package proxy

import (
	"bytes"
	"encoding/json"
	"html"
	"strconv"

	"github.com/valyala/fasthttp"
)

// answer empties the response for an answer of our own. fasthttp adds the Date to
// a response that was reset, and only then.
func (x *exchange) answer(status int) *fasthttp.Response {
	resp := &x.ctx.Response
	closing := resp.ConnectionClose()
	resp.Reset()
	resp.Header.DisableNormalizing()
	resp.Header.SetNoDefaultContentType(true)
	if closing {
		resp.SetConnectionClose()
	}
	resp.SetStatusCode(status)
	return resp
}

// fail answers with a small page that names the request, in JSON for those who
// ask for it, and by the rules of gRPC to a call.
func (x *exchange) fail(status int, message string) {
	resp := x.answer(status)
	if isCall(&x.ctx.Request.Header) {
		x.status = status // what is told of it
		failCall(resp, status, message, x.id)
		return
	}
	resp.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	resp.Header.Set("X-Request-Id", x.id)
	title := fasthttp.StatusMessage(status)
	if accept := x.header(fasthttp.HeaderAccept); bytes.Contains(accept, []byte("json")) && !bytes.Contains(accept, []byte("text/html")) {
		resp.Header.SetContentType("application/json")
		body, _ := json.Marshal(map[string]any{"error": message, "status": status, "request_id": x.id})
		resp.SetBodyRaw(append(body, '\n'))
		return
	}
	resp.Header.SetContentType("text/html; charset=utf-8")
	resp.SetBodyString(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>` + strconv.Itoa(status) + " " + html.EscapeString(title) + `</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em;color:#222}small{color:#666}</style>
<h1>` + html.EscapeString(title) + `</h1>
<p>Sorry, ` + html.EscapeString(message) + `.</p>
<p><small>Request ` + html.EscapeString(x.id) + `</small></p>
</html>
`)
}
