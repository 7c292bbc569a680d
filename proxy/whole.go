package proxy

import (
	"bytes"
	"io"
	"slices"
	"time"

	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/proxy/upstream"
	"github.com/sedge-proxy/sedge/rewrite"
)

// A page that is there at once and not large is taken as a whole: whether its bytes
// were seen before shows only at its end. Any other is edited as it comes, so that
// an origin that pauses behind the head keeps nobody waiting for it.
const (
	wholeSize = 256 << 10
	wholeTime = 2 * time.Millisecond

	// wholeOut is how much an edited page may grow to before it begins to leave.
	wholeOut = 4 * wholeSize

	// unpackLimit is how large a compressed page may be, unpacked, to be compiled.
	unpackLimit = bombFloor
)

// arrivedReader reads what gather has read, and then the rest.
type arrivedReader struct {
	from *upstream.TakenBody
	kept []byte // what gather has read
	rest []byte // of it
	err  error  // what came behind it
}

func (r *arrivedReader) Read(p []byte) (int, error) {
	if len(r.rest) > 0 {
		n := copy(p, r.rest)
		r.rest = r.rest[n:]
		return n, nil
	}
	if r.err != nil {
		return 0, r.err
	}
	return r.from.Read(p)
}

// take returns what gather has read, in one piece.
func (r *arrivedReader) take() []byte {
	taken := r.rest
	r.rest = nil
	return taken
}

// gather reads the page, of length bytes or -1, as far as it is there at once.
func (b *pageBody) gather(length int) {
	if length > wholeSize {
		return
	}
	r := &b.arrived
	r.kept = slices.Grow(r.kept[:0], max(length, copySize/4))
	until := time.Now().Add(b.server.wholeTime)
	for len(r.kept) <= wholeSize {
		if len(r.kept) == cap(r.kept) {
			r.kept = slices.Grow(r.kept, len(r.kept))
		}
		n, err := r.from.ReadBefore(r.kept[len(r.kept):cap(r.kept)], until)
		r.kept = r.kept[:len(r.kept)+n]
		if err == upstream.ErrLate {
			break
		}
		if err != nil {
			r.err = err
			b.whole = err == io.EOF && len(r.kept) > 0
			break
		}
	}
	r.rest = r.kept
}

// runWhole edits a page that has arrived. It stops when the page grows large: the
// rest is then edited as it leaves.
func (b *pageBody) runWhole() {
	for !b.done && b.err == nil && len(b.out) <= wholeOut {
		b.step()
	}
}

// length returns the length of the answer if that is known already, else -1.
func (b *pageBody) length() int {
	if b.done {
		return len(b.out)
	}
	return -1
}

// splice puts the edits into a page whose bytes were seen before. It reports false
// if that cannot be done.
func (b *pageBody) splice(program *program, limits rewrite.Limits, unpack, pack bool) (done bool) {
	defer func() {
		if r := recover(); r != nil {
			b.server.notePanic("splicing", r)
			b.out, b.emitted, done = b.out[:0], 0, false
			b.collect.restart()
		}
	}()
	page := b.compiled(limits, unpack)
	if page == nil {
		return false
	}
	s := page.splice(b.notes.plan, program, rewrite.Given{Policy: limits.Policy, Values: limits.Values})
	if s == nil {
		return false
	}
	b.setPacking(unpack, pack)
	b.out = slices.Grow(b.out, s.Len())
	_, _ = s.WriteTo(b) // into memory
	if b.pack {
		_ = b.packer.Close()
	}
	b.server.stats.Spliced.Add(1)
	b.watch.see(s.Matches())
	b.notes.page(s)
	b.server.stats.SlotsRefused.Add(uint64(s.Refused()))
	b.collect.store(s, s.Matches())
	b.collect, b.done = nil, true
	return true
}

// compiled returns the page, scanned when its bytes came for the second time; nil
// if they were not seen before, or are no page that can be compiled.
func (b *pageBody) compiled(limits rewrite.Limits, unpack bool) *seenPage {
	kind := cache.Kind{Reading: uint32(limits.Encoding), Mapping: b.mapping.key}
	if unpack {
		kind.Reading |= 1 << 31
	}
	page, sight := b.server.bodies.Find(kind, b.arrived.kept)
	if sight != cache.SeenAgain {
		return page
	}
	raw := bytes.Clone(b.arrived.kept)
	body, size := raw, -len(raw)
	if unpack {
		body, size = b.unpackAll(raw), 0
	}
	if body != nil && b.mapping.of != nil {
		body, size = slices.Clip(b.mapping.of.Append(nil, body, b.mapping.how)), 0
	}
	if body != nil {
		if compiled, _ := rewrite.CompilePage(body, limits); compiled != nil {
			page = &seenPage{Page: compiled}
			size += compiled.Size() + spliceMemory
		}
	}
	b.server.bodies.Keep(kind, raw, page, max(0, size))
	return page
}

// unpackAll unpacks a page, nil if it is damaged or very large.
func (b *pageBody) unpackAll(raw []byte) []byte {
	source := &rawReader{from: bytes.NewReader(raw)}
	u := newUnpacker(source)
	if u.begin() != nil {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(u, unpackLimit+1))
	if err != nil || len(body) == 0 || len(body) > unpackLimit {
		return nil
	}
	return slices.Clip(body)
}
