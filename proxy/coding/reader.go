package coding

import (
	"bufio"
	"errors"
	"io"
	"sync"
)

var (
	// ErrBomb says that a body grows beyond all measure.
	ErrBomb = errors.New("the compressed body grows beyond all measure")
	// ErrBarren says that a body goes on and on without content.
	ErrBarren = errors.New("the compressed body goes on without content")
)

const (
	// A body may unpack to this many times its size, once it is larger than
	// BombFloor: real pages stay far below it, and a bomb far above.
	bombRatio = 200
	// BombFloor is how large any body may unpack to, in bytes.
	BombFloor = 8 << 20

	// barrenLimit is how many compressed bytes may unpack to nothing at all: empty
	// blocks, frames and members could follow one another for ever.
	barrenLimit = 1 << 20
)

// Pool lends out readers and writers, so that their tables and windows are not made for
// each body. Its zero value is ready; it is safe for concurrent use.
type Pool struct {
	readers [Count]sync.Pool          // *Reader
	writers [Count][efforts]sync.Pool // *Writer
}

// Reader unpacks one body. What it returns is what browsers make of the same bytes:
// gzip may have several members and zstd several frames, and other bytes behind the end of
// gzip, br and deflate are padding.
// It is not safe for concurrent use.
type Reader struct {
	pool   *Pool
	coding Coding
	from   io.Reader
	under  *Reader // is from, if that unpacks another layer; else nil
	above  bool    // another reader reads from this one

	source *bufio.Reader // of (*input)(r)
	stream stream
	begun  bool
	busy   bool  // in the stream's code, or left there by a panic
	fault  error // of the source, for good: a stream may take it for an end
	err    error // of the body, io.EOF at its end

	taken   int64 // bytes read from the layer below
	yielded int64 // of them, those that something came of in the end
	given   int64 // bytes
}

// stream is one format. At the end of what is packed it returns io.EOF, and again when
// it is asked again.
type stream interface {
	io.Reader
	// begin takes a new body, of which at least a byte is there.
	begin(source *bufio.Reader) error
	// more goes on with what follows the end. It reports false if that is padding.
	more(source *bufio.Reader) (bool, error)
	// history returns how many bytes of memory hold what the body may refer back to,
	// once it has given as many as are said.
	history(given int64) int64
}

// Reader returns a reader of a body that is packed in layers; they must be some. Nothing
// is read before the first Read.
func (p *Pool) Reader(layers Layers, from io.Reader) *Reader {
	var r *Reader
	for i := len(layers) - 1; i >= 0; i-- { // what was applied last stands outside
		if layers[i] == Identity {
			continue
		}
		under := r
		r = p.reader(layers[i])
		if r.from = from; under != nil {
			r.from, r.under, under.above = under, under, true
		}
	}
	return r
}

func (p *Pool) reader(c Coding) *Reader {
	if r, ok := p.readers[c].Get().(*Reader); ok {
		return r
	}
	r := &Reader{pool: p, coding: c, stream: newStream(c)}
	r.source = bufio.NewReader((*input)(r))
	return r
}

// input is where a stream reads from.
type input Reader

func (in *input) Read(p []byte) (int, error) {
	if in.taken-in.yielded > barrenLimit {
		in.fault = ErrBarren
	}
	if in.fault != nil {
		return 0, in.fault
	}
	n, err := in.from.Read(p)
	in.taken += int64(n)
	if err != nil && err != io.EOF {
		in.fault = err
	}
	return n, err
}

// Read unpacks what has come. Errors of the source are returned as they are.
func (r *Reader) Read(p []byte) (n int, err error) {
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	r.busy = true // still so if this panics
	n, r.err = r.read(p)
	r.busy = false
	if r.err != nil && r.fault != nil {
		r.err = r.fault // whatever the stream made of it
	}
	if n == 0 {
		return 0, r.err
	}
	r.given += int64(n)
	if !r.above {
		r.yield()
	}
	if r.given > BombFloor && r.given/bombRatio > r.raw() {
		r.err = ErrBomb
		return 0, r.err
	}
	return n, r.err
}

// yield notes that something has come of all that was taken. A layer below does not note
// that by itself: it could yield a byte now and then, of which nothing comes above.
func (r *Reader) yield() {
	for ; r != nil; r = r.under {
		r.yielded = r.taken
	}
}

// raw returns how many bytes have come of the body as it was sent. All layers are
// measured by them: two that grow modestly could be a bomb together.
func (r *Reader) raw() int64 {
	if r.under != nil {
		return r.under.raw()
	}
	return r.taken
}

func (r *Reader) read(p []byte) (int, error) {
	if !r.begun {
		if err := r.begin(); err != nil {
			return 0, err
		}
	}
	for {
		n, err := r.stream.Read(p)
		if err != io.EOF {
			return n, err
		}
		if n > 0 {
			return n, nil // the end shows once more
		}
		if more, err := r.stream.more(r.source); err != nil {
			return 0, err
		} else if !more {
			return 0, r.drain()
		}
	}
}

func (r *Reader) begin() error {
	r.source.Reset((*input)(r))
	if _, err := r.source.Peek(1); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // not even an empty body is packed to nothing
		}
		return err
	}
	r.begun = true
	return r.stream.begin(r.source)
}

// drain reads padding to its end, so that a break of the body is not overlooked and its
// connection can be used again. It returns io.EOF if all is well.
func (r *Reader) drain() error {
	for {
		if _, err := r.source.Discard(r.source.Size()); err != nil {
			return err
		}
	}
}

// keptHistory is the largest history that a reader keeps for the next body: few bodies
// need more, and in time all readers of a pool would have it.
const keptHistory = 2 << 20

// Release gives the reader back, which must not be used any more. One that failed is
// not used again: nobody knows what state it is in.
func (r *Reader) Release() {
	if r.under != nil {
		r.under.Release()
	}
	sound := !r.busy && (r.err == nil || r.err == io.EOF)
	if !sound || r.begun && r.stream.history(r.given) > keptHistory {
		return
	}
	*r = Reader{pool: r.pool, coding: r.coding, source: r.source, stream: r.stream}
	r.pool.readers[r.coding].Put(r)
}
