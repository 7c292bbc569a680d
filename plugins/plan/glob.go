package plan

import (
	"errors"
	"strings"
)

// glob is a compiled pattern. Most patterns are a literal, or a literal with one
// "**" at the end; these cost one comparison.
type glob struct {
	prefix string   // before the first wildcard
	parts  []string // after it: literals, "*" and "**"; nil for a literal pattern
	sep    byte     // what * does not cross
}

func compileGlob(pattern string, sep byte) glob {
	first := strings.IndexByte(pattern, '*')
	if first < 0 {
		return glob{prefix: pattern, sep: sep}
	}
	g := glob{prefix: pattern[:first], sep: sep}
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

func (g *glob) match(s string) bool {
	if g.parts == nil {
		return s == g.prefix
	}
	return strings.HasPrefix(s, g.prefix) && g.matchParts(s[len(g.prefix):])
}

// matchParts walks with two marks to fall back to, the last "*" and the last "**".
// Falling back to the later of the two that can still grow is enough, so the time
// is at most quadratic, whatever the pattern.
func (g *glob) matchParts(s string) bool {
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

func checkPathGlob(pattern string) error {
	switch {
	case !strings.HasPrefix(pattern, "/") && !strings.HasPrefix(pattern, "*"):
		return errors.New("expected a path that starts with /")
	case strings.ContainsAny(pattern, "?#"):
		return errors.New("expected a path without query or fragment")
	}
	return checkGlob(pattern)
}

func checkHostGlob(pattern string) error {
	switch {
	case pattern == "":
		return errors.New("expected a host name")
	case pattern != strings.ToLower(pattern):
		return errors.New("expected lower case")
	case strings.ContainsAny(pattern, "/: "):
		return errors.New("expected a host name without scheme, port or path")
	}
	return checkGlob(pattern)
}

const maxGlob = 1024

func checkGlob(pattern string) error {
	if len(pattern) > maxGlob || strings.Count(pattern, "*") > 32 {
		return errors.New("expected a shorter pattern")
	}
	return nil
}

// globs matches if any of its patterns does.
type globs []glob

func compileGlobs(patterns []string, sep byte) globs {
	if len(patterns) == 0 {
		return nil
	}
	gs := make(globs, len(patterns))
	for i, p := range patterns {
		gs[i] = compileGlob(p, sep)
	}
	return gs
}

func (gs globs) match(s string) bool {
	for i := range gs {
		if gs[i].match(s) {
			return true
		}
	}
	return false
}
