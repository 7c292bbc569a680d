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

// tagState is where the scan of a tag stands.
type tagState byte

const (
	tagInName tagState = iota
	tagBeforeName
	tagInAttr
	tagAfterAttr
	tagBeforeValue
	tagDouble
	tagSingle
	tagBare
	tagSlash
)

// attr is an attribute of a tag, as offsets into the tag's bytes.
type attr struct {
	name, nameEnd int32
	value, end    int32 // the value without quotes; end is where it ends
	quote         byte  // 0 when there is none
	equals        bool  // there is a "="
}

// after returns the offset behind the attribute.
func (a *attr) after() int32 {
	if a.quote != 0 {
		return a.end + 1
	}
	return a.end
}

// tagScanner finds the end of a tag and where its attributes are.
type tagScanner struct {
	at          tagState
	record      bool // note the attributes
	selfClosing bool
	nameStart   int
	nameEnd     int
	attrs       []attr
	maxAttrs    int // beyond this many, attributes are not noted
	cur         attr
}

func (s *tagScanner) begin(nameStart int, record bool) {
	s.at, s.record, s.selfClosing = tagInName, record, false
	s.nameStart, s.nameEnd = nameStart, 0
	s.attrs = s.attrs[:0]
}

func (s *tagScanner) push() {
	if s.record && len(s.attrs) <= s.maxAttrs {
		s.attrs = append(s.attrs, s.cur)
	}
}

// The classes of bytes in a tag.
const (
	plainByte byte = iota
	spaceByte
	slashByte
	closeByte
	equalsByte
)

var tagBytes = [256]byte{
	' ': spaceByte, '\t': spaceByte, '\n': spaceByte, '\r': spaceByte, '\f': spaceByte,
	'/': slashByte, '>': closeByte, '=': equalsByte,
}

// run goes on with a tag at data[i]. off is the offset of data[0] in the tag. It
// returns the index behind the tag and true, or len(data) and false. It follows
// https://html.spec.whatwg.org/multipage/parsing.html#tag-name-state.
func (s *tagScanner) run(data []byte, i, off int) (int, bool) {
	for i < len(data) {
		switch s.at {
		case tagInName:
			for i < len(data) && (tagBytes[data[i]] == plainByte || data[i] == '=') {
				i++
			}
			if i < len(data) {
				s.nameEnd = off + i
				s.at = tagBeforeName
			}
		case tagSlash:
			if data[i] == '>' {
				s.selfClosing = true
				return i + 1, true
			}
			s.at = tagBeforeName
		case tagBeforeName:
			switch tagBytes[data[i]] {
			case spaceByte:
				i++
			case slashByte:
				s.at = tagSlash
				i++
			case closeByte:
				return i + 1, true
			default: // a "=" here is part of the name
				s.cur = attr{name: int32(off + i)}
				s.at = tagInAttr
				i++
			}
		case tagInAttr:
			for i < len(data) && tagBytes[data[i]] == plainByte {
				i++
			}
			if i == len(data) {
				break
			}
			at := int32(off + i)
			s.cur.nameEnd, s.cur.value, s.cur.end = at, at, at
			s.at = tagAfterAttr
		case tagAfterAttr:
			switch tagBytes[data[i]] {
			case spaceByte:
				i++
			case equalsByte:
				i++
				at := int32(off + i)
				s.cur.equals, s.cur.value, s.cur.end = true, at, at
				s.at = tagBeforeValue
			default:
				s.push()
				s.at = tagBeforeName
			}
		case tagBeforeValue:
			switch c := data[i]; {
			case isSpace(c):
				i++
			case c == '"' || c == '\'':
				i++
				s.cur.quote, s.cur.value = c, int32(off+i)
				s.at = tagDouble
				if c == '\'' {
					s.at = tagSingle
				}
			case c == '>':
				s.push()
				return i + 1, true
			default:
				s.cur.value = int32(off + i)
				s.at = tagBare
				i++
			}
		case tagDouble, tagSingle:
			n := bytes.IndexByte(data[i:], s.cur.quote)
			if n < 0 {
				return len(data), false
			}
			i += n
			s.cur.end = int32(off + i)
			i++
			s.push()
			s.at = tagBeforeName
		case tagBare:
			for i < len(data) && data[i] != '>' && !isSpace(data[i]) {
				i++
			}
			if i < len(data) {
				s.cur.end = int32(off + i)
				s.push()
				s.at = tagBeforeName
			}
		}
	}
	return len(data), false
}

// plain returns the index of the next "<" that may begin a tag at or after i, or
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
