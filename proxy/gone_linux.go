package proxy

import "syscall"

// closeWait is the kernel's TCP_CLOSE_WAIT.
const closeWait = 8

// hasEnded reports whether the other side of a socket has ended, whatever has not been
// read of what it sent.
func hasEnded(fd int) bool {
	// The first byte of struct tcp_info is the state. Four are asked for, since
	// the package has a call for that.
	info, err := syscall.GetsockoptInet4Addr(fd, syscall.IPPROTO_TCP, syscall.TCP_INFO)
	return err == nil && info[0] == closeWait
}
