package proxy

import (
	"bufio"
	"io"

	"github.com/klauspost/compress/gzip"
)

// unpacker reads a gzip body as browsers do: member by member, and what stands
// behind the last one is padding.
type unpacker struct {
	raw    *rawReader
	source *bufio.Reader
	member *gzip.Reader // nil before the first body
}

func newUnpacker(raw *rawReader) *unpacker {
	return &unpacker{raw: raw, source: bufio.NewReader(raw)}
}

// begin reads the head of the first member of a new body.
func (u *unpacker) begin() error {
	u.source.Reset(u.raw)
	return u.next()
}

func (u *unpacker) next() error {
	if u.member == nil {
		member, err := gzip.NewReader(u.source)
		if err != nil {
			return err
		}
		u.member = member
	} else if err := u.member.Reset(u.source); err != nil {
		return err
	}
	u.member.Multistream(false)
	return nil
}

// Read unpacks what has come.
func (u *unpacker) Read(p []byte) (int, error) {
	for {
		n, err := u.member.Read(p)
		if n > 0 {
			u.raw.yielded = u.raw.n
		}
		if err != io.EOF {
			return n, err
		}
		if n > 0 {
			return n, nil // the end shows once more
		}
		if err := u.another(); err != nil {
			return 0, err
		}
	}
}

// another goes on to the next member, and returns io.EOF if there is none.
func (u *unpacker) another() error {
	magic, err := u.source.Peek(2)
	switch {
	case err == nil && magic[0] == 0x1f && magic[1] == 0x8b:
		return u.next()
	case err != nil && err != io.EOF:
		return err
	}
	// Padding is read to its end too, so that a break of the body is not overlooked
	// and its connection can be used again.
	for {
		if _, err := u.source.Discard(u.source.Size()); err != nil {
			return err
		}
	}
}
