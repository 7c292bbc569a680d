package proxy

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/proxy/upstream"
)

func TestURLsOfTheOriginAreMapped(t *testing.T) {
	const page = `<html><body><p id="hero"></p><a href="http://origin.example/a">a</a><a href="https://origin.example.org/">b</a></body></html>`
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "public, max-age=60"+strings.ReplaceAll(r.URL.RawQuery, "fixed", ", no-transform"))
		w.Header().Set("ETag", `"1"`)
		body := []byte(page)
		if r.Header.Get("Accept-Encoding") == "gzip" {
			var packed bytes.Buffer
			z := gzip.NewWriter(&packed)
			_, _ = z.Write(body)
			_ = z.Close()
			body = packed.Bytes()
			w.Header().Set("Content-Encoding", "gzip")
		}
		_, _ = w.Write(body)
	}))
	t.Cleanup(origin.Close)
	edit := text("#hero", "http://origin.example/edit")
	for _, over := range []protocol{plainHTTP1, overHTTP2} {
		for name, e := range map[string]*engines{"unconcerned": nil, "concerned": always(edit)} {
			for _, coding := range []string{"identity", "gzip"} {
				t.Run(name+" "+coding+" "+string(over), func(t *testing.T) {
					n := start(t, strings.TrimPrefix(origin.URL, "http://"), setup{
						engines: e, over: over, cache: cache.Config{}, up: upstream.Config{Host: "origin.example", MapURLs: true},
					})
					for _, host := range []string{"one.example", "two.example", "one.example", "fixed"} {
						r, err := http.NewRequestWithContext(t.Context(), "GET", n.base+"/", nil)
						if err != nil {
							t.Fatal(err)
						}
						r.Host = host
						if host == "fixed" {
							r.URL.RawQuery = "fixed"
						}
						r.Header.Set("Accept", "text/html")
						r.Header.Set("Accept-Encoding", coding)
						resp, err := n.client.Do(r)
						if err != nil {
							t.Fatal(err)
						}
						var body io.Reader = resp.Body
						if resp.Header.Get("Content-Encoding") == "gzip" {
							if body, err = gzip.NewReader(body); err != nil {
								t.Fatal(err)
							}
						}
						got, err := io.ReadAll(body)
						_ = resp.Body.Close()
						if err != nil {
							t.Fatal(err)
						}
						want := page
						if host != "fixed" {
							scheme, _, _ := strings.Cut(n.base, ":")
							want = strings.Replace(want, "http://origin.example/a", scheme+"://"+host+"/a", 1)
							if e != nil {
								want = strings.Replace(want, `"hero">`, `"hero">http://origin.example/edit`, 1)
							} else if tag, cc := resp.Header.Get("ETag"), resp.Header.Get("Cache-Control"); tag != `W/"1"` || !strings.HasPrefix(cc, "public") {
								t.Errorf("ETag %s, Cache-Control %s", tag, cc)
							}
						}
						if string(got) != want {
							t.Errorf("%s:\ngot  %s\nwant %s", host, got, want)
						}
					}
				})
			}
		}
	}
}
