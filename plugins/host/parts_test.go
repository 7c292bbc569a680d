package host

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sedge-proxy/sedge/plugins"
)

// TestOnlySilenceMakesSuspect shows that a plugin which answers, if only with
// errors, is not replaced.
func TestOnlySilenceMakesSuspect(t *testing.T) {
	var stuck []int
	g := newGate(Config{BreakerFailures: 1, BreakerPause: 1}.withDefaults(), time.Now, func(n int) { stuck = append(stuck, n) })
	fail := func(err error) {
		g.note(context.Background(), err)
		g.reset()
	}
	fail(errors.New("no stock"))
	fail(context.DeadlineExceeded)
	if diff := cmp.Diff([]int{1}, stuck); diff != "" {
		t.Error(diff)
	}
}

func TestConfigFaults(t *testing.T) {
	faults := Validate([]Config{
		{Name: "Bad Name", Builtin: "fixture"},
		{Name: "a", Builtin: "nope"},
		{Name: "b"},
		{Name: "c", Builtin: "fixture", Command: []string{"x"}},
		{Name: "d", Command: []string{"x"}, InProcess: true},
		{Name: "d", Builtin: "fixture", Env: []string{"1=2"}, TLS: "maybe", Timeout: -1, MaxConcurrent: 1000, BreakerFailures: -1},
	}, []string{"fixture"})
	var paths []string
	for _, f := range faults {
		paths = append(paths, f.Path)
	}
	want := []string{
		"[0].name", "[1].builtin", "[2].command", "[3].command", "[4].in_process",
		"[5].name", "[5].env[0]", "[5].tls", "[5].timeout", "[5].max_concurrent", "[5].breaker_failures",
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Error(diff)
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	var got []time.Duration
	for range 12 {
		got = append(got, b.next(0))
	}
	if got[0] != 50*time.Millisecond || got[1] != 100*time.Millisecond || got[11] != 30*time.Second {
		t.Errorf("pauses are %v", got)
	}
	if again := b.next(time.Minute); again != 50*time.Millisecond {
		t.Errorf("after a stable run the pause is %s", again)
	}
}

func TestBreaker(t *testing.T) {
	now := time.Unix(0, 0)
	b := breaker{limit: 2, pause: time.Second}
	b.fail(now)
	if !b.allow(now) {
		t.Error("opened after one failure")
	}
	b.fail(now)
	if b.allow(now) {
		t.Error("did not open")
	}
	b.fail(now) // a call from before it opened
	if now = now.Add(time.Second); !b.allow(now) || b.allow(now) {
		t.Error("does not let exactly one try")
	}
	b.fail(now)
	if now = now.Add(time.Second); b.allow(now) {
		t.Error("the pause does not grow")
	}
	if now = now.Add(time.Second); !b.allow(now) {
		t.Error("does not try again")
	}
	b.forget()
	if !b.allow(now) {
		t.Error("a try that was given up blocks the next one")
	}
	b.succeed()
	for range 2 { // an open one lets one try pass
		if !b.allow(now) {
			t.Error("did not close")
		}
	}
}

func BenchmarkPlan(b *testing.B) {
	for name, cfg := range map[string]Config{
		"process":     {Name: "p", Builtin: "fixture"},
		"process/raw": {Name: "p", Builtin: "fixture", TLS: "off"},
		"in_process":  {Name: "p", Builtin: "fixture", InProcess: true},
	} {
		b.Run(name, func(b *testing.B) {
			h := New(Options{Builtins: map[string]plugins.Plugin{"fixture": fixture{}}, SelfCommand: func(string) []string { return selfCommand("serve") }})
			defer func() { _ = h.Close(context.Background()) }()
			if err := h.Reconcile(context.Background(), []Config{cfg}); err != nil {
				b.Fatal(err)
			}
			handle, err := h.Configure(context.Background(), "p", json.RawMessage(`{"text": "hi"}`))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := plan(handle); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
