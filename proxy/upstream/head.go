package upstream

import (
	"bufio"
	"bytes"
	"io"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	maxHead   = 64 << 10
	maxFields = 500
	// maxInterim is how many 1xx answers may come before the final one.
	maxInterim = 8
	// longestKnown is the length of the longest name in [spelling] or a switch here.
	longestKnown = 35
)

// head is what framing and connection handling need to know of an answer.
type head struct {
	status  int
	http10  bool
	close   bool
	chunked bool
	length  int64 // -1: none given
	dated   bool
	upgrade []byte   // value of Upgrade
	trailer []byte   // value of Trailer
	named   [][]byte // names that Connection lists
	coding  []byte   // first value of Content-Encoding
	codings [][]byte // the others, of which there are hardly ever any
}

// readHead reads the bytes of one answer head, its empty line included, into buf.
// It keeps nothing that came after them from the reader.
func readHead(br source, buf []byte) ([]byte, error) {
	buf = buf[:0]
	lineStart, lines := 0, 0
	for {
		part, err := br.ReadSlice('\n')
		if len(buf)+len(part) > maxHead {
			return buf, errMalformed("the head of the answer is too large")
		}
		buf = append(buf, part...)
		if err == bufio.ErrBufferFull {
			continue
		}
		if err == io.EOF && len(buf) > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return buf, err
		}
		line := trimEOL(buf[lineStart:])
		if len(line) == 0 {
			if lines == 0 {
				return buf, errMalformed("the answer begins with an empty line")
			}
			return buf, nil
		}
		if lines++; lines > maxFields+1 {
			return buf, errMalformed("the answer has too many headers")
		}
		if lines == 1 {
			if _, _, _, err := parseStatusLine(line); err != nil {
				return buf, err // before an endless rest is waited for
			}
		}
		lineStart = len(buf)
	}
}

func trimEOL(line []byte) []byte {
	n := len(line)
	if n > 0 && line[n-1] == '\n' {
		n--
	}
	if n > 0 && line[n-1] == '\r' {
		n--
	}
	return line[:n]
}

func parseStatusLine(line []byte) (status int, http10 bool, reason []byte, err error) {
	const version = "HTTP/1."
	if len(line) < len(version)+5 || string(line[:len(version)]) != version ||
		line[7] != '0' && line[7] != '1' || line[8] != ' ' {
		return 0, false, nil, errMalformed("the status line is not one of HTTP/1.1 or HTTP/1.0")
	}
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return 0, false, nil, errMalformed("the status is not a number of three digits")
		}
		status = status*10 + int(c-'0')
	}
	if status < 100 || status > 599 {
		return 0, false, nil, errMalformed("the status is not between 100 and 599")
	}
	if rest := line[12:]; len(rest) > 0 {
		if rest[0] != ' ' {
			return 0, false, nil, errMalformed("the status is not a number of three digits")
		}
		reason = rest[1:]
	}
	if !validValue(reason) {
		return 0, false, nil, errMalformed("the reason phrase holds control characters")
	}
	return status, line[7] == '0', reason, nil
}

// parseHead checks the bytes of a head strictly.
func parseHead(raw []byte, h *head) (reason []byte, err error) {
	line, rest := cutLine(raw)
	*h = head{length: -1, named: h.named[:0], codings: h.codings[:0]}
	if h.status, h.http10, reason, err = parseStatusLine(line); err != nil {
		return nil, err
	}
	h.close = h.http10
	for {
		if line, rest = cutLine(rest); len(line) == 0 {
			break
		}
		name, value, err := splitField(line)
		if err != nil {
			return nil, err
		}
		if err := h.note(name, value); err != nil {
			return nil, err
		}
	}
	if h.chunked && (h.length >= 0 || h.http10) {
		return nil, errMalformed("Transfer-Encoding stands beside Content-Length or in an HTTP/1.0 answer")
	}
	return reason, nil
}

func cutLine(b []byte) (line, rest []byte) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return trimEOL(b), nil
	}
	return trimEOL(b[:end+1]), b[end+1:]
}

// splitField takes a header or trailer line apart.
func splitField(line []byte) (name, value []byte, err error) {
	if line[0] == ' ' || line[0] == '\t' {
		return nil, nil, errMalformed("a header line is folded")
	}
	colon := bytes.IndexByte(line, ':')
	if colon < 0 || !validName(line[:colon]) {
		return nil, nil, errMalformed("a header has no valid name")
	}
	value = trimSpace(line[colon+1:])
	if !validValue(value) {
		return nil, nil, errMalformed("a header value holds control characters")
	}
	return line[:colon], value, nil
}

// note keeps what one header says about framing and the connection.
func (h *head) note(name, value []byte) error {
	var buf [longestKnown]byte
	switch string(lower(name, &buf)) {
	case "content-length":
		if h.length >= 0 {
			return errMalformed("Content-Length is given twice")
		}
		n, ok := parseLength(value)
		if !ok {
			return errMalformed("Content-Length is not a number")
		}
		h.length = n
	case "transfer-encoding":
		if h.chunked || !equalFold(value, "chunked") {
			return errMalformed("Transfer-Encoding is not simply chunked")
		}
		h.chunked = true
	case "connection", "proxy-connection":
		for token := range tokens(value) {
			switch {
			case equalFold(token, "close"):
				h.close = true
			case !equalFold(token, "keep-alive") && len(h.named) < maxNamed:
				h.named = append(h.named, token)
			}
		}
	case "upgrade":
		h.upgrade = value
	case "trailer":
		h.trailer = value
	case "date":
		h.dated = true
	case "content-encoding":
		if h.coding == nil {
			h.coding = value
		} else {
			h.codings = append(h.codings, value)
		}
	}
	return nil
}

// hopByHop reports whether a header of the answer ends here.
func (h *head) hopByHop(name []byte) bool {
	var buf [longestKnown]byte
	switch string(lower(name, &buf)) {
	case "connection", "keep-alive", "proxy-connection", "proxy-authenticate",
		"proxy-authentication-info", "te", "trailer", "transfer-encoding", "upgrade":
		return true
	}
	for _, named := range h.named {
		if bytes.EqualFold(name, named) {
			return true
		}
	}
	return false
}

// appendClean writes the head as fasthttp shall see it: HTTP/1.1, without what
// ends at this hop, with a Date, and with the names that Sedge itself looks for
// in their usual spelling, because fasthttp finds names by exact spelling.
func (h *head) appendClean(dst, raw, reason []byte, keepLength bool, now func() time.Time) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = append(dst, byte('0'+h.status/100), byte('0'+h.status/10%10), byte('0'+h.status%10), ' ')
	dst = append(append(dst, reason...), "\r\n"...)
	_, rest := cutLine(raw)
	for {
		var line []byte
		if line, rest = cutLine(rest); len(line) == 0 {
			break
		}
		colon := bytes.IndexByte(line, ':') // parseHead has checked the line
		name, value := line[:colon], trimSpace(line[colon+1:])
		if h.hopByHop(name) || !keepLength && equalFold(name, fasthttp.HeaderContentLength) || equalFold(name, fasthttp.HeaderContentEncoding) {
			continue
		}
		if usual := spelling(name); usual != "" {
			dst = append(dst, usual...)
		} else {
			dst = append(dst, name...)
		}
		dst = append(append(append(dst, ": "...), value...), "\r\n"...)
	}
	if h.coding != nil {
		// In one line: of several, fasthttp would keep the last alone.
		dst = append(dst, fasthttp.HeaderContentEncoding+": "...)
		dst = append(dst, h.coding...)
		for _, value := range h.codings {
			dst = append(append(dst, ", "...), value...)
		}
		dst = append(dst, "\r\n"...)
	}
	if !h.dated && h.status >= 200 {
		dst = append(dst, "Date: "...)
		dst = append(fasthttp.AppendHTTPDate(dst, now()), "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// spelling returns the usual spelling of a header that Sedge looks at, or "".
func spelling(name []byte) string {
	var buf [longestKnown]byte
	switch string(lower(name, &buf)) {
	case "age":
		return fasthttp.HeaderAge
	case "cache-control":
		return fasthttp.HeaderCacheControl
	case "pragma":
		return fasthttp.HeaderPragma
	case "expires":
		return fasthttp.HeaderExpires
	case "etag":
		return fasthttp.HeaderETag
	case "last-modified":
		return fasthttp.HeaderLastModified
	case "vary":
		return fasthttp.HeaderVary
	case "date":
		return fasthttp.HeaderDate
	case "location":
		return fasthttp.HeaderLocation
	case "content-location":
		return "Content-Location"
	case "refresh":
		return "Refresh"
	case "link":
		return "Link"
	case "via":
		return fasthttp.HeaderVia
	case "accept-ranges":
		return fasthttp.HeaderAcceptRanges
	case "content-range":
		return fasthttp.HeaderContentRange
	case "content-disposition":
		return fasthttp.HeaderContentDisposition
	case "content-language":
		return fasthttp.HeaderContentLanguage
	case "content-security-policy":
		return fasthttp.HeaderContentSecurityPolicy
	case "content-security-policy-report-only":
		return fasthttp.HeaderContentSecurityPolicyReportOnly
	case "www-authenticate":
		return fasthttp.HeaderWWWAuthenticate
	case "retry-after":
		return fasthttp.HeaderRetryAfter
	case "cdn-cache-control":
		return "CDN-Cache-Control"
	case "surrogate-control":
		return "Surrogate-Control"
	case "digest":
		return "Digest"
	case "content-digest":
		return "Content-Digest"
	case "repr-digest":
		return "Repr-Digest"
	case "content-md5":
		return "Content-MD5"
	case "clear-site-data":
		return "Clear-Site-Data"
	case "cache-status":
		return "Cache-Status"
	}
	return ""
}
