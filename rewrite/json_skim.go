package rewrite

// skim goes through objects and arrays in which nothing is looked for, as far as
// the chunk holds their tokens whole: a shorter way to do what scan does. It
// returns where scan has to go on.
func (j *JSONEditor) skim(p int) int {
	chunk, outer := j.chunk, len(j.frames)
	if j.state > jsonAfter {
		return p // inside a token
	}
	for p < len(chunk) && j.depth > outer {
		c := chunk[p]
		if c <= ' ' {
			if !isJSONSpace(c) {
				return p
			}
			p++
			continue
		}
		switch j.state {
		case jsonAfter:
			switch {
			case c == ',':
				j.state = jsonValueState
				if j.inObject() {
					j.state = jsonNextName
				}
				p++
				continue
			case c != '}' && c != ']' || (c == '}') != j.inObject() || j.depth-1 == outer:
				return p
			}
			j.depth--
			p++
		case jsonColon:
			if c != ':' {
				return p
			}
			j.state = jsonValueState
			p++
		case jsonFirstName, jsonNextName:
			end := wholeString(chunk, p)
			if end < 0 {
				return p
			}
			if p = end; p < len(chunk) && chunk[p] == ':' {
				j.state = jsonValueState
				p++
			} else {
				j.state = jsonColon
			}
		case jsonFirstItem, jsonValueState:
			end := -1
			switch c {
			case '"':
				end = wholeString(chunk, p)
			case 't':
				end = wholeLiteral(chunk, p, "true")
			case 'f':
				end = wholeLiteral(chunk, p, "false")
			case 'n':
				end = wholeLiteral(chunk, p, "null")
			case '{', '[':
				if !j.push(c == '{') {
					return p
				}
				if j.state = jsonFirstItem; c == '{' {
					j.state = jsonFirstName
				}
				p++
				continue
			default:
				end = wholeNumeral(chunk, p)
			}
			if end < 0 {
				return p
			}
			p, j.state = end, jsonAfter
		default:
			return p
		}
	}
	return p
}

// wholeString returns the end of a string that has no escapes; -1 if the chunk does
// not hold one.
func wholeString(chunk []byte, p int) int {
	if chunk[p] != '"' {
		return -1
	}
	end := plainEnd(chunk, p+1)
	if end == len(chunk) || chunk[end] != '"' {
		return -1
	}
	return end + 1
}

func wholeLiteral(chunk []byte, p int, literal string) int {
	if end := p + len(literal); end <= len(chunk) && string(chunk[p:end]) == literal {
		return end
	}
	return -1
}

// wholeNumeral returns the end of a number of digits, perhaps with a fraction; -1 if
// it is of another kind, or may go on in the next chunk.
func wholeNumeral(chunk []byte, p int) int {
	start := p
	for p < len(chunk) && isDigit(chunk[p]) {
		p++
	}
	if p == start || chunk[start] == '0' && p > start+1 || p == len(chunk) {
		return -1
	}
	if chunk[p] == '.' {
		start = p + 1
		for p++; p < len(chunk) && isDigit(chunk[p]); p++ {
		}
		if p == start || p == len(chunk) {
			return -1
		}
	}
	if c := chunk[p]; c == ',' || c == '}' || c == ']' || isJSONSpace(c) {
		return p
	}
	return -1
}
