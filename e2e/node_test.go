package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout bounds how long a node may take to be ready, also on a busy machine.
const startTimeout = 60 * time.Second

// node is a running sedge process.
type node struct {
	t       *testing.T
	binary  string
	args    []string
	site    string // base URLs
	origin  string // of the sample shop; "" for serve
	admin   string
	dataDir string
	sockets []*os.File // the site's listeners, plain and TLS, if a supervisor holds them

	cmd    *exec.Cmd
	output *output
	ended  chan error // the process's end, once
}

// output collects what a process writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// startDemo runs `sedge demo` on free ports and waits until it is ready.
func startDemo(t *testing.T, build func() (string, error), more ...string) *node {
	t.Helper()
	ports := freePorts(t, 3)
	n := &node{t: t, site: "http://" + ports[0], origin: "http://" + ports[1], admin: "http://" + ports[2], dataDir: filepath.Join(t.TempDir(), "data")}
	n.args = append([]string{"demo", "--listen", ports[0], "--origin-listen", ports[1], "--admin-listen", ports[2], "--data-dir", n.dataDir}, more...)
	n.start(build)
	return n
}

// startServe runs `sedge serve` with a configuration file and waits until it is ready.
func startServe(t *testing.T, build func() (string, error), config string) *node {
	t.Helper()
	ports := freePorts(t, 2)
	n := &node{t: t, site: "http://" + ports[0], admin: "http://" + ports[1], dataDir: filepath.Join(t.TempDir(), "data")}
	n.args = []string{"serve", "-c", config, "--listen", ports[0], "--admin-listen", ports[1], "--data-dir", n.dataDir}
	n.start(build)
	return n
}

// serveConfig is startServe with a configuration given as values.
func serveConfig(t *testing.T, config map[string]any) *node {
	t.Helper()
	text, err := json.Marshal(config) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sedge.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return startServe(t, binary, path)
}

func (n *node) start(build func() (string, error)) {
	n.t.Helper()
	path, err := build()
	if err != nil {
		n.t.Fatal(err)
	}
	n.binary = path
	n.output = &output{}
	n.t.Cleanup(n.finish)
	n.launch()
}

// launch starts the process, also again after its end, and waits until it is ready.
func (n *node) launch() {
	n.t.Helper()
	n.spawn()
	waitFor(n.t, startTimeout, "the node is ready", func() error {
		select {
		case err := <-n.ended:
			n.ended <- err
			n.t.Fatalf("sedge %s ended: %v\n%s", n.args[0], err, n.output)
		default:
		}
		resp, err := http.Get(n.admin + "/readyz?verbose")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(resp.Body)
			return fmt.Errorf("readyz: %s %s", resp.Status, body)
		}
		return nil
	})
}

// spawn starts the process and waits for nothing.
func (n *node) spawn() { n.spawnInto(n.output) }

// spawnInto is spawn with another place for what the process writes.
func (n *node) spawnInto(out io.Writer) {
	n.t.Helper()
	n.cmd = exec.Command(n.binary, n.args...)
	if len(n.sockets) > 0 { // passed on as systemd does
		script := fmt.Sprintf(`LISTEN_FDS=%d LISTEN_FDNAMES=http:https LISTEN_PID=$$ exec "$0" "$@"`, len(n.sockets))
		n.cmd = exec.Command("/bin/sh", append([]string{"-c", script, n.binary}, n.args...)...)
		n.cmd.ExtraFiles = n.sockets
	}
	n.cmd.Stdout, n.cmd.Stderr = out, out
	n.cmd.Env = append(os.Environ(), "NO_COLOR=1")
	n.cmd.WaitDelay = 5 * time.Second // an orphan may hold the pipe
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan error) { ended <- cmd.Wait() }(n.cmd, n.ended)
}

// finish ends the process in order, and shows its output if the test failed.
func (n *node) finish() {
	if n.cmd.ProcessState == nil {
		_ = n.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-n.ended:
			if err != nil {
				n.t.Errorf("sedge %s ended with %v", n.args[0], err)
			}
		case <-time.After(30 * time.Second):
			n.t.Errorf("sedge %s does not end on SIGTERM", n.args[0])
			_ = n.cmd.Process.Kill()
			<-n.ended
		}
	}
	out := n.output.String()
	if strings.Contains(out, "DATA RACE") || strings.Contains(out, "panic:") || strings.Contains(out, `"msg":"panic"`) || strings.Contains(out, ` panicked"`) {
		n.t.Errorf("sedge %s raced or panicked", n.args[0])
	}
	if n.t.Failed() {
		n.t.Logf("output of sedge %s:\n%s", n.args[0], tail(out, 16<<10))
	}
}

// kill ends the process at once, as a power cut would.
func (n *node) kill() {
	n.t.Helper()
	if err := n.cmd.Process.Kill(); err != nil {
		n.t.Fatal(err)
	}
	<-n.ended
}

// stop ends the process in order and returns how it ended.
func (n *node) stop() error {
	n.t.Helper()
	n.signal(syscall.SIGTERM)
	return n.end()
}

func (n *node) signal(s os.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatal(err)
	}
}

// end waits for the process to end and returns how it did.
func (n *node) end() error {
	select {
	case err := <-n.ended:
		return err
	case <-time.After(30 * time.Second):
		return errors.New("still running 30 s after SIGTERM")
	}
}

// token reads the admin token.
func (n *node) token() string {
	n.t.Helper()
	body, err := os.ReadFile(filepath.Join(n.dataDir, "admin.token"))
	if err != nil {
		n.t.Fatal(err)
	}
	return strings.TrimSpace(string(body))
}

// ask calls the admin API, which must answer with 200, and reads its JSON.
func (n *node) ask(path string, answer any) {
	n.t.Helper()
	req, err := http.NewRequest(http.MethodGet, n.admin+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+n.token())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil || resp.StatusCode != http.StatusOK {
		n.t.Fatalf("GET %s: %s, %v", path, resp.Status, err)
	}
}

// report asks the admin API for the report.
func (n *node) report() (r report) {
	n.t.Helper()
	n.ask("/api/v1/report", &r)
	return r
}

// run executes a command of the same binary and returns what it printed.
func run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	return runBinary(t, binary, args...)
}

func runBinary(t *testing.T, build func() (string, error), args ...string) (stdout, stderr string, err error) {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// children returns the processes that the node started.
func (n *node) children() []int {
	n.t.Helper()
	return childrenOf(n.t, n.cmd.Process.Pid)
}

func childrenOf(t *testing.T, parent int) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if state, ppid := processState(pid); ppid == parent && state != "Z" {
			pids = append(pids, pid)
		}
	}
	return pids
}

// processState returns the state letter and the parent of a process; "" if it is gone.
func processState(pid int) (state string, parent int) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0
	}
	// pid (name) state ppid …; the name may hold spaces and parentheses.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return "", 0
	}
	parent, _ = strconv.Atoi(fields[1])
	return fields[0], parent
}

// waitFor polls until ok returns nil, and fails the test with its last error when
// the time is over.
func waitFor(t *testing.T, limit time.Duration, what string, ok func() error) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(limit)
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("waited %s until %s: %v", limit, what, err)
		}
	}
}

// freePorts returns addresses that nothing listens on.
func freePorts(t *testing.T, count int) []string {
	t.Helper()
	addresses := make([]string, count)
	for i := range addresses {
		l := listenAside(t)
		defer l.Close() // after all are chosen, so that they differ
		addresses[i] = l.Addr().String()
	}
	return addresses
}

// listenAside listens on a port that the system gives to no connection by itself, so
// that it is still free when a node is told to take it.
func listenAside(t *testing.T) net.Listener {
	t.Helper()
	for range 100 {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))); err == nil {
			return l
		}
	}
	t.Fatal("no port is free")
	return nil
}

// tail returns the last n bytes of a text.
func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "…" + s[len(s)-n:]
}

// metric returns the value of a metric, with its labels if it has some.
func (n *node) metric(name string) float64 {
	n.t.Helper()
	value, found := n.metrics()[name]
	if !found {
		n.t.Fatalf("no metric %s", name)
	}
	return value
}

// metrics returns all metrics by name and labels.
func (n *node) metrics() map[string]float64 {
	n.t.Helper()
	resp, err := http.Get(n.admin + "/metrics")
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	values := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		at := strings.LastIndexByte(strings.TrimSpace(line), ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		if value, err := strconv.ParseFloat(strings.TrimSpace(line[at+1:]), 64); err == nil {
			values[line[:at]] = value
		}
	}
	return values
}
