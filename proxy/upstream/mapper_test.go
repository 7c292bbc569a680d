package upstream

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
)

func newMapping(t testing.TB, scheme, host string) *Mapping {
	t.Helper()
	u := newUpstream(t, "https://www.example.com", func(c *Config) {
		c.MapURLs = []decision.Body{decision.BodyHTML}
		c.Servers = []Server{{URL: "https://www.example.com"}, {URL: "https://[2001:db8::1]:8443"}, {URL: "https://10.0.0.1:3000"}}
		c.URL = ""
	})
	return u.Mapping(scheme, host)
}

// What stands in contexts where URLs do, and in others.
func TestMapperContexts(t *testing.T) {
	for _, test := range []struct{ name, body, want string }{
		{"attribute", `<a href="https://www.example.com/a?b=c#d">`, `<a href="http://localhost:8080/a?b=c#d">`},
		{"other quotes", `<a href='https://www.example.com'>`, `<a href='http://localhost:8080'>`},
		{"no quotes", `<form action=https://www.example.com/a>`, `<form action=http://localhost:8080/a>`},
		{"no quotes, no scheme", `<img src=//www.example.com/a.png>`, `<img src=//localhost:8080/a.png>`},
		{"spaces", `<a href = https://www.example.com/>`, `<a href = http://localhost:8080/>`},
		{"white space in a value", "<a href=\"\n https://www.example.com/\">", "<a href=\"\n http://localhost:8080/\">"},
		{"without www", `"https://example.com/"`, `"http://localhost:8080/"`},
		{"any case", `"HTTPS://WWW.Example.COM/"`, `"http://localhost:8080/"`},
		{"http", `"http://www.example.com/"`, `"http://localhost:8080/"`},
		{"usual port", `"https://www.example.com:443/"`, `"http://localhost:8080/"`},
		{"another port", `"https://www.example.com:8443/"`, `"https://www.example.com:8443/"`},
		{"colon", `see https://www.example.com: there`, `see https://www.example.com: there`},
		{"address", `"https://[2001:db8::1]:8443/"`, `"http://localhost:8080/"`},
		{"address in brackets", `[https://10.0.0.1:3000]`, `[http://localhost:8080]`},
		{"socket", `new WebSocket("wss://www.example.com/ws")`, `new WebSocket("ws://localhost:8080/ws")`},
		{"another scheme", `"ftp://www.example.com/" "xhttps://www.example.com" "feed:https://www.example.com/"`, `"ftp://www.example.com/" "xhttps://www.example.com" "feed:https://www.example.com/"`},
		{"scheme alone", `":https" "https:" "https:/" "https://" "//"`, `":https" "https:" "https:/" "https://" "//"`},
		{"longer names", `"https://www.example.com.evil/" "https://notexample.com/" "https://shop.example.com/" "https://www.example.community"`,
			`"https://www.example.com.evil/" "https://notexample.com/" "https://shop.example.com/" "https://www.example.community"`},
		{"users", `"https://www.example.com@evil.example/" "https://me@www.example.com/" "https://www.example.com:x@evil.example/"`,
			`"https://www.example.com@evil.example/" "https://me@www.example.com/" "https://www.example.com:x@evil.example/"`},
		{"letters beyond ASCII", `"https://www.example.comé/"`, `"https://www.example.comé/"`},
		{"srcset", `srcset="https://www.example.com/1.jpg 1x,https://www.example.com/2.jpg 2x, //www.example.com/3.jpg 3x"`,
			`srcset="http://localhost:8080/1.jpg 1x,http://localhost:8080/2.jpg 2x, //localhost:8080/3.jpg 3x"`},
		{"style", `style="background:url(https://www.example.com/a.png)"`, `style="background:url(http://localhost:8080/a.png)"`},
		{"refresh", `<meta http-equiv=refresh content="0;url=https://www.example.com/a">`, `<meta http-equiv=refresh content="0;url=http://localhost:8080/a">`},
		{"refresh, spaced", `content="0; URL=https://www.example.com/a"`, `content="0; URL=http://localhost:8080/a"`},
		{"script", "fetch(`https://www.example.com${path}`); x='https://www.example.com'+y", "fetch(`http://localhost:8080${path}`); x='http://localhost:8080'+y"},
		{"escaped", `{"home":"https:\/\/www.example.com\/","b":"\/\/www.example.com\/b"}`, `{"home":"http:\/\/localhost:8080\/","b":"\/\/localhost:8080\/b"}`},
		{"escaped with numbers", `"https:\u002F\u002Fwww.example.com\u002F"`, `"http:\u002F\u002Flocalhost:8080\u002F"`},
		{"escaped twice", `"{\"a\":\"https:\\/\\/www.example.com\\/\"}"`, `"{\"a\":\"http:\\/\\/localhost:8080\\/\"}"`},
		{"escaped quotes", `"\u0022https:\/\/www.example.com\/\u0022" '\x22https://www.example.com/\x22'`, `"\u0022http:\/\/localhost:8080\/\u0022" '\x22http://localhost:8080/\x22'`},
		{"lines in strings", `"see\nhttps://www.example.com\nor"`, `"see\nhttp://localhost:8080\nor"`},
		{"JSON in an attribute", `data-x="{&quot;u&quot;:&quot;https:\/\/www.example.com\/a&quot;}"`, `data-x="{&quot;u&quot;:&quot;http:\/\/localhost:8080\/a&quot;}"`},
		{"references", `href="https:&#x2F;&#x2F;www.example.com&#x2F;a" href="https:&#47;&#47;www.example.com"`, `href="http:&#x2F;&#x2F;localhost:8080&#x2F;a" href="http:&#47;&#47;localhost:8080"`},
		{"text", `<p>https://www.example.com/</p> (https://www.example.com)`, `<p>http://localhost:8080/</p> (http://localhost:8080)`},
		{"comment", `<!--[if IE]><link href="https://www.example.com/ie.css"><![endif]-->`, `<!--[if IE]><link href="http://localhost:8080/ie.css"><![endif]-->`},
		{"feed", `<link>https://www.example.com/</link><g>![CDATA[https://www.example.com/]]</g>`, `<link>http://localhost:8080/</link><g>![CDATA[http://localhost:8080/]]</g>`},
		{"start and end", `https://www.example.com`, `http://localhost:8080`},
		{"canonical", `<link rel=canonical href="https://www.example.com/a">`, `<link rel=canonical href="http://localhost:8080/a">`},

		{"return address, encoded", `href="https://www.example.com/login?to=https%3A%2F%2Fwww.example.com%2Fa"`, `href="http://localhost:8080/login?to=https%3A%2F%2Fwww.example.com%2Fa"`},
		{"return address", `href="/login?to=https://www.example.com/a&amp;u=https://www.example.com/b&#038;v=https://www.example.com/"`, `href="/login?to=https://www.example.com/a&amp;u=https://www.example.com/b&#038;v=https://www.example.com/"`},
		{"return address in JSON", `"\/login?a=b\u0026to=https:\/\/www.example.com\/a"`, `"\/login?a=b\u0026to=https:\/\/www.example.com\/a"`},
		{"elsewhere's return address", `href="https://id.example/?to=https://www.example.com/a"`, `href="https://id.example/?to=https://www.example.com/a"`},
		{"in a path", `href="https://archive.example/web/https://www.example.com/a" href="/a//www.example.com/"`, `href="https://archive.example/web/https://www.example.com/a" href="/a//www.example.com/"`},
		{"input", `<input type=hidden name=to value="https://www.example.com/a"><a href="https://www.example.com/">`, `<input type=hidden name=to value="https://www.example.com/a"><a href="http://localhost:8080/">`},
		{"input's address", `<INPUT type=image src="https://www.example.com/a.png" value='see https://www.example.com/' formaction=https://www.example.com/b>`,
			`<INPUT type=image src="http://localhost:8080/a.png" value='see https://www.example.com/' formaction=http://localhost:8080/b>`},
		{"option", `<option value="https://www.example.com/2020/">`, `<option value="http://localhost:8080/2020/">`},
		{"textarea", `<textarea name=a>https://www.example.com/ <b></textarea >https://www.example.com/`, `<textarea name=a>https://www.example.com/ <b></textarea >http://localhost:8080/`},
		{"longer names of tags", `<textarea-x>"https://www.example.com/"<input-x value="https://www.example.com/"`, `<textarea-x>"http://localhost:8080/"<input-x value="http://localhost:8080/"`},
		{"textarea in a script", `<script>"<textarea>"</script>"https://www.example.com/"`, `<script>"<textarea>"</script>"http://localhost:8080/"`},
		{"textarea in a comment", `<!-- <textarea> --!>"https://www.example.com/"`, `<!-- <textarea> --!>"http://localhost:8080/"`},
		{"UTF-16", "h\x00t\x00t\x00p\x00:\x00/\x00/\x00e\x00x\x00", "h\x00t\x00t\x00p\x00:\x00/\x00/\x00e\x00x\x00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMapping(t, "http", "localhost:8080")
			if got := string(m.Append(nil, []byte(test.body), MapOptions{HTML: true})); got != test.want {
				t.Errorf("%s\nbecame %s\n  want %s", test.body, got, test.want)
			}
		})
	}
}

func TestMapperSparesCode(t *testing.T) {
	body := `<script src="https://www.example.com/a.js">u="https://www.example.com/"</script><style>a{b:url(//www.example.com/c)}</style><p style="d:url(//www.example.com/e)">`
	want := `<script src="https://shop.test/a.js">u="https://www.example.com/"</script><style>a{b:url(//www.example.com/c)}</style><p style="d:url(//shop.test/e)">`
	got := string(newMapping(t, "https", "shop.test").Append(nil, []byte(body), MapOptions{HTML: true, SpareCode: true}))
	if got != want {
		t.Errorf("%s\n  want %s", got, want)
	}
}

func TestMapperLeavesFormsOfTextAlone(t *testing.T) {
	body := `{"html":"<input value=\"https://www.example.com/\"><textarea>https://www.example.com/"}`
	want := strings.ReplaceAll(body, "www.example.com", "shop.test")
	if got := string(newMapping(t, "https", "shop.test").Append(nil, []byte(body), MapOptions{})); got != want {
		t.Errorf("%s\n  want %s", got, want)
	}
}

// pieces are what bodies are drawn from, so that many of them nearly hold a URL.
var pieces = []string{
	"https://www.example.com", "http:", "//", `\/\/`, `\u002F\u002f`, `\\/\\/`, "&#x2F;&#x2f;", "&#47;&#47;", "www.", "example.com", "example.com:443",
	"10.0.0.1:3000", "[2001:db8::1]:8443", "/", ":", "<", ">", "=", `"`, "'", " ", "a", "é", "href=", "value=", "?to=", "&amp;x=", ";url=", `\n`, `\u0022`,
	"<input ", "<textarea>", "</textarea>", "<script ", "</script>", "<style>", "</style>", "<!--", "-->", "wss:", "x", "%", "@", "https", strings.Repeat("h", 70),
}

func drawBody(t *rapid.T) []byte {
	return []byte(strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 40).Draw(t, "body"), ""))
}

// However a body is cut, the same comes of it; and nothing but URLs of the origin is
// touched: with these put back, it is the body.
func TestMapperStreams(t *testing.T) {
	m := newMapping(t, "http", "localhost:8080")
	rapid.Check(t, func(rt *rapid.T) {
		body := drawBody(rt)
		how := MapOptions{HTML: rapid.Bool().Draw(rt, "html"), SpareCode: rapid.Bool().Draw(rt, "spare")}
		whole := m.Append(nil, body, how)
		sizes := rapid.SliceOfN(rapid.IntRange(1, 20), 1, 8).Draw(rt, "sizes")
		if got, held := mapInPieces(m, body, how, sizes); !bytes.Equal(got, whole) {
			rt.Fatalf("in pieces %q\nas a whole %q", got, whole)
		} else if held > 64 {
			rt.Fatalf("%d bytes were held back", held)
		}
		if !bytes.Contains(whole, []byte("localhost:8080")) && !bytes.Equal(whole, body) {
			rt.Fatalf("%q became %q", body, whole)
		}
	})
}

// mapInPieces maps a body in writes of the sizes given, in turn, and tells how many bytes
// were held back at most.
func mapInPieces(m *Mapping, body []byte, how MapOptions, sizes []int) (out []byte, held int) {
	var w Mapper
	w.Reset(m, (*appender)(&out), how)
	for i := 0; len(body) > 0; i++ {
		n := min(sizes[i%len(sizes)], len(body))
		piece := bytes.Clone(body[:n])
		_, _ = w.Write(piece)
		clear(piece) // nothing of it may be kept
		body = body[n:]
		held = max(held, len(w.buf)-w.done)
	}
	_ = w.Close()
	return out, held
}

func FuzzMapper(f *testing.F) {
	for _, piece := range pieces {
		f.Add([]byte(`<a href="`+piece+`//www.example.com/">`), uint8(3), true)
	}
	m := newMapping(f, "https", "a.test")
	f.Fuzz(func(t *testing.T, body []byte, size uint8, html bool) {
		how := MapOptions{HTML: html}
		whole := m.Append(nil, body, how)
		if got, _ := mapInPieces(m, body, how, []int{int(size)%40 + 1}); !bytes.Equal(got, whole) {
			t.Errorf("%q\nin pieces  %q\nas a whole %q", body, got, whole)
		}
		if again := m.Append(nil, whole, how); !bytes.Equal(again, whole) && !bytes.Contains(whole, []byte("example.com")) {
			t.Errorf("%q became %q, and then %q", body, whole, again)
		}
		if n := bytes.Count(whole, []byte("a.test")) - bytes.Count(body, []byte("a.test")); n == 0 && !bytes.Equal(whole, body) {
			t.Errorf("%q became %q", body, whole)
		}
	})
}

func TestMapPolicies(t *testing.T) {
	for policy, want := range map[string]string{
		"script-src 'self' https://www.example.com":                 "script-src 'self' http://localhost:8080",
		"script-src www.example.com/js/; img-src *":                 "script-src localhost:8080/js/; img-src *",
		"script-src *.example.com https://*.example.com:443":        "script-src *.example.com localhost:8080 https://*.example.com:443 http://localhost:8080",
		"connect-src wss://www.example.com data: blob: https:":      "connect-src ws://localhost:8080 data: blob: https:",
		"default-src 'self'; upgrade-insecure-requests; base-uri":   "default-src 'self'; base-uri",
		"img-src other.example https://cdn.example/www.example.com": "img-src other.example https://cdn.example/www.example.com",
		"script-src 'sha256-abc=' 'nonce-x'":                        "script-src 'sha256-abc=' 'nonce-x'",
		"frame-src https://www.example.com:*, img-src example.com":  "frame-src http://localhost:8080, img-src localhost:8080",
	} {
		u := newMapping(t, "http", "localhost:8080").up
		for _, name := range policies {
			resp := &fasthttp.Response{}
			resp.Header.Add(name, "img-src x")
			resp.Header.Add(name, policy)
			u.Deliver(resp, "http", "localhost:8080", nil)
			lines := resp.Header.PeekAll(name)
			if len(lines) != 2 || strings.Join(strings.Fields(string(lines[1])), " ") != want {
				t.Errorf("%s: %q\n  want %q", name, lines, want)
			}
		}
	}
}

func TestMapHints(t *testing.T) {
	u := newMapping(t, "http", "localhost:8080").up
	resp := &fasthttp.Response{}
	resp.Header.Add("Link", `<https://www.example.com/wp-json/>; rel="https://api.w.org/", <//www.example.com/a.css>; rel=preload`)
	u.Deliver(resp, "http", "localhost:8080", nil)
	want := `<http://localhost:8080/wp-json/>; rel="https://api.w.org/", <//localhost:8080/a.css>; rel=preload`
	if got := string(resp.Header.Peek("Link")); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// Where nothing is asked for, nothing of that is mapped.
func TestNothingIsMappedUnasked(t *testing.T) {
	u := newUpstream(t, "https://www.example.com")
	resp := &fasthttp.Response{}
	for name, value := range map[string]string{"Link": "<https://www.example.com/>", "Content-Security-Policy": "img-src https://www.example.com"} {
		resp.Header.Set(name, value)
		u.Deliver(resp, "http", "localhost:8080", nil)
		if got := string(resp.Header.Peek(name)); got != value {
			t.Errorf("%s became %s", name, got)
		}
	}
	if u.Mapping("http", "localhost:8080") != nil || u.MappedBodies() != 0 {
		t.Error("bodies are mapped")
	}
}

func BenchmarkMapper(b *testing.B) {
	var page bytes.Buffer
	for page.Len() < 100<<10 {
		page.WriteString(`<li class="item-` + strings.Repeat("x", rand.IntN(20)) + `"><a href="https://www.example.com/product/1">A product</a><p>Some text about it, & more.</p></li>` + "\n")
	}
	for name, m := range map[string]*Mapping{"mapped": newMapping(b, "http", "localhost:8080"), "others": newMapping(b, "http", "localhost:8080")} {
		body := page.Bytes()
		if name == "others" {
			body = bytes.ReplaceAll(body, []byte("www.example"), []byte("cdn.example"))
		}
		b.Run(name, func(b *testing.B) {
			var w Mapper
			out := make(appender, 0, 200<<10)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				out = out[:0]
				w.Reset(m, &out, MapOptions{HTML: true})
				_, _ = w.Write(body)
				_ = w.Close()
			}
		})
	}
}
