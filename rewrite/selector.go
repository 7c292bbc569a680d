package rewrite

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// The grammar that is understood, of https://www.w3.org/TR/selectors-4/: type and
// universal selectors, #id, .class, attributes with all operators and the flags i
// and s, :is, :where, :not, :first-child, :first-of-type, :nth-child and
// :nth-of-type; the combinators " ", ">", "+" and "~"; lists.

const (
	maxSelector = 64 << 10 // characters of one selector
	maxNesting  = 16       // :is and :not inside each other
)

// combinator is how a part of a selector relates to the part before it.
type combinator byte

const (
	first      combinator = 0
	descendant combinator = ' '
	child      combinator = '>'
	next       combinator = '+'
	later      combinator = '~'
)

// part is one compound selector of a complex one.
type part struct {
	comb combinator
	comp compound
}

// compound is what is asked of one element; all of it must hold.
type compound struct {
	tag     string // lower case; "" for any
	ids     []string
	classes []string
	attrs   []attrSelector
	nths    []nth
	is      [][]compound
	not     [][]compound
}

// attrSelector is an attribute selector. op is the character before "=", "=" for
// plain equality and 0 where the attribute only has to be there.
type attrSelector struct {
	name  string // lower case
	op    byte
	value string
	fold  bool // compare without regard to ASCII case
}

// nth is :nth-child(an+b), or :nth-of-type(an+b).
type nth struct {
	a, b   int
	ofType bool
}

// holds reports whether the n-th (from 1) is one of those meant.
func (s nth) holds(n int) bool {
	n -= s.b
	if s.a == 0 {
		return n == 0
	}
	return n%s.a == 0 && n/s.a >= 0
}

// parseSelector reads a selector list. Its error is an *EditError.
func parseSelector(text string) ([][]part, error) {
	p := &selectorParser{text: text}
	list, err := p.list()
	if err != nil {
		return nil, err
	}
	return list, nil
}

type selectorParser struct {
	text  string
	pos   int
	depth int
}

func (p *selectorParser) fail(at int, format string, args ...any) error {
	return &EditError{
		Field:   "select",
		Column:  utf8.RuneCountInString(p.text[:min(at, len(p.text))]) + 1,
		Message: fmt.Sprintf(format, args...),
	}
}

// found names what stands at the current position, for messages.
func (p *selectorParser) found() string {
	if p.pos >= len(p.text) {
		return "the end"
	}
	c, _ := utf8.DecodeRuneInString(p.text[p.pos:])
	return fmt.Sprintf("%q", string(c))
}

func (p *selectorParser) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

// space skips white space and comments, and reports whether there was any.
func (p *selectorParser) space() bool {
	start := p.pos
	for p.pos < len(p.text) {
		if isSpace(p.text[p.pos]) {
			p.pos++
			continue
		}
		if !strings.HasPrefix(p.text[p.pos:], "/*") {
			break
		}
		end := strings.Index(p.text[p.pos+2:], "*/")
		if end < 0 {
			break
		}
		p.pos += end + 4
	}
	return p.pos > start
}

func (p *selectorParser) list() ([][]part, error) {
	if len(p.text) > maxSelector {
		return nil, p.fail(0, "the selector is %d characters long; at most %d are read", len(p.text), maxSelector)
	}
	if !utf8.ValidString(p.text) || strings.IndexByte(p.text, 0) >= 0 {
		return nil, p.fail(0, "the selector is not valid UTF-8 text")
	}
	p.space()
	if p.pos == len(p.text) {
		return nil, p.fail(0, "a CSS selector is needed, such as \"h1\" or \"#hero .title\"")
	}
	var list [][]part
	for {
		parts, err := p.complex()
		if err != nil {
			return nil, err
		}
		list = append(list, parts)
		if p.pos == len(p.text) {
			return list, nil
		}
		if p.peek() != ',' {
			return nil, p.fail(p.pos, "found %s where a selector, a combinator or \",\" was expected", p.found())
		}
		p.pos++
		p.space()
	}
}

func (p *selectorParser) complex() ([]part, error) {
	var parts []part
	comb := first
	for {
		comp, err := p.compound()
		if err != nil {
			return nil, err
		}
		parts = append(parts, part{comb, comp})
		gap := p.space()
		switch c := p.peek(); {
		case c == '>' || c == '+' || c == '~':
			if strings.HasPrefix(p.text[p.pos:], "||") {
				return nil, p.fail(p.pos, "the column combinator is not supported")
			}
			comb = combinator(c)
			p.pos++
			p.space()
		case c == 0 || c == ',' || c == ')' || !gap:
			return parts, nil
		default:
			comb = descendant
		}
	}
}

func (p *selectorParser) compound() (compound, error) {
	var c compound
	start := p.pos
	switch b := p.peek(); {
	case b == '*':
		p.pos++
	case b == '|':
		return c, p.namespace()
	case p.identAhead():
		name, err := p.ident("an element name")
		if err != nil {
			return c, err
		}
		c.tag = lower(name)
	}
	if p.peek() == '|' {
		return c, p.namespace()
	}
	for {
		var err error
		switch p.peek() {
		case '#':
			err = p.hash(&c)
		case '.':
			p.pos++
			var name string
			name, err = p.ident("a class name after \".\"")
			c.classes = append(c.classes, name)
		case '[':
			err = p.attribute(&c)
		case ':':
			err = p.pseudo(&c)
		default:
			if p.pos == start {
				return c, p.fail(p.pos, "found %s where a selector was expected: an element name, \"*\", \"#id\", \".class\", \"[attribute]\" or \":pseudo-class\"", p.found())
			}
			return c, nil
		}
		if err != nil {
			return c, err
		}
	}
}

func (p *selectorParser) namespace() error {
	return p.fail(p.pos, "namespaces (\"ns|name\") are not supported; write the name alone")
}

func (p *selectorParser) hash(c *compound) error {
	p.pos++
	name, err := p.ident("an id after \"#\"")
	c.ids = append(c.ids, name)
	return err
}

// identAhead reports whether an identifier starts here.
func (p *selectorParser) identAhead() bool {
	rest := p.text[p.pos:]
	if rest == "" {
		return false
	}
	if rest[0] == '-' && len(rest) > 1 {
		rest = rest[1:]
		if rest[0] == '-' {
			return true
		}
	}
	return isLetter(rest[0]) || rest[0] == '_' || rest[0] >= utf8.RuneSelf || rest[0] == '\\' && len(rest) > 1 && rest[1] != '\n'
}

// ident reads an identifier with its escapes; what names it in messages.
func (p *selectorParser) ident(what string) (string, error) {
	if !p.identAhead() {
		if c := p.peek(); '0' <= c && c <= '9' {
			return "", p.fail(p.pos, "found %s where %s was expected; a name that starts with a digit is written with an escape, as \"\\3%c \"", p.found(), what, c)
		}
		return "", p.fail(p.pos, "found %s where %s was expected", p.found(), what)
	}
	var b strings.Builder
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		switch {
		case isLetter(c) || c >= utf8.RuneSelf || c == '_' || c == '-' || '0' <= c && c <= '9':
			b.WriteByte(c)
			p.pos++
		case c == '\\' && p.pos+1 < len(p.text) && p.text[p.pos+1] != '\n':
			p.pos++
			b.WriteRune(p.escape())
		default:
			return b.String(), nil
		}
	}
	return b.String(), nil
}

// escape reads what follows a backslash.
func (p *selectorParser) escape() rune {
	value, digits := rune(0), 0
	for digits < 6 && p.pos < len(p.text) {
		d := strings.IndexByte("0123456789abcdef", lowerByte(p.text[p.pos]))
		if d < 0 {
			break
		}
		value = value<<4 | rune(d)
		digits++
		p.pos++
	}
	if digits == 0 {
		c, size := utf8.DecodeRuneInString(p.text[p.pos:])
		p.pos += size
		return c
	}
	if p.pos < len(p.text) && isSpace(p.text[p.pos]) {
		p.pos++
	}
	if value == 0 || !utf8.ValidRune(value) {
		return utf8.RuneError
	}
	return value
}

func (p *selectorParser) attribute(c *compound) error {
	open := p.pos
	p.pos++
	p.space()
	if b := p.peek(); b == '|' || b == '*' {
		return p.namespace()
	}
	name, err := p.ident("an attribute name")
	if err != nil {
		return err
	}
	if rest := p.text[p.pos:]; strings.HasPrefix(rest, "|") && !strings.HasPrefix(rest, "|=") {
		return p.namespace()
	}
	sel := attrSelector{name: lower(name)}
	sel.fold = foldedValues[sel.name]
	p.space()
	if p.peek() == ']' {
		p.pos++
		c.attrs = append(c.attrs, sel)
		return nil
	}
	switch b := p.peek(); b {
	case '=':
		sel.op = b
		p.pos++
	case '~', '|', '^', '$', '*':
		if !strings.HasPrefix(p.text[p.pos+1:], "=") {
			p.pos++
			return p.fail(p.pos, "found %s where \"=\" was expected after %q", p.found(), string(b))
		}
		sel.op = b
		p.pos += 2
	case 0:
		return p.fail(open, "the \"[\" is not closed; \"]\" was expected")
	default:
		return p.fail(p.pos, "found %s where \"]\", \"=\", \"~=\", \"|=\", \"^=\", \"$=\" or \"*=\" was expected", p.found())
	}
	p.space()
	if sel.value, err = p.value(); err != nil {
		return err
	}
	return p.attributeEnd(c, sel, open)
}

func (p *selectorParser) attributeEnd(c *compound, sel attrSelector, open int) error {
	p.space()
	switch lowerByte(p.peek()) {
	case 'i':
		sel.fold = true
		p.pos++
		p.space()
	case 's':
		sel.fold = false
		p.pos++
		p.space()
	}
	if p.pos == len(p.text) {
		return p.fail(open, "the \"[\" is not closed; \"]\" was expected")
	}
	if p.peek() != ']' {
		return p.fail(p.pos, "found %s where \"]\" was expected", p.found())
	}
	p.pos++
	c.attrs = append(c.attrs, sel)
	return nil
}

// value reads an attribute value: a name or a quoted string.
func (p *selectorParser) value() (string, error) {
	quote := p.peek()
	if quote != '"' && quote != '\'' {
		return p.ident("a value, as a name or in quotes,")
	}
	open := p.pos
	p.pos++
	var b strings.Builder
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		p.pos++
		switch {
		case c == quote:
			return b.String(), nil
		case c == '\n':
			return "", p.fail(open, "the string is not closed on its line; %q was expected", string(quote))
		case c != '\\':
			b.WriteByte(c)
		case p.pos < len(p.text) && p.text[p.pos] == '\n':
			p.pos++
		case p.pos < len(p.text):
			b.WriteRune(p.escape())
		}
	}
	return "", p.fail(open, "the string is not closed; %q was expected", string(quote))
}

// foldedValues holds the attributes whose values compare without regard to case
// in HTML (https://html.spec.whatwg.org/#case-sensitivity-of-selectors).
var foldedValues = func() map[string]bool {
	names := make(map[string]bool)
	for name := range strings.FieldsSeq(`accept accept-charset align alink axis bgcolor
		charset checked clear codetype color compact declare defer dir direction disabled
		enctype face frame hreflang http-equiv lang language link media method multiple
		nohref noresize noshade nowrap readonly rel rev rules scope scrolling selected
		shape target text type valign valuetype vlink`) {
		names[name] = true
	}
	return names
}()
