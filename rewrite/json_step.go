package rewrite

import "unicode/utf8"

// scan goes through the chunk.
func (j *JSONEditor) scan() {
	chunk := j.chunk
	for p := 0; p < len(chunk) && j.bailed == NotBailed && j.err == nil; {
		from := p
		switch j.state {
		case jsonString:
			if p = j.scanString(p); j.depth > len(j.frames) && j.beyond == 0 {
				p = j.skim(p)
			}
		case jsonNumber:
			p = j.scanNumber(p)
		case jsonEscape, jsonHex, jsonLiteral, jsonMark:
			p = j.scanByte(p, chunk[p])
		default:
			c := chunk[p]
			if isJSONSpace(c) {
				for p++; p < len(chunk) && isJSONSpace(chunk[p]); p++ {
				}
			} else if p = j.token(p, c); j.depth > len(j.frames) && j.beyond == 0 {
				p = j.skim(p)
			}
		}
		j.work += int64(p - from)
	}
}

// at returns the offset in the document of an index of the chunk.
func (j *JSONEditor) at(p int) int64 { return j.base + int64(p) }

// fail bails at a byte that cannot stand where it does.
func (j *JSONEditor) fail(p int, why Reason) int {
	j.bail(why, j.at(p))
	return p
}

// live reports whether the innermost open object or array has places below.
func (j *JSONEditor) live() bool { return j.depth == len(j.frames) && j.depth > 0 }

func (j *JSONEditor) scanString(p int) int {
	end := plainEnd(j.chunk, p)
	if end == len(j.chunk) {
		return end
	}
	switch j.chunk[end] {
	case '\\':
		j.state = jsonEscape
		j.escaped = true
		return end + 1
	case '"':
	default:
		return j.fail(end, BailedSyntax)
	}
	switch {
	case j.beyond > 0:
		j.state = jsonBeyond
	case j.isName:
		if j.live() {
			j.endName(end)
		}
		j.state = jsonColon
		j.isName = false
	default:
		j.endValue(end + 1)
	}
	return end + 1
}

func (j *JSONEditor) scanNumber(p int) int {
	for ; p < len(j.chunk); p++ {
		if !j.nextNumber(j.chunk[p]) {
			if !j.wholeNumber() {
				return j.fail(p, BailedSyntax)
			}
			j.endValue(p)
			break
		}
	}
	return p
}

// scanByte takes a byte of an escape, a literal or a byte order mark.
func (j *JSONEditor) scanByte(p int, c byte) int {
	switch j.state {
	case jsonMark:
		return j.scanMark(p, c)
	case jsonEscape:
		switch c {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			j.state = jsonString
		case 'u':
			j.state, j.hex = jsonHex, 4
		default:
			return j.fail(p, BailedSyntax)
		}
	case jsonHex:
		if !isHexDigit(c) {
			return j.fail(p, BailedSyntax)
		}
		if j.hex--; j.hex == 0 {
			j.state = jsonString
		}
	case jsonLiteral:
		if c != j.literal[0] {
			return j.fail(p, BailedSyntax)
		}
		if j.literal = j.literal[1:]; j.literal == "" {
			j.endValue(p + 1)
		}
	}
	return p + 1
}

// scanMark takes the first bytes, which may be a byte order mark.
func (j *JSONEditor) scanMark(p int, c byte) int {
	at := j.at(p)
	switch {
	case at < int64(len(byteOrderMark)) && c == byteOrderMark[at]:
		return p + 1
	case at == 0 && (c == 0xfe || c == 0xff):
		return j.fail(p, BailedEncoding)
	case at == 0 || at == int64(len(byteOrderMark)):
		j.state = jsonValueState
		return p
	}
	return j.fail(p, BailedSyntax)
}

// token takes a byte that is neither white space nor inside a string, a number or
// a literal.
func (j *JSONEditor) token(p int, c byte) int {
	switch j.state {
	case jsonValueState:
		return j.beginValue(p, c)
	case jsonFirstItem:
		if c == ']' {
			return j.closeValue(p)
		}
		return j.beginValue(p, c)
	case jsonFirstName:
		if c == '}' {
			return j.closeValue(p)
		}
		return j.beginName(p, c)
	case jsonNextName:
		return j.beginName(p, c)
	case jsonColon:
		if c != ':' {
			return j.fail(p, BailedSyntax)
		}
		j.state = jsonValueState
		return p + 1
	case jsonAfter:
		return j.afterValue(p, c)
	case jsonBeyond:
		return j.beyondDepth(p, c)
	}
	return j.fail(p, BailedTrailing)
}

func (j *JSONEditor) afterValue(p int, c byte) int {
	switch object := j.inObject(); {
	case c == ',':
		j.comma = j.at(p)
		if j.state = jsonValueState; object {
			j.state = jsonNextName
		}
		return p + 1
	case c == '}' && object, c == ']' && !object:
		return j.closeValue(p)
	}
	return j.fail(p, BailedSyntax)
}

// beyondDepth goes through what is nested too deep in a value that is taken away:
// to find its end it is enough to count.
func (j *JSONEditor) beyondDepth(p int, c byte) int {
	switch c {
	case '"':
		j.state, j.isName = jsonString, false
	case '{', '[':
		j.beyond++
	case '}', ']':
		if j.beyond--; j.beyond == 0 {
			j.endValue(p + 1)
		}
	}
	return p + 1
}

func (j *JSONEditor) beginName(p int, c byte) int {
	if c != '"' {
		return j.fail(p, BailedSyntax)
	}
	if j.live() {
		if j.checkPending(j.at(p)) {
			return p
		}
		j.leaveGap(p)
	}
	j.state, j.isName, j.escaped, j.named = jsonString, true, false, j.at(p)
	j.name = j.name[:0]
	return p + 1
}

// leaveGap ends what was dropped behind a first member or item that is gone: the
// next one stands in its place.
func (j *JSONEditor) leaveGap(p int) {
	if j.between {
		j.drop(j.at(p))
		j.between, j.pending, j.since = false, true, j.at(p)
	}
}

// keepName keeps the part of a name that this chunk has.
func (j *JSONEditor) keepName() {
	if !j.live() {
		return
	}
	if left := j.longest + 1 - len(j.name); left > 0 {
		part := j.chunk[max(0, j.named+1-j.base):]
		j.name = append(j.name, part[:min(left, len(part))]...)
	}
	j.passLongName(j.base + int64(len(j.chunk)))
}

// passLongName decides, as soon as that is sure, that a name which goes on at an
// offset is nobody's: it need not be held.
func (j *JSONEditor) passLongName(at int64) {
	sure := j.named + 1 + int64(j.longest) + 1
	switch {
	case !j.live() || !j.pending || at < sure:
	case j.tooMuch(sure):
		j.stop(BailedMemory, sure)
	default:
		j.passOver()
	}
}

// passOver lets the current member or item stay as it is.
func (j *JSONEditor) passOver() {
	j.pending = false
	j.frames[len(j.frames)-1].kept = true
}

// endName looks for the member whose name ends at p.
func (j *JSONEditor) endName(p int) {
	j.member = nil
	long := j.at(p)-j.named-1 > int64(j.longest)
	if j.passLongName(j.at(p)); j.bailed != NotBailed {
		return
	}
	if !long {
		if j.checkPending(j.at(p)) {
			return
		}
		name := j.wholeName(p)
		if !utf8.Valid(name) && j.dropping < 0 {
			j.bail(BailedEncoding, j.at(p))
			return
		}
		if j.escaped {
			j.plain = appendUnquoted(j.plain[:0], name)
			name = j.plain
		}
		j.member = j.frames[len(j.frames)-1].node.members[string(name)]
	}
	switch m := j.member; {
	case m == nil:
		if !j.frames[len(j.frames)-1].muted {
			j.passOver()
		}
	case m.slot >= 0:
		j.seen[m.slot] = true
	}
}

// wholeName returns what stands between the quotes of the name that ends at p.
func (j *JSONEditor) wholeName(p int) []byte {
	if j.named >= j.base {
		return j.chunk[j.named+1-j.base : p]
	}
	j.name = append(j.name, j.chunk[:p]...)
	return j.name
}

func (j *JSONEditor) beginValue(p int, c byte) int {
	kind, literal := jsonScalar, ""
	switch {
	case c == '{':
		kind = jsonObject
	case c == '[':
		kind = jsonArray
	case c == 't':
		literal = "rue"
	case c == 'f':
		literal = "alse"
	case c == 'n':
		literal = "ull"
	case c != '"' && c != '-' && !isDigit(c):
		return j.fail(p, BailedSyntax)
	}
	var inside *jsonNode
	if j.depth == len(j.frames) {
		inside = j.reach(p, kind)
		if j.bailed != NotBailed {
			return p
		}
	}
	switch {
	case kind != jsonScalar:
		return j.openValue(p, kind, inside)
	case literal != "":
		j.state, j.literal = jsonLiteral, literal
	case c == '"':
		j.state, j.isName = jsonString, false
	default:
		j.state, j.number = jsonNumber, jsonMinus
		if c != '-' {
			j.nextNumber(c)
		}
	}
	return p + 1
}

func (j *JSONEditor) openValue(p int, kind jsonKind, inside *jsonNode) int {
	switch {
	case j.push(kind == jsonObject):
	case j.dropping >= 0:
		j.beyond, j.state = 1, jsonBeyond
		return p + 1
	default:
		return j.fail(p, BailedDepth)
	}
	if j.state = jsonFirstItem; kind == jsonObject {
		j.state = jsonFirstName
	}
	if inside == nil {
		return p + 1
	}
	for _, m := range inside.ends {
		j.seen[m.slot] = false
	}
	j.frames = append(j.frames, jsonFrame{node: inside, muted: j.dropping >= 0})
	j.pending, j.since = j.dropping < 0, j.at(p+1)
	return p + 1
}
