package upstream

import (
	"bytes"
	"io"
)

const (
	// mapperVersion stands for what a mapping makes of a body; another rule, another
	// number.
	mapperVersion = 1

	// lookBehind is how many bytes before a URL tell whether it begins there.
	lookBehind = 64

	longestScheme = len("https:")
)

// MapOptions say what a mapped body is.
type MapOptions struct {
	// HTML is a page: what a form sends back to the origin is left alone.
	HTML bool
	// SpareCode leaves the page's scripts and styles alone: its policy allows them by
	// their hash.
	SpareCode bool
}

// Mapper maps the URLs in a body on its way; the zero value needs a Reset. It finds
//
//	http://HOST  https://HOST  ws://HOST  wss://HOST  //HOST
//
// wherever a URL begins, be it in an attribute, a script or text, and also with its
// slashes written as \/, \\/, \u002F, &#x2F; or &#47;. HOST is the origin's own and nothing
// follows it that would make another name of it. Left alone is what stands in the path
// or query of another URL, as Deliver leaves it, and what a form gives back to the
// origin: the value of an input, and the content of a textarea.
//
// It looks at bytes, so it suits every encoding that extends ASCII. However a body is
// cut into writes, what comes out is the same; what is held back from one to the next
// is less than a URL.
type Mapper struct {
	mapping *Mapping
	how     MapOptions
	dst     io.Writer
	last    bool // nothing follows buf

	buf  []byte // from lookBehind bytes before done on
	done int    // what stands before it in buf is written, or in out
	at   int    // what stands before it was looked at
	out  []byte

	within  element
	openTag bool // the tag that opens the element has not ended
	input   bool // this is the tag of an input
}

// element is a part of a page that is not made of tags.
type element byte

const (
	inMarkup element = iota
	inComment
	inScript
	inStyle
	inTextarea
)

// opening is what an element begins with, and ending what it ends with. A comment ends
// with "-->" or "--!>", which is looked for at the last character.
var (
	opening = [...]string{inScript: "<script", inStyle: "<style", inTextarea: "<textarea"}
	ending  = [...]string{inScript: "</script", inStyle: "</style", inTextarea: "</textarea"}
)

const (
	commentOpening = "<!--"
	inputTag       = "<input"
)

// slashes are the ways to write "//", in lower case, by their first byte. JSON within
// JSON is escaped twice.
var slashes = [256][]string{
	'/':  {"//"},
	'\\': {`\/\/`, `\u002f\u002f`, `\\/\\/`},
	'&':  {"&#x2f;&#x2f;", "&#47;&#47;"},
}

// looked are the bytes that something may begin at.
var looked = [256]bool{'/': true, '\\': true, '&': true, '<': true, '>': true}

// Reset begins a body that goes to dst. The buffers are kept.
func (w *Mapper) Reset(m *Mapping, dst io.Writer, how MapOptions) {
	if cap(w.out) > 8*copyBufferSize {
		w.out = nil
	}
	*w = Mapper{mapping: m, dst: dst, how: how, buf: w.buf[:0], out: w.out[:0]}
}

// Write maps a part of the body.
func (w *Mapper) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), copyBufferSize)
		w.buf = append(w.buf, rest[:n]...)
		if err := w.run(); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// Close maps what was held back. It does not close what is written to.
func (w *Mapper) Close() error {
	w.last = true
	return w.run()
}

func (w *Mapper) run() error {
	w.scan()
	until := w.decided()
	p := w.buf[w.done:until]
	if len(w.out) > 0 {
		w.out = append(w.out, p...)
		p = w.out
	}
	if len(p) > 0 {
		if _, err := w.dst.Write(p); err != nil {
			return err
		}
	}
	w.done, w.out = until, w.out[:0]
	if drop := w.done - lookBehind; drop > 0 {
		w.buf = append(w.buf[:0], w.buf[drop:]...)
		w.done -= drop
		w.at -= drop
	}
	return nil
}

// decided returns up to where buf may leave: before what may be the scheme of a URL
// whose rest has not come.
func (w *Mapper) decided() int {
	until := w.at
	if w.last {
		return until
	}
	for until > w.done && w.at-until < longestScheme && isSchemeByte(w.buf[until-1]) {
		until--
	}
	return until
}

func isSchemeByte(c byte) bool {
	switch c | 0x20 {
	case 'h', 't', 'p', 's', 'w':
		return true
	}
	return c == ':'
}

// scan looks at buf up to its end, or to what only the next bytes can tell.
func (w *Mapper) scan() {
	for {
		b := w.buf
		at := w.at
		// Most slashes end a tag or part a path.
		for at < len(b) && (!looked[b[at]] || b[at] == '/' && at+1 < len(b) && b[at+1] != '/') {
			at++
		}
		w.at = at
		if at == len(b) || !w.look() {
			return
		}
	}
}

// look goes on behind what stands at w.at. It reports false if that is not known yet.
func (w *Mapper) look() bool {
	switch w.buf[w.at] {
	case '<':
		if w.how.HTML && !w.tag() {
			return false
		}
	case '>':
		w.openTag = false
		if before := w.buf[:w.at]; w.within == inComment && (bytes.HasSuffix(before, []byte("--")) || bytes.HasSuffix(before, []byte("--!"))) {
			w.within = inMarkup
		}
	default:
		return w.url()
	}
	w.at++
	return true
}

// match is how bytes compare to a text that they may be the beginning of.
type match byte

const (
	differs match = iota
	begins        // so far; the rest has not come
	matches
)

// compare compares what stands at w.at with a text in lower case, in any case.
func (w *Mapper) compare(text string) match {
	rest := w.buf[w.at:]
	if n := len(rest); n < len(text) {
		if w.last || !hasPrefixFold([]byte(text), string(rest)) {
			return differs
		}
		return begins
	}
	if hasPrefixFold(rest, text) {
		return matches
	}
	return differs
}

// compareTag is compare for the beginning of a tag, whose name must end there.
func (w *Mapper) compareTag(text string) match {
	m := w.compare(text)
	if m != matches {
		return m
	}
	rest := w.buf[w.at+len(text):]
	switch {
	case len(rest) == 0 && !w.last:
		return begins
	case len(rest) > 0 && bytes.IndexByte([]byte(" \t\r\n\f/>"), rest[0]) < 0:
		return differs
	}
	return matches
}

// tag notes which part of the page a "<" begins or ends.
func (w *Mapper) tag() bool {
	switch w.within {
	case inComment:
		return true
	case inMarkup:
		return w.tagInMarkup()
	}
	switch w.compareTag(ending[w.within]) {
	case begins:
		return false
	case matches:
		w.within = inMarkup
	}
	return true
}

func (w *Mapper) tagInMarkup() bool {
	if w.at+1 < len(w.buf) {
		switch w.buf[w.at+1] | 0x20 {
		case '!', 's', 't', 'i':
		default:
			w.input = false // as most tags
			return true
		}
	}
	input := w.compareTag(inputTag)
	if input == begins {
		return false
	}
	found := inMarkup
	if c := w.compare(commentOpening); c == begins {
		return false
	} else if c == matches {
		found = inComment
	}
	for e := inScript; e <= inTextarea; e++ {
		switch w.compareTag(opening[e]) {
		case begins:
			return false
		case matches:
			found = e
		}
	}
	w.input = input == matches
	w.within, w.openTag = found, found != inMarkup
	return true
}

// url looks for a URL whose slashes stand at w.at, maps it and goes on behind it.
func (w *Mapper) url() bool {
	width := 0
	for _, form := range slashes[w.buf[w.at]] {
		switch w.compare(form) {
		case begins:
			return false
		case matches:
			width = len(form)
		}
	}
	if width == 0 {
		w.at++
		return true
	}
	start, scheme, ok := w.scheme()
	if !ok || !w.mayBegin(start) {
		w.at++ // as in "///"
		return true
	}
	from := w.at + width
	end := w.authority(from)
	if end == len(w.buf) && end-from <= w.mapping.up.longest && !w.last {
		return false
	}
	authority := w.buf[from:end]
	if len(authority) == 0 || len(authority) > w.mapping.up.longest || authority[len(authority)-1] == ':' ||
		!w.mapping.up.isOwn(string(authority)) {
		w.at = from
		return true
	}
	w.out = append(w.out, w.buf[w.done:start]...)
	if scheme != "" {
		w.out = append(append(w.out, scheme...), ':')
	}
	w.out = append(w.out, w.buf[w.at:from]...)
	w.out = append(w.out, w.mapping.host...)
	w.at, w.done = end, end
	return true
}

// scheme returns where the URL with slashes at w.at begins, and the scheme that it
// gets; "" for one that has none. It is no URL of ours if it has another scheme.
func (w *Mapper) scheme() (start int, scheme string, ok bool) {
	before := w.buf[w.done:w.at]
	if len(before) == 0 || before[len(before)-1] != ':' {
		return w.at, "", true
	}
	before = before[:len(before)-1]
	n := 0
	for n < longestScheme && n < len(before) && isSchemeByte(before[len(before)-1-n]) {
		n++
	}
	for _, known := range [...]string{"https", "http", "wss", "ws"} {
		if n >= len(known) && equalFold(before[len(before)-len(known):], known) {
			return w.at - 1 - len(known), w.mapping.schemeLike(known), true
		}
	}
	return 0, "", false
}

// authority returns the end of the name and port that begin at from, or of as much of
// it as can be the origin's.
func (w *Mapper) authority(from int) int {
	end, bracketed := from, false
	for end < len(w.buf) && end-from <= w.mapping.up.longest {
		c := w.buf[end]
		switch {
		case c == '[' && end == from:
			bracketed = true
		case c == ']' && bracketed:
			bracketed = false
		case !isAuthorityByte(c):
			return end
		}
		end++
	}
	return end
}

// isAuthorityByte reports whether a URL that goes on with c still names its host, or
// whom it is for: then it is another name than the one before c.
func isAuthorityByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c >= 0x80:
		return true
	}
	return c == '.' || c == '-' || c == '_' || c == '~' || c == ':' || c == '@' || c == '%'
}

// mayBegin reports whether a URL that begins at start is to be mapped, as far as what
// stands before it tells.
func (w *Mapper) mayBegin(start int) bool {
	before := w.buf[max(0, start-lookBehind):start]
	switch {
	case w.within == inTextarea, w.how.SpareCode && (w.within == inScript || w.within == inStyle) && !w.openTag:
		return false
	case w.input:
		return beginsAttribute(before)
	case len(before) == 0:
		return true
	}
	switch c := before[len(before)-1]; c {
	case '"', '\'', '`', '(', '[', '{', '<', '>', ',', ';', '|', ' ', '\t', '\r', '\n', '\f':
		return true
	case '=':
		return endsInAssignment(before)
	default:
		return c >= 0x80 || endsInEscape(before)
	}
}

// beginsAttribute reports whether the value of an attribute begins behind before, and
// not that of value, which a form sends back.
func beginsAttribute(before []byte) bool {
	before = bytes.TrimRight(before, `"'`)
	before = bytes.TrimRight(before, `\`) // in a script's string
	name, ok := bytes.CutSuffix(before, []byte{'='})
	if !ok {
		return false
	}
	name = name[len(trimName(name)):]
	return len(name) > 0 && !equalFold(name, "value")
}

// endsInAssignment reports whether the "=" at the end of before stands behind the name
// of an attribute or, as in "0;url=", of a part of one, and not of a query.
func endsInAssignment(before []byte) bool {
	rest := trimName(before[:len(before)-1])
	if len(rest) == 0 || len(rest) == len(before)-1 {
		return false
	}
	switch rest[len(rest)-1] {
	case ' ', '\t', '\r', '\n', '\f', '"', '\'':
		return true
	case ';':
		return !endsInReference(rest)
	}
	return false
}

// trimName cuts the name at the end of b off.
func trimName(b []byte) []byte {
	return bytes.TrimRightFunc(b, func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == ':' || r == '.' || r == '@'
	})
}

// endsInReference reports whether a ";" ends a character reference, as "&amp;" does.
func endsInReference(b []byte) bool {
	b = bytes.TrimRightFunc(b[:len(b)-1], func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '#'
	})
	return len(b) > 0 && b[len(b)-1] == '&'
}

// escapes are white space, quotes and brackets as strings in scripts and JSON write them.
var escapes = [...]string{`\n`, `\r`, `\t`, `\u0020`, `\u0022`, `\u0027`, `\u0028`, `\u003c`, `\u003e`, `\x20`, `\x22`, `\x27`, `\x3c`, `\x3e`}

func endsInEscape(before []byte) bool {
	for _, escape := range escapes {
		if len(before) >= len(escape) && equalFold(before[len(before)-len(escape):], escape) {
			return true
		}
	}
	return false
}
