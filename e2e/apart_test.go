package e2e

import (
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cachings are what origins say of how their pages may be kept.
var cachings = map[string][]string{
	"nothing":    nil,
	"validators": {"ETag", `"v1"`, "Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"},
	"fresh":      {"Cache-Control", "max-age=600", "ETag", `"v1"`, "Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT", "Accept-Ranges", "bytes"},
	"shared":     {"Cache-Control", "max-age=0, s-maxage=600", "Vary", "Accept-Encoding"},
	"public":     {"Cache-Control", "public, max-age=600, immutable", "Expires", "Fri, 01 Jan 2100 00:00:00 GMT"},
	"varies":     {"Cache-Control", "max-age=600", "Vary", "X-Flavour", "ETag", `W/"v1"`},
	"aged":       {"Cache-Control", "max-age=600", "Age", "30"},
	"networks":   {"Cache-Control", "no-cache", "CDN-Cache-Control", "max-age=600", "Surrogate-Control", "max-age=600", "Surrogate-Key", "a b", "Cache-Tag", "a,b"},
	"private":    {"Cache-Control", "private, max-age=600", "ETag", `"v1"`},
	"no-cache":   {"Cache-Control", "no-cache", "ETag", `"v1"`, "Pragma", "no-cache"},
	"no-store":   {"Cache-Control", "no-store", "Pragma", "no-cache", "Expires", "0"},
	"cookie":     {"Cache-Control", "max-age=600", "Set-Cookie", "seen=1; Path=/"},
	"fixed":      {"Cache-Control", "max-age=600, no-transform", "ETag", `"v1"`},
	"digests":    {"Cache-Control", "max-age=600", "Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==", "Repr-Digest", "sha-256=:AA==:"},
}

// startCachings is an origin with a page for each of them, at PATH/NAME.
func startCachings(t *testing.T) string {
	page := "<!doctype html><title>page</title><h1>Shop</h1><div id=\"coupon\"></div><div id=\"mark\"></div>" + strings.Repeat("<p>text</p>\n", 300)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caching := cachings[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]]
		for i := 0; i+1 < len(caching); i += 2 {
			w.Header().Set(caching[i], caching[i+1])
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			_, _ = io.WriteString(w, page)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Add("Vary", "Accept-Encoding")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, page)
		_ = z.Close()
	}))
	t.Cleanup(origin.Close)
	return origin.URL
}

// TestArmsAreToldApartByNoHeader: whoever looks at headers cannot tell whether a page
// was changed, was left for comparison, or could not be changed: what reached only the
// changed pages would be a difference that no experiment is about.
func TestArmsAreToldApartByNoHeader(t *testing.T) {
	overEach(t, func(t *testing.T, p protocol) {
		plugin := buildCoupons(t)
		config := behind(startCachings(t), true)
		config["server"] = map[string]any{"personalize_budget": "5s", "access_log": false}
		config["plugins"] = []any{map[string]any{"name": "coupons", "command": []string{plugin}}, map[string]any{"name": "content", "in_process": true}}
		config["experiments"] = []any{map[string]any{"name": "test", "arms": []any{map[string]any{"name": "shown"}, map[string]any{"name": "control"}}}}
		mark := []any{map[string]any{"select": "#mark", "op": "set_inner", "text": "marked"}}
		config["experiences"] = []any{
			map[string]any{"name": "arm", "pages": []string{"/arm/**"}, "experiment": "test", "arm": "shown", "edits": mark},
			map[string]any{"name": "coupon", "pages": []string{"/page/**"}, "experiment": "test", "arm": "shown", "plugin": "coupons", "settings": map[string]any{"key": "k"}},
			map[string]any{"name": "held", "pages": []string{"/held/**"}, "holdout": "50%", "edits": mark},
		}
		f := p.open(t, config)

		// Two visitors of each sort, found by what they are shown.
		sorts := map[string][]*client{}
		for try := 0; try < 200 && (len(sorts) < 4 || slices.ContainsFunc(slices.Collect(maps.Values(sorts)), func(c []*client) bool { return len(c) < 2 })); try++ {
			for _, of := range []string{"arm", "held"} {
				c := f.client(t)
				marked := strings.Contains(c.page("/"+of+"/nothing").body, "marked")
				sort := fmt.Sprintf("%s %t", of, marked)
				sorts[sort] = append(sorts[sort], c)
			}
		}
		if len(sorts) != 4 {
			t.Fatalf("visitors: %v", sorts)
		}
		// Each of them looks at pages of their own, so that none was asked for before.
		looks := []*look{
			{name: "treatment", visitor: sorts["arm true"][0], base: "/page/1", want: "<b>"},
			{name: "control", visitor: sorts["arm false"][0], base: "/page/2"},
			{name: "treatment beside a hold-out", visitor: sorts["held true"][0], base: "/held/3", want: "marked"},
			{name: "hold-out", visitor: sorts["held false"][0], base: "/held/4"},
		}
		for _, l := range looks {
			l.all(t)
		}
		if err := os.Remove(plugin); err != nil { // so that it stays dead
			t.Fatal(err)
		}
		for _, pid := range f.children() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			waitGone(t, []int{pid})
		}
		failed := []*look{
			{name: "failed open, of the treatment", visitor: sorts["arm true"][1], base: "/page/5"},
			{name: "failed open, of the control", visitor: sorts["arm false"][1], base: "/page/6"},
		}
		for _, l := range failed {
			l.all(t)
		}
		if n := f.metric(`sedge_pages_failed_open_total{reason="plugin"}`); n < float64(len(cachings)) {
			t.Errorf("%v pages failed open", n)
		}
		for _, l := range append(looks[1:], failed...) {
			l.compare(t, looks[0])
		}
	})
}

// buildCoupons builds the example plugin.
func buildCoupons(t *testing.T) (path string) {
	t.Helper()
	path, err := coupons()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	own := t.TempDir() + "/coupons"
	if err := os.WriteFile(own, program, 0o700); err != nil {
		t.Fatal(err)
	}
	return own
}

// look is what one visitor finds in the headers of pages, by page and situation.
type look struct {
	name    string
	visitor *client
	base    string
	want    string // what stands in the page if it is changed
	heads   map[string]string
}

var (
	numbers = regexp.MustCompile(`\d+`)
	hashes  = regexp.MustCompile(`[0-9A-Za-z_-]{20}(\.[0-9A-Za-z_-]+)?`)
)

// all looks at all pages in all situations.
func (l *look) all(t *testing.T) {
	t.Helper()
	l.heads = map[string]string{}
	for _, caching := range slices.Sorted(maps.Keys(cachings)) {
		for _, coding := range []string{"identity", "gzip"} {
			path := l.base + "/" + coding + "/" + caching
			see := func(situation, method string, header ...string) answer {
				a := l.visitor.do(method, path, "", append([]string{"Accept-Encoding", coding}, header...)...)
				l.heads[caching+", "+coding+", "+situation] = fmt.Sprintf("%d\n%s", a.status, headText(a.header))
				if changed := l.want != "" && caching != "fixed"; a.status == http.StatusOK && method == http.MethodGet && strings.Contains(a.unpack(t), l.want) != (changed || l.want == "") {
					t.Errorf("%s: %s %s: want %q in %s", l.name, path, situation, l.want, tail(a.unpack(t), 400))
				}
				return a
			}
			see("HEAD at first", http.MethodHead)
			see("first", http.MethodGet)
			again := see("again", http.MethodGet)
			see("once more", http.MethodGet)
			see("HEAD", http.MethodHead)
			see("another's validator", http.MethodGet, "If-None-Match", `W/"0123456789abcdef01234567"`)
			see("the origin's validator", http.MethodGet, "If-None-Match", `"v1"`)
			see("a date", http.MethodGet, "If-Modified-Since", time.Now().UTC().Format(http.TimeFormat))
			see("a part", http.MethodGet, "Range", "bytes=0-9")
			see("reloaded", http.MethodGet, "Cache-Control", "max-age=0")
			see("reloaded by force", http.MethodGet, "Cache-Control", "no-cache", "Pragma", "no-cache")
			if tag := again.header.Get("ETag"); tag != "" {
				see("own validator", http.MethodGet, "If-None-Match", tag)
				see("own validator, reloaded", http.MethodGet, "If-None-Match", tag, "Cache-Control", "max-age=0")
			}
		}
	}
}

// headText writes a head without what differs between any two answers. Of validators
// the form is left, and of numbers that there are some.
func headText(h http.Header) string {
	var lines []string
	for name, values := range h {
		switch name {
		case "Date", "X-Request-Id", "Content-Length": // a page that comes late to Sedge has no length
			continue
		case "Age", "Cache-Status":
			values = []string{numbers.ReplaceAllString(strings.Join(values, " | "), "N")}
		case "Etag":
			values = []string{hashes.ReplaceAllString(strings.Join(values, " | "), "HASH")}
		}
		lines = append(lines, name+": "+strings.Join(values, " | "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (l *look) compare(t *testing.T, other *look) {
	t.Helper()
	failures := 0
	for _, where := range slices.Sorted(maps.Keys(merge(l.heads, other.heads))) {
		if l.heads[where] != other.heads[where] {
			if failures++; failures < 6 {
				t.Errorf("%s\n--- %s\n%s\n--- %s\n%s", where, other.name, other.heads[where], l.name, l.heads[where])
			}
		}
	}
	t.Logf("%s: %d heads compared, %d differ", l.name, len(l.heads), failures)
}

func merge(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}
