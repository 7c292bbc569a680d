package coding

import (
	"bufio"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	brotli "github.com/molecule-man/go-brrr"
)

func newStream(c Coding) stream {
	switch c {
	case Gzip:
		return new(gzipStream)
	case Deflate:
		return new(deflateStream)
	case Brotli:
		return brotliStream{brotli.NewReader(nil)}
	case Zstd:
		return newZstdStream()
	}
	panic("BUG: nothing is packed in " + c.String())
}

// flateHistory is the window of RFC 1951.
const flateHistory = 32 << 10

// gzipStream reads member by member.
type gzipStream struct{ gzip.Reader }

func (s *gzipStream) begin(source *bufio.Reader) error {
	if err := s.Reset(source); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	s.Multistream(false)
	return nil
}

func (s *gzipStream) more(source *bufio.Reader) (bool, error) {
	magic, err := source.Peek(2)
	switch {
	case err == nil && magic[0] == 0x1f && magic[1] == 0x8b:
		return true, s.begin(source)
	case err == io.EOF:
		return false, nil
	}
	return false, err
}

func (s *gzipStream) history(int64) int64 { return flateHistory }

// deflateStream reads both of what servers mean by "deflate".
type deflateStream struct {
	io.Reader               // one of these two
	enveloped io.ReadCloser // zlib, RFC 1950; nil before it is needed
	bare      io.ReadCloser // RFC 1951 alone; likewise
}

func (s *deflateStream) begin(source *bufio.Reader) (err error) {
	head, err := source.Peek(2)
	if err != nil && err != io.EOF {
		return err
	}
	if isZlib(head) {
		if s.enveloped == nil {
			s.enveloped, err = zlib.NewReader(source)
		} else {
			err = s.enveloped.(zlib.Resetter).Reset(source, nil)
		}
		s.Reader = s.enveloped
		return err
	}
	if s.bare == nil {
		s.bare = flate.NewReader(source)
	} else if err = s.bare.(flate.Resetter).Reset(source, nil); err != nil {
		return err
	}
	s.Reader = s.bare
	return nil
}

// isZlib reports whether a body begins as RFC 1950 has it, without a dictionary. No
// encoder makes a bare body that looks so: it would begin with a block that is stored,
// with other bits than zeros behind its head.
func isZlib(head []byte) bool {
	const dictionary = 0x20
	return len(head) == 2 && head[0]&0x0f == 8 && head[0]>>4 <= 7 &&
		(uint(head[0])<<8|uint(head[1]))%31 == 0 && head[1]&dictionary == 0
}

func (s *deflateStream) more(*bufio.Reader) (bool, error) { return false, nil }

func (s *deflateStream) history(int64) int64 { return flateHistory }

// brotliStream has a window of at most 16 MiB: its library knows no large windows.
type brotliStream struct{ *brotli.Reader }

func (s brotliStream) begin(source *bufio.Reader) error {
	s.Reset(source)
	return nil
}

func (s brotliStream) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err == brotli.ErrExcessiveInput {
		err = io.EOF
	}
	return n, err
}

func (s brotliStream) more(*bufio.Reader) (bool, error) { return false, nil }

// history grows with what was given.
func (s brotliStream) history(given int64) int64 { return given }

// zstdStream reads frame by frame, by itself.
type zstdStream struct {
	*zstd.Decoder
	window int64
}

// maxZstdWindow is what a client has to be able to read, by RFC 9659.
const maxZstdWindow = 8 << 20

func newZstdStream() *zstdStream {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1), // which starts no goroutines
		zstd.WithDecoderMaxWindow(maxZstdWindow),
		zstd.WithDecoderMaxMemory(maxZstdWindow), // of a window too, since we read streams
		zstd.WithDecoderLowmem(true))
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return &zstdStream{Decoder: d}
}

func (s *zstdStream) begin(source *bufio.Reader) error {
	s.window = windowOf(source)
	return s.Reset(source)
}

// windowOf returns the window that the body's first frame asks for, the largest one if
// that is not there yet.
func windowOf(source *bufio.Reader) int64 {
	head, _ := source.Peek(min(source.Buffered(), zstd.HeaderMaxSize))
	var h zstd.Header
	if h.Decode(head) != nil || h.Skippable {
		return maxZstdWindow
	}
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	return int64(min(window, maxZstdWindow))
}

func (s *zstdStream) more(*bufio.Reader) (bool, error) { return false, nil }

func (s *zstdStream) history(int64) int64 { return s.window }
