package decision

import "strings"

// Glob is a compiled pattern of paths or host names, as routes, experiences and
// goals name them: "*" stands for any characters but the separator, "**" for any
// characters; "/shop/**" does not stand for "/shop". Most patterns are a literal, or
// a literal with one "**" at the end; these cost one comparison.
type Glob struct {
	prefix string   // before the first wildcard
	parts  []string // after it: literals, "*" and "**"; nil for a literal pattern
	sep    byte     // what * does not cross
}

// CompileGlob compiles a pattern whose "*" does not cross sep.
func CompileGlob(pattern string, sep byte) Glob {
	first := strings.IndexByte(pattern, '*')
	if first < 0 {
		return Glob{prefix: pattern, sep: sep}
	}
	g := Glob{prefix: pattern[:first], sep: sep}
	for rest := pattern[first:]; rest != ""; {
		switch {
		case strings.HasPrefix(rest, "**"):
			rest = strings.TrimLeft(rest, "*")
			g.parts = append(g.parts, "**")
		case rest[0] == '*':
			rest = rest[1:]
			g.parts = append(g.parts, "*")
		default:
			end := strings.IndexByte(rest, '*')
			if end < 0 {
				end = len(rest)
			}
			g.parts = append(g.parts, rest[:end])
			rest = rest[end:]
		}
	}
	return g
}

// Match reports whether the whole of s fits the pattern.
func (g *Glob) Match(s string) bool {
	if g.parts == nil {
		return s == g.prefix
	}
	return strings.HasPrefix(s, g.prefix) && g.matchParts(s[len(g.prefix):])
}

// matchParts walks with two marks to fall back to, the last "*" and the last "**".
// Falling back to the later of the two that can still grow is enough, so the time
// is at most quadratic, whatever the pattern.
func (g *Glob) matchParts(s string) bool {
	type mark struct{ part, at int }
	single, double := mark{-1, 0}, mark{-1, 0}
	part, at := 0, 0
	for {
		if part == len(g.parts) && at == len(s) {
			return true
		}
		if part < len(g.parts) {
			switch p := g.parts[part]; p {
			case "**":
				double, single = mark{part, at}, mark{-1, 0}
				part++
				continue
			case "*":
				single = mark{part, at}
				part++
				continue
			default:
				if strings.HasPrefix(s[at:], p) {
					part++
					at += len(p)
					continue
				}
			}
		}
		switch {
		case single.part >= 0 && single.at < len(s) && s[single.at] != g.sep:
			single.at++
			part, at = single.part+1, single.at
		case double.part >= 0 && double.at < len(s):
			double.at++
			single = mark{-1, 0}
			part, at = double.part+1, double.at
		default:
			return false
		}
	}
}

// Globs are patterns of which one has to match; none stand for everything.
type Globs []Glob

// CompileGlobs compiles patterns whose "*" does not cross sep.
func CompileGlobs(patterns []string, sep byte) Globs {
	gs := make(Globs, len(patterns))
	for i, p := range patterns {
		gs[i] = CompileGlob(p, sep)
	}
	return gs
}

// Match reports whether one of the patterns matches the whole of s, or there is none.
func (gs Globs) Match(s string) bool {
	for i := range gs {
		if gs[i].Match(s) {
			return true
		}
	}
	return len(gs) == 0
}
