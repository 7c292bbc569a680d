package rewrite

import (
	"bytes"
	"mime"
	"strings"
)

// Encoding is what the rewriter has to know about a page's character set.
type Encoding byte

// The encodings. [EncodingOf] also returns others, one for each single-byte
// character set that browsers know.
const (
	EncodingUnknown    Encoding = iota // not said; the page may say it itself
	EncodingUTF8                       // UTF-8
	EncodingSingleByte                 // one byte per character, the first 128 as ASCII; which one is not known
	EncodingOther                      // one that cannot be edited safely
)

// Editable reports whether a page with this Content-Type may be edited: HTML in
// UTF-8, in a single-byte character set that extends ASCII (ASCII itself,
// ISO-8859, Windows-125x, KOI8, Mac), or without a charset. XHTML is not: an
// error in it would cost the whole page.
func Editable(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/html") && EncodingOf(contentType) != EncodingOther
}

// EncodingOf returns the encoding that a Content-Type names.
func EncodingOf(contentType string) Encoding {
	_, parameters, found := strings.Cut(contentType, ";")
	if !found || strings.TrimSpace(parameters) == "" {
		return EncodingUnknown
	}
	if label, ok := onlyCharset(parameters); ok {
		return encodingByLabel(label)
	}
	return encodingOfParameters(contentType, parameters)
}

// onlyCharset returns the charset where it is the only parameter and stands there
// plainly, as nearly everybody writes it.
func onlyCharset(parameters string) (label string, ok bool) {
	const name = "charset="
	parameters = strings.Trim(parameters, " \t")
	if len(parameters) <= len(name) || !strings.EqualFold(parameters[:len(name)], name) {
		return "", false
	}
	label = parameters[len(name):]
	for i := range len(label) {
		switch c := label[i]; {
		case c >= '0' && c <= '9', c|0x20 >= 'a' && c|0x20 <= 'z', c == '-', c == '_':
		default:
			return "", false
		}
	}
	return label, true
}

func encodingOfParameters(contentType, parameters string) Encoding {
	if _, params, err := mime.ParseMediaType(contentType); err == nil {
		return encodingByLabel(params["charset"])
	}
	// Not well-formed, as browsers accept it: take what follows "charset=".
	at := strings.Index(strings.ToLower(parameters), "charset=")
	if at < 0 {
		return EncodingUnknown
	}
	label, _, _ := strings.Cut(parameters[at+len("charset="):], ";")
	return encodingByLabel(label)
}

// encodingByLabel knows the labels of https://encoding.spec.whatwg.org/#names-and-labels.
func encodingByLabel(label string) Encoding {
	label = strings.ToLower(strings.Trim(label, " \t\r\n\f\"'"))
	switch label {
	case "":
		return EncodingUnknown
	case "utf-8", "utf8", "unicode-1-1-utf-8", "unicode11utf8", "unicode20utf8", "x-unicode20utf8":
		return EncodingUTF8
	}
	if e, ok := charsetLabels()[label]; ok {
		return e
	}
	return EncodingOther
}

const byteOrderMark = "\xef\xbb\xbf"

// byteOrderMark looks at the first bytes of the page.
func (r *Rewriter) byteOrderMark() {
	for i := 0; r.base+int64(i) < int64(len(byteOrderMark)) && i < len(r.chunk); i++ {
		at, c := int(r.base)+i, r.chunk[i]
		switch {
		case at < 2 && (c == 0xfe || c == 0xff):
			r.bail(BailedEncoding)
			return
		case c == byteOrderMark[at] && r.bom == at:
			r.bom++
		}
	}
	if r.bom == len(byteOrderMark) && r.base < int64(len(byteOrderMark)) {
		r.encoding = EncodingUTF8
	}
}

// metaEncoding takes the character set from the current tag, a meta, if it names one.
func (r *Rewriter) metaEncoding() {
	label := r.metaLabel()
	if len(label) == 0 {
		return
	}
	found := encodingByLabel(string(label))
	if bytes.HasPrefix(label, []byte("utf-16")) {
		found = EncodingUTF8 // as the standard has it: the tag could not be read otherwise
	}
	if found == EncodingOther {
		r.bail(BailedEncoding)
		return
	}
	r.encoding = found
	if r.record != nil {
		r.record.encoding(r, found)
	}
}

// metaLabel returns what the current meta tag calls the character set, in lower
// case.
func (r *Rewriter) metaLabel() []byte {
	if a := r.attribute("charset"); a != nil {
		return bytes.TrimSpace(r.lowered(a))
	}
	if a := r.attribute("http-equiv"); a == nil || !foldEqual(r.value(a), "content-type") {
		return nil
	}
	a := r.attribute("content")
	if a == nil {
		return nil
	}
	_, label, _ := bytes.Cut(r.lowered(a), []byte("charset="))
	label, _, _ = bytes.Cut(label, []byte(";"))
	return bytes.Trim(label, " \t\r\n\f\"'")
}

// lowered returns an attribute's value in lower case, valid until the next value.
func (r *Rewriter) lowered(a *attr) []byte {
	value := r.value(a)
	r.scratch = append(r.scratch[:0], value...)
	for i, c := range r.scratch {
		r.scratch[i] = lowerByte(c)
	}
	return r.scratch
}
