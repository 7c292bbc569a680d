package coding

import (
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	brotli "github.com/molecule-man/go-brrr"
)

// Effort says how much packing a body may cost.
type Effort uint8

// The efforts.
const (
	Live Effort = iota // while a client waits, and for it alone
	Kept               // once, for many clients

	efforts
)

// levels are what our codings are packed with; docs/PERFORMANCE.md has what they cost.
// Brotli's levels 0 and 1 forget what was flushed before, so that a page which is sent in
// pieces would grow by up to a quarter.
var levels = [efforts]struct {
	brotli, flate int
	zstd          zstd.EncoderLevel
}{
	Live: {brotli: 2, flate: 5, zstd: zstd.SpeedFastest},
	Kept: {brotli: 5, flate: 6, zstd: zstd.SpeedBetterCompression},
}

// windowBits is the window for packing, as a power of two. Few pages are larger, and both
// ends need that much memory for each body on its way.
const windowBits = 18

// packer is what the libraries' writers have in common.
type packer interface {
	io.WriteCloser
	// Flush writes out what a client needs to read all that was written so far.
	Flush() error
	Reset(io.Writer)
}

func newPacker(c Coding, e Effort) packer {
	var p packer
	var err error
	switch level := levels[e]; c {
	case Gzip:
		p, err = gzip.NewWriterLevel(io.Discard, level.flate)
	case Deflate:
		p, err = zlib.NewWriterLevel(io.Discard, level.flate)
	case Brotli:
		p, err = brotli.NewWriterOptions(io.Discard, level.brotli, brotli.WriterOptions{LGWin: windowBits})
	case Zstd:
		p, err = zstd.NewWriter(io.Discard,
			zstd.WithEncoderConcurrency(1), // which starts no goroutines
			zstd.WithEncoderLevel(level.zstd), zstd.WithWindowSize(1<<windowBits), zstd.WithLowerEncoderMem(true),
			zstd.WithEncoderCRC(false), // what is below HTTP has its own
			zstd.WithZeroFrames(true))  // an empty body is packed to a frame, as in the other codings
	default:
		panic("BUG: nothing is packed in " + c.String())
	}
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return p
}

// Writer packs one body. It is not safe for concurrent use.
type Writer struct {
	pool   *Pool
	coding Coding
	effort Effort
	packer packer
	to     io.Writer // nil: kept in packed
	packed []byte
	busy   bool // in the packer's code, or left there by a panic
}

// Writer returns a writer of a body that packs to another writer. [Writer.Close] must
// be called behind the last byte; it leaves the other writer open.
func (p *Pool) Writer(c Coding, e Effort, to io.Writer) *Writer {
	w, ok := p.writers[c][e].Get().(*Writer)
	if !ok {
		w = &Writer{pool: p, coding: c, effort: e, packer: newPacker(c, e)}
	}
	w.to = to
	w.packer.Reset((*output)(w))
	return w
}

// Append packs a whole body and appends it to dst.
func (p *Pool) Append(dst []byte, c Coding, e Effort, body []byte) []byte {
	w := p.Writer(c, e, nil)
	defer w.Release()
	w.packed = dst
	// Memory takes everything.
	_, _ = w.Write(body)
	_ = w.Close()
	return w.packed
}

// output is where a packer writes to.
type output Writer

func (o *output) Write(p []byte) (int, error) {
	if o.to != nil {
		return o.to.Write(p)
	}
	o.packed = append(o.packed, p...)
	return len(p), nil
}

// Write packs a part of the body, which may stay inside until Flush or Close.
func (w *Writer) Write(p []byte) (n int, err error) {
	w.busy = true
	n, err = w.packer.Write(p)
	w.busy = false
	return n, err
}

// Flush writes out what a client needs to read all that was written so far.
func (w *Writer) Flush() error {
	w.busy = true
	err := w.packer.Flush()
	w.busy = false
	return err
}

// Close ends the body.
func (w *Writer) Close() error {
	w.busy = true
	err := w.packer.Close()
	w.busy = false
	return err
}

// Release gives the writer back, which must not be used any more.
func (w *Writer) Release() {
	if w.busy {
		return // nobody knows what state a panic has left it in
	}
	w.to, w.packed = nil, nil
	w.pool.writers[w.coding][w.effort].Put(w)
}
