package e2e

import (
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// startProgram runs a program that serves at an address until the test ends, and
// shows what it wrote if the test failed.
func startProgram(t *testing.T, address string, cmd *exec.Cmd) *os.Process {
	t.Helper()
	out := &output{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("output of %s:\n%s", cmd.Args[0], tail(out.String(), 8<<10))
		}
	})
	waitFor(t, startTimeout, cmd.Args[0]+" serves", func() error {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v", cmd.Args[0], err)
		default:
		}
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		return c.Close()
	})
	return cmd.Process
}

// program finds a program that make setup installs. Without it a test is skipped,
// but never in CI.
func program(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	missing(t, "no "+names[len(names)-1]+"; make setup installs it")
	return ""
}

// missing skips a test for want of something, but fails it in CI.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}
