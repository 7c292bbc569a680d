package cache_test

import (
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/cache"
)

// browserLines are the header lines of a request.
func browserLines() [][2][]byte {
	lines := [][2]string{
		{"Host", "shop.example"}, {"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"},
		{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, {"Accept-Language", "en-GB,en;q=0.5"},
		{"Accept-Encoding", "gzip, deflate, br, zstd"}, {"Cache-Control", "max-age=0"}, {"Cookie", "sedge_vid=abc; a=b"},
		{"If-None-Match", `"x", W/"a"`}, {"If-Modified-Since", hourAgo}, {"Range", "bytes=0-9"}, {"If-Range", hourAgo}, {"Pragma", "no-cache"},
	}
	var all [][2][]byte
	for _, line := range lines {
		all = append(all, [2][]byte{[]byte(line[0]), []byte(line[1])})
	}
	return all
}

// A hit costs no allocation: not for reading the request, nor for choosing, judging and
// telling.
func TestHitAllocatesNothing(t *testing.T) {
	lines := browserLines()
	r := rulesOf(t, "Cache-Control: max-age=60, stale-while-revalidate=60", "Last-Modified: "+hourAgo, "Vary: Accept-Encoding, Accept-Language, Cookie, Foo")
	now := noon.Add(30 * time.Second)
	var q cache.Request
	values := make([][]byte, 0, 4)
	key, status := make([]byte, 0, 512), make([]byte, 0, 128)
	for what, f := range map[string]func(){
		"reading a request": func() {
			q = cache.Request{}
			for i := range lines {
				q.Add(lines[i][0], lines[i][1])
			}
			q.Apply(cache.Override{})
		},
		"a verdict":    func() { r.At(now, &q) },
		"a condition":  func() { q.Evaluate(&r.Validators, false, 200, 1000) },
		"Cache-Status": func() { status = (&cache.Status{HasTTL: true, TTL: time.Minute, Detail: "a"}).Append(status[:0]) },
		"Age":          func() { status = cache.AppendAge(status[:0], time.Minute) },
		"selecting": func() {
			key = key[:0]
			for _, name := range r.Vary {
				values = values[:0]
				for i := range lines {
					if len(lines[i][0]) == len(name) {
						values = append(values, lines[i][1])
					}
				}
				key = cache.AppendSelecting(key, name, values)
			}
		},
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

// Answers that are not kept, which may be most, cost as little.
func TestReadingRulesAllocatesNothingInVain(t *testing.T) {
	h := head(t, 200, date, "Cache-Control: private, max-age=0", "Vary: Cookie", "Content-Type: text/html", `ETag: "a"`, "Surrogate-Key: a b c")
	x := exchange()
	if n := testing.AllocsPerRun(100, func() { cache.ReadRules(x, h, cache.Override{}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	h = dynamicHead(t)
	if n := testing.AllocsPerRun(100, func() { cache.MayBeStorable(h, cache.Override{}) }); n != 0 {
		t.Errorf("a first look: %v allocations", n)
	}
}

func BenchmarkReadRequest(b *testing.B) {
	lines := browserLines()
	var q cache.Request
	for b.Loop() {
		q = cache.Request{}
		for i := range lines {
			q.Add(lines[i][0], lines[i][1])
		}
	}
}

func BenchmarkAt(b *testing.B) {
	r := rulesOf(b, "Cache-Control: max-age=60")
	q := request("Accept: */*")
	for b.Loop() {
		r.At(noon, q)
	}
}

func BenchmarkReadRules(b *testing.B) {
	h := head(b, 200, date, "Cache-Control: public, max-age=60", "Vary: Accept-Encoding", "Content-Type: text/html", `ETag: "a"`, "Last-Modified: "+hourAgo)
	x := exchange()
	b.ReportAllocs()
	for b.Loop() {
		cache.ReadRules(x, h, cache.Override{})
	}
}

// dynamicHead is what an origin may send that says nothing about caching.
func dynamicHead(t testing.TB) *fasthttp.ResponseHeader {
	return head(t, 200, "Date: "+hourAgo, "Server: nginx", "Content-Type: text/html; charset=utf-8", "Vary: Accept-Encoding", `ETag: "a"`,
		"Last-Modified: "+hourAgo, "X-Frame-Options: SAMEORIGIN", "X-Content-Type-Options: nosniff", "Strict-Transport-Security: max-age=1000",
		"Content-Encoding: gzip", "Content-Language: en")
}

func BenchmarkReadRulesOfDynamic(b *testing.B) {
	h := dynamicHead(b)
	x := exchange()
	b.ReportAllocs()
	for b.Loop() {
		cache.ReadRules(x, h, cache.Override{})
	}
}

func BenchmarkMayBeStorable(b *testing.B) {
	h := dynamicHead(b)
	b.ReportAllocs()
	for b.Loop() {
		cache.MayBeStorable(h, cache.Override{})
	}
}

func BenchmarkReadControl(b *testing.B) {
	h := head(b, 200, date, "Server: nginx", "Cache-Control: private, max-age=0, must-revalidate", "Content-Type: text/html", "Vary: Cookie", `ETag: "a"`)
	for b.Loop() {
		cache.ReadControl(h)
	}
}

func BenchmarkReadValidators(b *testing.B) {
	h := dynamicHead(b)
	for b.Loop() {
		cache.ReadValidators(h, noon)
	}
}

func BenchmarkSelecting(b *testing.B) {
	key, lines := make([]byte, 0, 512), [][]byte{[]byte("gzip, deflate, br, zstd")}
	for b.Loop() {
		key = cache.AppendSelecting(key[:0], "accept-encoding", lines)
	}
}
