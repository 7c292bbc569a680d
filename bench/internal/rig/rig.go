// Package rig is what benchmarks of the built binary share: the node on a core of its
// own, an origin, and the connections of the load.
package rig

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Main runs a benchmark on the second core, where its load and its origin do not
// disturb what it measures on the first, and ends the program with 1 if it fails.
// Flags must have been read.
func Main(name string, run func() error) {
	const pinned = "BENCH_PINNED"
	if os.Getenv(pinned) == "" {
		run = func() error { return runPinned(pinned) }
	}
	err := run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) { // one that ended has said why
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	}
	if err != nil {
		os.Exit(1)
	}
}

// runPinned runs this program again, on the second core, and tells it so.
func runPinned(told string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command("taskset", append([]string{"-c", "1", self}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), told+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// Process runs on the first core.
type Process struct {
	cmd *exec.Cmd
	log string
}

// Start starts a program, whose standard error goes to the file log.
func Start(log, program string, args ...string) (*Process, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	p := &Process{cmd: exec.Command("taskset", append([]string{"-c", "0", program}, args...)...), log: log}
	p.cmd.Stderr = file
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return p, nil
}

// Await waits until somebody listens at the address, for 15 s.
func (p *Process) Await(address string) error {
	for range 300 {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("nobody listens at %s: %s", address, p.Log())
}

// Log returns the end of what the process wrote to its standard error.
func (p *Process) Log() string {
	text, _ := os.ReadFile(p.log)
	return string(text[max(0, len(text)-2000):])
}

// Stop asks the process to end, and waits until it has.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(os.Interrupt)
	_ = p.cmd.Wait()
}

// Memory returns the resident memory of the process in bytes.
func (p *Process) Memory() (int64, error) {
	kib, err := p.figure("status", "VmRSS: %d kB")
	return kib << 10, err
}

// Written returns how many bytes the process has had written to disks.
func (p *Process) Written() (int64, error) { return p.figure("io", "write_bytes: %d") }

// figure returns the number in the line of a file in /proc that has a form.
func (p *Process) figure(file, form string) (n int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, form, &n); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("process %d has no line %q in %s", p.cmd.Process.Pid, form, file)
}

// CPU returns the time that the threads of the process and of its children have run.
func (p *Process) CPU() (time.Duration, error) {
	own := strconv.Itoa(p.cmd.Process.Pid)
	pids := []string{own}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, stat := range stats {
		text, err := os.ReadFile(stat)
		if err != nil {
			continue // it has ended
		}
		_, behind, _ := strings.Cut(string(text), ") ")
		if fields := strings.Fields(behind); len(fields) > 1 && fields[1] == own {
			pids = append(pids, filepath.Base(filepath.Dir(stat)))
		}
	}
	var all time.Duration
	for _, pid := range pids {
		threads, err := filepath.Glob("/proc/" + pid + "/task/*/schedstat")
		if err != nil || len(threads) == 0 {
			return 0, fmt.Errorf("no times of process %s: %v", pid, err)
		}
		for _, thread := range threads {
			text, err := os.ReadFile(thread)
			if err != nil {
				return 0, err
			}
			ran, _, _ := strings.Cut(string(text), " ")
			ns, err := strconv.ParseInt(ran, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", thread, err)
			}
			all += time.Duration(ns)
		}
	}
	return all, nil
}

// Node is a Sedge process.
type Node struct {
	*Process
	Site, Admin string // addresses of its listeners
	Data        string // its data directory
}

// Build builds Sedge into a directory and returns the binary's path.
func Build(dir string) (binary string, err error) {
	binary = filepath.Join(dir, "sedge")
	build := exec.Command("go", "build", "-o", binary, "./cmd/sedge")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, text)
	}
	return binary, nil
}

// StartNode starts a node that keeps all it has in a directory, and waits until it
// serves. It goes on with the data of the one that ran there before.
func StartNode(binary, dir, config string) (*Node, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "sedge.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	n := &Node{Site: FreeAddress(), Admin: FreeAddress(), Data: filepath.Join(dir, "data")}
	var err error
	n.Process, err = Start(filepath.Join(dir, "log"), binary, "serve", "-c", file, "--listen", n.Site, "--admin-listen", n.Admin, "--data-dir", n.Data)
	if err != nil {
		return nil, err
	}
	if err := n.Await(n.Site); err != nil {
		n.Stop()
		return nil, err
	}
	return n, nil
}

// FreeAddress returns an address of this machine at which nobody listens.
func FreeAddress() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
