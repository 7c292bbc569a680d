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
)

// head is the head of an answer, and what framing and connection handling need to
// know of it. What it refers to lies where it was parsed from.
type head struct {
	status  int
	reason  []byte
	fields  []field
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

// field is a header line, and what is known of its name.
type field struct {
	name, value []byte
	*knownName
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
			return buf, errTooManyFields
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

// parseHead checks the head that raw begins with strictly. It returns its length; 0 if
// its end is not there.
func parseHead(raw []byte, h *head) (length int, err error) {
	line, rest := cutLine(raw)
	*h = head{length: -1, fields: h.fields[:0], named: h.named[:0], codings: h.codings[:0]}
	if rest == nil {
		return 0, nil
	}
	if h.status, h.http10, h.reason, err = parseStatusLine(line); err != nil {
		return 0, err
	}
	h.close = h.http10
	for {
		if line, rest = cutLine(rest); rest == nil {
			return 0, nil
		}
		if len(line) == 0 {
			break
		}
		if len(h.fields) == maxFields {
			return 0, errTooManyFields
		}
		if err := h.add(line); err != nil {
			return 0, err
		}
	}
	if h.chunked && (h.length >= 0 || h.http10) {
		return 0, errMalformed("Transfer-Encoding stands beside Content-Length or in an HTTP/1.0 answer")
	}
	return len(raw) - len(rest), nil
}

var errTooManyFields = errMalformed("the answer has too many headers")

// cutLine cuts the first line off; rest is nil if it has no end.
func cutLine(b []byte) (line, rest []byte) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return trimEOL(b), nil
	}
	return trimEOL(b[:end+1]), b[end+1:]
}

// parse takes a header or trailer line apart.
func (f *field) parse(line []byte, known *knownNames) error {
	if isSpace(line[0]) {
		return errMalformed("a header line is folded")
	}
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return errNoName
	}
	f.name, f.value = line[:colon], trimSpace(line[colon+1:])
	if f.knownName = known.find(f.name); f.knownName == unknownName && !validName(f.name) {
		return errNoName
	}
	if !validValue(f.value) {
		return errMalformed("a header value holds control characters")
	}
	return nil
}

var errNoName = errMalformed("a header has no valid name")

// add takes one header in.
func (h *head) add(line []byte) error {
	h.fields = append(h.fields, field{})
	f := &h.fields[len(h.fields)-1]
	if err := f.parse(line, answerNames); err != nil {
		return err
	}
	return h.note(f)
}

// note keeps what one header says about framing and the connection.
func (h *head) note(f *field) error {
	value := f.value
	switch f.role {
	case roleBodyLength:
		if h.length >= 0 {
			return errMalformed("Content-Length is given twice")
		}
		n, ok := parseLength(value)
		if !ok {
			return errMalformed("Content-Length is not a number")
		}
		h.length = n
	case roleTransferCoding:
		if h.chunked || !equalFold(value, "chunked") {
			return errMalformed("Transfer-Encoding is not simply chunked")
		}
		h.chunked = true
	case roleConnection:
		for token := range tokens(value) {
			switch {
			case equalFold(token, "close"):
				h.close = true
			case !equalFold(token, "keep-alive") && len(h.named) < maxNamed:
				h.named = append(h.named, token)
			}
		}
	case roleUpgrade:
		h.upgrade = value
	case roleTrailer:
		h.trailer = value
	case roleDate:
		h.dated = true
	case roleBodyCoding:
		if h.coding == nil {
			h.coding = value
		} else {
			h.codings = append(h.codings, value)
		}
	}
	return nil
}

// goesOn reports whether a header of the answer does not end here.
func (h *head) goesOn(f *field, keepLength bool) bool {
	switch f.role {
	case roleEndsHere, roleConnection, roleTrailer, roleTransferCoding, roleUpgrade:
		return false
	case roleBodyCoding: // is written by itself
		return false
	case roleBodyLength:
		if !keepLength {
			return false
		}
	}
	for _, named := range h.named {
		if bytes.EqualFold(f.name, named) {
			return false
		}
	}
	return true
}

// cleanHead is the head of an answer as fasthttp shall see it: it is made where it is
// read to.
type cleanHead struct {
	head       *head // nil: it was read
	keepLength bool
	now        func() time.Time
}

// Read gives the whole head out at once.
func (c *cleanHead) Read(p []byte) (int, error) {
	if c.head == nil {
		return 0, io.EOF
	}
	n := len(c.head.appendClean(p[:0], c.keepLength, c.now))
	if c.head = nil; n > len(p) {
		return 0, io.ErrShortBuffer
	}
	return n, nil
}

// appendClean writes the head as fasthttp shall see it: HTTP/1.1, without what
// ends at this hop, with a Date, and with the names that Sedge itself looks for
// in their usual spelling, because fasthttp finds names by exact spelling.
func (h *head) appendClean(dst []byte, keepLength bool, now func() time.Time) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = append(dst, byte('0'+h.status/100), byte('0'+h.status/10%10), byte('0'+h.status%10), ' ')
	dst = append(append(dst, h.reason...), "\r\n"...)
	for i := range h.fields {
		f := &h.fields[i]
		if !h.goesOn(f, keepLength) {
			continue
		}
		if f.usual != "" {
			dst = append(dst, f.usual...)
		} else {
			dst = append(dst, f.name...)
		}
		dst = append(append(append(dst, ": "...), f.value...), "\r\n"...)
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
