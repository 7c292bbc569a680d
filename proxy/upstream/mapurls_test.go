package upstream

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func mapping(t testing.TB) *Upstream {
	t.Helper()
	u, err := New(Config{Name: "shop", URL: "http://shop.internal:8080", Host: "canonical.example", MapURLs: true}, Deps{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

func mapAll(t testing.TB, u *Upstream, from io.Reader) string {
	t.Helper()
	mapped, err := io.ReadAll(u.MapURLs(from, "https", "www.shop.example"))
	if err != nil {
		t.Fatal(err)
	}
	return string(mapped)
}

var mappedPages = []struct{ page, want string }{
	{`<a href="http://shop.internal:8080/a">`, `<a href="https://www.shop.example/a">`},
	{`<a href=HTTPS://Shop.internal>`, `<a href=https://www.shop.example>`},
	{`<img src='//canonical.example/a.png'>`, `<img src='//www.shop.example/a.png'>`},
	{`<img srcset="http://canonical.example/a 1x, //www.canonical.example/b 2x">`, `<img srcset="https://www.shop.example/a 1x, //www.shop.example/b 2x">`},
	{`url(http://shop.internal)`, `url(https://www.shop.example)`},
	{`{"u":"https:\/\/shop.internal\/a","v":"\/\/shop.internal\/b"}`, `{"u":"https:\/\/www.shop.example\/a","v":"\/\/www.shop.example\/b"}`},
	{`http://shop.internal&quot;`, `https://www.shop.example&quot;`},
	{`http://shop.internal`, `https://www.shop.example`},
	{`//shop.internal`, `//www.shop.example`},
	{`\"http://shop.internal\"`, `\"https://www.shop.example\"`},
	{`hhttp://shop.internal/`, ``},
	{`http://shop.internal.evil/ http://notshop.internal/ http://shop.internal@evil/ http://me@shop.internal/`, ``},
	{`http://shop.internal:9/ https://a.shop.internal/ http:/shop.internal/ ftp://shop.internal/`, ``},
	{`?to=https%3A%2F%2Fshop.internal%2F https://other.example//shop.internal/`, ``},
	{`http://` + strings.Repeat("a", 1000) + `/ shop.internal <br/> // \/ https: http`, ``},
	{`http://http://shop.internal/`, ``},
}

func TestMapURLs(t *testing.T) {
	u := mapping(t)
	for _, test := range mappedPages {
		want := test.want
		if want == "" {
			want = test.page
		}
		if got := mapAll(t, u, strings.NewReader(test.page)); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", test.page, got, want)
		}
		if got := mapAll(t, u, iotest.OneByteReader(strings.NewReader(test.page))); got != want {
			t.Errorf("%s in single bytes\ngot  %s\nwant %s", test.page, got, want)
		}
	}
}

func FuzzMapURLs(f *testing.F) {
	u := mapping(f)
	for _, test := range mappedPages {
		f.Add(test.page)
	}
	f.Fuzz(func(t *testing.T, page string) {
		whole := mapAll(t, u, strings.NewReader(page))
		for _, from := range []io.Reader{iotest.OneByteReader(strings.NewReader(page)), iotest.HalfReader(strings.NewReader(page)), iotest.DataErrReader(strings.NewReader(page))} {
			if got := mapAll(t, u, from); got != whole {
				t.Fatalf("%q in parts: %q, as a whole: %q", page, got, whole)
			}
		}
		lower := strings.ToLower(page)
		if !strings.Contains(lower, "shop.internal") && !strings.Contains(lower, "canonical.example") && whole != page {
			t.Fatalf("%q became %q", page, whole)
		}
	})
}
