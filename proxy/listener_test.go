package proxy

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// failingListener fails a few times before it takes a connection.
type failingListener struct {
	net.Listener
	errs []error
}

func (l *failingListener) Accept() (net.Conn, error) {
	if len(l.errs) == 0 {
		ours, theirs := net.Pipe()
		_ = theirs.Close()
		return ours, nil
	}
	err := l.errs[0]
	l.errs = l.errs[1:]
	return nil, err
}

// What is wrong for a moment, or with one connection, must not end the site.
func TestListenerOutlivesErrors(t *testing.T) {
	failed := func(number syscall.Errno) error {
		return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", number)}
	}
	n := start(t, pages(t, "text/plain", "ok"), setup{})
	l := &listener{server: n.server, Listener: &failingListener{errs: []error{
		failed(syscall.EMFILE), failed(syscall.ENOBUFS), failed(syscall.ENOMEM), failed(syscall.EPERM), failed(syscall.EPROTO), failed(syscall.ECONNABORTED),
	}}}
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.Close()
	if !strings.Contains(n.log.String(), "connections cannot be taken") {
		t.Error("nobody was told")
	}
	for _, err := range []error{net.ErrClosed, failed(syscall.EBADF), failed(syscall.EINVAL), errors.New("other")} {
		l.Listener = &failingListener{errs: []error{err}}
		if _, got := l.Accept(); got != err {
			t.Errorf("%v: got %v", err, got)
		}
	}
}
