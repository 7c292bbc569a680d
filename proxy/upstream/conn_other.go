//go:build !unix

package upstream

import "syscall"

// peekSocket cannot look into a socket on this system and takes it for quiet.
func (c *conn) peekSocket(uintptr) { c.peekErr = syscall.EAGAIN }

// canReadSocket says that whoever waits for an answer holds a buffer meanwhile.
const canReadSocket = false

func (c *conn) readSocket(uintptr) bool { return true }
