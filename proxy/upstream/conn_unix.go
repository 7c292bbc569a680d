//go:build unix

package upstream

import (
	"io"
	"os"
	"syscall"
)

const canReadSocket = true

// readSocket reads what is there into the inbox. It reports false if that is nothing.
func (c *conn) readSocket(fd uintptr) bool {
	if c.unsent != nil {
		// What comes from here on is noticed, since the poller was told before.
		if !c.send(fd) {
			return true
		}
		if c.peekErr == syscall.EAGAIN {
			return false
		}
	}
	room := c.inbox.room()
	n, err := syscall.Read(int(fd), room)
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), room)
	}
	if n > 0 {
		c.readN, c.readErr = n, nil
		return true
	}
	c.inbox.release()
	if err == syscall.EAGAIN {
		return false
	}
	if c.readN = 0; err == nil {
		c.readErr = io.EOF
	} else {
		c.readErr = os.NewSyscallError("read", err)
	}
	return true
}

// peekSocket looks into the socket without waiting and without taking anything.
func (c *conn) peekSocket(fd uintptr) {
	var b [1]byte
	n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	if c.peekErr = err; n > 0 {
		c.peekErr = nil
	}
}
