package upstream

import (
	"bufio"
	"bytes"
	"io"
	"sync"
)

const (
	// inboxSize takes in most pages with their heads by one read.
	inboxSize = 64 << 10

	// sealedInbox is as large as a record of TLS, of which one read gives no more.
	sealedInbox = 16 << 10
)

// inboxes, sealedInboxes and copyBuffers lend out buffers.
var (
	inboxes       = newLender(inboxSize)
	sealedInboxes = newLender(sealedInbox)
	copyBuffers   = newLender(copyBufferSize)
)

func newLender(size int) *sync.Pool {
	return &sync.Pool{New: func() any {
		b := make([]byte, size)
		return &b
	}}
}

// source is what answers and chunks are read from: an [inbox], or a [bufio.Reader].
type source interface {
	io.Reader
	io.ByteReader
	Buffered() int
	Peek(n int) ([]byte, error)
	ReadSlice(delim byte) ([]byte, error)
}

// inbox holds what an origin has sent and nobody has taken yet. It is what a
// [bufio.Reader] is, with three differences: it holds a large buffer only while
// there is something in it, so a connection that is idle, or waits for an answer,
// costs none; what lies in it can be taken without being copied; and the buffer can
// outlive the exchange, so that the connection is free when the body has come.
type inbox struct {
	conn *conn
	lent *[]byte // nil: nothing is there
	r, w int     // what is there
	err  error   // came behind it
}

// Buffered returns how much is there.
func (in *inbox) Buffered() int { return in.w - in.r }

// isEmpty reports whether nothing is there, not even an end.
func (in *inbox) isEmpty() bool { return in.r == in.w && in.err == nil }

// size is how much of it there can be at a time.
func (in *inbox) size() int {
	if in.conn.secure {
		return sealedInbox
	}
	return inboxSize
}

// borrow takes a buffer, if there is none.
func (in *inbox) borrow() {
	switch {
	case in.lent != nil:
	case in.conn.secure:
		in.lent = sealedInboxes.Get().(*[]byte)
	default:
		in.lent = inboxes.Get().(*[]byte)
	}
}

// detach parts the buffer from the inbox, which has been taken to its end.
func (in *inbox) detach() *[]byte {
	lent := in.lent
	in.lent, in.r, in.w = nil, 0, 0
	return lent
}

// release gives the buffer back, with whatever is in it.
func (in *inbox) release() { giveBack(in.detach()) }

// giveBack ends the loan of a buffer; nil is none.
func giveBack(lent *[]byte) {
	switch {
	case lent == nil:
	case len(*lent) == inboxSize:
		inboxes.Put(lent)
	case len(*lent) == copyBufferSize:
		copyBuffers.Put(lent)
	default:
		sealedInboxes.Put(lent)
	}
}

// fill reads what has come, waiting for at least one byte. There must be room.
func (in *inbox) fill() error {
	if err := in.err; err != nil {
		in.err = nil
		return err
	}
	if in.r == in.w {
		if in.conn.waits() {
			in.release()
		}
		in.r, in.w = 0, 0
	}
	n, err := in.conn.receive(in.conn.fillInbox)
	in.w += n
	if n > 0 {
		in.err, err = err, nil
	}
	return err
}

// room makes the part of the buffer behind what is there as large as it can be.
func (in *inbox) room() []byte {
	in.borrow()
	b := *in.lent
	if in.r > 0 {
		copy(b, b[in.r:in.w])
		in.r, in.w = 0, in.w-in.r
	}
	return b[in.w:]
}

// there returns what is there.
func (in *inbox) there() []byte {
	if in.lent == nil {
		return nil
	}
	return (*in.lent)[in.r:in.w]
}

// take takes the next n bytes, which are there. They are valid until the next read.
func (in *inbox) take(n int) []byte {
	part := in.there()[:n]
	in.r += n
	return part
}

// Peek returns the next n bytes without taking them.
func (in *inbox) Peek(n int) ([]byte, error) {
	for in.Buffered() < n {
		if in.Buffered() == in.size() {
			return in.there(), bufio.ErrBufferFull
		}
		if err := in.fill(); err != nil {
			return in.there(), err
		}
	}
	return in.there()[:n], nil
}

// ReadSlice reads to the next delim, and past it.
func (in *inbox) ReadSlice(delim byte) ([]byte, error) {
	for seen := 0; ; {
		if i := bytes.IndexByte(in.there()[seen:], delim); i >= 0 {
			return in.take(seen + i + 1), nil
		}
		seen = in.Buffered()
		if seen == in.size() {
			return in.take(seen), bufio.ErrBufferFull
		}
		if err := in.fill(); err != nil {
			return in.take(in.Buffered()), err
		}
	}
}

// ReadByte reads one byte.
func (in *inbox) ReadByte() (byte, error) {
	for in.Buffered() == 0 {
		if err := in.fill(); err != nil {
			return 0, err
		}
	}
	return in.take(1)[0], nil
}

// Read reads what is there, or else what comes. Much of it comes without a detour.
func (in *inbox) Read(p []byte) (int, error) {
	switch {
	case in.Buffered() > 0:
	case in.err == nil && len(p) >= in.size()/2:
		in.release()
		return in.conn.StrictConn.Read(p)
	default:
		if err := in.fill(); err != nil {
			return 0, err
		}
	}
	return copy(p, in.take(min(len(p), in.Buffered()))), nil
}
