package rewrite

import "bytes"

// mode is the kind of text that is being read between tags.
type mode byte

const (
	inText mode = iota
	inComment
	inBogus  // a bogus comment, up to ">"
	inCDATA  // a CDATA section in foreign content
	inRaw    // title, style and the like: up to their end tag
	inScript // a script, with its escaped states
	inPlain  // after <plaintext>: up to the end of the page
)

// kind is what is being read after a "<" as long as it may become a tag. Its
// bytes are held back until that is decided.
type kind byte

const (
	kindOpen       kind = iota // after "<"
	kindEndOpen                // after "</"
	kindDecl                   // after "<!"
	kindDoctype                // in a doctype
	kindTag                    // in a start tag
	kindEndTag                 // in an end tag
	kindRawOpen                // after "<" in raw text
	kindRawName                // after "</" in raw text
	kindScriptBang             // after "<!" in a script
	kindScriptWord             // after "<" and a letter in an escaped script
)

// outcome is what became of a "<".
type outcome byte

const (
	undecided outcome = iota
	literal           // no tag: the bytes are text or belong to a comment
	startTag
	endTag
	doctype
)

// The states of a comment
// (https://html.spec.whatwg.org/multipage/parsing.html#comment-start-state).
const (
	commentStart byte = iota
	commentStartDash
	commentText
	commentDash
	commentEnd
	commentBang
)

// The states of a script.
const (
	scriptPlain byte = iota
	scriptEscaped
	scriptDouble
)

// scanner holds where the scan stands within the current mode and token.
type scanner struct {
	mode  mode
	kind  kind
	state byte   // of a comment or script
	dash  int    // "-" in a row in an escaped script, "]" in a row in CDATA
	want  string // what kindDecl and kindScriptBang still have to see
	n     int    // bytes of want or of the raw element's name seen
	raw   string // name of the raw text element that is open
	tagScanner
}

// passText returns the index of the next "<" that may begin a tag at or after i, or
// of the end of the text that the mode is about. started tells which.
func (r *Rewriter) passText(data []byte, i int) (at int, started bool) {
	s := &r.scan
	switch s.mode {
	case inText, inRaw:
		n := bytes.IndexByte(data[i:], '<')
		if n < 0 {
			return len(data), false
		}
		return i + n, true
	case inScript:
		if s.state != scriptPlain {
			return s.passEscaped(data, i)
		}
		n := bytes.IndexByte(data[i:], '<')
		if n < 0 {
			return len(data), false
		}
		return i + n, true
	case inComment:
		return s.passComment(data, i), false
	case inBogus:
		n := bytes.IndexByte(data[i:], '>')
		if n < 0 {
			return len(data), false
		}
		s.mode = inText
		return i + n + 1, false
	case inCDATA:
		return s.passCDATA(data, i), false
	}
	return len(data), false
}

// passEscaped reads an escaped script: "-->" ends the escape.
func (s *scanner) passEscaped(data []byte, i int) (int, bool) {
	for ; i < len(data); i++ {
		switch c := data[i]; {
		case c == '-':
			s.dash++
		case c == '>' && s.dash >= 2:
			s.state = scriptPlain
			return i + 1, false
		case c == '<':
			s.dash = 0
			return i, true
		default:
			s.dash = 0
		}
	}
	return i, false
}

func (s *scanner) passCDATA(data []byte, i int) int {
	for ; i < len(data); i++ {
		switch c := data[i]; {
		case c == ']':
			s.dash++
		case c == '>' && s.dash >= 2:
			s.mode = inText
			return i + 1
		default:
			s.dash = 0
		}
	}
	return i
}

func (s *scanner) passComment(data []byte, i int) int {
	for i < len(data) {
		c := data[i]
		switch s.state {
		case commentText:
			n := bytes.IndexByte(data[i:], '-')
			if n < 0 {
				return len(data)
			}
			i += n
			s.state = commentDash
		case commentStart, commentStartDash, commentEnd, commentBang:
			if c == '>' {
				s.mode = inText
				return i + 1
			}
			s.state = afterDashes(s.state, c)
		case commentDash:
			s.state = commentText
			if c == '-' {
				s.state = commentEnd
			}
		}
		i++
	}
	return i
}

// afterDashes returns the state that c leads to from a state in which ">" would
// end the comment.
func afterDashes(state, c byte) byte {
	switch {
	case c == '-' && state == commentStart:
		return commentStartDash
	case c == '-' && state == commentBang:
		return commentDash
	case c == '-':
		return commentEnd
	case c == '!' && state == commentEnd:
		return commentBang
	}
	return commentText
}

// candidate goes on at data[i] with what began with "<". off is the offset of
// data[0] from that "<". It returns the index behind what was decided.
func (r *Rewriter) candidate(data []byte, i, off int) (int, outcome) {
	s := &r.scan
	for i < len(data) {
		c := data[i]
		switch s.kind {
		case kindTag, kindEndTag:
			end, done := s.run(data, i, off)
			switch {
			case !done:
				return end, undecided
			case s.kind == kindTag:
				return end, startTag
			}
			return end, endTag
		case kindOpen:
			switch {
			case isLetter(c):
				s.kind = kindTag
				s.begin(off+i, r.program.attrsAll)
				s.wanted = r.program.wanted
				if end, ok := s.whole(data, i, off); ok {
					return end, startTag
				}
				s.begin(off+i, r.program.attrsAll)
				s.wanted = r.program.wanted
			case c == '/':
				s.kind = kindEndOpen
				i++
			case c == '!':
				s.kind, s.want, s.n = kindDecl, "", 0
				i++
			case c == '?':
				s.mode = inBogus
				return i, literal
			default:
				return i, literal
			}
		case kindEndOpen:
			switch {
			case isLetter(c):
				s.kind = kindEndTag
				s.begin(off+i, false)
				if end, ok := s.whole(data, i, off); ok {
					return end, endTag
				}
				s.begin(off+i, false)
				continue
			case c == '>':
				return i + 1, literal
			}
			s.mode = inBogus
			return i, literal
		case kindDoctype:
			n := bytes.IndexByte(data[i:], '>')
			if n < 0 {
				return len(data), undecided
			}
			return i + n + 1, doctype
		case kindDecl:
			next, decided := r.declaration(c)
			if next {
				i++
			}
			if decided {
				return i, literal
			}
		default:
			next, decided := s.rawCandidate(c, off+i)
			if next {
				i++
			}
			if decided {
				return i, literal
			}
		}
	}
	return i, undecided
}

// declaration reads what follows "<!". It reports whether c was used, and whether
// it is decided that this is no tag.
func (r *Rewriter) declaration(c byte) (used, decided bool) {
	s := &r.scan
	if s.n == 0 {
		switch {
		case c == '-':
			s.want = "--"
		case lowerByte(c) == 'd':
			s.want = "doctype"
		case c == '[' && r.stack[len(r.stack)-1].flags&foreign != 0:
			s.want = "[CDATA["
		}
	}
	if s.want == "" || s.want[s.n] != c && !(s.want[0] == 'd' && s.want[s.n] == lowerByte(c)) {
		s.mode = inBogus
		return false, true
	}
	if s.n++; s.n < len(s.want) {
		return true, false
	}
	switch s.want[0] {
	case '-':
		s.mode, s.state = inComment, commentStart
		return true, true
	case '[':
		s.mode, s.dash = inCDATA, 0
		return true, true
	}
	s.kind = kindDoctype
	return true, false
}

// rawCandidate reads what follows "<" in raw text. It reports whether c was used,
// and whether it is decided that this is no tag.
func (s *scanner) rawCandidate(c byte, at int) (used, decided bool) {
	switch s.kind {
	case kindRawOpen:
		s.n = 0
		switch {
		case c == '/':
			s.kind = kindRawName
			return true, false
		case c == '!' && s.mode == inScript && s.state == scriptPlain:
			s.kind = kindScriptBang
			return true, false
		case isLetter(c) && s.mode == inScript && s.state == scriptEscaped:
			s.kind = kindScriptWord
			return false, false
		}
		return false, true
	case kindScriptBang:
		if c != '-' {
			return false, true
		}
		if s.n++; s.n == 2 {
			s.state, s.dash = scriptEscaped, 2
			return true, true
		}
		return true, false
	}
	name := s.raw // of kindScriptWord too: the raw element is a script
	if s.n < len(name) {
		if lowerByte(c) != name[s.n] {
			return false, true
		}
		s.n++
		return true, false
	}
	if !isSpace(c) && c != '/' && c != '>' {
		return false, true
	}
	switch {
	case s.kind == kindScriptWord:
		s.state, s.dash = scriptDouble, 0
		return true, true
	case s.mode == inScript && s.state == scriptDouble:
		s.state, s.dash = scriptEscaped, 0
		return true, true
	}
	s.kind = kindEndTag
	s.begin(at-len(name), false)
	return false, false
}
