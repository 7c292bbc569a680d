package upstream

import (
	"bytes"
	"io"
)

// maxAuthority is how long a host with its port may be to be looked at.
const maxAuthority = 300

// MapsURLs reports whether the settings want [Upstream.MapURLs] for pages.
func (u *Upstream) MapsURLs() bool { return u.cfg.MapURLs }

// MapURLs reads from and puts clientScheme://clientHost in the place of the origin's
// own scheme and host, as [Upstream.Deliver] knows them, in absolute URLs, those
// without a scheme, and both as JSON in scripts has them (https:\/\/host). All else,
// percent-encoded URLs too, is read as it is.
func (u *Upstream) MapURLs(from io.Reader, clientScheme, clientHost string) io.Reader {
	return &urlMapper{upstream: u, from: from, scheme: clientScheme, host: clientHost}
}

// urlMapper holds back only what may be the beginning of an own URL.
type urlMapper struct {
	upstream     *Upstream
	from         io.Reader
	scheme, host string

	in   []byte // read, and not decided about
	prev byte   // what came before in; 0 at the beginning
	out  []byte // ready
	rest []byte // of out
	err  error
}

func (m *urlMapper) Read(p []byte) (int, error) {
	for len(m.rest) == 0 {
		if m.err != nil {
			return 0, m.err
		}
		held := len(m.in)
		m.in = append(m.in, make([]byte, max(len(p), maxAuthority))...)
		n, err := m.from.Read(m.in[held:])
		m.in, m.err = m.in[:held+n], err
		m.work(err != nil)
		if n == 0 && err == nil {
			return 0, nil
		}
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

// work moves to out what can be decided about.
func (m *urlMapper) work(last bool) {
	m.out = m.out[:0]
	done, at := 0, 0
	for {
		slash := bytes.IndexByte(m.in[at:], '/')
		if slash < 0 {
			break
		}
		at += slash
		begin, authority, escaped := m.slashes(at, done)
		if authority == 0 {
			at++
			continue
		}
		end := authorityEnd(m.in, authority)
		if end == len(m.in) && !last && end-authority < maxAuthority {
			m.leave(done, begin)
			return
		}
		scheme := m.schemeAt(begin, done)
		if at = end; !m.maps(scheme, authority, end) {
			continue
		}
		m.out = append(m.out, m.in[done:scheme]...)
		m.put(scheme < begin, escaped)
		done = end
	}
	keep := len(m.in)
	if !last {
		keep -= m.unsure(done)
	}
	m.leave(done, keep)
}

// leave copies up to keep, with a scheme before it held back, and forgets that.
func (m *urlMapper) leave(done, keep int) {
	keep = m.schemeAt(keep, done)
	m.out = append(m.out, m.in[done:keep]...)
	if keep > 0 {
		m.prev = m.in[keep-1]
	}
	m.in = m.in[:copy(m.in, m.in[keep:])]
	m.rest = m.out
}

// slashes returns where the two slashes at at, or their escaped form, begin and the
// authority behind them; no authority if they are none.
func (m *urlMapper) slashes(at, done int) (begin, authority int, escaped bool) {
	switch {
	case at > done && m.in[at-1] == '\\' && bytes.HasPrefix(m.in[at:], []byte(`/\/`)):
		return at - 1, at + 3, true
	case bytes.HasPrefix(m.in[at:], []byte("//")):
		return at, at + 2, false
	}
	return at, 0, false
}

// schemeAt returns where the scheme that ends at end begins, end without one.
func (m *urlMapper) schemeAt(end, done int) int {
	for _, scheme := range [...]string{"http:", "https:"} {
		if at := end - len(scheme); at >= done && equalFold(m.in[at:end], scheme) {
			return at
		}
	}
	return end
}

// maps reports whether what stands there is an own URL, and no part of a longer word
// or path.
func (m *urlMapper) maps(begin, authority, end int) bool {
	before := m.prev
	if begin > 0 {
		before = m.in[begin-1]
	}
	if isWord(before) || before >= 0x80 || bytes.IndexByte([]byte("+-._~/%:@"), before) >= 0 {
		return false
	}
	if end < len(m.in) && bytes.IndexByte([]byte("/?#\"'\\<>() \t\r\n\f&;,`]}|"), m.in[end]) < 0 {
		return false
	}
	return end > authority && end-authority < maxAuthority && m.upstream.isOwn(string(m.in[authority:end]))
}

func (m *urlMapper) put(scheme, escaped bool) {
	if scheme {
		m.out = append(append(m.out, m.scheme...), ':')
	}
	if escaped {
		m.out = append(m.out, `\/\/`...)
	} else {
		m.out = append(m.out, "//"...)
	}
	m.out = append(m.out, m.host...)
}

// authorityEnd returns where a host with its port ends.
func authorityEnd(b []byte, at int) int {
	for at < len(b) && (isWord(b[at]) || bytes.IndexByte([]byte(".-:_[]"), b[at]) >= 0) {
		at++
	}
	return at
}

func isWord(b byte) bool {
	return b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'z'
}

// beginnings are those of all that is looked for.
var beginnings = [...]string{"https://", "http://", `https:\/\/`, `http:\/\/`, "//", `\/\/`}

// unsure returns the length of the longest end of in that may go on as a URL.
func (m *urlMapper) unsure(done int) int {
	for n := min(len(m.in)-done, len(`https:\/\/`)); n > 0; n-- {
		end := m.in[len(m.in)-n:]
		for _, beginning := range beginnings {
			if n <= len(beginning) && equalFold(end, beginning[:n]) {
				return n
			}
		}
	}
	return 0
}
