package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
)

// passedFile is the first file descriptor that a supervisor passes on.
const passedFile = 3

// passedListener returns the site's listener if a supervisor holds it and has
// passed it on, as systemd does for a socket unit, and nil otherwise. It stays open
// while the node is restarted: who comes meanwhile waits and is not refused.
func passedListener() (net.Listener, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil // none, or they are for another process
	}
	if count := os.Getenv("LISTEN_FDS"); count != "1" {
		return nil, fmt.Errorf("LISTEN_FDS=%q: expected one socket, the site's", count)
	}
	file := os.NewFile(passedFile, "LISTEN_FDS")
	defer file.Close() // the listener has its own
	listener, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("take over the socket from LISTEN_FDS: %w", err)
	}
	return listener, nil
}
