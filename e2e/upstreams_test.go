package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const originVariable = "SEDGE_E2E_ORIGIN"

// TestOriginProcess is no test but an origin server in a process of its own.
func TestOriginProcess(t *testing.T) {
	address := os.Getenv(originVariable)
	if address == "" {
		t.Skip("run by TestOneOfThreeServersIsKilled")
	}
	t.Fatal(http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<!doctype html><h1>%s</h1>", address)
	})))
}

func startOriginProcess(t *testing.T, address string) *os.Process {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestOriginProcess$")
	cmd.Env = append(os.Environ(), originVariable+"="+address)
	return startProgram(t, address, cmd)
}

// One of three servers dies without a word, again and again, while visitors read and
// the configuration is read anew: not one of them sees an error.
func TestOneOfThreeServersIsKilled(t *testing.T) {
	ports := freePorts(t, 3)
	var processes []*os.Process
	for _, address := range ports {
		processes = append(processes, startOriginProcess(t, address))
	}
	file := filepath.Join(t.TempDir(), "sedge.yaml")
	write := func(weight int) {
		t.Helper()
		servers := []any{}
		for _, address := range ports {
			servers = append(servers, map[string]any{"url": "http://" + address, "weight": weight})
		}
		text, err := json.Marshal(map[string]any{
			"server": map[string]any{"access_log": false},
			"upstreams": []any{map[string]any{
				"name": "site", "servers": servers, "slow_start": "200ms",
				"ejection": map[string]any{"time": "100ms", "max_time": "200ms"},
				"health":   map[string]any{"path": "/", "interval": "100ms"},
			}},
			"routes": []any{map[string]any{"name": "all", "upstream": "site"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file+".new", text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write(1)
	n := startServe(t, checkedBinary, file)

	var load sync.WaitGroup
	var stop atomic.Bool
	var good atomic.Int64
	counts := map[string]*atomic.Int64{}
	for _, address := range ports {
		counts["<!doctype html><h1>"+address+"</h1>"] = &atomic.Int64{}
	}
	for range 8 {
		load.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for !stop.Load() {
				resp, err := client.Get(n.site + "/")
				if err != nil {
					t.Errorf("a request failed: %v", err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				from := counts[string(body)]
				if err != nil || resp.StatusCode != 200 || from == nil {
					t.Errorf("got %s %v: %s", resp.Status, err, body)
					return
				}
				from.Add(1)
				good.Add(1)
			}
		})
	}
	defer load.Wait()
	defer stop.Store(true)
	more := func(what string, count *atomic.Int64, by int64) {
		t.Helper()
		before := count.Load()
		waitFor(t, 30*time.Second, what, func() error {
			if t.Failed() {
				t.FailNow()
			}
			if got := count.Load() - before; got < by {
				return fmt.Errorf("%d of %d", got, by)
			}
			return nil
		})
	}
	for round := range rounds(3, 50) {
		i := round % len(ports)
		victim := counts["<!doctype html><h1>"+ports[i]+"</h1>"]
		more("the server gets requests", victim, 50)
		if err := processes[i].Kill(); err != nil {
			t.Fatal(err)
		}
		for weight := range 5 {
			write(1 + weight%2)
			if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			more("visitors read on", &good, 50)
		}
		processes[i] = startOriginProcess(t, ports[i])
	}
	more("all are back", &good, 100)
}
