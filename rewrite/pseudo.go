package rewrite

import (
	"strconv"
	"strings"
)

// refusal says why a stream of HTML cannot tell whether a pseudo-class holds.
func refusal(name string) string {
	switch name {
	case "last-child", "last-of-type", "nth-last-child", "nth-last-of-type", "only-child", "only-of-type":
		return "the page is edited while it passes, and the siblings that follow are not known yet; use :first-child, :nth-child(…), :nth-of-type(…) or a class"
	case "root":
		return "write html, the root of every HTML page"
	case "has", "empty", "blank":
		return "the page is edited while it passes, and the element's content is not known yet; select it by an id, class or attribute"
	case "link", "visited", "any-link", "local-link", "hover", "active", "focus", "focus-within", "focus-visible",
		"target", "target-within", "checked", "indeterminate", "default", "disabled", "enabled", "read-only",
		"read-write", "required", "optional", "valid", "invalid", "in-range", "out-of-range", "placeholder-shown",
		"user-invalid", "user-valid", "autofill", "fullscreen", "modal", "open", "popover-open", "playing", "paused", "defined":
		return "it is a state in the browser, not in the page; use an attribute selector such as [href] or [disabled]"
	case "lang", "dir", "scope", "host", "state":
		return "it is not supported; use an attribute selector such as [lang|=en]"
	case "before", "after", "first-line", "first-letter", "selection", "placeholder", "marker", "backdrop":
		return "a pseudo-element is no element of the page; to insert content use the op before, after, prepend or append"
	}
	return ""
}

// pseudo reads a pseudo-class; those that a stream cannot know are refused.
func (p *selectorParser) pseudo(c *compound) error {
	at := p.pos
	p.pos++
	if p.peek() == ':' {
		p.pos++
		name, _ := p.ident("a name")
		return p.fail(at, "\"::%s\" cannot be used: %s", name, refusal("before"))
	}
	name, err := p.ident("a pseudo-class after \":\"")
	if err != nil {
		return err
	}
	name = lower(name)
	if reason := refusal(name); reason != "" {
		return p.fail(at, "\":%s\" cannot be used: %s", name, reason)
	}
	function := p.peek() == '('
	switch name {
	case "first-child", "first-of-type":
		if function {
			return p.fail(p.pos, "\":%s\" takes no argument", name)
		}
		c.nths = append(c.nths, nth{0, 1, name == "first-of-type"})
		return nil
	case "nth-child", "nth-of-type", "is", "where", "matches", "not":
		if !function {
			return p.fail(p.pos, "found %s where \"(\" was expected after \":%s\"", p.found(), name)
		}
	default:
		return p.fail(at, "\":%s\" is not known; the pseudo-classes are :is, :not, :first-child, :first-of-type, :nth-child and :nth-of-type", name)
	}
	p.pos++
	if strings.HasPrefix(name, "nth") {
		return p.nth(c, name, at)
	}
	list, err := p.nested(name, at)
	if err != nil {
		return err
	}
	if name == "not" {
		c.not = append(c.not, list)
	} else {
		c.is = append(c.is, list)
	}
	return nil
}

// nested reads the list of compound selectors inside :is or :not.
func (p *selectorParser) nested(name string, at int) ([]compound, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, p.fail(at, "more than %d of :is and :not are nested", maxNesting)
	}
	defer func() { p.depth-- }()
	p.space()
	var list []compound
	for {
		start := p.pos
		parts, err := p.complex()
		if err != nil {
			return nil, err
		}
		if len(parts) > 1 {
			return nil, p.fail(start, "inside \":%s(…)\" only selectors of one element are supported, without combinators", name)
		}
		list = append(list, parts[0].comp)
		switch p.peek() {
		case ',':
			p.pos++
			p.space()
		case ')':
			p.pos++
			return list, nil
		case 0:
			return nil, p.fail(at, "\":%s(\" is not closed; \")\" was expected", name)
		default:
			return nil, p.fail(p.pos, "found %s where \",\" or \")\" was expected", p.found())
		}
	}
}

// nth reads the argument of :nth-child and :nth-of-type: odd, even, 3, 2n+1, …
func (p *selectorParser) nth(c *compound, name string, at int) error {
	start := p.pos
	end := strings.IndexByte(p.text[p.pos:], ')')
	if end < 0 {
		return p.fail(at, "\":%s(\" is not closed; \")\" was expected", name)
	}
	argument := lower(strings.TrimSpace(p.text[start : start+end]))
	if before, _, ok := strings.Cut(argument, " of "); ok && before != "" {
		return p.fail(start, "\":%s(… of …)\" is not supported", name)
	}
	a, b, ok := parseNth(argument)
	if !ok {
		return p.fail(start, "found %q where odd, even, a number or a formula such as \"2n+1\" was expected", argument)
	}
	p.pos += end + 1
	c.nths = append(c.nths, nth{a, b, name == "nth-of-type"})
	return nil
}

// parseNth reads the An+B notation of https://www.w3.org/TR/css-syntax-3/#anb.
func parseNth(s string) (a, b int, ok bool) {
	switch s {
	case "odd":
		return 2, 1, true
	case "even":
		return 2, 0, true
	}
	step, rest, formula := strings.Cut(s, "n")
	if !formula {
		b, ok = parseInteger(s)
		return 0, b, ok
	}
	switch step {
	case "", "+":
		a = 1
	case "-":
		a = -1
	default:
		if a, ok = parseInteger(step); !ok {
			return 0, 0, false
		}
	}
	rest = strings.TrimSpace(rest)
	if rest == "" {
		return a, 0, true
	}
	sign, digits := rest[0], strings.TrimLeft(rest[1:], " \t\r\n\f")
	if sign != '+' && sign != '-' || digits == "" || digits[0] < '0' || digits[0] > '9' {
		return 0, 0, false
	}
	b, ok = parseInteger(string(sign) + digits)
	return a, b, ok
}

// parseInteger reads an integer of at most nine digits.
func parseInteger(s string) (int, bool) {
	if len(s) > 10 {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}
