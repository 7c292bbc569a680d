package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sedge-proxy/sedge/bypass"
	"github.com/sedge-proxy/sedge/dashboard"
)

// askedFor counts how often the origin is asked while pages below /kept are.
func (tn *testNode) askedFor(paths ...string) int64 {
	tn.t.Helper()
	before := tn.visits.Load()
	for _, path := range paths {
		tn.get(path)
	}
	return tn.visits.Load() - before
}

// cacheCommand runs a command about the node's cache.
func (tn *testNode) cacheCommand(code int, args ...string) (out, errs string) {
	tn.t.Helper()
	args = append([]string{"cache"}, append(args, "--admin", tn.adminURL(), "--data-dir", tn.dir)...)
	got, out, errs := command(tn.t, args...)
	if got != code {
		tn.t.Errorf("%v: exit code %d, want %d: %s%s", args, got, code, out, errs)
	}
	return out, errs
}

// TestCachePurge: what a command names is asked for anew, and nothing else.
func TestCachePurge(t *testing.T) {
	tn := startNode(t, "")
	all := []string{"/kept/1", "/kept/2?a=b", "/kept/3"}
	f := func(want int64, said string, args ...string) {
		t.Helper()
		tn.askedFor(all...)
		if n := tn.askedFor(all...); n != 0 {
			t.Fatalf("the origin was asked %d times for what is kept", n)
		}
		if out, _ := tn.cacheCommand(0, append([]string{"purge"}, args...)...); !strings.Contains(out, said) {
			t.Errorf("%v: said %q, want %q", args, out, said)
		}
		if n := tn.askedFor(all...); n != want {
			t.Errorf("%v: the origin was asked %d times, want %d", args, n, want)
		}
	}
	f(1, "1 answer dropped.", "--url", tn.siteURL()+"/kept/1")
	f(1, "1 answer made stale.", "--url", tn.siteURL()+"/kept/1#top", "--soft")
	f(1, "1 answer dropped.", "--url", tn.siteURL()+"/kept/2?a=b")
	f(0, "0 answers dropped.", "--url", tn.siteURL()+"/kept/2")
	f(0, "0 answers dropped.", "--url", "http://other.example/kept/1")
	f(2, "2 answers dropped.", "--url", tn.siteURL()+"/kept/1", "--url", tn.siteURL()+"/kept/3")
	f(3, "Recorded", "--prefix", "/kept/")
	f(1, "Recorded", "--prefix", tn.siteURL()+"/kept/3")
	f(0, "Recorded", "--prefix", "http://other.example/")
	f(1, "Recorded", "--tag", "kept/2")
	f(3, "Recorded", "--tag", "all", "--soft")
	f(3, "3 answers dropped.", "--everything")
	f(3, "Recorded", "--everything", "--soft")

	out, _ := tn.cacheCommand(0, "purge", "--everything", "--format", "json")
	var done dashboard.Purged
	if err := json.Unmarshal([]byte(out), &done); err != nil || done.Dropped != 3 {
		t.Errorf("%s: %v", out, err)
	}
	if _, errs := tn.cacheCommand(1, "purge"); !strings.Contains(errs, "expected --url URL") {
		t.Errorf("nothing named: %s", errs)
	}
	if _, errs := tn.cacheCommand(1, "purge", "--url", "shop.example/a"); !strings.Contains(errs, `found "shop.example/a"; expected a URL, as in https://shop.example/a?b`) {
		t.Errorf("no URL: %s", errs)
	}
}

func TestCacheList(t *testing.T) {
	tn := startNode(t, "")
	if out, _ := tn.cacheCommand(0, "list"); !strings.Contains(out, "No such answer is kept. In memory are 0 answers, purged ones among them.") {
		t.Errorf("an empty cache: %s", out)
	}
	tn.askedFor("/kept/a", "/kept/b?q", "/kept/b?q")
	lines := func(args ...string) []string {
		out, _ := tn.cacheCommand(0, append([]string{"list"}, args...)...)
		return strings.Split(strings.TrimSpace(out), "\n")
	}
	if got := lines(); len(got) != 3 || !strings.HasPrefix(got[0], "STATUS ") || !strings.Contains(got[1], tn.siteURL()+"/kept/a ") ||
		!strings.HasPrefix(got[2], "200 ") || !strings.Contains(got[2], " 29 B ") || !strings.Contains(got[2], tn.siteURL()+"/kept/b?q  all kept/b") {
		t.Errorf("the list is\n%s", strings.Join(got, "\n"))
	}
	if got := lines("/kept/b"); len(got) != 2 {
		t.Errorf("with a prefix:\n%s", strings.Join(got, "\n"))
	}
	if got := lines("--limit", "1"); !strings.HasPrefix(got[len(got)-1], "There are more, 2 answers in all") {
		t.Errorf("with a limit:\n%s", strings.Join(got, "\n"))
	}
	tn.cacheCommand(0, "purge", "--prefix", "/kept/a", "--soft")
	if got := lines("/kept/a"); len(got) != 2 || !strings.HasPrefix(got[1], "200 (stale) ") {
		t.Errorf("after a soft purge:\n%s", strings.Join(got, "\n"))
	}
	var list dashboard.CacheList
	out, _ := tn.cacheCommand(0, "list", tn.siteURL()+"/kept/b", "--format", "json")
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Answers) != 1 || list.Answers[0].Hits != 1 || list.Usage.Answers != 2 {
		t.Errorf("as JSON: %v %s", err, out)
	}
	if out, _ := tn.cacheCommand(0, "stats"); !strings.Contains(out, "answers   2 ") || !strings.Contains(out, "128.0 MiB") || !strings.Contains(out, "1 hits, 2 misses (33.3 % hit)") {
		t.Errorf("stats:\n%s", out)
	}
	if _, errs := tn.cacheCommand(1, "list", "--limit", "5000"); !strings.Contains(errs, "expected 0 to 1000") {
		t.Errorf("a limit beyond the bound: %s", errs)
	}
	if _, errs := tn.cacheCommand(1, "list", "--format", "xml"); !strings.Contains(errs, "expected table or json") {
		t.Errorf("an unknown format: %s", errs)
	}
	text, err := json.Marshal(tn.status())
	if err != nil || !strings.Contains(string(text), `"cache":{"answers":2,`) {
		t.Errorf("status: %s, %v", text, err)
	}
}

// TestCacheIsOff: commands say so, and do not fail.
func TestCacheIsOff(t *testing.T) {
	tn := startNode(t, "cache: {disabled: true}\n")
	for _, args := range [][]string{{"purge", "--everything"}, {"list"}, {"stats"}} {
		if out, _ := tn.cacheCommand(0, args...); !strings.Contains(out, "The cache is off (cache.disabled in the configuration)") {
			t.Errorf("%v: %s", args, out)
		}
	}
	if !tn.cacheUsage().Disabled {
		t.Error("the status does not say that the cache is off")
	}
}

// TestCacheWithoutNode: errors say what to do next.
func TestCacheWithoutNode(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		if code, _, errs := command(t, append([]string{"cache", "stats"}, args...)...); code != 1 || !strings.Contains(errs, want) {
			t.Errorf("%v: got %d %q, want %q", args, code, errs, want)
		}
	}
	f("name another with --data-dir, or -c FILE", "--data-dir", t.TempDir())
	f("no node runs at http://127.0.0.1:1; the cache lives in its memory", "--admin", "http://127.0.0.1:1", "--data-dir", t.TempDir())
}

// TestSwitchesStopTheCache: what is off is answered by the origin alone, and what was kept
// is there again when the switch is lifted.
func TestSwitchesStopTheCache(t *testing.T) {
	const paths, changed = "/kept/1", "/kept/2"
	tn := startNode(t, fmt.Sprintf(greeting, "One"))
	s := switches{tn.node}
	tn.askedFor(paths, changed)
	if n := tn.askedFor(paths, changed); n != 0 {
		t.Fatalf("the origin was asked %d times for what is kept", n)
	}
	for _, off := range []bypass.Switch{{Kind: bypass.Everything}, {Kind: bypass.Route, Name: "everything"}} {
		stored := tn.cacheUsage().Stored
		if err := s.Set(off.Kind, off.Name, ""); err != nil {
			t.Fatal(err)
		}
		if n := tn.askedFor(paths, paths, "/kept/new", "/kept/new"); n != 4 || tn.cacheUsage().Stored != stored {
			t.Errorf("%s is off: the origin was asked %d times of 4, and %d answers were kept", off, n, tn.cacheUsage().Stored-stored)
		}
		answer, err := http.Post(tn.siteURL()+changed, "text/plain", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if err := s.Lift(off.Kind, off.Name); err != nil {
			t.Fatal(err)
		}
		if n := tn.askedFor(paths); n != 0 {
			t.Errorf("%s is lifted, and the origin is asked", off)
		}
		if n := tn.askedFor(changed); n != 1 {
			t.Errorf("%s is lifted, and what was changed meanwhile is shown as it was", off)
		}
	}
	if err := s.Set(bypass.Experience, "hello", ""); err != nil {
		t.Fatal(err)
	}
	if n := tn.askedFor(paths); n != 0 {
		t.Error("an experience is off, and what the origin said is forgotten")
	}
}

func TestByteCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 5 << 30: "5120.0 MiB"} {
		if got := byteCount(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	if got := printable("a\x1b[2Jé\u202e"); got != "a\uFFFD[2Jé\uFFFD" {
		t.Errorf("%q", got)
	}
}
