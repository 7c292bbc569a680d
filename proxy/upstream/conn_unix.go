//go:build unix

package upstream

import "syscall"

// peekSocket looks into the socket without waiting and without taking anything.
func (c *conn) peekSocket(fd uintptr) bool {
	var b [1]byte
	n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	if c.peekErr = err; n > 0 {
		c.peekErr = nil
	}
	return true
}
