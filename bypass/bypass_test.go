package bypass

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func at(seconds int64) func() time.Time {
	return func() time.Time { return time.Unix(seconds, 0) }
}

func open(t *testing.T, dir string, now func() time.Time) *Store {
	t.Helper()
	s, err := Open(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func names(set Set) (names []string) {
	for _, each := range set {
		names = append(names, each.String())
	}
	return names
}

// TestSwitchesOutliveTheProcess: what was set is there after every kind of end, since
// the file is written before Set returns.
func TestSwitchesOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, at(100))
	for _, err := range []error{
		s.Set(Experience, "b", ""), s.Set(Experience, "a", "wrong prices"), s.Set(Everything, "", ""), s.Set(Route, "a", ""), s.Set(Plugin, "p/q", ""),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"everything", "route a", "plugin p/q", "experience a", "experience b"}
	if diff := cmp.Diff(want, names(open(t, dir, at(200)).List())); diff != "" {
		t.Errorf("after a start (-want +got):\n%s", diff)
	}
	info, err := os.Stat(filepath.Join(dir, File))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: got %v, %v; want 0600", info.Mode(), err)
	}

	s = open(t, dir, at(300))
	for _, err := range []error{s.Lift(Route, "a"), s.Lift(Route, "a"), s.Lift(Route, "absent"), s.Set(Experience, "a", ""), s.Set(Experience, "b", "known now")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	list := open(t, dir, at(400)).List()
	if list.Off(Route, "a") || !list.Off(Experience, "a") || list.Off(Plugin, "a") {
		t.Errorf("after lifting: %v", list)
	}
	a, b := list[list.find(Experience, "a")], list[list.find(Experience, "b")]
	if a.Since.Unix() != 100 || a.Reason != "wrong prices" || b.Since.Unix() != 100 || b.Reason != "known now" {
		t.Errorf("setting what is set changed more than the reason: %v, %v", a, b)
	}
}

// TestDamagedFileTurnsEverythingOff: nobody knows what was off, so the visitor gets the
// origin's pages until somebody says otherwise.
func TestDamagedFileTurnsEverythingOff(t *testing.T) {
	f := func(text string) {
		t.Helper()
		dir := t.TempDir()
		path := filepath.Join(dir, File)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir, at(100))
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: got the error %v, want one that names the file", text, err)
		}
		if !s.List().Off(Everything, "") {
			t.Fatalf("%q: not everything is off", text)
		}
		if err := s.Lift(Everything, ""); err != nil {
			t.Fatal(err)
		}
		if again := open(t, dir, at(200)).List(); len(again) > 0 {
			t.Errorf("%q: off after lifting and a start: %v", text, again)
		}
		if kept, err := os.ReadFile(path + ".damaged"); err != nil || string(kept) != text {
			t.Errorf("%q: the damaged file is not kept: %q, %v", text, kept, err)
		}
	}
	whole := `{"version":1,"switches":[{"kind":"route","name":"a","since":"2026-01-02T03:04:05Z"}]}`
	if set, err := parse([]byte(whole)); err != nil || !set.Off(Route, "a") {
		t.Fatalf("a good file: %v, %v", set, err)
	}
	for cut := range len(whole) {
		f(whole[:cut])
	}
	f(strings.Repeat("\x00", len(whole)))
	f(whole + whole)
	f(strings.Replace(whole, "1", "2", 1))
	f(strings.Replace(whole, "kind", "kinder", 1))
	f(strings.Replace(whole, "route", "rout", 1))
	f(strings.Replace(whole, `"a"`, `"a\n"`, 1))
	f(whole + strings.Repeat(" ", maxFile))
}

// TestDamagedFileOnAFullDisk: a call that fails must not take the damaged file away,
// or the next start would find nothing off.
func TestDamagedFileOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, File)
	if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+".new", 0o700); err != nil { // it cannot be written, also not by root
		t.Fatal(err)
	}
	s, _ := Open(dir, at(100))
	if s.Lift(Everything, "") == nil || s.Set(Route, "a", "") == nil {
		t.Fatal("the file was written")
	}
	if again, err := Open(dir, at(200)); err == nil || !again.List().Off(Everything, "") {
		t.Errorf("after a start %v is off, with error %v", again.List(), err)
	}
}

// TestUnwritableFile: an emergency does not wait for the disk, and nothing comes back
// unasked.
func TestUnwritableFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, at(100))
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Set(Everything, "", ""); err == nil || !strings.Contains(err.Error(), "forgotten") {
		t.Errorf("set: got %v", err)
	}
	if !s.List().Off(Everything, "") {
		t.Error("the switch is not set")
	}
	if err := s.Lift(Everything, ""); err == nil {
		t.Error("lifted, and back after a start")
	}
	if !s.List().Off(Everything, "") {
		t.Error("the switch is lifted here and not in the file")
	}
}

// TestCheck: what a switch may be.
func TestCheck(t *testing.T) {
	f := func(s Switch, fault string) {
		t.Helper()
		err := s.Check()
		if (err == nil) != (fault == "") || err != nil && !strings.Contains(err.Error(), fault) {
			t.Errorf("%+v: got %v, want %q", s, err, fault)
		}
	}
	f(Switch{Kind: Everything}, "")
	f(Switch{Kind: Route, Name: "Weihnachten 2026", Reason: "falsche Preise – Grüße"}, "")
	f(Switch{Kind: Everything, Name: "a"}, "has no name")
	f(Switch{Kind: Route}, "missing")
	f(Switch{Kind: "segment", Name: "a"}, "expected everything, route, plugin or experience")
	f(Switch{Kind: Route, Name: "a\x1b[2J"}, "printable")
	f(Switch{Kind: Route, Name: "\xff"}, "printable")
	f(Switch{Kind: Route, Name: strings.Repeat("a", maxName+1)}, "255")
	f(Switch{Kind: Route, Name: "a", Reason: "two\nlines"}, "one line")
	f(Switch{Kind: Route, Name: "a", Reason: strings.Repeat("a", maxReason+1)}, "200")
}

// TestSwitchesAreBounded: the file and the reports stay small.
func TestSwitchesAreBounded(t *testing.T) {
	s := open(t, t.TempDir(), at(100))
	for i := range maxSwitches {
		s.set = s.set.with(Switch{Kind: Route, Name: fmt.Sprint(i)})
	}
	if err := s.Set(Route, "one more", ""); err == nil {
		t.Error("there is no limit")
	}
	if err := s.Set(Route, "7", ""); err != nil {
		t.Errorf("one that is set: %v", err)
	}
	if info, err := os.Stat(s.path); err != nil || info.Size() > maxFile {
		t.Errorf("a full file could not be read again: %v, %v", info, err)
	}
}
