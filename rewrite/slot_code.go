package rewrite

import "strings"

// codeLanguage is what a codeWalk walks over.
type codeLanguage byte

const (
	codeScript codeLanguage = iota
	codeJSON
	codeStyle
)

// codeWalk walks over code as far as to know whether it stands inside a string.
// Where that takes more than a look at the code's characters, it is lost, and says
// so: slots are refused from there on.
type codeWalk struct {
	language codeLanguage
	quote    byte   // of the string it stands in
	line     bool   // in a comment up to the line's end
	block    bool   // in a comment up to "*/"
	escape   int    // characters that the escape in a string still takes
	skipLF   bool   // a "\" and carriage return may have a line feed behind them
	lost     string // what it is lost behind
	last     byte   // the character before, but for spaces
	depth    int    // open parentheses of a style
	rule     bool   // in an at-rule of a style, before its block
}

func (w *codeWalk) feed(s string) {
	for i := 0; i < len(s) && w.lost == ""; i++ {
		c := s[i]
		switch {
		case w.line:
			if c == '\n' || c == '\r' || strings.HasPrefix(s[i:], "\u2028") || strings.HasPrefix(s[i:], "\u2029") {
				w.line = false
			}
		case w.block:
			if strings.HasPrefix(s[i:], "*/") {
				w.block = false
				i++
			}
		case w.quote != 0:
			w.inString(c)
		case w.language == codeStyle:
			i += w.inStyle(s[i:])
		default:
			i += w.inScript(s[i:])
		}
	}
}

// inString takes a character of a string.
func (w *codeWalk) inString(c byte) {
	skipLF := w.skipLF
	w.skipLF = false
	switch {
	case skipLF && c == '\n':
	case w.escape > 0:
		w.inEscape(c)
	case c == '\\':
		w.escape = 7
	case c == w.quote:
		w.quote, w.last = 0, c
	case c == '\n' || c == '\r' || c == '\f' && w.language == codeStyle:
		w.lost = "a string that is not closed on its line"
	}
}

// inEscape takes a character behind a "\": of 7 characters the first says how many
// there really are.
func (w *codeWalk) inEscape(c byte) {
	switch first := w.escape == 7; {
	case w.language == codeStyle:
		if w.escape--; w.escape == 1 { // six digits
			w.escape = 0
		}
		if !isHexDigit(c) {
			w.escape = 0
			if !first && c == w.quote {
				w.quote, w.last = 0, c
			} else if !first && c == '\\' {
				w.escape = 7
			}
		}
		w.skipLF = c == '\r'
	case !first:
		w.escape--
		if !isHexDigit(c) {
			w.lost = "an escape that is not complete"
		}
	case c == 'x':
		w.escape = 2
	case c == 'u':
		w.escape = 4
	case isDigit(c):
		w.lost = "an octal escape"
	default:
		w.escape = 0
		w.skipLF = c == '\r'
	}
}

// inScript takes what stands outside of strings and returns how many characters
// more than one it took.
func (w *codeWalk) inScript(s string) int {
	switch c := s[0]; {
	case c == '"', c == '\'' && w.language == codeScript:
		w.quote = c
	case c == '`':
		w.lost = "a template literal"
	case strings.HasPrefix(s, "//") && w.language == codeScript:
		w.line = true
		return 1
	case strings.HasPrefix(s, "/*") && w.language == codeScript:
		w.block = true
		return 1
	case c == '/':
		w.lost = "a \"/\" that may be a division or begin a regular expression"
	case strings.HasPrefix(s, "<!--"), strings.HasPrefix(s, "-->"):
		w.lost = "an HTML comment in a script"
	case c == '\'':
		w.lost = "a \"'\", which JSON does not know"
	}
	return 0
}

// inStyle likewise.
func (w *codeWalk) inStyle(s string) int {
	c := s[0]
	switch {
	case c == '"' || c == '\'':
		if w.depth > 0 && w.last != '(' && w.last != ',' {
			w.lost = "a quote inside parentheses"
			return 0
		}
		w.quote = c
	case strings.HasPrefix(s, "/*"):
		w.block = true
		return 1
	case c == '\\':
		w.lost = "a \"\\\" outside of a string"
	case c == '(':
		w.depth++
	case c == ')':
		if w.depth--; w.depth < 0 {
			w.depth, w.lost = 0, "a \")\" without a \"(\""
		}
	case c == '@':
		w.rule = true
	case c == ';' || c == '{' || c == '}':
		w.rule = w.rule && w.depth > 0
	}
	if !isSpace(c) {
		w.last = c
	}
	return 0
}

// slot says how a slot is escaped where the walk stands.
func (w *codeWalk) slot() (slotEscape, error) {
	switch {
	case w.lost != "":
		return 0, refuse("the slot stands behind %s; put it in front, into code of its own", w.lost)
	case w.quote == 0 && w.language == codeStyle:
		return 0, refuse("the slot stands in a style outside of a string; put it into quotes, or use an attribute and select by that")
	case w.quote == 0:
		return 0, refuse("the slot stands in code outside of a string; put it into quotes, as in \"{{trait 'first_name'}}\"")
	case w.escape > 0:
		return 0, refuse("the slot stands behind an escape that is not complete")
	case w.depth > 0 || w.rule:
		return 0, refuse("the slot stands in a string of a style that may be an address")
	}
	if w.language == codeStyle {
		return escapeStyle, nil
	}
	return escapeScript, nil
}
