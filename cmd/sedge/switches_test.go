package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sedge-proxy/sedge/bypass"
	"github.com/sedge-proxy/sedge/dashboard"
	"github.com/sedge-proxy/sedge/plugins"
)

// TestSwitchesDuringReloads: what a switch says holds from the moment it is set, also
// while the configuration is read again, and each generation is released once.
func TestSwitchesDuringReloads(t *testing.T) {
	tn := startNode(t, fmt.Sprintf(greeting, "One"))
	var reloads sync.WaitGroup
	stop := make(chan struct{})
	reloads.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				tn.reload(context.Background(), tn.read, false)
			}
		}
	})
	s := switches{tn.node}
	for i := range 16 {
		kind, name := bypass.Kinds()[i%4], []string{"", "everything", "content", "hello"}[i%4]
		if err := s.Set(kind, name, ""); err != nil {
			t.Fatal(err)
		}
		if page := tn.page(); !strings.Contains(page, "Plain") {
			t.Fatalf("%s %s is off, and the page is %s", kind, name, page)
		}
		if err := s.Lift(kind, name); err != nil {
			t.Fatal(err)
		}
		if page := tn.page(); !strings.Contains(page, "One") {
			t.Fatalf("%s %s is lifted, and the page is %s", kind, name, page)
		}
	}
	close(stop)
	reloads.Wait()
	last := tn.current.Load()
	if n := last.sites.Load(); n != 1 {
		t.Errorf("%d sites of the last generation are in use", n)
	}
	if known := len(tn.upstreams.known); known != 1 {
		t.Errorf("%d upstreams are held", known)
	}
}

// TestSwitchNames: a switch is set for what there is, and stays when that goes.
func TestSwitchNames(t *testing.T) {
	tn := startNode(t, fmt.Sprintf(greeting, "One"))
	s := switches{tn.node}
	var unknown dashboard.UnknownNameError
	if err := s.Set(bypass.Experience, "helo", ""); !errors.As(err, &unknown) || !strings.Contains(err.Error(), "hello") {
		t.Errorf("a name that is none: got %v, want one that lists the names", err)
	}
	if err := errors.Join(s.Set(bypass.Experience, "hello", ""), s.Set(bypass.Plugin, "content", "")); err != nil {
		t.Fatal(err)
	}
	tn.write("site", strings.ReplaceAll(fmt.Sprintf(greeting, "Two"), "hello", "other"))
	tn.reload(t.Context(), tn.read, false)
	lost := func() (names []string) {
		for _, off := range s.Off() {
			if off.NamesNothing {
				names = append(names, off.String())
			}
		}
		return names
	}
	if diff := cmp.Diff([]string{"experience hello"}, lost()); diff != "" {
		t.Errorf("switches that name nothing (-want +got):\n%s", diff)
	}
	if err := errors.Join(s.Lift(bypass.Experience, "hello"), s.Lift(bypass.Plugin, "content")); err != nil {
		t.Fatal(err)
	}
	if page := tn.page(); !strings.Contains(page, "Two") || len(s.Off()) > 0 {
		t.Errorf("after lifting: %v, page %s", s.Off(), page)
	}
	if _, err := tn.current.Load().bound.handles[0].Plan(t.Context(), &plugins.Request{}); err != nil {
		t.Errorf("the generation was released with one of its sites: %v", err)
	}
}

// TestOffByConfiguration: what the file turns off is off after a reload, is shown, and
// no call lifts it.
func TestOffByConfiguration(t *testing.T) {
	on := fmt.Sprintf(greeting, "One")
	tn := startNode(t, on)
	s := switches{tn.node}
	f := func(from, to, want string, plugins ...string) {
		t.Helper()
		tn.write("site", on)
		clean, err := os.ReadFile(tn.file)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(clean), from, to, 1)
		if changed == string(clean) {
			t.Fatalf("%q is not in %s", from, clean)
		}
		if err := os.WriteFile(tn.file, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		tn.reload(t.Context(), tn.read, true)
		if last := tn.lastReload.Load(); last == nil || last.err != nil {
			t.Fatalf("%s: reload: %+v", to, last)
		}
		offs := s.Off()
		if len(offs) != 1 || !offs[0].Config || offs[0].String() != want {
			t.Errorf("%s: off is %+v", to, offs)
			return
		}
		if err := s.Lift(offs[0].Kind, offs[0].Name); err != nil || len(s.Off()) != 1 {
			t.Errorf("%s: lifted by a call: %v", to, err)
		}
		if page := tn.page(); !strings.Contains(page, "Plain") {
			t.Errorf("%s: the page is %s", to, page)
		}
		if diff := cmp.Diff(plugins, tn.plugins()); diff != "" {
			t.Errorf("%s: plugins (-want +got):\n%s", to, diff)
		}
	}
	f("server: {", "server: {bypass: true, ", "everything", "content")
	f("in_process: true", "in_process: true, disabled: true", "plugin content")
	f("name: hello\n", "name: hello\n    disabled: true\n", "experience hello", "content")
}
