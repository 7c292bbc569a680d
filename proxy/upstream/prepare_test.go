package upstream

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"
	"pgregory.net/rapid"
)

func TestPrepare(t *testing.T) {
	for _, test := range []struct {
		name string
		in   string
		opts PrepareOptions
		want string
	}{
		{"a plain request keeps order, spelling and bytes",
			"GET /a//b/../c%2Fd?x=%zz&y HTTP/1.1\r\nhost: shop\r\nuser-agent: UA\r\nX-one:  1 \r\nACCEPT: */*\r\nCookie: b=2;a=\"1\" ; c\r\nCookie: d=4\r\nX-one: 2\r\n\r\n",
			PrepareOptions{Host: "shop", Scheme: "https", Peer: "192.0.2.7"},
			"GET /a//b/../c%2Fd?x=%zz&y HTTP/1.1\r\nHost: shop\r\nuser-agent: UA\r\nX-one: 1\r\nACCEPT: */*\r\nCookie: b=2;a=\"1\" ; c\r\nCookie: d=4\r\nX-one: 2\r\n" +
				"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop\r\nVia: 1.1 sedge\r\n\r\n"},
		{"nothing is invented",
			"GET / HTTP/1.1\r\nHost: a\r\n\r\n", PrepareOptions{Host: "a"},
			"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: a\r\nVia: 1.1 sedge\r\n\r\n"},
		{"headers of this hop end here",
			"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Hop, Via\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\nProxy: http://evil\r\n" +
				"TE: gzip, trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nExpect: 100-continue\r\nAccept: a\r\n\r\n", PrepareOptions{Host: "a"},
			"GET / HTTP/1.1\r\nHost: a\r\nAccept: a\r\nX-Forwarded-Host: a\r\nVia: 1.1 sedge\r\nTE: trailers\r\n\r\n"},
		{"look-alikes and forgeries are dropped",
			"GET / HTTP/1.1\r\nHost: a\r\nX_Segment: 1\r\nTransfer_Encoding: chunked\r\nContent_Length: 3\r\nTransfer---Encoding: chunked\r\nContentLength: 3\r\n" +
				"Sedge-Segment: vip\r\nsedge-x: 1\r\nX-Secret: 1\r\nX-Internal-A: 1\r\nX-Star: 1\r\nX-Starlight: 2\r\nAccept: a\r\n\r\n",
			PrepareOptions{Host: "a", StripHeaders: []string{"x-secret", "X-Internal-", "X-Starl*"}},
			"GET / HTTP/1.1\r\nHost: a\r\nX-Star: 1\r\nAccept: a\r\nX-Forwarded-Host: a\r\nVia: 1.1 sedge\r\n\r\n"},
		{"an untrusted peer's word does not count",
			"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nForwarded: for=1.1.1.1\r\nX-Real-IP: 1.1.1.1\r\nX-Original-URL: /admin\r\n\r\n",
			PrepareOptions{Host: "a", Scheme: "http", Peer: "192.0.2.7"},
			"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nVia: 1.1 sedge\r\n\r\n"},
		{"a trusted peer's word is added to",
			"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2, 3.3.3.3\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop\r\nX-Forwarded-Port: 1\r\nForwarded: for=1.1.1.1\r\nVia: 1.0 front\r\n\r\n",
			PrepareOptions{Host: "a", Scheme: "http", Peer: "192.0.2.7", TrustForwarded: true},
			"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop\r\nX-Forwarded-Port: 1\r\nForwarded: for=1.1.1.1\r\nVia: 1.0 front\r\n" +
				"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7\r\nForwarded: for=192.0.2.7;proto=http;host=\"a\"\r\nVia: 1.1 sedge\r\n\r\n"},
		{"a body keeps its length",
			"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\ncontent-type: text/x\r\n\r\n", PrepareOptions{Host: "a"},
			"POST /x HTTP/1.1\r\nHost: a\r\ncontent-type: text/x\r\nX-Forwarded-Host: a\r\nVia: 1.1 sedge\r\nContent-Length: 12\r\n\r\n"},
		{"a body of unknown length is chunked, and only that",
			"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nTransfer-Encoding: chunked\r\nTrailer: X, via\r\n\r\n", PrepareOptions{Host: "a"},
			"POST /x HTTP/1.1\r\nHost: a\r\nTrailer: X\r\nX-Forwarded-Host: a\r\nVia: 1.1 sedge\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"a POST without body says so",
			"POST /x HTTP/1.1\r\nHost: a\r\n\r\n", PrepareOptions{Host: "a"},
			"POST /x HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: a\r\nVia: 1.1 sedge\r\nContent-Length: 0\r\n\r\n"},
		{"a DELETE without body does not",
			"DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n", PrepareOptions{Host: "a"},
			"DELETE /x HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: a\r\nVia: 1.1 sedge\r\n\r\n"},
		{"an absolute target becomes a path",
			"GET http://other.example/p?q=http://x/ HTTP/1.1\r\nHost: a\r\n\r\n", PrepareOptions{Host: "other.example"},
			"GET /p?q=http://x/ HTTP/1.1\r\nHost: other.example\r\nX-Forwarded-Host: other.example\r\nVia: 1.1 sedge\r\n\r\n"},
		{"an absolute target may have a query only",
			"GET http://other.example?q HTTP/1.1\r\nHost: a\r\n\r\n", PrepareOptions{Host: "a"},
			"GET /?q HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: a\r\nVia: 1.1 sedge\r\n\r\n"},
		{"a URL in a query is no absolute target",
			"GET /login?next=http://x/y HTTP/1.1\r\nHost: a\r\n\r\n", PrepareOptions{Host: "a"},
			"GET /login?next=http://x/y HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: a\r\nVia: 1.1 sedge\r\n\r\n"},
		{"path, encoding and headers are replaced",
			"GET /old HTTP/1.1\r\nHost: a\r\naccept-encoding: br\r\nX-Plan: forged\r\nCookie: sedge_vid=1\r\n\r\n",
			PrepareOptions{Host: "a", Path: "/new?x", ForceAcceptEncoding: "gzip", AddHeaders: [][2]string{{"x-plan", "b"}, {"bad name", "x"}, {"X-Bad", "a\r\nb: c"}},
				StripCookies: []string{"sedge_vid"}},
			"GET /new?x HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: a\r\nVia: 1.1 sedge\r\nAccept-Encoding: gzip\r\nx-plan: b\r\n\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			out := &fasthttp.Request{}
			Prepare(out, parsed(t, test.in), test.opts)
			got := string(out.Header.AppendBytes(nil))
			if diff := cmp.Diff(strings.Split(test.want, "\r\n"), strings.Split(got, "\r\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A request that did not come over the wire, as over HTTP/2, has no raw lines.
func TestPrepareWithoutRawLines(t *testing.T) {
	in := &fasthttp.Request{}
	in.Header.SetMethod("GET")
	in.SetRequestURI("/p")
	in.Header.SetHost("a")
	in.Header.Set("Cookie", "a=1; sedge_vid=2; b=3")
	in.Header.Set("X-A", "1")
	in.Header.SetUserAgent("ua")
	out := &fasthttp.Request{}
	Prepare(out, in, PrepareOptions{Host: "a", StripCookies: []string{"sedge_vid"}})
	want := "GET /p HTTP/1.1\r\nHost: a\r\nUser-Agent: ua\r\nCookie: a=1; b=3\r\nX-A: 1\r\nX-Forwarded-Host: a\r\nVia: 1.1 sedge\r\n\r\n"
	if got := string(out.Header.AppendBytes(nil)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestHostOfTheSettingsWins(t *testing.T) {
	for setting, want := range map[string]string{"": "ORIGIN", "upstream": "ORIGIN", "client": "shop.example", "www.example": "www.example"} {
		o := newOrigin(t, answering(okHello))
		u := newUpstream(t, o.url(), func(c *Config) { c.Host = setting })
		wantOK(t, u, "hello")
		if want == "ORIGIN" {
			want = o.listener.Addr().String()
		}
		if head := o.received()[0]; strings.Count(head, "\r\nHost:") != 1 || !strings.Contains(head, "\r\nHost: "+want+"\r\n") {
			t.Errorf("host %q: the origin got\n%s", setting, head)
		}
		o.close()
	}
}

func TestTargetWithControlCharactersIsNotSent(t *testing.T) {
	o := newOrigin(t, answering(okHello))
	u := newUpstream(t, o.url())
	for _, path := range []string{"/a b", "/a\r\nX: y", "/\x00", "/\x7f"} {
		out := prepared(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", PrepareOptions{Host: "a", Path: path})
		_, _, err := fetch(u, out, nil, Options{})
		wantKind(t, err, Client)
	}
	if n := len(o.received()); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}

func TestStripCookies(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"a=1; sedge_vid=x; b=2", "a=1; b=2"}, {"sedge_vid=x; a=1", "a=1"}, {"a=1; sedge_vid=x", "a=1"}, {"sedge_vid=x", ""},
		{"sedge_vid=x; sedge_vid=y", ""}, {"a=1;sedge_vid=x;b=2", "a=1;b=2"}, {"asedge_vid=1; sedge_vid2=2; Sedge_vid=3", "asedge_vid=1; sedge_vid2=2; Sedge_vid=3"},
		{"a=1;;  b = 2 ;", "a=1;;  b = 2 ;"}, {" sedge_vid = x ;;  b = 2 ;", ";  b = 2 ;"}, {"sedge_vid; a", "a"}, {"", ""}, {"a=sedge_vid=1", "a=sedge_vid=1"},
	} {
		if got := string(stripCookies(nil, []byte(test.in), []string{"sedge_vid"})); got != test.want {
			t.Errorf("%q became %q, want %q", test.in, got, test.want)
		}
	}
}

func TestStripCookiesKeepsTheOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pairs := rapid.SliceOf(rapid.StringMatching(`(v|a|b) ?(=[a-v"=]{0,4})?`)).Draw(t, "pairs")
		got := string(stripCookies(nil, []byte(strings.Join(pairs, "; ")), []string{"v"}))
		var want []string
		for _, p := range pairs {
			name, _, _ := strings.Cut(p, "=")
			if strings.TrimSpace(name) != "v" {
				want = append(want, p)
			}
		}
		if len(want) == len(pairs) {
			return
		}
		if joined := strings.TrimSpace(strings.Join(want, "; ")); got != joined {
			t.Fatalf("got %q, want %q", got, joined)
		}
	})
}
