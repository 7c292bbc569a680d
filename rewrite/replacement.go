package rewrite

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sedge-proxy/sedge/decision"
)

// replacement is what replace_text does with the text that it finds.
type replacement struct {
	re        *regexp.Regexp
	literal   []byte // the pattern, if it is plain text
	unbounded bool   // the pattern can match text of any length
	parts     []replacementPart
	isHTML    bool
}

// replacementPart is content as written, or a group of the pattern.
type replacementPart struct {
	content string
	group   int   // -1 for content
	nonce   int32 // the number of the need whose nonce follows, + 1; 0 when none does

	// Of a group in HTML: how it is written, in an attribute's value and among
	// elements, and its column.
	escape  slotEscape
	inValue bool
	at      int
}

const maxPattern = 1 << 10 // characters of a pattern

func checkReplacement(e decision.Edit) error {
	if e.Text != "" && e.HTML != "" {
		return fieldError("html", "both text and html are filled; the op %q takes one of them", e.Op)
	}
	if err := checkText("text", e.Text); err != nil {
		return err
	}
	if err := checkText("html", e.HTML); err != nil {
		return err
	}
	if err := checkMarkup(e.HTML); err != nil {
		return err
	}
	if err := unused(e, "name", "value"); err != nil {
		return err
	}
	_, err := compileReplacement(&e)
	return err
}

// compileReplacement reads the pattern and the replacement of an edit. The error
// is an *[EditError].
func compileReplacement(e *decision.Edit) (*replacement, error) {
	re, err := compilePattern(e)
	if err != nil {
		return nil, err
	}
	x := &replacement{re: re, isHTML: e.HTML != ""}
	if literal, complete := re.LiteralPrefix(); complete {
		x.literal = []byte(literal)
	}
	tree, err := syntax.Parse(e.Pattern, syntax.Perl)
	if err != nil {
		return nil, patternError(e.Pattern, err)
	}
	x.unbounded = isUnbounded(tree)
	field, content := "text", e.Text
	if x.isHTML {
		field, content = "html", e.HTML
	}
	if x.parts, err = parseReplacement(re, field, content); err != nil {
		return nil, err
	}
	if x.isHTML {
		if err := placeGroups(x.parts); err != nil {
			return nil, err
		}
	}
	return x, nil
}

const errGroupInCode = slotRefusal("the group stands in code, or in the address of code; it is text of the page, which anybody may have written")

// placeGroups says how groups are escaped where they stand in HTML. They are text of
// the page, which anybody may have written, and so they may stand where slots may,
// but in no code.
func placeGroups(parts []replacementPart) error {
	w := slotWalker{empty: true}
	fail := func(err error) error { return &EditError{Field: "html", Column: w.at, Message: err.Error()} }
	for i := range parts {
		p := &parts[i]
		if p.group < 0 {
			if err := w.feed(p.content); err != nil {
				return fail(err)
			}
			continue
		}
		w.at = p.at
		escape, err := w.slot(&Slot{})
		switch {
		case err == nil && (escape == escapeScript || escape == escapeStyle || w.risk), err != nil && strings.Contains(err.Error(), "stands in code"):
			return fail(errGroupInCode)
		case err != nil:
			return fail(slotRefusal(strings.NewReplacer("a slot", "a group", "the slot", "the group").Replace(err.Error())))
		case w.bare:
			return fail(refuse("the group stands in an attribute value without quotes; put the value in quotes"))
		}
		p.escape, p.inValue = escape, w.value != nil
	}
	if w.value != nil {
		return fail(refuse("the group stands in an attribute value that is not closed"))
	}
	if w.risk {
		return fail(errGroupInCode)
	}
	return nil
}

func compilePattern(e *decision.Edit) (*regexp.Regexp, error) {
	if e.Pattern == "" {
		return nil, fieldError("pattern", "the op %q needs a pattern, the regular expression of the text to replace", e.Op)
	}
	if len(e.Pattern) > maxPattern {
		return nil, fieldError("pattern", "the pattern is %d characters long; at most %d are read", len(e.Pattern), maxPattern)
	}
	re, err := regexp.Compile(e.Pattern)
	if err != nil {
		return nil, patternError(e.Pattern, err)
	}
	if re.MatchString("") {
		return nil, fieldError("pattern", "the pattern matches the empty text, so it would match everywhere; write + in the place of *, or add what must be there")
	}
	return re, nil
}

// patternError says where a pattern is wrong.
func patternError(pattern string, err error) error {
	wrong := &EditError{Field: "pattern", Message: err.Error()}
	var se *syntax.Error
	if !errors.As(err, &se) {
		return wrong
	}
	wrong.Message = fmt.Sprintf("found a mistake in the regular expression: %s: %s (see https://github.com/google/re2/wiki/Syntax)", se.Code, se.Expr)
	if at := strings.Index(pattern, se.Expr); at >= 0 {
		wrong.Column = utf8.RuneCountInString(pattern[:at]) + 1
	}
	return wrong
}

// isUnbounded reports whether a pattern can match text of any length.
func isUnbounded(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpStar, syntax.OpPlus:
		return true
	case syntax.OpRepeat:
		if re.Max < 0 {
			return true
		}
	}
	for _, sub := range re.Sub {
		if isUnbounded(sub) {
			return true
		}
	}
	return false
}

// parseReplacement reads content in which $1 and ${name} stand for groups and $$
// for a dollar sign. A dollar sign in front of anything else is itself.
func parseReplacement(re *regexp.Regexp, field, content string) ([]replacementPart, error) {
	var parts []replacementPart
	var plain strings.Builder
	flush := func() {
		if plain.Len() > 0 {
			parts = append(parts, replacementPart{content: plain.String(), group: -1})
			plain.Reset()
		}
	}
	for i := 0; i < len(content); {
		name, size := groupName(content[i:])
		switch {
		case content[i] != '$' || size == 0:
			plain.WriteByte(content[i])
			i++
			continue
		case name == "$":
			plain.WriteByte('$')
			i += size
			continue
		}
		group := re.SubexpIndex(name)
		if n, err := strconv.Atoi(name); err == nil && n <= re.NumSubexp() {
			group = n
		}
		if group < 0 {
			return nil, &EditError{
				Field:   field,
				Column:  utf8.RuneCountInString(content[:i]) + 1,
				Message: fmt.Sprintf("found %s, but the pattern has no group %q; for a dollar sign write $$", content[i:i+size], name),
			}
		}
		flush()
		parts = append(parts, replacementPart{group: group, at: utf8.RuneCountInString(content[:i]) + 1})
		i += size
	}
	flush()
	return parts, nil
}

// groupName reads "$1", "${name}" or "$$" at the start of s, and how long it is; 0
// if it is none of them.
func groupName(s string) (name string, size int) {
	if len(s) < 2 || s[0] != '$' {
		return "", 0
	}
	switch c := s[1]; {
	case c == '$':
		return "$", 2
	case c == '{':
		if end := strings.IndexByte(s, '}'); end > 2 {
			return s[2:end], end + 1
		}
	case '0' <= c && c <= '9':
		end := 2
		for end < len(s) && end < 4 && '0' <= s[end] && s[end] <= '9' {
			end++
		}
		return s[1:end], end
	}
	return "", 0
}

// appendReplacement appends what stands in the place of a match. What groups
// matched is text of the page and is escaped.
func (r *Rewriter) appendReplacement(dst []byte, x *replacement, text []byte, groups []int) []byte {
	for i := range x.parts {
		p := &x.parts[i]
		switch {
		case p.group < 0 && x.isHTML:
			dst = r.appendNonce(r.appendMarkup(dst, p.content), p.nonce)
		case p.group < 0:
			dst = r.appendText(dst, p.content)
		case groups == nil: // plain text has only group 0
			dst = r.appendGroup(dst, p, x.literal)
		case groups[2*p.group] >= 0:
			dst = r.appendGroup(dst, p, text[groups[2*p.group]:groups[2*p.group+1]])
		}
	}
	return dst
}

// appendGroup appends what a group matched.
func (r *Rewriter) appendGroup(dst []byte, p *replacementPart, text []byte) []byte {
	if !p.inValue {
		return r.appendPageText(dst, text)
	}
	return appendSlot(dst, p.escape, strings.ToValidUTF8(string(text), "\uFFFD"), r.encoding == EncodingUTF8, false)
}
