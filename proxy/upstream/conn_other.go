//go:build !unix

package upstream

import "syscall"

// peekSocket cannot look into a socket on this system and takes it for quiet.
func (c *conn) peekSocket(uintptr) bool {
	c.peekErr = syscall.EAGAIN
	return true
}
