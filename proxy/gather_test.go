package proxy

import "testing"

// Where a head ends, in whatever pieces it comes. Empty lines in front of it must not
// make fasthttp take its large buffers before the head is there.
func TestEndsHead(t *testing.T) {
	f := func(text string, want int) {
		t.Helper()
		for first := 1; first < len(text); first++ {
			in := &intake{rest: []byte(text[:first])}
			got := 0
			if endsHead(in.skipEmptyLines(), 0) {
				got = first
			} else {
				seen := in.left()
				in.rest = []byte(text)
				if endsHead(in.skipEmptyLines(), seen) {
					got = len(text)
				}
			}
			if whole := want > 0 && first >= want; got != 0 != (want > 0) || whole != (got == first) {
				t.Errorf("%q in pieces of %d and %d bytes: it ends in %d, want %d", text, first, len(text)-first, got, want)
			}
		}
	}
	f("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27)
	f("GET / HTTP/1.1\r\nHost: a\r\n", 0)
	f("GET / HTTP/1.1\nHost: a\n\n", 24)
	f("GET / HTTP/1.1\r\nHost: a\n\r\nbody", 26)
	f("\r\n", 0)
	f("\r\n\r\n\r\n", 0)
	f("\r\n\r\nGET / HTTP/1.1\r\n", 0)
	f("\r\n\r\nGET / HTTP/1.1\r\n\r\nbody", 22)
	f("\n\n", 1)
	f("\rGET", 2)
}
