package rewrite

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sedge-proxy/sedge/decision"
)

// Slot is a place in the content of an edit that is filled for each visitor.
type Slot struct {
	Kind SlotKind

	// Name is the trait's, the attribute's or the offered value's; "" for the segment.
	Name string

	// Fallback stands where there is no value, or an empty one.
	Fallback string

	// Edit is the edit with whose answer the value of an offer came: an index into the
	// list given to [Compile]. Other kinds have 0, since their values are the same in
	// every edit.
	Edit int
}

// of returns the slot as one of an edit: what is offered is each edit's own.
func (s Slot) of(edit int32) Slot {
	if s.Kind == SlotOffer {
		s.Edit = int(edit)
	}
	return s
}

// SlotKind says where the value of a slot comes from.
type SlotKind byte

// The kinds of slots.
const (
	SlotTrait     SlotKind = iota + 1 // {{trait "name" "fallback"}}: what identify said of the visitor
	SlotAttribute                     // {{attribute "name" "fallback"}}: of the request
	SlotSegment                       // {{segment "fallback"}}: the primary segment's name
	SlotOffer                         // {{offer "name" "fallback"}}: of the answer that the edit belongs to
)

// MaxSlotValue is the most that is taken of a slot's value, in bytes.
const MaxSlotValue = 512

const (
	maxSlots    = 64  // in one edit
	maxSlotName = 128 // bytes

	slotKinds = `there are {{trait "name" "fallback"}}, {{attribute "name" "fallback"}} and {{segment "fallback"}}, in the edits of a plugin {{offer "name" "fallback"}} too; {{"{{"}} writes a literal "{{"`
)

// slotPart is content as written, or a slot.
type slotPart struct {
	content string
	slot    *Slot
	at      int // column in the field, in characters from 1
}

// parseSlots takes content apart; nil when there is no "{{" in it. The error is an
// *[EditError].
func parseSlots(field, s string) ([]slotPart, error) {
	first := strings.Index(s, "{{")
	if first < 0 {
		return nil, nil
	}
	var parts []slotPart
	var literal strings.Builder
	slots := 0
	for i := 0; i < len(s); {
		next := strings.Index(s[i:], "{{")
		if next < 0 {
			literal.WriteString(s[i:])
			break
		}
		literal.WriteString(s[i : i+next])
		i += next
		p := slotParser{field: field, s: s, i: i + len("{{")}
		slot, err := p.parse(i)
		if err != nil {
			return nil, err
		}
		if slot == nil {
			literal.WriteString("{{")
		} else {
			if slots++; slots > maxSlots {
				return nil, p.errorAt(i, "the content has more than %d slots", maxSlots)
			}
			parts = append(parts, slotPart{content: literal.String()}, slotPart{slot: slot, at: p.column(i)})
			literal.Reset()
		}
		i = p.i
	}
	return append(parts, slotPart{content: literal.String()}), nil
}

// slotParser reads one slot.
type slotParser struct {
	field, s string
	i        int
}

func (p *slotParser) column(at int) int { return utf8.RuneCountInString(p.s[:at]) + 1 }

func (p *slotParser) errorAt(at int, format string, args ...any) error {
	return &EditError{Field: p.field, Column: p.column(at), Message: fmt.Sprintf(format, args...)}
}

func (p *slotParser) space() {
	for p.i < len(p.s) && isSpace(p.s[p.i]) {
		p.i++
	}
}

// parse reads what follows "{{" at start, up to "}}". No slot and no error stand
// for a literal "{{".
func (p *slotParser) parse(start int) (*Slot, error) {
	p.space()
	from := p.i
	for p.i < len(p.s) && (isLetter(p.s[p.i]) || p.s[p.i] == '_') {
		p.i++
	}
	word := p.s[from:p.i]
	args, err := p.arguments(start)
	if err != nil {
		return nil, err
	}
	switch word {
	case "":
		if len(args) == 1 && args[0] == "{{" {
			return nil, nil
		}
	case "trait":
		return p.named(start, SlotTrait, word, args)
	case "attribute":
		return p.named(start, SlotAttribute, word, args)
	case "offer":
		return p.named(start, SlotOffer, word, args)
	case "segment":
		if len(args) > 1 {
			return nil, p.errorAt(start, `{{segment}} has %d values; expected at most one, what stands where there is none: {{segment "fallback"}}`, len(args))
		}
		slot := &Slot{Kind: SlotSegment}
		if len(args) == 1 {
			slot.Fallback = args[0]
		}
		return slot, p.checkFallback(start, slot)
	}
	return nil, p.errorAt(start, "found {{%s …}}, which is no slot; %s", word, slotKinds)
}

// named makes a slot of a name and perhaps a fallback.
func (p *slotParser) named(start int, kind SlotKind, word string, args []string) (*Slot, error) {
	if len(args) == 0 || len(args) > 2 {
		return nil, p.errorAt(start, `{{%s}} has %d values; expected the name and, if wanted, what stands where there is none: {{%s "name" "fallback"}}`, word, len(args), word)
	}
	slot := &Slot{Kind: kind, Name: args[0]}
	if slot.Name == "" || len(slot.Name) > maxSlotName {
		return nil, p.errorAt(start, "the name in {{%s}} is %d bytes long; expected 1 to %d", word, len(slot.Name), maxSlotName)
	}
	if len(args) == 2 {
		slot.Fallback = args[1]
	}
	return slot, p.checkFallback(start, slot)
}

func (p *slotParser) checkFallback(start int, slot *Slot) error {
	if len(slot.Fallback) > MaxSlotValue {
		return p.errorAt(start, "the fallback is %d bytes long; at most %d are taken", len(slot.Fallback), MaxSlotValue)
	}
	return nil
}

// arguments reads quoted strings up to "}}".
func (p *slotParser) arguments(start int) (args []string, err error) {
	for {
		p.space()
		switch {
		case strings.HasPrefix(p.s[p.i:], "}}"):
			p.i += len("}}")
			return args, nil
		case p.i == len(p.s) || len(args) > 2:
			return nil, p.errorAt(start, `the "{{" is not closed by "}}"; %s`, slotKinds)
		case p.s[p.i] == '"' || p.s[p.i] == '\'':
			arg, err := p.quoted()
			if err != nil {
				return nil, err
			}
			args = append(args, arg)
		default:
			return nil, p.errorAt(p.i, `found %q in a slot, where a quoted value or "}}" was expected; %s`, firstChar(p.s[p.i:]), slotKinds)
		}
	}
}

func firstChar(s string) string {
	_, size := utf8.DecodeRuneInString(s)
	return s[:size]
}

// quoted reads a value in double or single quotes; "\" takes the next character
// as it is.
func (p *slotParser) quoted() (string, error) {
	start, quote := p.i, p.s[p.i]
	var value []byte
	for p.i++; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case c == quote:
			p.i++
			return string(value), nil
		case c == '\\' && p.i+1 < len(p.s):
			p.i++
			value = append(value, p.s[p.i])
		default:
			value = append(value, c)
		}
	}
	return "", p.errorAt(start, "the value's quote is not closed")
}

// withoutSlots returns content that may have literal "{{" but no slots.
func withoutSlots(field string, e *decision.Edit, s string) (string, error) {
	parts, err := parseSlots(field, s)
	if err != nil || parts == nil {
		return s, err
	}
	if len(parts) > 1 {
		hint := ""
		if e.Op == decision.OpAddClass || e.Op == decision.OpRemoveClass {
			hint = `; use set_attribute on an attribute like data-segment`
		}
		return "", &EditError{Field: field, Column: parts[1].at, Message: fmt.Sprintf("the op %q takes no slots%s", e.Op, hint)}
	}
	return parts[0].content, nil
}

// slotPiece is a part of an edit's content with slots: what stands before a slot, and
// the slot.
type slotPiece struct {
	utf8   []byte // for pages in UTF-8; unescaped for set_attribute
	ascii  []byte // the same with character references
	slot   Slot
	number int32 // of the slot in the program; -1 when no slot follows
	escape slotEscape
	at     int   // column
	first  bool  // nothing was written before it
	nonce  int32 // the number of the need whose nonce follows, + 1; 0 when none does
}

// slotted is content with slots.
type slotted struct {
	pieces []slotPiece
	bare   bool // it has no markup, so it may stand in a title or textarea
	loads  bool // an address that an element must not load code from
}

// compileSlots compiles the content of an edit. The content is nil if it has no
// slots; the edit comes back with literal "{{" resolved. The error is an
// *[EditError].
func compileSlots(e decision.Edit) (decision.Edit, *slotted, error) {
	fields := [...]struct {
		name    string
		content *string
		slots   bool
	}{
		{"text", &e.Text, e.Op != decision.OpReplaceText},
		{"html", &e.HTML, e.Op != decision.OpReplaceText},
		{"value", &e.Value, e.Op == decision.OpSetAttribute},
	}
	var found *slotted
	for _, f := range fields {
		if !f.slots {
			plain, err := withoutSlots(f.name, &e, *f.content)
			if err != nil {
				return e, nil, err
			}
			*f.content = plain
			continue
		}
		parts, err := parseSlots(f.name, *f.content)
		if err != nil {
			return e, nil, err
		}
		if parts == nil {
			continue
		}
		var s *slotted
		switch f.name {
		case "text":
			s = textSlots(parts)
		case "html":
			s, err = htmlSlots(parts)
		default:
			s, err = valueSlots(e.Name, parts)
		}
		if err != nil {
			return e, nil, err
		}
		*f.content = sample(parts)
		if len(parts) > 1 {
			found = s
		}
	}
	return e, found, nil
}

// sample returns content with something harmless in its slots.
func sample(parts []slotPart) string {
	var b strings.Builder
	for _, p := range parts {
		if p.slot != nil {
			b.WriteByte('x')
		}
		b.WriteString(p.content)
	}
	return b.String()
}

// textSlots compiles content that is given as text.
func textSlots(parts []slotPart) *slotted {
	s := &slotted{bare: true}
	first := true
	for i := 0; i < len(parts); i += 2 {
		content := appendEscapedText(nil, parts[i].content)
		first = first && len(content) == 0
		s.add(content, parts, i, escapeHTML, first)
	}
	return s
}

// add takes content and the slot behind parts[i].
func (s *slotted) add(content []byte, parts []slotPart, i int, escape slotEscape, first bool) {
	p := slotPiece{utf8: content, ascii: content, number: -1, first: first}
	if !isASCII(content) {
		p.ascii = appendReferences(nil, string(content))
	}
	if i+1 < len(parts) {
		p.slot, p.number, p.escape, p.at = *parts[i+1].slot, 0, escape, parts[i+1].at
	}
	s.pieces = append(s.pieces, p)
}

// CheckSlots reports like [Check] whether an edit could run, and asks known about
// each of its slots; what that says is wrong comes back with the slot's place.
func CheckSlots(e decision.Edit, known func(Slot) error) error {
	if e.Kind() != decision.BodyHTML {
		return checkBodyEdit(e, known)
	}
	if err := checkPageEdit(&e); err != nil {
		return err
	}
	if _, err := parseSelector(e.Select); err != nil {
		return err
	}
	resolved, s, err := checkFields(e)
	if err != nil || s == nil {
		return err
	}
	field := "html"
	switch {
	case resolved.Text != "":
		field = "text"
	case resolved.Op == decision.OpSetAttribute:
		field = "value"
	}
	for i := range s.pieces {
		if p := &s.pieces[i]; p.number >= 0 {
			if err := known(p.slot); err != nil {
				return &EditError{Field: field, Column: p.at, Message: err.Error()}
			}
		}
	}
	return nil
}

// RefuseOffers is what [CheckSlots] asks about the slots of an edit that stands in a
// configuration: it belongs to no plugin's answer, so nothing is offered to it.
func RefuseOffers(s Slot) error {
	if s.Kind != SlotOffer {
		return nil
	}
	return refuse("the slot {{offer %q}} is filled from the answer of a plugin, and an edit of the configuration has no plugin that offers anything; use {{trait}}, {{attribute}} or {{segment}}, or the setting html of the plugin offers", s.Name)
}
