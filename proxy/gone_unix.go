//go:build unix

package proxy

import "syscall"

// gone reports whether the client's socket has ended: nothing more will come, and
// nothing has come that was not read. A client that ends only its own direction
// looks the same, and is taken for one that has left, as other proxies do.
func (c *conn) gone() bool {
	socket, ok := c.Conn.(syscall.Conn)
	if !ok {
		return false // what TLS has read does not show
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Control(func(fd uintptr) { // it minds no deadline
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		gone = n == 0 && err == nil || err != nil && err != syscall.EAGAIN && err != syscall.EINTR
	})
	return gone || err != nil
}
