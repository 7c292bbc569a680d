package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sedge-proxy/sedge/plugins"
)

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newHost(t *testing.T) (*Host, *syncBuffer) {
	t.Helper()
	log := new(syncBuffer)
	h := New(Options{
		Logger:      slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Builtins:    map[string]plugins.Plugin{"fixture": fixture{}},
		SelfCommand: func(string) []string { return selfCommand("serve") },
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return h, log
}

func reconcile(t *testing.T, h *Host, cfgs ...Config) {
	t.Helper()
	if err := h.Reconcile(context.Background(), cfgs); err != nil {
		t.Fatal(err)
	}
}

func configure(t *testing.T, h *Host, name, settings string) *Handle {
	t.Helper()
	handle, err := h.Configure(context.Background(), name, json.RawMessage(settings))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(handle.Close)
	return handle
}

func plan(h *Handle) (*plugins.Answer, error) {
	return h.Plan(context.Background(), &plugins.Request{Segment: "vip", Attributes: map[string]string{"language": "de"}})
}

// eventually polls until ok, for at most ten seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("after 10 s still not: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// TestContract runs over a process and over the same plugin in this process.
func TestContract(t *testing.T) {
	for name, cfg := range map[string]Config{
		"process":     {Name: "p", Builtin: "fixture"},
		"without TLS": {Name: "p", Command: selfCommand("serve"), TLS: "off"},
		"in process":  {Name: "p", Builtin: "fixture", InProcess: true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Timeout = 300 * time.Millisecond
			h, _ := newHost(t)
			reconcile(t, h, cfg)
			contract(t, h)
		})
	}
}

func contract(t *testing.T, h *Host) {
	t.Run("answers", func(t *testing.T) {
		handle := configure(t, h, "p", `{"text": "hi"}`)
		if diff := cmp.Diff(plugins.Scope{Segment: true, Attributes: []string{"language"}}, handle.Scope()); diff != "" {
			t.Error(diff)
		}
		if d := handle.Description(); d.Name != "fixture" || d.Version != "1.2.3" {
			t.Errorf("description is %+v", d)
		}
		a, err := plan(handle)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(a.Edits[0].Text, "hi/vip/de/") || a.TTL != time.Minute {
			t.Errorf("answer is %+v", a)
		}
	})
	t.Run("whole answers cross", func(t *testing.T) {
		a, err := plan(configure(t, h, "p", `{"do": "all"}`))
		if err != nil {
			t.Fatal(err)
		}
		want, _ := fixtureSettings{Do: "all"}.plan(context.Background(), &plugins.Request{})
		a.TTL = want.TTL // in whole milliseconds over the wire
		if diff := cmp.Diff(want, a); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("no answer is an empty one", func(t *testing.T) {
		if a, err := plan(configure(t, h, "p", `{"do": "nothing"}`)); err != nil || len(a.Edits) != 0 {
			t.Errorf("got %+v, %v", a, err)
		}
	})
	t.Run("requests need not be UTF-8", func(t *testing.T) {
		handle := configure(t, h, "p", `{}`)
		if _, err := handle.Plan(context.Background(), &plugins.Request{Segment: "a\xff", Attributes: map[string]string{"language": "\xfe"}}); err != nil {
			t.Error(err)
		}
	})
	t.Run("setting errors keep their paths", func(t *testing.T) {
		_, err := h.Configure(context.Background(), "p", json.RawMessage(`{"do": "refuse"}`))
		list := plugins.SettingErrors(err)
		if len(list) != 2 || list[0].Path != "a[0].b" || list[1].Path != "c" || list[1].Message != "second" {
			t.Errorf("got %+v", list)
		}
		if !strings.Contains(err.Error(), "the moon") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a panic in Configure", func(t *testing.T) {
		_, err := h.Configure(context.Background(), "p", json.RawMessage(`{"do": "panic-configure"}`))
		if err == nil || !strings.Contains(err.Error(), "configure went wrong") {
			t.Errorf("got %v", err)
		}
	})
	failures(t, h)
	t.Run("a closed handle", func(t *testing.T) {
		handle := configure(t, h, "p", `{}`)
		handle.Close()
		handle.Close()
		assertKind(t, handle, Closed)
	})
}

func failures(t *testing.T, h *Host) {
	for _, c := range []struct {
		do   string
		kind Kind
	}{
		{"hang", Timeout}, {"deaf", Timeout}, {"panic", Panic}, {"error", Failed},
		{"many", Invalid}, {"huge", Invalid}, {"not-utf8", Invalid}, {"negative", Invalid},
	} {
		t.Run("when it does "+c.do, func(t *testing.T) {
			if _, err := plan(configure(t, h, "p", `{}`)); err != nil { // closes the breaker's count
				t.Fatal(err)
			}
			handle := configure(t, h, "p", fmt.Sprintf(`{"do": %q}`, c.do))
			began := time.Now()
			assertKind(t, handle, c.kind)
			if took := time.Since(began); took > 1500*time.Millisecond {
				t.Errorf("took %s with a timeout of 300 ms", took)
			}
		})
	}
}

func assertKind(t *testing.T, h *Handle, want Kind) {
	t.Helper()
	_, err := plan(h)
	var e *Error
	if !errors.As(err, &e) || e.Kind != want || e.Reason() != string(want) {
		t.Errorf("got the error %v, want one of the kind %q", err, want)
	}
}

func TestStartErrorsSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		name    string
		command []string
		tls     string
		want    []string
	}{
		{"missing", []string{filepath.Join(dir, "nothing")}, "", []string{"was not found", "check the path"}},
		{"not in PATH", []string{"sedge-no-such-program"}, "", []string{"was not found"}},
		{"not executable", []string{write("data", "x", 0o600)}, "", []string{"may not be executed", "chmod +x"}},
		{"no program", []string{write("text", "no shebang", 0o700)}, "", []string{"does not run here", "build it for"}},
		{"dies", selfCommand("dies"), "", []string{"ended at its start (exit status 3)", "cannot open the price list"}},
		{"another program", []string{"true"}, "", []string{"ended at its start (exit status 0)", "is this a Sedge plugin?"}},
		{"says hello", selfCommand("says-hello"), "", []string{`answered "Hello, world!"`, "is this a Sedge plugin? Serve it with plugins/sdk"}},
		{"echo", []string{"echo", "hi"}, "", []string{`answered "hi"`, "is this a Sedge plugin?"}},
		{"endless line", selfCommand("endless-line"), "", []string{"is this a Sedge plugin?"}},
		{"silent", selfCommand("silent"), "", []string{"was not ready within 1s", "is this a Sedge plugin?"}},
		{"short certificate", selfCommand("short-cert"), "off", []string{"start program", "certificate"}},
		{"far away", selfCommand("far-away"), "off", []string{"loopback"}},
		{"other version", selfCommand("other-version"), "", []string{"another protocol", "plugins/sdk"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, _ := newHost(t)
			began := time.Now()
			err := h.Reconcile(context.Background(), []Config{{Name: "broken", Command: c.command, TLS: c.tls, StartTimeout: time.Second}})
			if err == nil {
				t.Fatal("started")
			}
			var broken *Error
			if !errors.As(err, &broken) || broken.Plugin != "broken" {
				t.Errorf("the error does not name the plugin: %#v", err)
			}
			for _, want := range append(c.want, `plugin "broken"`) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q:\n%v", want, err)
				}
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestReconcile(t *testing.T) {
	h, _ := newHost(t)
	stays := Config{Name: "stays", Builtin: "fixture"}
	changes := Config{Name: "changes", Builtin: "fixture"}
	reconcile(t, h, stays, changes, Config{Name: "goes", Builtin: "fixture"})
	pids := make(map[string]int)
	for _, s := range h.Status() {
		pids[s.Name] = s.PID
	}
	old := configure(t, h, "changes", `{"text": "old"}`)
	changes.Env = []string{"COLOUR=blue"}
	err := h.Reconcile(context.Background(), []Config{stays, changes, {Name: "broken", Command: []string{"/nowhere"}}})
	if err == nil || len(h.Status()) != 3 || h.Status()[0].PID != pids["changes"] {
		t.Fatalf("a failed reconcile changed something: %v, %+v", err, h.Status())
	}
	reconcile(t, h, stays, changes)
	now := h.Status()
	if len(now) != 2 || now[0].PID == pids["changes"] || now[1].PID != pids["stays"] {
		t.Errorf("status is %+v, was %v", now, pids)
	}
	eventually(t, "the removed process ends", func() bool { return gone(pids["goes"]) })
	a, err := plan(old)
	if err != nil || !strings.HasSuffix(a.Edits[0].Text, "/"+strconv.Itoa(pids["changes"])) {
		t.Errorf("the old handle got %+v, %v", a, err)
	}
	old.Close()
	eventually(t, "the replaced process ends with its last handle", func() bool { return gone(pids["changes"]) })
	if _, err := h.Configure(context.Background(), "goes", nil); err == nil || !strings.Contains(err.Error(), "there are: changes, stays") {
		t.Errorf("got %v", err)
	}
}

// TestTryUndone: a change that was taken back leaves the plugins as they were, with
// their processes, and ends what it started.
func TestTryUndone(t *testing.T) {
	h, _ := newHost(t)
	stays, changes, goes := Config{Name: "stays", Builtin: "fixture"}, Config{Name: "changes", Builtin: "fixture"}, Config{Name: "goes", Builtin: "fixture"}
	reconcile(t, h, stays, changes, goes)
	pids := func() map[string]int {
		list := make(map[string]int)
		for _, s := range h.Status() {
			list[s.Name] = s.PID
		}
		return list
	}
	before := pids()
	changes.Env = []string{"COLOUR=blue"}
	trial, err := h.Try(context.Background(), []Config{stays, changes, {Name: "comes", Builtin: "fixture"}})
	if err != nil {
		t.Fatal(err)
	}
	tried := pids()
	configure(t, h, "comes", `{}`).Close()
	trial.Undo()
	if diff := cmp.Diff(before, pids()); diff != "" {
		t.Errorf("the plugins are not those of before (-want +got):\n%s", diff)
	}
	for name := range before {
		if _, err := plan(configure(t, h, name, `{}`)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	eventually(t, "what the trial started ends", func() bool { return gone(tried["comes"]) && gone(tried["changes"]) })
}

func TestOutputReachesTheLog(t *testing.T) {
	h, log := newHost(t)
	reconcile(t, h, Config{Name: "p", Command: selfCommand("noisy")})
	if _, err := plan(configure(t, h, "p", `{"do": "loud"}`)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"this goes to standard output", "and this to standard error", `@message`, "xxxxxx"} {
		eventually(t, "the log has "+want, func() bool { return strings.Contains(log.String(), want) })
	}
}

func TestTooManyCallsAtATime(t *testing.T) {
	h, _ := newHost(t)
	reconcile(t, h, Config{Name: "p", Builtin: "fixture", MaxConcurrent: 2, Timeout: time.Second})
	handle := configure(t, h, "p", `{"do": "hang"}`)
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() { _, _ = handle.Plan(ctx, new(plugins.Request)) })
	}
	eventually(t, "two calls are running", func() bool { return h.Status()[0].Calls == 2 })
	assertKind(t, handle, Busy)
	cancel()
	wait.Wait()
	if s := h.Status()[0]; s.Failures != 0 || s.Refused != 1 {
		t.Errorf("calls that were given up count against the plugin: %+v", s)
	}
}

func TestBreakerOpensAndCloses(t *testing.T) {
	h, _ := newHost(t)
	reconcile(t, h, Config{Name: "p", Builtin: "fixture", InProcess: true, BreakerFailures: 3, BreakerPause: 20 * time.Millisecond})
	bad, good := configure(t, h, "p", `{"do": "error"}`), configure(t, h, "p", `{}`)
	for range 3 {
		assertKind(t, bad, Failed)
	}
	assertKind(t, good, Open)
	if s := h.Status()[0]; s.State != Paused {
		t.Errorf("status is %+v", s)
	}
	eventually(t, "the breaker lets one try", func() bool { _, err := plan(good); return err == nil })
	if s := h.Status()[0]; s.State != Running {
		t.Errorf("status is %+v", s)
	}
}
