package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

const (
	// passedFile is the first file descriptor that a supervisor passes on.
	passedFile = 3
	// secureSocket is the name of a socket that is for TLS.
	secureSocket = "https"
)

// passedListeners returns the site's listeners if a supervisor holds them and has
// passed them on, as systemd does for socket units, and nil for what it does not
// hold. They stay open while the node is restarted: who comes meanwhile waits and
// is not refused.
func passedListeners() (plain, secure net.Listener, err error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil, nil // none, or they are for another process
	}
	count, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for i := range count {
		listener, err := fileListener(passedFile + i)
		if err != nil {
			return nil, nil, fmt.Errorf("take over socket %d of LISTEN_FDS: %w", i+1, err)
		}
		place := &plain
		if i < len(names) && names[i] == secureSocket {
			place = &secure
		}
		if *place != nil {
			return nil, nil, fmt.Errorf("LISTEN_FDNAMES=%q: expected at most one socket named %s and one of another name", os.Getenv("LISTEN_FDNAMES"), secureSocket)
		}
		*place = listener
	}
	return plain, secure, nil
}

func fileListener(descriptor int) (net.Listener, error) {
	file := os.NewFile(uintptr(descriptor), "LISTEN_FDS")
	defer file.Close() // the listener has its own
	return net.FileListener(file)
}
