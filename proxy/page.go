package proxy

import (
	"errors"
	"io"

	"github.com/sedge-proxy/sedge/proxy/coding"
	"github.com/sedge-proxy/sedge/proxy/upstream"
	"github.com/sedge-proxy/sedge/rewrite"
)

var errPanic = errors.New("rewriting the page failed")

const keptOut = 2 * largeSize // larger buffers are not pooled

// pageBody is a page on its way from the origin through the rewriter: unpacked, its
// URLs mapped, edited, packed again, watched for triggers and collected for the cache. It is a
// pull: each step reads what the origin has sent and makes of it what can already
// leave, so a slow origin's first bytes are not held back.
type pageBody struct {
	flowTarget
	taken source

	address  uint64 // that the page came from, as lookalikes know it; 0: it is not edited
	differ   []rewrite.Range
	arrived  arrivedReader
	whole    bool // all of the body has arrived
	large    bool // it counts among the large pages that are held
	replayed bool // it is the origin's own after all
	raw      rawReader
	layers   coding.Layers  // that are unpacked
	unpacker *coding.Reader // nil: nothing is unpacked, or no more
	source   io.Reader
	first    []byte // what begin has read
	firstErr error

	mapping  mapping
	mapper   *upstream.Mapper
	rewriter editor         // nil: nothing to edit or to look for
	packing  coding.Coding  // in which the page leaves, if it is not left as it came
	packer   *coding.Writer // nil: nothing is packed, or no more

	chunk   []byte
	out     []byte   // ready for the client
	parts   [][]byte // likewise, of a page that was seen before: the pieces of it, which stay
	read    int64    // bytes of the page so far
	emitted int64    // bytes of the edited page so far
	done    bool     // the page is complete
	err     error

	watch *watch // nil: nobody is counted
	doubt func() // keeps the cache from keeping what turns out damaged; nil for nothing
	notes notes
}

// rawReader keeps the origin's bytes until a page is known to be sound.
type rawReader struct {
	from    io.Reader
	keeping bool
	kept    []byte
}

func (r *rawReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if r.keeping {
		r.kept = append(r.kept, p[:n]...)
	}
	return n, err
}

func newPageBody(s *Server) *pageBody {
	return &pageBody{flowTarget: flowTarget{server: s}, chunk: make([]byte, copySize)}
}

// open makes the page ready. It reports false if the compressed body is damaged
// at its beginning: the origin's bytes then pass as they are.
func (b *pageBody) open(c codings) bool {
	unpack := c.from.Packed()
	b.raw = rawReader{from: &b.arrived, kept: b.raw.kept[:0], keeping: unpack && !b.whole}
	b.source = &b.arrived
	b.setCodings(c)
	b.startMapping(b.edited())
	if !unpack {
		if b.whole {
			b.first, b.firstErr = b.arrived.take(), io.EOF
		}
		return true
	}
	err := b.begin()
	b.raw.keeping = false
	if err != nil && err != io.EOF {
		b.replay()
		return false
	}
	return true
}

func (b *pageBody) setCodings(c codings) {
	b.layers, b.packing = c.from, c.to
	b.endPacking()
	if b.packing != coding.Identity {
		b.packer = b.server.codings.Writer(b.packing, coding.Live, (*packed)(b))
	}
}

// endPacking gives the packer back, which takes much more memory than a page does that
// waits for a slow client.
func (b *pageBody) endPacking() {
	if b.packer != nil {
		b.packer.Release()
		b.packer = nil
	}
}

// endUnpacking likewise.
func (b *pageBody) endUnpacking() {
	if b.unpacker != nil {
		b.unpacker.Release()
		b.unpacker = nil
	}
}

// begin unpacks the first part of the page.
func (b *pageBody) begin() error {
	b.unpacker = b.server.codings.Reader(b.layers, &b.raw)
	b.source = b.unpacker
	var err error
	n := 0
	for n == 0 && err == nil {
		n, err = b.source.Read(b.chunk)
	}
	b.first, b.firstErr = b.chunk[:n], err
	return err
}

// replay goes back to the origin's own bytes.
func (b *pageBody) replay() {
	if b.whole {
		b.arrived.rest = b.arrived.kept
	} else {
		b.raw.kept = append(b.raw.kept, b.arrived.rest...) // gathered, and not read yet
		b.arrived.rest = b.raw.kept
	}
	b.source = &b.arrived
	b.first, b.firstErr = nil, nil
	b.forgetParts()
	b.out, b.read, b.emitted = b.out[:0], 0, 0
	b.setCodings(codings{})
	b.endUnpacking()
	b.done, b.err, b.replayed = false, nil, true
	b.watch = nil
	b.mapping = mapping{}
	if b.rewriter != nil {
		b.rewriter.Release()
		b.rewriter = nil
	}
}

// packed is where the packer writes.
type packed pageBody

func (b *packed) Write(p []byte) (int, error) {
	b.out = append(b.out, p...)
	return len(p), nil
}

// Write takes what the rewriter has done with.
func (b *pageBody) Write(p []byte) (int, error) {
	b.emitted += int64(len(p))
	if b.packer != nil {
		return b.packer.Write(p)
	}
	b.out = append(b.out, p...)
	return len(p), nil
}

// step reads once from the origin and works it off. A panic of the rewriter ends
// the page and not the process.
func (b *pageBody) step() {
	defer func() {
		if r := recover(); r != nil {
			b.server.notePanic("rewriting", r)
			b.err = errPanic
		}
	}()
	chunk, err := b.first, b.firstErr
	if chunk == nil && err == nil {
		var n int
		n, err = b.source.Read(b.chunk)
		chunk = b.chunk[:n]
	}
	b.first, b.firstErr = nil, nil
	b.read += int64(len(chunk))
	if err == coding.ErrBomb && !b.whole { // else the page is told of as a whole
		b.server.stats.failOpen(ReasonBomb)
	}
	if err == nil || err == io.EOF {
		if werr := b.edit(chunk, err == io.EOF); werr != nil {
			err = werr
		}
	}
	switch {
	case err == io.EOF:
		b.finish()
	case err != nil:
		b.err = err
		b.doubted()
	}
}

func (b *pageBody) doubted() {
	if b.doubt != nil {
		b.doubt()
	}
}

// edit sends a part of the page through the mapper and the rewriter.
func (b *pageBody) edit(chunk []byte, last bool) (err error) {
	if b.mapping.of == nil {
		_, err = b.edited().Write(chunk)
	} else if _, err = b.mapper.Write(chunk); err == nil && last {
		err = b.mapper.Close()
	}
	if b.rewriter != nil {
		b.server.stats.RewriteBytes.Add(uint64(len(chunk)))
		if err == nil && last {
			err = b.rewriter.Close()
		}
		b.watch.see(b.rewriter.Matches())
	}
	if err != nil || b.packer == nil {
		return err
	}
	switch {
	case last:
		err = b.packer.Close()
		b.endPacking()
		return err
	case b.whole: // nobody waits for a part of it
		return nil
	}
	return b.packer.Flush()
}

// edited is where the page is written to be edited.
func (b *pageBody) edited() io.Writer {
	if b.rewriter != nil {
		return b.rewriter
	}
	return b
}

// finish ends a page that came to its clean end.
func (b *pageBody) finish() {
	b.done = true
	b.endUnpacking()
	if r := b.rewriter; r != nil {
		b.notes.page(r)
		b.server.stats.SlotsRefused.Add(uint64(r.Refused()))
	}
}

// WriteTo writes to the client; fasthttp's buffer for it is not used.
func (b *pageBody) WriteTo(io.Writer) (int64, error) {
	total := int64(0)
	for {
		for len(b.out) == 0 && !b.done && b.err == nil {
			b.step()
		}
		if len(b.parts) > 0 {
			if err := b.down.writeAll(b.parts); err != nil {
				return total, err
			}
			total += b.emitted
			b.forgetParts()
			b.watch.delivered(b.emitted)
		}
		if len(b.out) > 0 {
			if err := b.write(b.out); err != nil {
				return total, err
			}
			total += int64(len(b.out))
			b.out = b.out[:0]
			b.watch.delivered(b.emitted)
		}
		if b.err != nil {
			return total, b.err
		}
		if b.done {
			return total, nil
		}
	}
}

// CloseWithError ends the exchange with the origin and gives everything back.
func (b *pageBody) CloseWithError(err error) error {
	b.ended(b.err != nil)
	closed := b.taken.Close()
	if b.done && err == nil && len(b.out)+len(b.parts) == 0 {
		b.watch.complete()
	}
	b.release()
	return closed
}

func (b *pageBody) release() {
	s := b.server
	b.watch.release()
	if b.large {
		s.largePages.Add(-1)
	}
	if b.rewriter != nil {
		b.rewriter.Release()
	}
	b.endUnpacking()
	b.endPacking()
	b.forgetParts()
	*b = pageBody{
		flowTarget: flowTarget{server: s}, chunk: b.chunk, mapper: b.mapper, differ: b.differ[:0], parts: b.parts,
		out: reusable(b.out), raw: rawReader{kept: reusable(b.raw.kept)}, arrived: arrivedReader{own: reusable(b.arrived.own)},
	}
	s.pages.Put(b)
}

func (b *pageBody) forgetParts() {
	clear(b.parts)
	b.parts = b.parts[:0]
}

// reusable returns an empty buffer for the pool, none if it is too large for that.
func reusable(b []byte) []byte {
	if cap(b) > keptOut {
		return nil
	}
	return b[:0]
}
