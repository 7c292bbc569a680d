package upstream

import (
	"bufio"
	"io"
)

const (
	// maxTrailers bounds the bytes of a trailer section.
	maxTrailers = 16 << 10
	// maxChunkLine bounds a chunk's size line with its extensions.
	maxChunkLine = 1 << 10
)

// Trailer is a header that came after the body.
type Trailer struct{ Name, Value string }

// Chunks decodes one chunked body, and takes no byte behind it from its reader.
// Whatever is wrong with the framing is an error, and so is an end of the stream
// before the end of the body, which must be an io.ErrUnexpectedEOF of the reader.
type Chunks struct {
	br       source
	strict   bool
	left     int64 // of the current chunk
	inChunk  bool  // a chunk was begun: its CRLF is still to be read
	trailers []Trailer
}

// Reset begins another body. strict holds the lines between chunks to the grammar,
// as befits what strangers send; origins are known to pad them.
func (d *Chunks) Reset(br *bufio.Reader, strict bool) { d.reset(br, strict) }

func (d *Chunks) reset(br source, strict bool) {
	*d = Chunks{br: br, strict: strict}
}

// Trailers returns what followed the body, once Read has returned io.EOF.
func (d *Chunks) Trailers() []Trailer { return d.trailers }

// Read fills p from as many chunks as have already come, and waits only for the
// first byte.
func (d *Chunks) Read(p []byte) (int, error) {
	filled := 0
	for {
		if d.left == 0 {
			if filled > 0 && !lineBuffered(d.br, d.inChunk) {
				return filled, nil
			}
			if err := d.next(); err != nil {
				return filled, err
			}
		}
		n, err := d.br.Read(p[filled:min(int64(len(p)), int64(filled)+d.left)])
		filled += n
		d.left -= int64(n)
		if err != nil || filled == len(p) || d.left > 0 {
			return filled, err
		}
	}
}

// part returns what Read would read from in, the reader of this body, where it lies:
// chunks that have already come behind the first are moved up to it.
func (d *Chunks) part(in *inbox) ([]byte, error) {
	if d.left == 0 {
		if err := d.next(); err != nil {
			return nil, err
		}
	}
	if in.Buffered() == 0 {
		if err := in.fill(); err != nil {
			return nil, err
		}
	}
	from := in.there()
	n := int(min(int64(len(from)), d.left))
	in.take(n)
	if d.left -= int64(n); d.left > 0 || !lineBuffered(in, true) {
		return from[:n], nil
	}
	more, err := d.Read(from[n:]) // of what is there, so that nothing is read over it
	return from[:n+more], err
}

// lineBuffered reports whether the next chunk's size line can be read without
// waiting.
func lineBuffered(br source, afterChunk bool) bool {
	buffered, _ := br.Peek(min(br.Buffered(), 32))
	if afterChunk {
		if len(buffered) < 2 {
			return false
		}
		buffered = buffered[2:]
	}
	for i, c := range buffered {
		if c == '\n' {
			// The last chunk is left to a Read of its own: its trailers may wait.
			return buffered[0] != '0' && i+1 < len(buffered)
		}
	}
	return false
}

// next reads up to the next chunk's data. After the last chunk and its trailers it
// returns io.EOF.
func (d *Chunks) next() error {
	if d.inChunk {
		if err := expectCRLF(d.br); err != nil {
			return err
		}
		d.inChunk = false
	}
	line, err := readLine(d.br, maxChunkLine)
	if err != nil {
		return err
	}
	size, rest, ok := parseChunkSize(line)
	if !ok || d.strict && !validExtensions(rest) {
		return errMalformed("a chunk has no valid size")
	}
	if size == 0 {
		return d.readTrailers()
	}
	d.left, d.inChunk = size, true
	return nil
}

func expectCRLF(br source) error {
	for _, want := range []byte("\r\n") {
		c, err := br.ReadByte()
		if err != nil {
			return err
		}
		if c != want {
			return errMalformed("a chunk does not end where its size says")
		}
	}
	return nil
}

// readLine returns a line without its CRLF, valid until the next read.
func readLine(br source, limit int) ([]byte, error) {
	line, err := br.ReadSlice('\n')
	if err == bufio.ErrBufferFull || err == nil && len(line) > limit {
		return nil, errMalformed("a line between chunks is too long")
	}
	if err != nil {
		return nil, err
	}
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return nil, errMalformed("a line between chunks does not end in CRLF")
	}
	return line[:len(line)-2], nil
}

// parseChunkSize reads the hexadecimal size, and returns what stands behind it:
// nothing, padding, or extensions.
func parseChunkSize(line []byte) (size int64, rest []byte, ok bool) {
	for rest = line; len(rest) > 0 && isHexDigit(rest[0]); rest = rest[1:] {
		digit := rest[0]
		if digit > '9' {
			digit = digit&^0x20 - 'A' + '9' + 1
		}
		size = size<<4 | int64(digit-'0')
	}
	digits := len(line) - len(rest)
	extensions := trimSpace(rest)
	return size, rest, digits > 0 && digits <= 15 && (len(extensions) == 0 || extensions[0] == ';') && validValue(extensions)
}

func isHexDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// validExtensions reports whether what stands behind a chunk's size is nothing or
// extensions as RFC 9112 section 7.1.1 writes them.
func validExtensions(rest []byte) bool {
	for len(rest) > 0 {
		if rest = trimLeft(rest); len(rest) == 0 || rest[0] != ';' {
			return false
		}
		var name []byte
		if name, rest = cutToken(trimLeft(rest[1:])); len(name) == 0 {
			return false
		}
		value := trimLeft(rest)
		if len(value) == 0 || value[0] != '=' {
			continue
		}
		var ok bool
		if rest, ok = cutWord(trimLeft(value[1:])); !ok {
			return false
		}
	}
	return true
}

func trimLeft(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	return b
}

func cutToken(b []byte) (token, rest []byte) {
	n := 0
	for n < len(b) && isTokenByte(b[n]) {
		n++
	}
	return b[:n], b[n:]
}

// cutWord cuts a token or a quoted string off.
func cutWord(b []byte) (rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		token, rest := cutToken(b)
		return rest, len(token) > 0
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return b[i+1:], true
		}
	}
	return nil, false
}

// readTrailers reads the trailer section and returns io.EOF at its end.
func (d *Chunks) readTrailers() error {
	for total := 0; ; {
		line, err := readLine(d.br, maxTrailers)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return io.EOF
		}
		if total += len(line); total > maxTrailers {
			return errMalformed("the trailers are too large")
		}
		var f field
		if err := f.parse(line, answerNames); err != nil {
			return err
		}
		d.trailers = append(d.trailers, Trailer{Name: string(f.name), Value: string(f.value)})
	}
}
