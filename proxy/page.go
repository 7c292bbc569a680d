package proxy

import (
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"

	"github.com/sedge-proxy/sedge/proxy/upstream"
	"github.com/sedge-proxy/sedge/rewrite"
)

var (
	errCorrupt = errors.New("the page's compressed body is damaged")
	errBomb    = errors.New("the page's compressed body grows beyond all measure")
	errBarren  = errors.New("the page's compressed body goes on without content")
	errPanic   = errors.New("rewriting the page failed")
)

const (
	// A body may unpack to this many times its size, once it is larger than
	// bombFloor: real pages stay far below it, and a bomb far above.
	bombRatio = 200
	bombFloor = 8 << 20

	// barrenLimit is how many compressed bytes may unpack to nothing at all: empty
	// blocks and members could follow one another for ever.
	barrenLimit = 1 << 20

	keptOut = 256 << 10 // larger buffers are not pooled
)

// pageBody is a page on its way from the origin through the rewriter: unpacked, its
// URLs mapped, edited, packed again, watched for triggers and collected for the cache. It is a
// pull: each step reads what the origin has sent and makes of it what can already
// leave, so a slow origin's first bytes are not held back.
type pageBody struct {
	flowTarget
	taken *upstream.TakenBody

	arrived  arrivedReader
	whole    bool // all of the body has arrived
	replayed bool // it is the origin's own after all
	raw      rawReader
	unpacker *unpacker
	unpack   bool
	source   io.Reader
	first    []byte // what begin has read
	firstErr error

	mapping  mapping
	mapper   *upstream.Mapper
	rewriter editor // nil: nothing to edit or to look for
	packer   *gzip.Writer
	pack     bool

	chunk   []byte
	out     []byte // ready for the client
	read    int64  // bytes of the page so far
	emitted int64  // bytes of the edited page so far
	done    bool   // the page is complete
	err     error

	collect *collector // nil: not to be stored
	watch   *watch     // nil: nobody is counted
	notes   notes
}

// rawReader counts the origin's bytes, and keeps them until a page is known to
// be sound.
type rawReader struct {
	from    io.Reader
	n       int64
	yielded int64 // n when the unpacker last gave something
	keeping bool
	kept    []byte
}

func (r *rawReader) Read(p []byte) (int, error) {
	if r.n-r.yielded > barrenLimit {
		return 0, errBarren
	}
	n, err := r.from.Read(p)
	r.n += int64(n)
	if r.keeping {
		r.kept = append(r.kept, p[:n]...)
	}
	return n, err
}

func newPageBody(s *Server) *pageBody {
	return &pageBody{flowTarget: flowTarget{server: s}, packer: newPacker(), chunk: make([]byte, copySize)}
}

func newPacker() *gzip.Writer {
	w, err := gzip.NewWriterLevel(io.Discard, gzipLevel)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return w
}

// open makes the page ready. It reports false if the compressed body is damaged
// at its beginning: the origin's bytes then pass as they are.
func (b *pageBody) open(unpack, pack bool) bool {
	b.raw = rawReader{from: &b.arrived, kept: b.raw.kept[:0], keeping: unpack && !b.whole}
	b.source = &b.arrived
	b.setPacking(unpack, pack)
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

func (b *pageBody) setPacking(unpack, pack bool) {
	b.unpack, b.pack = unpack, pack
	if pack {
		b.packer.Reset((*packed)(b))
	}
}

// begin unpacks the first part of the page.
func (b *pageBody) begin() error {
	if b.unpacker == nil {
		b.unpacker = newUnpacker(&b.raw)
	}
	if err := b.unpacker.begin(); err != nil {
		if err == io.EOF {
			return errCorrupt
		}
		return err
	}
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
	b.out, b.read, b.emitted = b.out[:0], 0, 0
	b.unpack, b.pack = false, false
	b.done, b.err, b.replayed = false, nil, true
	b.collect, b.watch = nil, nil
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
	b.collect.add(p)
	if b.pack {
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
	if b.unpack && b.read > bombFloor && b.read/bombRatio > b.raw.n {
		err = errBomb
		if !b.whole { // else the page is told of as a whole
			b.server.stats.failOpen(ReasonBomb)
		}
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
	if err != nil || !b.pack {
		return err
	}
	switch {
	case last:
		return b.packer.Close()
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
	var matches []rewrite.Match
	if r := b.rewriter; r != nil {
		matches = r.Matches()
		b.notes.page(r)
		b.server.stats.SlotsRefused.Add(uint64(r.Refused()))
	}
	b.collect.store(b.rewriter, matches)
	b.collect = nil
}

// WriteTo writes to the client; fasthttp's buffer for it is not used.
func (b *pageBody) WriteTo(io.Writer) (int64, error) {
	total := int64(0)
	for {
		for len(b.out) == 0 && !b.done && b.err == nil {
			b.step()
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
	if b.done && err == nil && len(b.out) == 0 {
		b.watch.complete()
	}
	b.release()
	return closed
}

func (b *pageBody) release() {
	s := b.server
	if b.rewriter != nil {
		b.rewriter.Release()
	}
	*b = pageBody{
		flowTarget: flowTarget{server: s}, unpacker: b.unpacker, packer: b.packer, chunk: b.chunk, mapper: b.mapper,
		out: reusable(b.out), raw: rawReader{kept: reusable(b.raw.kept)}, arrived: arrivedReader{kept: reusable(b.arrived.kept)},
	}
	s.pages.Put(b)
}

// reusable returns an empty buffer for the pool, none if it is too large for that.
func reusable(b []byte) []byte {
	if cap(b) > keptOut {
		return nil
	}
	return b[:0]
}
