//go:build !unix

package proxy

// watchSocket does nothing: a connection waits with a buffer of one byte.
func (c *conn) watchSocket() {}

func (c *conn) awaitSocket() error { panic("BUG: there is no socket to wait at") }
