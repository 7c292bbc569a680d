package rewrite

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/sedge-proxy/sedge/decision"
)

// nonceSpot is where content may get a nonce: behind the name of a start tag.
type nonceSpot struct {
	at   int
	need int32
}

// contentNeeds finds what a policy has to allow before HTML may be inserted, and
// where a nonce can go. holes are the offsets, in order, of bytes that stand for
// what is not known: slots and groups. A group is text of the page that anybody may
// have written, and nothing keeps it from being code: a script or style that holds
// one gets no nonce.
func contentNeeds(content []byte, holes []int, groups bool) (needs []need, spots []nonceSpot) {
	if bytes.IndexByte(content, '<') < 0 {
		return nil, nil
	}
	page, strays := compileContent(content, limitsBeyond(len(content)))
	if page == nil { // browsers differ in what it is: it may be anything
		return []need{{kind: needScript, fixed: true}, {kind: needStyle, fixed: true}}, nil
	}
	take := func(tag policedTag, text *inlineText, from, to int32) {
		open := groups && anyIn(holes, int(from), int(to))
		for _, n := range tag.needs(text) {
			if n.fixed = n.fixed || open; !n.fixed {
				spots = append(spots, nonceSpot{tag.nameEnd, int32(len(needs))})
			}
			needs = append(needs, n)
		}
	}
	for i := range page.elements {
		e := &page.elements[i]
		if e.flags&withoutTag != 0 {
			continue
		}
		tag := readPolicedTag(content[e.start:e.tagEnd], int(e.start), holes)
		var text *inlineText
		if e.flags&withText != 0 {
			text = &inlineText{content[e.tagEnd:e.end], !anyIn(holes, int(e.tagEnd), int(e.end))}
		}
		take(tag, text, e.start, max(e.tagEnd, e.end))
	}
	for _, tag := range strays {
		take(readPolicedTag(content[tag.from:tag.to], int(tag.from), holes), nil, tag.from, tag.to)
	}
	slices.SortFunc(spots, func(a, b nonceSpot) int { return a.at - b.at })
	return needs, spots
}

// compileContent scans content as if it were a page. Tags of html and body that make
// no element are returned aside: browsers give their attributes to the page's own.
func compileContent(content []byte, limits Limits) (*Page, []textRun) {
	b := newPageBuilder(content, limits)
	b.strays = make([]textRun, 0, 1)
	page, _ := compilePage(b, limits)
	return page, b.strays
}

// limitsBeyond returns limits that content of a size does not reach.
func limitsBeyond(size int) Limits {
	most := decision.Size(1<<20 + 256*int64(size))
	return Limits{Memory: most, Page: most, Depth: 64 + size, Encoding: EncodingUTF8}
}

func anyIn(holes []int, from, to int) bool {
	at, _ := slices.BinarySearch(holes, from)
	return at < len(holes) && holes[at] < to
}

// inlineText is the text of an element.
type inlineText struct {
	text  []byte
	known bool // it has no holes
}

// policedTag is a start tag as policies look at it.
type policedTag struct {
	name    string
	nameEnd int // offset in the content
	attrs   []policedAttr
	noNonce bool // browsers would not take a nonce from it
}

type policedAttr struct {
	name, value string
	holes       []int // offsets in the value as written of what is not known of it
	query       int   // where its query begins there, -1 for nowhere
}

// readPolicedTag reads a start tag at an offset of the content.
func readPolicedTag(token []byte, at int, holes []int) policedTag {
	s := tagScanner{maxAttrs: len(token)}
	s.begin(1, true)
	s.whole(token, 1, 0)
	t := policedTag{name: lower(string(token[1:s.nameEnd])), nameEnd: at + s.nameEnd}
	for i := range s.attrs {
		a := &s.attrs[i]
		raw := token[a.value:a.end]
		attr := policedAttr{name: lower(string(token[a.name:a.nameEnd])), value: string(appendUnescaped(nil, raw)), query: bytes.IndexByte(raw, '?')}
		for _, hole := range holes {
			if hole >= at+int(a.value) && hole < at+int(a.end) {
				attr.holes = append(attr.holes, hole-at-int(a.value))
			}
		}
		t.noNonce = t.noNonce || t.name == "script" && (looksInjected(attr.name) || looksInjected(attr.value))
		if t.attr(attr.name) != nil {
			t.noNonce = true
			continue
		}
		t.attrs = append(t.attrs, attr)
	}
	return t
}

// looksInjected reports what makes browsers doubt that a nonce belongs to a script
// (https://www.w3.org/TR/CSP3/#is-element-nonceable).
func looksInjected(s string) bool {
	s = lower(s)
	return strings.Contains(s, "<script") || strings.Contains(s, "<style")
}

// attr returns the attribute of a name, nil if there is none.
func (t *policedTag) attr(name string) *policedAttr {
	for i := range t.attrs {
		if t.attrs[i].name == name {
			return &t.attrs[i]
		}
	}
	return nil
}

func (t *policedTag) value(name string) string {
	if a := t.attr(name); a != nil {
		return a.value
	}
	return ""
}

// needs returns what a policy has to allow of the tag. text is the element's, nil
// where it has none.
func (t *policedTag) needs(text *inlineText) []need {
	needs := t.elementNeeds(text)
	for i := range needs {
		needs[i].fixed = needs[i].fixed || len(needs) > 1 // it could need two
	}
	for i := range t.attrs {
		if n, ok := attributeNeed(t.attrs[i].name, t.attrs[i].value, len(t.attrs[i].holes) == 0); ok {
			needs = append(needs, n)
		}
	}
	return needs
}

// attributeNeed returns what an attribute needs whatever its element.
func attributeNeed(name, value string, known bool) (n need, ok bool) {
	n.fixed = true
	switch {
	case isHandler(name):
		n.kind = needHandler
	case name == "style":
		n.kind = needStyleAttr
	case slices.Contains(navigatingAttributes, name) && isScript(value):
		n.kind = needNavigation
	default:
		return n, false
	}
	if known {
		n.hashes, n.unicode = hashesOf([]byte(value)), !isASCII([]byte(value))
	}
	return n, true
}

// navigatingAttributes hold addresses to which a page may go.
var navigatingAttributes = []string{"href", "xlink:href", "src", "action", "formaction", "data"}

// isHandler reports whether an attribute is, or may become, an event handler.
func isHandler(name string) bool {
	rest, ok := strings.CutPrefix(name, "on")
	for i := 0; i < len(rest); i++ {
		ok = ok && isLetter(rest[i])
	}
	return ok && rest != ""
}

// hashesOf returns the hashes of a text as policies write them.
func hashesOf(text []byte) []string {
	text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
	s256, s384, s512 := sha256.Sum256(text), sha512.Sum384(text), sha512.Sum512(text)
	encode := base64.StdEncoding.EncodeToString
	return []string{"sha256-" + encode(s256[:]), "sha384-" + encode(s384[:]), "sha512-" + encode(s512[:])}
}
