package upstream

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"
)

// ErrLate says that no more of a body came in time; nothing of it is lost.
var ErrLate = errors.New("no more of the body has come yet")

// ReadBefore reads as Read does, but waits for the next byte only until a moment.
// After it, it reads what is there already: on a busy machine the moment may pass
// before this goroutine has its turn. It returns ErrLate when nothing is
// there, and in front of what stands between chunks and is larger than the buffer,
// which is left to Read.
func (b *TakenBody) ReadBefore(p []byte, until time.Time) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.readBefore(p, until)
	switch {
	case err == nil || n > 0 && isTimeout(err):
		return n, nil
	case isTimeout(err):
		return 0, ErrLate
	case err != io.EOF:
		err = fail("read answer body", err)
	}
	_ = (*Body)(b).finish(err)
	return n, err
}

// arrivedTime is the limit of a read of what has arrived, which waits for nothing.
const arrivedTime = time.Second

// patience is how long a read that has time until then may take; 0: it would wait
// for too long. What TLS has read but not given out does not show.
func (c *conn) patience(until time.Time) time.Duration {
	if wait := time.Until(until); wait > 0 {
		return wait
	}
	if c.hasArrived() {
		return arrivedTime
	}
	return 0
}

// hasArrived reports whether something is at the socket.
func (c *conn) hasArrived() bool {
	if c.raw == nil || c.secure {
		return false
	}
	err := c.raw.Control(c.look) // it minds no deadline
	return err == nil && c.peekErr == nil
}

// readBefore reads with a shorter limit than usual.
func (b *TakenBody) readBefore(p []byte, until time.Time) (int, error) {
	if b.stream != nil {
		wait := time.Until(until)
		if wait <= 0 {
			return 0, os.ErrDeadlineExceeded
		}
		return b.stream.readWithin(p, wait)
	}
	c := b.conn
	wait := c.patience(until)
	if wait <= 0 && c.inbox.Buffered() == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	idle := c.ReadIdle
	c.ReadIdle = max(wait, time.Microsecond) // the buffer is read without waiting
	defer func() {
		if c.ReadIdle = idle; idle <= 0 {
			_ = c.setReadUntil(time.Time{})
		}
	}()
	if b.framing == byChunks && b.chunks.left == 0 {
		if err := b.awaitChunk(until); err != nil {
			return 0, err
		}
	}
	return (*Body)(b).receive(p)
}

// awaitChunk waits until what stands in front of the next chunk's data, or all that
// follows the last chunk, can be read at once: reading a part of it and stopping
// would lose that part. What is wrong with it shows when it is read. An origin that
// sends it byte by byte gets no more time than any other.
func (b *TakenBody) awaitChunk(until time.Time) error {
	in := &b.conn.inbox
	for !b.chunkBuffered() {
		b.conn.ReadIdle = b.conn.patience(until)
		if b.conn.ReadIdle <= 0 || in.Buffered() == in.size() {
			return os.ErrDeadlineExceeded
		}
		if _, err := in.Peek(in.Buffered() + 1); err != nil {
			return err
		}
	}
	return nil
}

// chunkBuffered looks for a whole size line in the buffer, and behind it for a byte
// of the chunk or, after the last one, for the end of the trailers.
func (b *TakenBody) chunkBuffered() bool {
	buffered := b.conn.inbox.there()
	if b.chunks.inChunk {
		buffered = buffered[min(2, len(buffered)):]
	}
	for at, c := range buffered {
		if c != '\n' {
			continue
		}
		size, _, ok := parseChunkSize(bytes.TrimSuffix(buffered[:at], []byte("\r")))
		if ok && size == 0 {
			return endsInEmptyLine(buffered[at+1:])
		}
		return at+1 < len(buffered)
	}
	return false
}

// endsInEmptyLine reports whether a section of fields is complete.
func endsInEmptyLine(section []byte) bool {
	empty := true
	for _, c := range section {
		switch c {
		case '\n':
			if empty {
				return true
			}
			empty = true
		case '\r':
		default:
			empty = false
		}
	}
	return false
}
