package rewrite

import (
	"io"
	"strings"
	"sync"
)

// markupProgram scans content without editing it.
var markupProgram = sync.OnceValue(func() *Program {
	p := newProgram()
	(&compiler{p: p}).finish()
	return p
})

// checkMarkup refuses content that ends inside a tag, a comment or the like: it would
// swallow the page behind it, or make markup of text there that anybody wrote.
func checkMarkup(html string) error {
	if strings.IndexByte(html, '<') < 0 {
		return nil
	}
	r := markupProgram().NewRewriter(io.Discard, Limits{Memory: 1 << 30, Encoding: EncodingUTF8})
	defer r.Release()
	if _, err := io.WriteString(r, html); err != nil {
		return fieldError("html", "%v", err)
	}
	switch {
	case r.holding && r.scan.kind == kindOpen:
		return fieldError("html", "found \"<\" at the end of the content, which could begin a tag with what follows in the page; write &lt;")
	case r.holding:
		return fieldError("html", "found an unfinished tag at the end of the content; close it with \">\" (in content for a script or style, use text)")
	case r.scan.mode == inComment:
		return fieldError("html", "found a comment that is not closed; close it with \"-->\"")
	case r.scan.mode == inBogus:
		return fieldError("html", "found what browsers take for a comment, beginning with \"<!\", \"<?\" or \"</\", that is not closed; close it with \">\", or write &lt;")
	case r.scan.mode == inCDATA:
		return fieldError("html", "found a CDATA section that is not closed; close it with \"]]>\"")
	case r.scan.mode == inPlain:
		return fieldError("html", "found <plaintext>, which makes text of the whole page behind it; leave it out")
	case r.scan.mode == inRaw || r.scan.mode == inScript:
		return fieldError("html", "found <%s> without its end tag; add </%s>", r.scan.raw, r.scan.raw)
	}
	return nil
}
