package proxy

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/proxy/coding"
)

// negotiations are what clients say that they read, what they get if the page came
// packed and if it is kept, and what the origin is asked for. Each third is asked for
// large pages too.
var negotiations = []struct{ accept, best, kept, asked string }{
	{"", "", "", "identity"},
	{"br", "br", "br", "br"},
	{"gzip", "gzip", "gzip", "gzip"},
	{"gzip, deflate", "gzip", "gzip", "gzip"},
	{"gzip, deflate, br", "br", "br", "br, gzip"},
	{"gzip, deflate, br, zstd", "zstd", "br", "zstd, br, gzip"},
	{"*", "gzip", "gzip", "gzip"},
	{"br;q=0.3, gzip;q=0.8, zstd;q=0", "gzip", "gzip", "br, gzip"},
	{"zstd;q=0.9, br;q=0.5", "zstd", "zstd", "zstd, br"},
	{"gzip;q=0, *", "", "", "identity"},
	{"gzip;q=0.5, identity", "", "", "gzip"},
	{"deflate", "deflate", "deflate", "identity"},
	{"identity;q=0", "", "", "identity"},
	{"zstd", "zstd", "zstd", "zstd"},
	{"identity", "", "", "identity"},
}

// sentCodings are what an origin may send, as packAs knows it.
var sentCodings = []string{"identity", "gzip", "x-gzip", "deflate", "raw deflate", "br", "zstd", "gzip, br", "zstd, identity"}

// someNumbers is n bytes that no coding makes much smaller.
func someNumbers(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(strconv.FormatUint(r.Uint64(), 36))
	}
	return b.String()[:n]
}

// ofOrigin are headers that are true of the origin's own bytes alone.
var ofOrigin = []string{"Accept-Ranges", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest"}

// packing is an origin that answers a path such as "/br/whole/page" with what stands
// there, in that coding whatever it was asked for, and with headers of these bytes.
func packing(t *testing.T, bodies map[string]string, asked *atomic.Pointer[string]) string {
	types := map[string]string{"page": "text/html; charset=utf-8", "json": "application/json", "css": "text/css"}
	packed := map[string][]byte{}
	for _, name := range sentCodings {
		for body, content := range bodies {
			packed[name+"/"+body] = packAs(name, content)
		}
	}
	return origin(t, func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(r.URL.Path, "/")
		name, mode, kind := parts[1], parts[2], parts[3]
		said := strings.Join(r.Header.Values("Accept-Encoding"), ", ")
		asked.Store(&said)
		h := w.Header()
		h.Set("Content-Type", types[kind])
		if name != "identity" {
			h.Set("Content-Encoding", nameOf(name))
		}
		for _, name := range ofOrigin {
			h.Set(name, "of the origin")
		}
		h.Set("ETag", `"origin"`)
		h.Set("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")
		h.Set("Cache-Control", map[string]string{"kept": "max-age=600"}[mode])
		body := packed[name+"/"+mode+" "+kind]
		h.Set("Content-Length", strconv.Itoa(len(body)))
		if r.Method != "HEAD" {
			_, _ = w.Write(body)
		}
	})
}

// Whatever coding a page comes in, and whatever the client reads, it gets the edited page
// in what it reads best, with a head that is true of it: as the page comes, from what was
// compiled, and from what was kept.
func contractCodings(t *testing.T, over protocol) {
	page := `<!DOCTYPE html><html><body><h1 id="hero">Welcome</h1><p>`
	bodies := map[string]string{
		"whole page": page + someNumbers(3000), "kept page": page + someNumbers(3000),
		"streamed page": page + strings.Repeat(someNumbers(1000), 2*wholeSize/1000) + someNumbers(wholeSize),
		"whole json":    strings.Replace(shopAPI, "EUR", someNumbers(3000), 1),
		"whole css":     "h1 { color: red } /* " + someNumbers(3000),
	}
	edited := strings.NewReplacer("Welcome", "Hello", "10.50", "9.95", "color: red", "color: gold")
	var asked atomic.Pointer[string]
	n := start(t, packing(t, bodies, &asked), setup{over: over, engines: offering(offer())})
	n.server.wholeTime = 10 * time.Second // the machine may be busy
	_, cookie := n.visitor()
	ask := func(method, path, accept string) reply {
		header := []string{"Cookie", cookie, "Accept-Encoding", accept}
		if !strings.HasSuffix(path, "page") {
			header = append(header, "Sec-Fetch-Dest", map[bool]string{true: "empty", false: "style"}[strings.HasSuffix(path, "json")])
		}
		return n.do(method, path, nil, header...)
	}
	for _, name := range sentCodings {
		for body, content := range bodies {
			path := "/" + name + "/" + strings.ReplaceAll(body, " ", "/")
			want := edited.Replace(content)
			for i, c := range negotiations {
				if strings.HasPrefix(body, "streamed") && i%3 != 2 { // that takes long
					continue
				}
				said := fmt.Sprintf("%s for %q", path, c.accept)
				best := c.best
				if name == "identity" {
					best = "" // what the origin did not pack
				}
				check := func(r reply, best string) {
					t.Helper()
					if got := decoded(t, r); got != want {
						t.Errorf("%s: %d bytes, want %d", said, len(got), len(want))
					}
					if got := r.Header.Get("Content-Encoding"); got != best {
						t.Errorf("%s: in %q, want %q", said, got, best)
					}
					if r.ContentLength != int64(len(r.body)) && !(strings.HasPrefix(body, "streamed") && r.ContentLength == -1) {
						t.Errorf("%s: length %d of %d", said, r.ContentLength, len(r.body))
					}
					checkTrueHead(t, said, r.Header)
				}
				first := ask("GET", path, c.accept)
				if strings.Contains(first.Header.Get("Cache-Status"), "hit") { // it was kept for others who read the same
					best = first.Header.Get("Content-Encoding")
					if best != "" && best != c.best && best != c.kept || best == "" && name != "identity" {
						best = c.kept
					}
				}
				check(first, best)
				n.server.bodies.Wait()
				if got := *asked.Load(); got != c.asked && !strings.HasPrefix(body, "kept") {
					t.Errorf("%s: the origin is asked for %q, want %q", said, got, c.asked)
				}
				head := ask("HEAD", path, c.accept)
				if got := head.Header.Get("Content-Encoding"); !strings.HasPrefix(body, "kept") && got != best {
					t.Errorf("%s: HEAD says %q, want %q", said, got, best)
				}
				checkTrueHead(t, said, head.Header)
				if !strings.HasPrefix(body, "kept") {
					continue
				}
				hit := ask("GET", path, c.accept)
				check(hit, c.kept)
				if !strings.Contains(hit.Header.Get("Cache-Status"), "hit") {
					t.Errorf("%s: not kept: %s", said, hit.Header.Get("Cache-Status"))
				}
				head = ask("HEAD", path, c.accept)
				if head.ContentLength >= 0 && head.ContentLength != hit.ContentLength || head.Header.Get("Content-Encoding") != hit.Header.Get("Content-Encoding") {
					t.Errorf("%s: HEAD says %d bytes in %q", said, head.ContentLength, head.Header.Get("Content-Encoding"))
				}
				again := n.get(path, "Cookie", cookie, "Accept-Encoding", c.accept, "If-None-Match", hit.Header.Get("ETag"))
				if again.StatusCode != http.StatusNotModified || again.Header.Get("Vary") != hit.Header.Get("Vary") {
					t.Errorf("%s: its copy is answered with %s, Vary %s", said, again.Status, again.Header.Get("Vary"))
				}
			}
		}
	}
	if n.server.Stats().Spliced.Load() == 0 || n.server.Stats().FailedOpen(ReasonCorrupt)+n.server.Stats().FailedOpen(ReasonEncoding) > 0 {
		t.Errorf("%d spliced, %d corrupt", n.server.Stats().Spliced.Load(), n.server.Stats().FailedOpen(ReasonCorrupt))
	}
}

// checkTrueHead checks that an edited answer says nothing of the origin's bytes.
func checkTrueHead(t *testing.T, said string, h http.Header) {
	t.Helper()
	for _, name := range ofOrigin {
		if h.Get(name) != "" {
			t.Errorf("%s: has %s: %s", said, name, h.Get(name))
		}
	}
	if h.Get("ETag") == `"origin"` || h.Get("Last-Modified") != "" {
		t.Errorf("%s: has the origin's validators", said)
	}
	if !strings.Contains(h.Get("Vary"), "Accept-Encoding") {
		t.Errorf("%s: Vary is %q", said, h.Get("Vary"))
	}
}

// Pages that are mapped and not edited keep the origin's validators, marked, and say
// that caches must tell their codings apart.
func contractCodingsOfMapped(t *testing.T, over protocol) {
	var asked atomic.Pointer[string]
	link := `<a href="https://www.example.com/a">a</a>`
	bodies := map[string]string{"whole page": link + someNumbers(3000), "streamed page": strings.Repeat(link+someNumbers(200), 3*wholeSize/200)}
	n := start(t, packing(t, bodies, &asked), setup{over: over, up: mapsURLs(decision.BodyHTML)})
	n.server.wholeTime = 10 * time.Second // the machine may be busy
	for _, name := range sentCodings {
		for body, content := range bodies {
			path := "/" + name + "/" + strings.ReplaceAll(body, " ", "/")
			want := strings.ReplaceAll(content, "https://www.example.com", n.base)
			for i, c := range negotiations {
				if strings.HasPrefix(body, "streamed") && i%3 != 2 { // that takes long
					continue
				}
				best := c.best
				if name == "identity" {
					best = ""
				}
				get, head := n.get(path, "Accept-Encoding", c.accept), n.do("HEAD", path, nil, "Accept-Encoding", c.accept)
				if got := decoded(t, get); got != want {
					t.Errorf("%s for %q: %d bytes, want %d", path, c.accept, len(got), len(want))
				}
				for method, r := range map[string]reply{"GET": get, "HEAD": head} {
					for _, name := range ofOrigin {
						if r.Header.Get(name) != "" {
							t.Errorf("%s %s for %q: %s passes", method, path, c.accept, name)
						}
					}
					if !strings.HasPrefix(r.Header.Get("ETag"), `W/"origin;s`) || r.Header.Get("Vary") != "Accept-Encoding" || r.Header.Get("Content-Encoding") != best {
						t.Errorf("%s %s for %q: %v", method, path, c.accept, r.Header)
					}
				}
				if head.ContentLength != -1 || get.ContentLength != -1 && get.ContentLength != int64(len(get.body)) {
					t.Errorf("%s for %q: length %d of %d, HEAD says %d", path, c.accept, get.ContentLength, len(get.body), head.ContentLength)
				}
				if got := *asked.Load(); got != c.asked {
					t.Errorf("%s: the origin is asked for %q, want %q", path, got, c.asked)
				}
			}
		}
	}
}

// What is not edited passes in the origin's coding, to the byte, with a true head.
func TestUneditedPagesKeepTheirCoding(t *testing.T) {
	plans := map[string]*engines{
		"no edits":      always(&decision.Plan{Concerned: true}),
		"not concerned": nil,
	}
	for said, e := range plans {
		for _, name := range sentCodings {
			packed := string(packAs(name, shopPage))
			n := start(t, pages(t, "text/html", packed, "Content-Encoding", nameOf(name), "Content-Length", strconv.Itoa(len(packed))), setup{engines: e})
			for _, accept := range []string{"", "gzip", "gzip, br, zstd"} {
				r := n.get("/", "Accept-Encoding", accept)
				if r.body != packed || r.ContentLength != int64(len(packed)) || r.Header.Get("Content-Encoding") != nameOf(name) {
					t.Errorf("%s, %s for %q: %d of %d bytes in %q", said, name, accept, len(r.body), len(packed), r.Header.Get("Content-Encoding"))
				}
			}
		}
	}
}

// The same bytes are another page when they are said to be in another coding.
func TestSeenPagesAreToldApartByCoding(t *testing.T) {
	twice := string(packAs("gzip, gzip", shopPage))
	var said atomic.Pointer[string]
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Encoding", *said.Load())
		_, _ = io.WriteString(w, twice)
	})
	n := start(t, o, setup{engines: always(text("#hero", "Hi"))})
	n.server.wholeTime = 10 * time.Second // the machine may be busy
	for range 4 {
		for _, name := range []string{"gzip, gzip", "gzip"} {
			said.Store(&name)
			r := n.get("/", "Accept-Encoding", "identity")
			want := strings.Replace(shopPage, "Welcome", "Hi", 1)
			if name == "gzip" {
				want = string(packBytes(shopPage)) // no page at all, so nothing in it is edited
			}
			if r.body != want || r.Header.Get("Content-Encoding") != "" {
				t.Fatalf("%s: %q", name, r.body)
			}
			n.server.bodies.Wait()
		}
	}
}

// Of a page that is damaged only behind the part that has left, as much is read as was
// sound, and the answer breaks; in small pieces as in large ones.
func TestPagesByteByByte(t *testing.T) {
	page := `<h1 id="hero">Welcome</h1>` + someNumbers(2000)
	want := strings.Replace(page, "Welcome", "Hi", 1)
	for _, name := range sentCodings[1:] {
		t.Run(name, func(t *testing.T) {
			packed := packAs(name, page)
			o := origin(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				w.Header().Set("Content-Encoding", nameOf(name))
				for i := range packed {
					_, _ = w.Write(packed[i : i+1])
					_ = http.NewResponseController(w).Flush()
				}
			})
			n := start(t, o, setup{engines: always(text("#hero", "Hi"))})
			n.server.wholeTime = 0
			for _, accept := range []string{"identity", "gzip", "br", "zstd"} {
				if got := decoded(t, n.get("/", "Accept-Encoding", accept)); got != want {
					t.Errorf("for %s: %d bytes, want %d", accept, len(got), len(want))
				}
			}
		})
	}
}

// An origin may show another page to who reads other codings, as RFC 9111 section 4.1
// allows it. What is kept is found by what the origin was asked for.
func TestKeptPagesAreToldApartByCoding(t *testing.T) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Vary", "Accept-Encoding")
		_, _ = io.WriteString(w, shopPage+"<p>for "+r.Header.Get("Accept-Encoding"))
	})
	n := start(t, o, setup{engines: always(text("#hero", "Hi"))})
	for range 2 {
		for _, c := range negotiations {
			want := strings.Replace(shopPage, "Welcome", "Hi", 1) + "<p>for " + c.asked
			if got := decoded(t, n.get("/", "Accept-Encoding", c.accept)); got != want {
				t.Errorf("for %q: %s", c.accept, got)
			}
		}
	}
	if n.server.Stats().CacheHits.Load() == 0 {
		t.Error("nothing is kept")
	}
}

// An empty page is a page of its coding, for whoever reads it.
func TestEmptyPages(t *testing.T) {
	for _, name := range sentCodings {
		n := start(t, pages(t, "text/html", string(packAs(name, "")), "Content-Encoding", nameOf(name)), setup{engines: always(text("#hero", "Hi"))})
		for _, c := range negotiations {
			r := n.get("/", "Accept-Encoding", c.accept)
			if got := decoded(t, r); got != "" || r.ContentLength != int64(len(r.body)) {
				t.Errorf("%s for %q: %q, %d bytes", name, c.accept, got, r.ContentLength)
			}
		}
	}
}

// A packer and an unpacker take more memory than a page: they are given back when the
// page is done, not when a slow client has it.
func TestSlowClientsHoldNoPackers(t *testing.T) {
	n := start(t, pages(t, "text/html", shopPage), setup{})
	b := newPageBody(n.server)
	b.whole, b.arrived = true, arrivedReader{rest: packBytes(shopPage), err: io.EOF}
	if !b.open(codings{coding.Layers{coding.Gzip}, coding.Brotli}) {
		t.Fatal("not opened")
	}
	b.runWhole()
	if !b.done || len(b.out) == 0 || b.packer != nil || b.unpacker != nil {
		t.Errorf("done %v with %d bytes, %v, %v", b.done, len(b.out), b.packer, b.unpacker)
	}
}
