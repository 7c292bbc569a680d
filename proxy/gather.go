package proxy

import (
	"bytes"
	"sync"
	"time"
)

// headBuffer is as large as nearly all heads.
const headBuffer = 4 << 10

// headBuffers lends out the buffers that heads are gathered in.
var headBuffers = sync.Pool{New: func() any {
	b := make([]byte, headBuffer)
	return &b
}}

// gather reads the head of a request before fasthttp sees its first byte. Until the
// head is whole, fasthttp holds none of its buffers, which are as large as a head
// may be, and while nothing comes there is no buffer at all: connections that are
// idle or slow cost next to nothing.
//
// An error is returned only if nothing came. What is wrong after that, and a head
// that is too large, shows when fasthttp reads on.
func (c *conn) gather() error {
	for {
		if c.in.left() == 0 {
			if err := c.awaitHead(); err != nil {
				return err
			}
		}
		c.fresh = false
		c.headEnds = time.Time{}
		c.phase.Store(phaseHead)
		whole := c.gatherRest()
		c.refused = !c.server.overload.admits(isSafe(c.in.rest[c.in.taken:]))
		if !c.refused || !whole || !c.refuseAtOnce() {
			return nil
		}
		c.phase.Store(phaseIdle)
	}
}

// gatherRest reads on to the end of the head, and reports whether that has come.
func (c *conn) gatherRest() bool {
	in := &c.in
	for seen := 0; !endsHead(in.skipEmptyLines(), seen); {
		seen = in.left()
		if seen >= int(c.server.cfg.MaxHeader) || c.armRead(phaseHead) != nil {
			return false
		}
		in.room()
		n, err := c.Conn.Read(in.rest[len(in.rest):cap(in.rest)])
		in.rest = in.rest[:len(in.rest)+n]
		if err != nil {
			return false
		}
	}
	return true
}

// skipEmptyLines drops empty lines in front of a head, as RFC 9112 section 2.2 asks,
// and returns what is left over. fasthttp would drop them too, but hold its buffers
// while it waits for the head.
func (in *intake) skipEmptyLines() []byte {
	for bytes.HasPrefix(in.rest[in.taken:], crlf) {
		in.taken += len(crlf)
	}
	return in.rest[in.taken:]
}

// endsHead reports whether p holds the empty line that ends a head. The first bytes
// of it, as many as were seen before, do not.
func endsHead(p []byte, seen int) bool {
	if len(p) > 0 && p[0] == '\n' || len(p) > 1 && p[0] == '\r' {
		return true // fasthttp decides what to make of it
	}
	p = p[max(0, min(len(p), seen)-2):]
	return bytes.Contains(p, []byte("\n\r\n")) || bytes.Contains(p, []byte("\n\n"))
}

// awaitHead waits for a request and reads what comes first of it.
func (c *conn) awaitHead() error {
	c.in.release()
	if err := c.armRead(phaseIdle); err != nil {
		return err
	}
	if c.in.raw != nil {
		return c.awaitSocket()
	}
	// TLS holds what came with the byte.
	if _, err := c.Conn.Read(c.in.first[:]); err != nil {
		return err
	}
	c.in.borrow()
	c.in.rest = append(c.in.rest, c.in.first[0])
	return nil
}

// borrow takes a buffer for a head.
func (in *intake) borrow() {
	in.lent = headBuffers.Get().(*[]byte)
	in.rest, in.taken = (*in.lent)[:0], 0
}

// release lets go of the buffer, which holds nothing that is not read.
func (in *intake) release() {
	if in.lent != nil {
		headBuffers.Put(in.lent)
		in.lent = nil
	}
	in.rest, in.taken = nil, 0
}

// room makes the buffer larger if it is full.
func (in *intake) room() {
	if len(in.rest) < cap(in.rest) {
		return
	}
	larger := append(make([]byte, 0, max(headBuffer, 2*in.left())), in.rest[in.taken:]...)
	in.release()
	in.rest = larger
}
