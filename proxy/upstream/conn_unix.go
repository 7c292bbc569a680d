//go:build unix

package upstream

import "syscall"

// peekSocket looks into the socket without waiting and without taking anything.
func (c *conn) peekSocket(fd uintptr) bool {
	var b [1]byte
	c.peeked, _, c.peekErr = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return true
}
