package cache_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/cache"
)

func fields(h *fasthttp.ResponseHeader) string {
	var all []string
	for name, value := range h.All() {
		all = append(all, fmt.Sprintf("%s: %s", name, value))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func TestFreshen(t *testing.T) {
	stored := []string{date, `ETag: "a"`, "Content-Type: text/html", "Content-Encoding: gzip", "X-Old: 1", "x-two: 1", "X-Two: 2", "Expires: " + hourAgo, "Age: 7", "Server: s"}
	for _, c := range []struct {
		name, update, has, hasNot string
	}{
		{"9111 3.2: a new field", "X-New: 2", "X-New: 2\nX-Old: 1\nETag: \"a\"\nContent-Type: text/html", ""},
		{"9111 3.2: another value", "x-old: 2", "x-old: 2", "X-Old: 1"},
		{"9111 3.2: all lines of a name", "X-TWO: 3\nX-Two: 4", "X-TWO: 3\nX-Two: 4", "x-two: 1\nX-Two: 2"},
		{"9111 3.2: freshness", "Cache-Control: max-age=60\nExpires: " + hourLater, "Cache-Control: max-age=60\nExpires: " + hourLater, "Expires: " + hourAgo},
		{"9111 3.2: Date", "Date: " + hourLater, "Date: " + hourLater, date},
		{"9111 3.2: Server", "Server: t", "Server: t", "Server: s"},
		{"9111 3.2: Vary and Content-Location", "Vary: Foo\nContent-Location: /x", "Vary: Foo\nContent-Location: /x", ""},
		{"9111 3.2: names that begin with Content-", "Content-Security-Policy: x\nContent-Foo: y\nContent-Language: de", "Content-Security-Policy: x\nContent-Foo: y\nContent-Language: de", ""},
		{"9111 4.2.3: the age of the update", "Age: 3", "Age: 3", "Age: 7"},
		{"9111 4.2.3: or none", "X: y", "", "Age: 7"},
		{"9111 3.2: not Content-Length", "Content-Length: 0", "Content-Length: 3", "Content-Length: 0"},
		{"9111 3.2: not Content-Range", "Content-Range: bytes 0-1/2", "", "Content-Range: bytes 0-1/2"},
		{"9111 3.2: not what the stored body is read by", "Content-Encoding: br", "Content-Encoding: gzip", "Content-Encoding: br"},
		{"9530 2: not the digest of no content", "Content-Digest: x", "", "Content-Digest: x"},
		{"9111 3.1: not what ends at the hop", "Keep-Alive: 1\nProxy-Authenticate: x\nUpgrade: y\nTE: z", "", "Keep-Alive: 1\nProxy-Authenticate: x\nUpgrade: y\nTE: z"},
		{"9111 3.1: nor a cookie, which is one visitor's", "Set-Cookie: a=b", "", "Set-Cookie: a=b"},
		{"9110 15.4.5: the same tag, weaker", `ETag: W/"a"`, `ETag: W/"a"`, `ETag: "a"`},
		{"9110 8.8.3: two tags are none", "ETag: \"a\"\nETag: \"b\"", `ETag: "a"`, `ETag: "b"`},
		{"9110 15.4.5: another tag is not this answer's", `ETag: "b"`, `ETag: "a"`, `ETag: "b"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var updates []string
			for line := range splitLines(c.update) {
				updates = append(updates, line)
			}
			update := head(t, 304, updates...)
			if !strings.Contains(c.update, "Content-Length") {
				update.Del("Content-Length")
			}
			was := head(t, 200, stored...)
			before := fields(was)
			var h fasthttp.ResponseHeader
			if err := cache.Freshen(&h, was, update); err != nil {
				t.Fatal(err)
			}
			got := "\n" + fields(&h) + "\n"
			for line := range splitLines(c.has) {
				if !strings.Contains(got, "\n"+line+"\n") {
					t.Errorf("lacks %q:%s", line, got)
				}
			}
			for line := range splitLines(c.hasNot) {
				if strings.Contains(got, "\n"+line+"\n") {
					t.Errorf("has %q:%s", line, got)
				}
			}
			if h.StatusCode() != 200 || string(h.StatusMessage()) != "Status" || fields(was) != before {
				t.Errorf("status %d %s, stored now\n%s", h.StatusCode(), h.StatusMessage(), fields(was))
			}
		})
	}
}

// A header is stored without its length, and must not get one.
func TestFreshenWithoutLength(t *testing.T) {
	stored := head(t, 404, date, "X: y")
	stored.Del("Content-Length")
	var h fasthttp.ResponseHeader
	if err := cache.Freshen(&h, stored, head(t, 304, "X: z")); err != nil {
		t.Fatal(err)
	}
	if got := fields(&h); got != date+"\nX: z" || h.StatusCode() != 404 || h.ConnectionClose() {
		t.Errorf("%s", got)
	}
}

// The whole way: what a 304 says counts from when it came.
func TestFreshenedRules(t *testing.T) {
	stored := head(t, 200, date, `ETag: "a"`, "Cache-Control: max-age=60", "Expires: 0")
	x := exchange()
	x.Sent = noon.Add(3600e9)
	x.Received = x.Sent
	for update, want := range map[string]string{
		"X: y":                         "fresh 60",
		"Cache-Control: max-age=5":     "fresh 5",
		"Cache-Control: private":       "no: private",
		"Age: 20":                      "fresh 40",
		"CDN-Cache-Control: max-age=7": "fresh 7",
		"Vary: *":                      "no: vary",
		"Set-Cookie: a=b":              "fresh 60",
	} {
		var h fasthttp.ResponseHeader
		if err := cache.Freshen(&h, stored, head(t, 304, "Date: "+hourLater, `ETag: "a"`, update)); err != nil {
			t.Fatal(err)
		}
		r := cache.ReadRules(x, &h, cache.Override{})
		if got := describe(&r); got != want {
			t.Errorf("%s: %s, want %s", update, got, want)
		}
	}
}

func TestSelectFreshened(t *testing.T) {
	validators := func(lines ...string) cache.Validators { return cache.ReadValidators(head(t, 200, lines...), noon) }
	a := validators(date, `ETag: "a"`)
	weakA := validators(date, `ETag: W/"a"`)
	weakALater := validators("Date: "+hourLater, `ETag: W/"a"`)
	b := validators(date, `ETag: "b"`)
	dated := validators(date, "Last-Modified: "+hourAgo)
	datedLater := validators("Date: "+hourLater, "Last-Modified: "+hourAgo)
	weaklyDated := validators("Date: "+hourAgo, "Last-Modified: "+hourAgo)
	bare := validators(date)
	both := validators(date, `ETag: "a"`, "Last-Modified: "+hourAgo)
	all := func(v ...cache.Validators) []cache.Validators { return v }
	for _, c := range []struct {
		name   string
		update cache.Validators
		stored []cache.Validators
		want   string
	}{
		{"9111 4.3.4: the strong tag", a, all(b, a), "[1]"},
		{"9111 4.3.4: all with the strong tag", a, all(a, b, a), "[0 2]"},
		{"9111 4.3.4: none has it", a, all(b), "[]"},
		{"9111 4.3.4: a weak one is not it", a, all(weakA), "[]"},
		{"9111 4.3.4: a strong tag, and the date alone is stored", a, all(dated), "[]"},
		{"9111 4.3.4: a strong tag before a weak date", validators("Date: "+hourAgo, `ETag: "a"`, "Last-Modified: "+hourAgo), all(dated), "[]"},
		{"9111 4.3.4: the strong date does", both, all(dated), "[0]"},
		{"9111 4.3.4: tags that differ, whatever the date", both, all(validators(date, `ETag: "b"`, "Last-Modified: "+hourAgo)), "[]"},
		{"9111 4.3.4: the strong date", dated, all(bare, dated, datedLater), "[1 2]"},
		{"9111 4.3.4: the strong date of one with a tag", dated, all(both), "[0]"},
		{"9111 4.3.4: a weak tag is for the latest", weakA, all(weakA, weakALater, b), "[1]"},
		{"9111 4.3.4: wherever it stands", weakA, all(weakALater, weakA), "[0]"},
		{"9111 4.3.4: a weak tag matches the strong one", weakA, all(a), "[0]"},
		{"9111 4.3.4: a weak date is for the latest", weaklyDated, all(dated, datedLater), "[1]"},
		{"9111 4.3.4: no validators at all", bare, all(bare), "[0]"},
		{"9111 4.3.4: but two are stored", bare, all(bare, bare), "[]"},
		{"9111 4.3.4: but what is stored has one", bare, all(a), "[]"},
		{"9111 4.3.4: nothing is stored", a, nil, "[]"},
	} {
		if got := fmt.Sprint(cache.SelectFreshened(&c.update, c.stored)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestJudgeHead(t *testing.T) {
	stored := cache.ReadValidators(head(t, 200, date, `ETag: "a"`, "Last-Modified: "+hourAgo), noon)
	for _, c := range []struct {
		name   string
		status int
		lines  string
		length bool
		want   cache.HeadEffect
	}{
		{"9111 4.3.5: the same tag", 200, `ETag: "a"`, false, cache.HeadFreshens},
		{"9111 4.3.5: the same tag and length", 200, `ETag: "a"`, true, cache.HeadFreshens},
		{"9111 4.3.5: another tag", 200, `ETag: "b"`, true, cache.HeadExpires},
		{"9111 4.3.5: another date", 200, "Last-Modified: " + hourLater, false, cache.HeadExpires},
		{"9111 4.3.5: the same date", 200, "Last-Modified: " + hourAgo, false, cache.HeadFreshens},
		{"9111 4.3.5: the same length alone", 200, "X: y", true, cache.HeadFreshens},
		{"9111 4.3.5: nothing to compare", 200, "X: y", false, cache.HeadNothing},
		{"9111 4.3.5: not a 200", 404, `ETag: "b"`, false, cache.HeadNothing},
	} {
		h := head(t, c.status, c.lines)
		if !c.length {
			h.Del("Content-Length")
		}
		if got := cache.JudgeHead(&stored, 3, h, noon); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	if got := cache.JudgeHead(&stored, 4, head(t, 200, `ETag: "a"`), noon); got != cache.HeadExpires {
		t.Errorf("another length: %d", got)
	}
}
