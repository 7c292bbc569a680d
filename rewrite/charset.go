package rewrite

import (
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// charsets are the single-byte character sets of
// https://encoding.spec.whatwg.org/#names-and-labels with their labels. The
// Encoding of one is its index + namedEncodings.
var charsets = [...]struct {
	table  *charmap.Charmap
	labels string
}{
	{charmap.CodePage866, "ibm866 866 cp866 csibm866"},
	{charmap.ISO8859_2, "iso-8859-2 csisolatin2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2"},
	{charmap.ISO8859_3, "iso-8859-3 csisolatin3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3"},
	{charmap.ISO8859_4, "iso-8859-4 csisolatin4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4"},
	{charmap.ISO8859_5, "iso-8859-5 csisolatincyrillic cyrillic iso-ir-144 iso8859-5 iso88595 iso_8859-5 iso_8859-5:1988"},
	{charmap.ISO8859_6, "iso-8859-6 arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6-e iso-8859-6-i iso-ir-127 iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987"},
	{charmap.ISO8859_7, "iso-8859-7 csisolatingreek ecma-118 elot_928 greek greek8 iso-ir-126 iso8859-7 iso88597 iso_8859-7 iso_8859-7:1987 sun_eu_greek"},
	{charmap.ISO8859_8, "iso-8859-8 csiso88598e csisolatinhebrew hebrew iso-8859-8-e iso-ir-138 iso8859-8 iso88598 iso_8859-8 iso_8859-8:1988 visual csiso88598i iso-8859-8-i logical"},
	{charmap.ISO8859_10, "iso-8859-10 csisolatin6 iso-ir-157 iso8859-10 iso885910 l6 latin6"},
	{charmap.ISO8859_13, "iso-8859-13 iso8859-13 iso885913"},
	{charmap.ISO8859_14, "iso-8859-14 iso8859-14 iso885914"},
	{charmap.ISO8859_15, "iso-8859-15 csisolatin9 iso8859-15 iso885915 iso_8859-15 l9"},
	{charmap.ISO8859_16, "iso-8859-16"},
	{charmap.KOI8R, "koi8-r cskoi8r koi koi8 koi8_r"},
	{charmap.KOI8U, "koi8-u koi8-ru"},
	{charmap.Macintosh, "macintosh csmacintosh mac x-mac-roman"},
	{charmap.Windows874, "windows-874 dos-874 iso-8859-11 iso8859-11 iso885911 tis-620"},
	{charmap.Windows1250, "windows-1250 cp1250 x-cp1250"},
	{charmap.Windows1251, "windows-1251 cp1251 x-cp1251"},
	{charmap.Windows1252, "windows-1252 ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 iso_8859-1 iso_8859-1:1987 l1 latin1 us-ascii x-cp1252"},
	{charmap.Windows1253, "windows-1253 cp1253 x-cp1253"},
	{charmap.Windows1254, "windows-1254 cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 l5 latin5 x-cp1254"},
	{charmap.Windows1255, "windows-1255 cp1255 x-cp1255"},
	{charmap.Windows1256, "windows-1256 cp1256 x-cp1256"},
	{charmap.Windows1257, "windows-1257 cp1257 x-cp1257"},
	{charmap.Windows1258, "windows-1258 cp1258 x-cp1258"},
	{charmap.MacintoshCyrillic, "x-mac-cyrillic x-mac-ukrainian"},
}

const namedEncodings Encoding = 16

// charsetLabels finds the encoding of a label in lower case.
var charsetLabels = sync.OnceValue(func() map[string]Encoding {
	labels := make(map[string]Encoding)
	for i := range charsets {
		for label := range strings.FieldsSeq(charsets[i].labels) {
			labels[label] = namedEncodings + Encoding(i)
		}
	}
	return labels
})

// table returns the characters of a single-byte character set, nil for others and
// where it is not known which one it is.
func (e Encoding) table() *charmap.Charmap {
	if e < namedEncodings {
		return nil
	}
	return charsets[e-namedEncodings].table
}

// SingleByte reports whether the encoding has one byte per character, of which
// the first 128 are ASCII.
func (e Encoding) SingleByte() bool { return e == EncodingSingleByte || e >= namedEncodings }

// appendChar appends a character as the page writes it: in its character set, else
// as a reference.
func (r *Rewriter) appendChar(dst []byte, c rune) []byte {
	if r.encoding == EncodingUTF8 || c < utf8.RuneSelf {
		return utf8.AppendRune(dst, c)
	}
	if table := r.encoding.table(); table != nil {
		if b, ok := table.EncodeRune(c); ok && b >= utf8.RuneSelf {
			return append(dst, b)
		}
	}
	return appendCharReference(dst, c)
}

// appendMarkup appends HTML as the page writes it.
func (r *Rewriter) appendMarkup(dst []byte, s string) []byte {
	if r.encoding == EncodingUTF8 {
		return append(dst, s...)
	}
	for _, c := range s {
		dst = r.appendChar(dst, c)
	}
	return dst
}

// appendText appends text, escaped, as the page writes it.
func (r *Rewriter) appendText(dst []byte, s string) []byte {
	for _, c := range s {
		switch c {
		case '&':
			dst = append(dst, "&amp;"...)
		case '<':
			dst = append(dst, "&lt;"...)
		case '>':
			dst = append(dst, "&gt;"...)
		default:
			dst = r.appendChar(dst, c)
		}
	}
	return dst
}

// appendPageText appends text of the page that was decoded, escaped, as the page
// writes it. Where the character set is not known its bytes stay.
func (r *Rewriter) appendPageText(dst, s []byte) []byte {
	if r.encoding.table() != nil {
		return r.appendText(dst, string(s))
	}
	return appendEscapedText(dst, s)
}

// encoded returns s in the page's character set, valid until the next call; nil if
// it has a character that the character set does not have.
func (r *Rewriter) encoded(s []byte) []byte {
	table := r.encoding.table()
	if r.encoding == EncodingUTF8 || isASCII(s) {
		return s
	}
	if table == nil {
		return nil
	}
	r.coded = r.coded[:0]
	for _, c := range string(s) {
		b, ok := table.EncodeRune(c)
		if !ok || c >= utf8.RuneSelf && b < utf8.RuneSelf {
			return nil
		}
		r.coded = append(r.coded, b)
	}
	return r.coded
}
