//go:build unix

package proxy

import (
	"io"
	"os"
	"syscall"
)

// watchSocket makes awaitSocket work on a connection whose bytes nobody else reads.
func (c *conn) watchSocket() {
	socket, ok := c.Conn.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := socket.SyscallConn(); err == nil {
		c.in.raw, c.in.readable = raw, c.readSocket
	}
}

// awaitSocket waits without a buffer, and reads into one what has come.
func (c *conn) awaitSocket() error {
	c.in.err = nil
	if err := c.in.raw.Read(c.in.readable); err != nil {
		return err
	}
	return c.in.err
}

// readSocket reads what is there. It reports false if that is nothing.
func (c *conn) readSocket(fd uintptr) bool {
	in := &c.in
	in.borrow()
	n, err := syscall.Read(int(fd), in.rest[:cap(in.rest)])
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), in.rest[:cap(in.rest)])
	}
	switch {
	case n > 0:
		in.rest = in.rest[:n]
		return true
	case err == syscall.EAGAIN:
		in.release()
		return false
	case err == nil:
		err = io.EOF
	default:
		err = os.NewSyscallError("read", err)
	}
	in.release()
	in.err = err
	return true
}
