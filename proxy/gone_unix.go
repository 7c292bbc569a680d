//go:build unix

package proxy

import "syscall"

// sealedRequest is the length of the shortest request, "GET / HTTP/1.0", over TLS.
const sealedRequest = 39

// gone reports whether the client's socket has ended: nothing more will come, and
// nothing has come that was not read. A client that ends only its own direction
// looks the same, and is taken for one that has left, as other proxies do. Over TLS
// the client's farewell may stand in front of the end.
func (c *conn) gone() bool {
	socket, ok := c.place.raw.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Control(func(fd uintptr) { // it minds no deadline
		var b [sealedRequest]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		gone = n == 0 && err == nil || err != nil && err != syscall.EAGAIN && err != syscall.EINTR ||
			c.tls != nil && n < len(b) && hasEnded(int(fd))
	})
	return gone || err != nil
}
