package rewrite

import (
	"slices"
	"strings"
)

// slotValue is an attribute's value that has slots.
type slotValue struct {
	kind   slotKind
	loads  bool   // the element loads what the address names and runs or shows it
	seen   string // what stands in front, with "x" for slots; of a list the current item
	whole  bool   // the address begins with a slot
	needs  string // what the rest of an address has to begin with
	code   codeWalk
	risk   bool // an element of the kind of loads must not have it
	slashy bool // the last slot stands behind a lone "/" and may be empty
}

// slotKind is what an attribute's value means.
type slotKind byte

const (
	valuePlain  slotKind = iota
	valueURL             // one address
	valueURLs            // addresses parted by spaces
	valueSrcset          // addresses with sizes, parted by commas
	valueStyle
	valueScript
)

var urlAttributes = []string{
	"action", "archive", "background", "cite", "classid", "codebase", "data", "dynsrc", "formaction", "href", "icon",
	"longdesc", "lowsrc", "manifest", "ping", "poster", "profile", "src", "usemap", "xmlns",
}

// lockedAttributes decide what an element is or does.
var lockedAttributes = []string{
	"accept-charset", "allow", "as", "async", "attributename", "blocking", "by", "charset", "content", "crossorigin", "csp", "defer",
	"enctype", "form", "formenctype", "formmethod", "formnovalidate", "from", "http-equiv", "integrity", "is",
	"keytype", "language", "method", "nonce", "novalidate", "referrerpolicy", "rel", "sandbox", "srcdoc", "to", "type", "values",
	"shadowrootmode",
}

// loadingElements load code or whole documents.
var loadingElements = []string{
	"applet", "base", "embed", "frame", "iframe", "image", "link", "object", "portal", "script", "use", "feimage", "fencedframe", "meta", "param",
	"animate", "animatemotion", "animatetransform", "set",
}

// libraryPrefixes begin attributes that script libraries run as code.
var libraryPrefixes = []string{":", "@", "v-", "x-", "ng-", "hx-", "[", "(", "*", "#"}

func loadsCode(element string) bool { return slices.Contains(loadingElements, element) }

// attributeKind says what an attribute's value means. Whatever the element, names
// mean the same, as in html/template.
func attributeKind(name string) (slotKind, error) {
	name = lower(name)
	if slices.Contains(lockedAttributes, name) {
		return 0, refuse("a slot cannot stand in the attribute %q, which decides what the element is or does", name)
	}
	short := strings.TrimPrefix(name, "data-")
	for _, prefix := range libraryPrefixes {
		if strings.HasPrefix(short, prefix) {
			return 0, refuse("a slot cannot stand in the attribute %q, which script libraries run as code", name)
		}
	}
	if prefix, rest, ok := strings.Cut(short, ":"); ok && short == name {
		if prefix == "xmlns" {
			return valueURL, nil
		}
		if short = rest; slices.Contains(lockedAttributes, short) {
			return 0, refuse("a slot cannot stand in the attribute %q, which decides what the element is or does", name)
		}
	}
	switch {
	case strings.HasPrefix(short, "on"):
		return valueScript, nil
	case short == "style":
		return valueStyle, nil
	case strings.Contains(short, "srcset"):
		return valueSrcset, nil
	case short == "ping", short == "archive", short == "attributionsrc":
		return valueURLs, nil
	case slices.Contains(urlAttributes, short), strings.Contains(short, "src"), strings.Contains(short, "uri"), strings.Contains(short, "url"):
		return valueURL, nil
	}
	return valuePlain, nil
}

func newSlotValue(element, attr string) (*slotValue, error) {
	kind, err := attributeKind(attr)
	if err != nil {
		return nil, err
	}
	v := &slotValue{kind: kind, loads: loadsCode(element)}
	v.code.language = codeScript
	if kind == valueStyle {
		v.code.language = codeStyle
	}
	return v, nil
}

// slot says how a slot behind more of the value, with its references resolved, is
// escaped.
func (v *slotValue) slot(literal string, s *Slot) (slotEscape, error) {
	switch v.kind {
	case valueStyle, valueScript:
		v.code.feed(literal)
		return v.code.slot()
	case valuePlain:
		return escapeHTML, nil
	}
	if err := v.follow(literal); err != nil {
		return 0, err
	}
	return v.slotInURL(s)
}

// end takes the rest of the value.
func (v *slotValue) end(literal string) error {
	if v.kind == valueURL || v.kind == valueURLs || v.kind == valueSrcset {
		return v.follow(literal)
	}
	return nil
}

// follow takes what stands behind a slot, or at the beginning.
func (v *slotValue) follow(literal string) error {
	// Browsers drop these wherever they stand in an address.
	literal = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(literal)
	separator := ""
	switch v.kind {
	case valueURLs:
		separator = " "
	case valueSrcset:
		separator = ","
	}
	if v.needs != "" && literal != "" {
		if !strings.ContainsAny(literal[:1], v.needs) && (separator == "" || !strings.ContainsAny(literal[:1], ", ")) {
			return refuse("the address begins with a slot; what follows has to begin with one of %q, or the value could change the scheme or host", v.needs)
		}
		v.needs = ""
	}
	if v.slashy && strings.HasPrefix(literal, "/") {
		return refuse(`the slot stands between two "/"; give it a fallback, or an empty value would make the path a host`)
	}
	if literal != "" {
		v.slashy = false
	}
	v.seen += literal
	if separator == "" {
		return nil
	}
	if at := strings.LastIndex(v.seen, separator); at >= 0 && (v.kind != valueSrcset || at+1 == len(v.seen) || isSpace(v.seen[at+1])) {
		v.seen, v.whole = v.seen[at+1:], false
	}
	return nil
}

// slotInURL decides by what stands in front of the slot in its address.
func (v *slotValue) slotInURL(s *Slot) (slotEscape, error) {
	front := strings.ReplaceAll(strings.TrimLeft(v.seen, "\x00\x01\x02\x03\x04\x05\x06\x07\b\t\n\v\f\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f "), `\`, "/")
	if v.kind != valueURL && strings.ContainsAny(front, " \t\n\f\r") {
		return 0, refuse("the slot stands behind an address, where a size is expected")
	}
	v.seen += "x"
	v.slashy = false
	scheme := strings.IndexAny(front, ":/?#")
	if scheme >= 0 && front[scheme] == ':' {
		switch name := lower(front[:scheme]); name {
		case "http", "https":
			front = front[scheme+1:]
			if !strings.HasPrefix(front, "//") {
				return 0, refuse("the slot stands behind %q and could change the host", name+":")
			}
		case "mailto", "tel":
			if !v.loads {
				return escapePart, nil
			}
			return 0, refuse("the slot stands in an address that the element loads; it can stand behind a \"?\" only")
		default:
			return 0, refuse("the slot stands in an address with the scheme %q; it can with http, https, mailto and tel", name)
		}
	}
	if strings.ContainsAny(front, "?#") {
		if strings.HasPrefix(front, "//") && strings.IndexAny(front[2:], "?#/") == 0 {
			return 0, refuse("the address in front of the slot has no host")
		}
		return escapePart, nil
	}
	if v.loads {
		return 0, refuse("the slot stands in an address that the element loads; it can stand behind a \"?\" only")
	}
	v.risk = true
	switch {
	case front == "" && !v.whole:
		v.whole, v.needs = true, "/?#"
		if v.kind == valueSrcset {
			return escapeSrcset, nil
		}
		return escapeURL, nil
	case v.whole:
		return 0, refuse("the slot stands behind another one at the beginning of an address; put a \"?\" between them")
	case strings.HasPrefix(front, "//") && strings.IndexByte(front[2:], '/') <= 0:
		return 0, refuse("the slot stands in the host of an address")
	case strings.IndexByte(front, '/') < 0:
		return 0, refuse("the slot stands where an address may still have its scheme; begin it with \"/\" or https://")
	}
	v.slashy = front == "/" && s.Fallback == ""
	return escapePart, nil
}

// valueSlots compiles the value of set_attribute, with what is known without the
// element.
func valueSlots(name string, parts []slotPart) (*slotted, error) {
	s := &slotted{}
	if len(parts) == 1 {
		return s, nil
	}
	fail := func(at int, err error) error { return &EditError{Field: "value", Column: at, Message: err.Error()} }
	v, err := newSlotValue("", name)
	switch {
	case err != nil:
		return nil, fail(parts[1].at, err)
	case v.kind == valueScript || v.kind == valueStyle:
		return nil, fail(parts[1].at, refuse("the op \"set_attribute\" takes no slots for %q, which is code; insert the element with html, where the slot can stand inside a string", name))
	case foldEqual([]byte(name), "class"):
		return nil, fail(parts[1].at, refuse("the op \"set_attribute\" takes no slots for the class, which other edits change too; set an attribute like data-segment"))
	}
	last := 0
	for i := 0; i < len(parts); i += 2 {
		content := parts[i].content
		if i+1 == len(parts) {
			if err := v.end(content); err != nil {
				return nil, fail(last, err)
			}
			s.add([]byte(content), parts, i, 0, false)
			break
		}
		last = parts[i+1].at
		escape, err := v.slot(content, parts[i+1].slot)
		if err != nil {
			return nil, fail(last, err)
		}
		s.add([]byte(content), parts, i, escape, false)
	}
	s.loads = v.risk
	return s, nil
}
