package upstream

import (
	"bytes"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// request makes the request from the head that HTTP/1.1 would have.
func (x *stream) request(s *scratch) (*http.Request, error) {
	line, rest := cutLine(s.request)
	method, target, _ := bytes.Cut(line, []byte(" "))
	target, _, _ = bytes.Cut(target, []byte(" "))
	origin := &x.conn.pool.origin
	u := &url.URL{Scheme: "http", Host: origin.host}
	if origin.secure {
		u.Scheme = "https"
	}
	req := &http.Request{Method: string(method), URL: u, Header: http.Header{}, ProtoMajor: 2, Proto: "HTTP/2.0"}
	req.Header["User-Agent"] = nil // or it would be Go's
	for {
		if line, rest = cutLine(rest); len(line) == 0 {
			break
		}
		var f field
		if err := f.parse(line, requestNames); err != nil {
			return nil, &Error{Op: "send request", Kind: Client, Err: err}
		}
		addField(req, f.name, f.value)
	}
	// The target goes out as it came. What begins with "//" would be taken for a host.
	if u.Opaque = string(target); strings.HasPrefix(u.Opaque, "//") {
		host := req.Host
		if host == "" {
			host = u.Host
		}
		u.Opaque = u.Scheme + "://" + host + u.Opaque
	}
	if x.body != nil {
		req.Body, req.ContentLength = x.body, x.body.left
		if x.body.trailers != nil && req.Trailer == nil {
			req.Trailer = http.Header{} // they may follow unannounced
		}
		x.body.into = req.Trailer
	}
	return req.WithContext(httptrace.WithClientTrace(x.ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(status int, header textproto.MIMEHeader) error {
			select {
			case x.interims <- interim{status, header}:
				return nil
			default:
				return errInterims
			}
		},
		WroteHeaders: func() { x.wrote.Store(true) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if x.body != nil {
				x.body.written()
			}
			if info.Err == nil {
				close(x.sent)
			}
		},
	})), nil
}

// addField gives the request a header, save those that HTTP/2 has other means for.
func addField(req *http.Request, name, value []byte) {
	var buf [longestKnown]byte
	switch string(lower(name, &buf)) {
	case "host":
		req.Host = string(value)
	case "content-length", "transfer-encoding", "connection":
	case "trailer":
		if req.Trailer == nil {
			req.Trailer = http.Header{}
		}
		for name := range tokens(value) {
			req.Trailer[textproto.CanonicalMIMEHeaderKey(string(name))] = nil
		}
	default:
		key := textproto.CanonicalMIMEHeaderKey(string(name))
		req.Header[key] = append(req.Header[key], string(value))
	}
}

// parseHead writes a head out, keeps it in raw, and checks it.
func (x *stream) parseHead(status int, header http.Header, s *scratch) error {
	if status < 100 || status > 599 {
		return fail("read answer", errMalformed("the status is not between 100 and 599"))
	}
	x.raw = append(append(x.raw[:0], "HTTP/1.1 "...), strconv.Itoa(status)...)
	x.raw = append(append(append(x.raw, ' '), http.StatusText(status)...), crlf...)
	fields := 0
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if name == fasthttp.HeaderTransferEncoding {
			continue // frames tell where a body ends
		}
		for _, value := range header[name] {
			if fields++; fields > maxFields || len(x.raw)+len(value) > maxHead || !validValue([]byte(value)) {
				return fail("read answer", errMalformed("the head of the answer is too large, or holds control characters"))
			}
			x.raw = append(append(append(append(x.raw, name...), ": "...), value...), crlf...)
		}
	}
	x.raw = append(x.raw, crlf...)
	if _, err := parseHead(x.raw, &s.head); err != nil {
		return fail("read answer", err)
	}
	return nil
}
