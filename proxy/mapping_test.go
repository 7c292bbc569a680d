package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// ownAddress is how the origin of these tests calls itself.
const ownAddress = "https://www.example.com"

// blogPage is a page as WordPress makes them.
const blogPage = `<!DOCTYPE html><html lang="en-US"><head><meta charset="UTF-8">
<link rel="canonical" href="https://www.example.com/hello-world/" /><meta property="og:url" content="https://www.example.com/hello-world/" />
<link rel='dns-prefetch' href='//stats.wp.com' /><link rel="https://api.w.org/" href="https://www.example.com/wp-json/" />
<link rel="alternate" href="https://www.example.com/wp-json/oembed/1.0/embed?url=https%3A%2F%2Fwww.example.com%2Fhello-world%2F" />
<script type="application/ld+json">{"@context":"https://schema.org","@id":"https://www.example.com/#website"}</script>
<script id="x">window._wpemojiSettings = {"source":{"concatemoji":"https:\/\/www.example.com\/wp-includes\/js\/wp-emoji-release.min.js?ver=6.6"}};</script>
<style>.a{background:url("https://www.example.com/a.png")}</style></head><body id="b">
<img src="https://www.example.com/a.jpg" srcset="https://www.example.com/a.jpg 300w, https://www.example.com/b.jpg 600w">
<form action="https://www.example.com/wp-login.php" method="post"><input type="hidden" name="redirect_to" value="https://www.example.com/wp-admin/"></form>
<a href="https://twitter.com/share?url=https://www.example.com/hello-world/">share</a> <a href="https://www.example.com/?p=1">more</a>
</body></html>`

// mappedBlogPage is blogPage for a client who knows the site as base.
func mappedBlogPage(base string) string {
	scheme, host, _ := strings.Cut(base, "://")
	page := strings.ReplaceAll(blogPage, ownAddress, base)
	page = strings.ReplaceAll(page, `https:\/\/www.example.com`, scheme+`:\/\/`+host)
	page = strings.ReplaceAll(page, `value="`+base, `value="`+ownAddress)
	return strings.ReplaceAll(page, `?url=`+base, `?url=`+ownAddress)
}

// mapsURLs is an upstream that maps these kinds of bodies.
func mapsURLs(kinds ...decision.Body) upstream.Config {
	return upstream.Config{Host: "www.example.com", MapURLs: kinds}
}

// negotiated is an origin that packs for whoever takes it, with an ETag.
func negotiated(t testing.TB, contentType string, body func(path string) string) string {
	return origin(t, func(w http.ResponseWriter, r *http.Request) {
		h, text := w.Header(), body(r.URL.Path)
		h.Set("Content-Type", contentType)
		h.Set("Vary", "Accept-Encoding")
		h.Set("ETag", `"abc"`)
		h.Set("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")
		h.Set("Content-Digest", "sha-256=:x:")
		h.Set("Accept-Ranges", "bytes")
		if strings.Contains(r.Header.Get("If-None-Match"), `"abc"`) || r.Header.Get("If-None-Match") == "" && r.Header.Get("If-Modified-Since") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
			text = string(packBytes(text))
		}
		h.Set("Content-Length", strconv.Itoa(len(text)))
		if r.Method != "HEAD" {
			_, _ = io.WriteString(w, text)
		}
	})
}

// URLs of the origin name the site as the client knows it, in plain and personalized
// pages, packed or not, and copies of them are confirmed.
func contractMappedURLs(t *testing.T, over protocol) {
	no := false
	edit := text("title", "x")
	edit.Edits = nil
	for _, c := range []struct {
		name    string
		engines *engines
		routes  []Route
	}{
		{"not concerned", nil, nil},
		{"plain", nil, []Route{{Upstream: "origin", Personalize: &no}}},
		{"concerned", always(edit), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := negotiated(t, "text/html; charset=UTF-8", func(string) string { return blogPage })
			n := start(t, o, setup{over: over, engines: c.engines, routes: c.routes, up: mapsURLs(decision.BodyHTML)})
			n.server.wholeTime = 10 * time.Second // the machine may be busy
			want := mappedBlogPage(n.base)
			for _, coding := range []string{"", "gzip", "br, gzip", "compress"} {
				r := n.get("/", "Accept-Encoding", coding, "Accept", "text/html")
				if got := decoded(t, r); got != want {
					t.Fatalf("for %q: %s\nwant %s", coding, got, want)
				}
				if want := map[string]string{"gzip": "gzip", "br, gzip": "br"}[coding]; r.Header.Get("Content-Encoding") != want {
					t.Errorf("for %q the coding is %q", coding, r.Header.Get("Content-Encoding"))
				}
				if r.Header.Get("Vary") != "Accept-Encoding" {
					t.Errorf("Vary is %q", r.Header.Get("Vary"))
				}
				if r.Header.Get("Content-Digest") != "" || r.Header.Get("Accept-Ranges") != "" {
					t.Error("what is true of the origin's bytes alone passes")
				}
				if r.ContentLength != int64(len(r.body)) {
					t.Errorf("length %d of %d", r.ContentLength, len(r.body))
				}
			}
			head := n.do("HEAD", "/", nil, "Accept-Encoding", "gzip", "Accept", "text/html")
			if head.ContentLength >= 0 || head.Header.Get("Content-Digest") != "" {
				t.Errorf("HEAD tells of the origin's bytes: %v", head.Header)
			}
			if c.engines != nil {
				return // its pages have no ETag of the origin's
			}
			tag := head.Header.Get("ETag")
			if !strings.HasPrefix(tag, `W/"abc;s`) || n.get("/").Header.Get("ETag") != tag {
				t.Fatalf("the ETag is %s", tag)
			}
			again := n.get("/", "Accept", "text/html", "If-None-Match", tag, "If-Modified-Since", "Wed, 01 Jan 2025 00:00:00 GMT")
			if again.StatusCode != http.StatusNotModified || again.Header.Get("ETag") != tag || again.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("a mapped copy is answered with %s, ETag %s", again.Status, again.Header.Get("ETag"))
			}
			for _, stale := range []string{`"abc"`, `W/"abc;s00000000"`} {
				r := n.get("/", "Accept", "text/html", "If-None-Match", stale, "If-Modified-Since", "Wed, 01 Jan 2025 00:00:00 GMT")
				if r.StatusCode != http.StatusOK || r.body != want {
					t.Errorf("a copy with %s, made while nothing was mapped, is answered with %s", stale, r.Status)
				}
			}
		})
	}
}

// What is not to be mapped passes to the byte, with its head.
func TestUnmappedBodies(t *testing.T) {
	for _, c := range []struct {
		name, contentType string
		header            []string
		status            int
		kinds             []decision.Body
	}{
		{"another kind", "application/json", nil, 200, []decision.Body{decision.BodyHTML, decision.BodyText}},
		{"an image", "image/png", nil, 200, []decision.Body{decision.BodyHTML, decision.BodyText, decision.BodyJSON}},
		{"events", "text/event-stream", nil, 200, []decision.Body{decision.BodyText}},
		{"UTF-16", "text/html; charset=UTF-16LE", nil, 200, []decision.Body{decision.BodyHTML}},
		{"no-transform", "text/html", []string{"Cache-Control", "public, no-transform"}, 200, []decision.Body{decision.BodyHTML}},
		{"a file", "text/html", []string{"Content-Disposition", "Attachment; filename=a.html"}, 200, []decision.Body{decision.BodyHTML}},
		{"unknown coding", "text/html", []string{"Content-Encoding", "compress"}, 200, []decision.Body{decision.BodyHTML}},
		{"nothing asked for", "text/html", nil, 200, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := pages(t, c.contentType, blogPage, append(c.header, "ETag", `"abc"`, "Accept-Ranges", "bytes")...)
			n := start(t, o, setup{up: mapsURLs(c.kinds...)})
			r := n.get("/", "Accept-Encoding", "gzip, br")
			if r.body != blogPage || r.Header.Get("ETag") != `"abc"` || r.Header.Get("Accept-Ranges") != "bytes" {
				t.Errorf("%s, %v", r.body, r.Header)
			}
			if logged := strings.Contains(n.log.String(), "URLs not mapped"); logged != (c.name == "unknown coding") {
				t.Errorf("the log says: %s", n.log)
			}
		})
	}
}

func TestMappedKinds(t *testing.T) {
	for contentType, body := range map[string]string{
		"application/json":                   `{"link":"https:\/\/www.example.com\/a"}`,
		"application/ld+json":                `{"@id":"https://www.example.com/#a"}`,
		"text/css":                           `@import url(https://www.example.com/a.css);`,
		"application/javascript":             `fetch("https://www.example.com/a")`,
		"application/xml":                    `<loc>https://www.example.com/</loc>`,
		"application/xhtml+xml":              `<a href="https://www.example.com/"/>`,
		"text/html; charset=Shift_JIS":       "<a title='\x83\x5c' href='https://www.example.com/'>",
		"text/plain; charset=windows-1252":   "Sitemap: https://www.example.com/sitemap.xml \xe9",
		"application/rss+xml; charset=UTF-8": `<link>https://www.example.com/</link>`,
	} {
		n := start(t, pages(t, contentType, body), setup{up: mapsURLs(decision.BodyHTML, decision.BodyJSON, decision.BodyText)})
		want := strings.NewReplacer("https://www.example.com", n.base, `https:\/\/www.example.com`, strings.ReplaceAll(n.base, "/", `\/`)).Replace(body)
		if got := n.get("/").body; got != want {
			t.Errorf("%s: %s\nwant %s", contentType, got, want)
		}
	}
}

// Error pages and answers to forms are mapped as well.
func TestMappedWhateverWasAsked(t *testing.T) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(map[string]int{"GET": 404, "POST": 500}[r.Method])
		_, _ = io.WriteString(w, blogPage)
	})
	n := start(t, o, setup{up: mapsURLs(decision.BodyHTML)})
	for method, body := range map[string]io.Reader{"GET": nil, "POST": strings.NewReader("a=b")} {
		if got := n.do(method, "/", body).body; got != mappedBlogPage(n.base) {
			t.Errorf("%s: %s", method, got)
		}
	}
}

// The mapping is of the origin's bytes: what edits insert stays, and variants and
// pages seen before are each client's own.
func TestMappedAndEdited(t *testing.T) {
	plan := &decision.Plan{Concerned: true, Edits: []decision.PlannedEdit{
		{Edit: decision.Edit{Select: "#b", Op: decision.OpPrepend, HTML: `<a href="https://www.example.com/sale">Sale</a>`}, Experience: "a", Apply: true},
	}}
	for _, lifetime := range []string{"no-store", "max-age=60"} {
		for _, coding := range []string{"", "gzip"} {
			t.Run(lifetime+" "+coding, func(t *testing.T) {
				asked := atomic.Int64{}
				body := []byte(blogPage)
				o := origin(t, func(w http.ResponseWriter, r *http.Request) {
					asked.Add(1)
					w.Header().Set("Content-Type", "text/html; charset=utf-8")
					w.Header().Set("Cache-Control", lifetime)
					if r.Header.Get("Accept-Encoding") == "gzip" {
						w.Header().Set("Content-Encoding", "gzip")
						_, _ = w.Write(packBytes(blogPage))
						return
					}
					_, _ = w.Write(body)
				})
				n := start(t, o, setup{engines: always(plan), up: mapsURLs(decision.BodyHTML), cache: cache.Config{}})
				for round := range 4 {
					for _, host := range []string{"a.test", "b.test:8080"} {
						want := strings.Replace(mappedBlogPage("http://"+host), `<body id="b">`, `<body id="b"><a href="https://www.example.com/sale">Sale</a>`, 1)
						if got := decoded(t, n.get("/", "Host", host, "Accept-Encoding", coding)); got != want {
							t.Fatalf("round %d, %s: %s\nwant %s", round, host, got, want)
						}
						n.server.bodies.Wait()
					}
				}
				if n.server.Stats().Spliced.Load() == 0 {
					t.Error("no answer was spliced")
				}
				if lifetime != "no-store" && asked.Load() != 2 {
					t.Errorf("the origin was asked %d times for two variants", asked.Load())
				}
			})
		}
	}
}

// A policy with hashes keeps scripts as they are, and speaks of the client's address.
func TestMappedUnderPolicy(t *testing.T) {
	page := `<script>a("https://www.example.com/")</script><script src="https://www.example.com/a.js"></script>`
	o := pages(t, "text/html", page, "Content-Security-Policy", "script-src https://www.example.com 'sha256-abc='; upgrade-insecure-requests")
	n := start(t, o, setup{up: mapsURLs(decision.BodyHTML)})
	r := n.get("/")
	if want := strings.Replace(page, `src="`+ownAddress, `src="`+n.base, 1); r.body != want {
		t.Errorf("%s\nwant %s", r.body, want)
	}
	if got, want := r.Header.Get("Content-Security-Policy"), "script-src "+n.base+" 'sha256-abc='; upgrade-insecure-requests"; strings.Join(strings.Fields(got), " ") != want {
		t.Errorf("the policy is %q, want %q", got, want)
	}
}

// A part of the origin's page is a part of another page than the client's.
func TestRangeOfMapped(t *testing.T) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", map[bool]string{true: "text/html", false: "video/mp4"}[r.URL.Path == "/"])
		http.ServeContent(w, r, "", stopped()(), strings.NewReader(blogPage))
	})
	n := start(t, o, setup{up: mapsURLs(decision.BodyHTML)})
	if r := n.get("/", "Range", "bytes=10-20"); r.StatusCode != 200 || r.body != mappedBlogPage(n.base) {
		t.Errorf("%s: %s", r.Status, r.body)
	}
	if r := n.get("/video", "Range", "bytes=10-20"); r.StatusCode != 206 || r.body != blogPage[10:21] {
		t.Errorf("%s: %s", r.Status, r.body)
	}
	if r := n.get("/video", "Range", "bytes=100000-"); r.StatusCode != 416 {
		t.Errorf("%s: %s", r.Status, r.body)
	}
}

// A damaged page passes as the origin sent it, without an ETag that says otherwise.
func TestMappedCorrupt(t *testing.T) {
	damaged := string(packBytes(blogPage))
	damaged = damaged[:len(damaged)-8] + "12345678"
	n := start(t, pages(t, "text/html", damaged, "Content-Encoding", "gzip", "ETag", `"abc"`), setup{up: mapsURLs(decision.BodyHTML)})
	r := n.get("/", "Accept-Encoding", "gzip")
	if r.body != damaged || r.Header.Get("Content-Encoding") != "gzip" || r.Header.Get("ETag") != "" {
		t.Errorf("%q, %v", r.body, r.Header)
	}
}

// Large pages are mapped as they come, in bounded memory, and what has come is not
// held back.
func contractMappedStreams(t *testing.T, over protocol) {
	next := make(chan struct{})
	part := strings.Repeat(`<a href="https://www.example.com/a">a</a>`+"\n", 10_000)
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, `<p>one</p><a href="https://www.example.com/1">`)
		w.(http.Flusher).Flush()
		select {
		case <-next:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, part)
	})
	n := start(t, o, setup{over: over, up: mapsURLs(decision.BodyHTML)})
	resp, err := n.client.Get(n.base + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := fmt.Sprintf(`<p>one</p><a href="%s/1">`, n.base)
	got := make([]byte, len(first))
	if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != first {
		t.Fatalf("%q, %v", got, err)
	}
	close(next)
	rest, err := io.ReadAll(resp.Body)
	if want := strings.ReplaceAll(part, ownAddress, n.base); err != nil || string(rest) != want {
		t.Errorf("%d bytes, want %d; %v", len(rest), len(want), err)
	}
}

func BenchmarkMappedPage(b *testing.B) {
	page := []byte(strings.Repeat(blogPage, 20))
	o := origin(b, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Length", strconv.Itoa(len(page)))
		_, _ = w.Write(page)
	})
	for name, kinds := range map[string][]decision.Body{"as it is": nil, "mapped": {decision.BodyHTML}} {
		b.Run(name, func(b *testing.B) {
			n := start(b, o, setup{up: mapsURLs(kinds...)})
			b.SetBytes(int64(len(page)))
			for b.Loop() {
				if r := n.get("/"); len(r.body) == 0 || bytes.Contains(page, []byte(n.base)) {
					b.Fatal("no page")
				}
			}
		})
	}
}
