// Package plugintest checks that a plugin keeps the contract of package plugins.
//
// The test of a plugin's package is short:
//
//	func TestMain(m *testing.M) { plugintest.Main(m, greeting{}) }
//
//	func TestContract(t *testing.T) {
//		plugintest.Run(t, greeting{}, plugintest.Suite{
//			Samples: []plugintest.Sample{{
//				Name: "german", Settings: `{"hello": {"other": "Hi", "de": "Hallo"}}`,
//				Requests: []plugins.Request{{Attributes: map[string]string{"language": "de"}}},
//			}},
//			Bad: []plugintest.Bad{{Settings: `{"helo": {}}`, Path: "helo"}},
//		})
//	}
//
// Every check runs three times: on the plugin itself, through the wire format, and
// in a real process, which is the test binary started again (that is what [Main]
// is for). All three must answer alike.
package plugintest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/plugins"
	"github.com/sedge-proxy/sedge/plugins/host"
	"github.com/sedge-proxy/sedge/plugins/internal/wire"
	"github.com/sedge-proxy/sedge/plugins/sdk"
)

// Main is a package's TestMain: it serves p if this process was started as a
// plugin by [Run], and else runs the tests.
func Main(m *testing.M, p plugins.Plugin) {
	if sdk.Started() {
		sdk.Serve(p)
		return
	}
	os.Exit(m.Run())
}

// Suite is what is known of a plugin.
type Suite struct {
	Samples []Sample
	Bad     []Bad

	// Check, if set, says whether an edit can run, as the rewriter would.
	Check func(plugins.Edit) error
}

// Sample is a good configuration.
type Sample struct {
	Name     string
	Settings string            // JSON
	Requests []plugins.Request // what falls outside the scope is not sent

	// Want, if not nil, holds the expected edits for each request.
	Want [][]plugins.Edit
}

// Bad is a configuration that the plugin must refuse.
type Bad struct {
	Settings string // JSON
	Path     string // of one of the setting errors
}

// instance is a configured plugin, wherever it runs.
type instance struct {
	scope decision.Scope
	plan  func(context.Context, *plugins.Request) (*plugins.Answer, error)
	close func()
}

// place is where a plugin runs.
type place struct {
	describe  func() plugins.Description
	configure func(context.Context, json.RawMessage) (*instance, error)
}

// Run checks p against the contract.
func Run(t *testing.T, p plugins.Plugin, s Suite) {
	t.Helper()
	t.Run("direct", func(t *testing.T) { check(t, direct(p), p, s) })
	t.Run("wire", func(t *testing.T) { check(t, overWire(t, p), p, s) })
	t.Run("process", func(t *testing.T) { check(t, inProcess(t, p), p, s) })
}

func direct(p plugins.Plugin) place {
	return place{describe: p.Describe, configure: func(ctx context.Context, raw json.RawMessage) (_ *instance, err error) {
		defer func() {
			if value := recover(); value != nil {
				err = fmt.Errorf("panic: %v", value)
			}
		}()
		i, err := p.Configure(ctx, raw)
		if err != nil {
			return nil, err
		}
		if err := wire.CheckInstance(i); err != nil {
			return nil, err
		}
		end := i.Close
		if end == nil {
			end = func() {}
		}
		plan := func(ctx context.Context, r *plugins.Request) (*plugins.Answer, error) {
			a, err := i.Plan(ctx, r)
			if a == nil && err == nil {
				a = new(plugins.Answer)
			}
			return a, err
		}
		return &instance{scope: i.Scope, plan: plan, close: end}, nil
	}}
}

func overWire(t *testing.T, p plugins.Plugin) place {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, stop, err := wire.Loopback(ctx, p, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("connect over the wire: %v", err)
	}
	t.Cleanup(stop)
	return direct(client)
}

func inProcess(t *testing.T, p plugins.Plugin) place {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := host.New(host.Options{})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Errorf("close the host: %v", err)
		}
	})
	name := p.Describe().Name
	// A test binary without Main would run all tests again instead of serving.
	cfg := host.Config{Name: name, Command: []string{self, "-test.run=^$"}, Timeout: 10 * time.Second, MaxConcurrent: 64}
	if err := h.Reconcile(context.Background(), []host.Config{cfg}); err != nil {
		t.Fatalf("start the plugin as a process (does TestMain call plugintest.Main?): %v", err)
	}
	return place{
		describe: func() plugins.Description { return h.Status()[0].Description },
		configure: func(ctx context.Context, raw json.RawMessage) (*instance, error) {
			handle, err := h.Configure(ctx, name, raw)
			if err != nil {
				return nil, err
			}
			return &instance{scope: handle.Scope(), plan: handle.Plan, close: handle.Close}, nil
		},
	}
}
