package proxy

import (
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// Codes of gRPC.
const (
	callUnknown          = 2
	callPermissionDenied = 7
	callExhausted        = 8
	callUnimplemented    = 12
	callInternal         = 13
	callUnavailable      = 14
	callUnauthenticated  = 16
)

// isCall reports whether a request is a call of gRPC.
func isCall(h *fasthttp.RequestHeader) bool { return h.IsPost() && upstream.IsGRPC(h.ContentType()) }

// failCall answers a call with its status alone, since clients of gRPC show nothing
// of an error page.
func failCall(resp *fasthttp.Response, status int, message, id string) {
	if id != "" {
		message += " (request " + id + ")"
	}
	h := &resp.Header
	resp.SetStatusCode(fasthttp.StatusOK)
	h.SetContentType("application/grpc")
	h.Set("Grpc-Status", strconv.Itoa(callStatus(status)))
	h.Set("Grpc-Message", message)
}

// callStatus is the code of gRPC for a status of HTTP, as gRPC itself maps them for
// answers that have none; and for bodies that are too large.
func callStatus(status int) int {
	switch status {
	case fasthttp.StatusBadRequest:
		return callInternal
	case fasthttp.StatusUnauthorized:
		return callUnauthenticated
	case fasthttp.StatusForbidden:
		return callPermissionDenied
	case fasthttp.StatusNotFound:
		return callUnimplemented
	case fasthttp.StatusRequestEntityTooLarge:
		return callExhausted
	case fasthttp.StatusTooManyRequests, fasthttp.StatusBadGateway, fasthttp.StatusServiceUnavailable, fasthttp.StatusGatewayTimeout:
		return callUnavailable
	}
	return callUnknown
}
