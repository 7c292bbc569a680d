package proxy

import (
	"bytes"
	"io"
	"slices"
	"time"

	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/proxy/coding"
	"github.com/sedge-proxy/sedge/proxy/upstream"
	"github.com/sedge-proxy/sedge/rewrite"
)

// A page that is there at once and not large is taken as a whole: whether its bytes
// were seen before shows only at its end. Any other is edited as it comes, so that
// an origin that pauses behind the head keeps nobody waiting for it.
const (
	wholeSize = 256 << 10
	wholeTime = 2 * time.Millisecond

	// largeSize is how large a page may be that is taken as a whole since others of its
	// length came from its address, and mostLarge how many of them there may be at a
	// time: they are held until their clients have them.
	largeSize = 1 << 20
	mostLarge = 64

	// wholeOut is how much an edited page may grow to before it begins to leave.
	wholeOut = 4 * wholeSize

	// unpackLimit is how large a compressed page may be, unpacked, to be compiled.
	unpackLimit = coding.BombFloor
)

// arrivedReader reads what gather has read, and then the rest.
type arrivedReader struct {
	from source
	kept []byte // what gather has read
	own  []byte // room for it, where it does not lie in the source's own buffer
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

// failed reports whether the body broke off.
func (r *arrivedReader) failed() bool { return r.err != nil && r.err != io.EOF }

// gather reads the page, of length bytes or -1, as far as it is there at once.
func (b *pageBody) gather(length int) {
	most := wholeSize
	if length > wholeSize && length <= largeSize && b.address != 0 && b.server.lookalikes.expects(b.address, length) && b.takeLarge() {
		most = length
	}
	b.whole = b.arrived.gather(length, most, b.server.wholeTime)
}

// gather reads the body, of length bytes or -1, as far as it is there at once and no longer
// than most, and reports whether that is all.
func (r *arrivedReader) gather(length, most int, limit time.Duration) (whole bool) {
	if r.kept = r.from.Whole(); r.kept != nil {
		r.rest, r.err = r.kept, io.EOF
		return true
	}
	if length > most {
		return false
	}
	r.own = slices.Grow(r.own[:0], max(length, copySize/4))
	until := time.Now().Add(limit)
	for len(r.own) <= most {
		if len(r.own) == cap(r.own) {
			r.own = slices.Grow(r.own, len(r.own))
		}
		n, err := r.from.ReadBefore(r.own[len(r.own):cap(r.own)], until)
		r.own = r.own[:len(r.own)+n]
		if err == upstream.ErrLate {
			break
		}
		if err != nil {
			r.err = err
			whole = err == io.EOF && len(r.own) > 0
			break
		}
	}
	r.kept, r.rest = r.own, r.own
	return whole
}

// takeLarge reports whether there may be one more large page that is held as a whole.
func (b *pageBody) takeLarge() bool {
	if b.server.largePages.Add(1) > mostLarge {
		b.server.largePages.Add(-1)
		return false
	}
	b.large = true
	return true
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
	switch {
	case b.done && len(b.parts) > 0:
		return int(b.emitted)
	case b.done:
		return len(b.out)
	}
	return -1
}

// passes reports whether the page leaves as the origin sent it, byte by byte.
func (b *pageBody) passes() bool {
	return b.rewriter == nil && b.mapping.of == nil && !b.layers.Packed()
}

// splice puts the edits into a page whose bytes were seen before. It reports false
// if that cannot be done.
func (b *pageBody) splice(program *program, limits rewrite.Limits, c codings) (done bool) {
	defer func() {
		if r := recover(); r != nil {
			b.server.notePanic("splicing", r)
			b.forgetParts()
			b.out, b.emitted, done = b.out[:0], 0, false
		}
	}()
	kind := b.kind(limits, c.from)
	given := rewrite.Given{Policy: limits.Policy, Values: limits.Values}
	s := b.spliceAlike(kind, program, given)
	if s.Splice == nil {
		page := b.compiled(kind, limits, c.from)
		if page == nil {
			return false
		}
		if s = (seenSplice{page.splice(b.notes.plan, program, given), nil}); s.Splice == nil {
			return false
		}
	}
	b.setCodings(c)
	switch {
	case b.packer != nil:
		_, _ = s.writeTo(b) // into memory
		_ = b.packer.Close()
		b.endPacking()
	case s.body == nil:
		b.parts, b.emitted = s.AppendParts(b.parts), int64(s.Len())
	default:
		b.out = slices.Grow(b.out, s.Len())
		_, _ = s.writeTo(b)
	}
	b.server.stats.Spliced.Add(1)
	b.watch.see(s.Matches())
	b.notes.page(s.Splice)
	b.server.stats.SlotsRefused.Add(uint64(s.Refused()))
	b.done = true
	b.letGo()
	return true
}

// letGo gives back what the origin has sent, of which the edited page is a copy: the
// client may take its time.
func (b *pageBody) letGo() {
	_ = b.taken.Close() // the exchange was over when the page was there
	b.arrived = arrivedReader{from: b.taken, own: b.arrived.own[:0]}
}

// kind is what a compiled page depends on besides its bytes.
func (b *pageBody) kind(limits rewrite.Limits, packed coding.Layers) cache.Kind {
	return cache.Kind{Reading: uint32(limits.Encoding) | packed.Key()<<16, Mapping: b.mapping.key}
}

// compiled returns the page, scanned when its bytes came for the second time, or when
// others as many came from its address before; nil if they were not seen before, or are
// no page that can be compiled.
func (b *pageBody) compiled(kind cache.Kind, limits rewrite.Limits, packed coding.Layers) *seenPage {
	var page *seenPage
	var sight cache.Sight
	if len(b.arrived.kept) <= wholeSize {
		page, sight = b.server.bodies.Find(kind, b.arrived.kept)
	}
	switch {
	case sight == cache.SeenAgain:
		raw := bytes.Clone(b.arrived.kept)
		var size int
		page, size = b.compile(raw, limits, packed)
		b.server.bodies.Keep(kind, raw, page, max(0, size))
		b.server.lookalikes.keep(b.address, kind, page)
	case sight == cache.Kept:
		b.server.lookalikes.keep(b.address, kind, page)
	case !packed.Packed() && b.mapping.of == nil && b.server.lookalikes.wants(b.address, kind, len(b.arrived.kept)):
		raw := bytes.Clone(b.arrived.kept)
		page, _ = b.compile(raw, limits, packed)
		b.server.lookalikes.keep(b.address, kind, page)
	}
	return page
}

// compile scans a page. It returns nil if that cannot be done, and what the page takes
// in memory besides raw.
func (b *pageBody) compile(raw []byte, limits rewrite.Limits, packed coding.Layers) (page *seenPage, size int) {
	body, size := raw, -len(raw)
	if packed.Packed() {
		body, size = b.server.unpackAll(packed, raw), 0
	}
	if body != nil && b.mapping.of != nil {
		body, size = slices.Clip(b.mapping.of.Append(nil, body, b.mapping.how)), 0
	}
	if body != nil {
		if compiled, _ := rewrite.CompilePage(body, limits); compiled != nil {
			page = &seenPage{Page: compiled, raw: raw}
			size += compiled.Size() + spliceMemory
		}
	}
	return page, size
}

// unpackAll unpacks a page, nil if it is damaged or very large.
func (s *Server) unpackAll(packed coding.Layers, raw []byte) []byte {
	u := s.codings.Reader(packed, bytes.NewReader(raw))
	defer u.Release()
	body, err := io.ReadAll(io.LimitReader(u, unpackLimit+1))
	if err != nil || len(body) == 0 || len(body) > unpackLimit {
		return nil
	}
	return slices.Clip(body)
}
