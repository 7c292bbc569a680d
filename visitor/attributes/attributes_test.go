package attributes

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// request answers from one buffer that it uses again, as a server does.
type request struct {
	http.Header
	host, path, method string
	query              url.Values
	cookies            map[string]string
	buffer             []byte
}

func (r *request) give(s string) []byte {
	r.buffer = append(r.buffer[:0], s...)
	return r.buffer
}

type adapter struct{ r *request }

func (a adapter) Header(name string) []byte { return a.r.give(a.r.Header.Get(name)) }
func (a adapter) Cookie(name string) []byte { return a.r.give(a.r.cookies[name]) }
func (a adapter) Query(name string) []byte  { return a.r.give(a.r.query.Get(name)) }
func (a adapter) Host() []byte              { return []byte(a.r.host) }
func (a adapter) Path() []byte              { return a.r.give(a.r.path) }
func (a adapter) Method() []byte            { return a.r.give(a.r.method) }

func extract(t testing.TB, r *request, names ...string) []string {
	t.Helper()
	x, faults := Compile(names)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return x.Extract(nil, adapter{r})
}

const iPhone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"

func TestExtract(t *testing.T) {
	r := &request{
		Header: http.Header{
			"User-Agent": {iPhone}, "Accept-Language": {"de-at, de;q=0.9, en;q=0.8"},
			"Referer": {"https://News.Example.org:8443/a?b=c"}, "X-Plan": {"pro"},
		},
		host: "Shop.Example.com:8080", path: "/shop/schöne schuhe", method: "GET",
		query:   url.Values{"utm_campaign": {"sale", "other"}, "utm_source": {"mail"}, "a.b": {"1"}},
		cookies: map[string]string{"seen": "yes"},
	}
	names := []string{
		"path", "host", "method", "query.a.b", "query.none", "utm.campaign", "utm.source", "utm.medium", "cookie.seen", "header.x-plan",
		"device", "os", "browser", "language", "locale", "referrer", "referrer_url", "path",
	}
	want := []string{
		"/shop/schöne schuhe", "shop.example.com", "GET", "1", "", "sale", "mail", "", "yes", "pro",
		"mobile", "ios", "safari", "de", "de-AT", "news.example.org", "https://News.Example.org:8443/a?b=c", "/shop/schöne schuhe",
	}
	if diff := cmp.Diff(want, extract(t, r, names...)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	x, _ := Compile(names)
	if got := x.Extract([]string{"kept"}, adapter{r}); got[0] != "kept" || len(got) != len(names)+1 {
		t.Errorf("appended: %q", got)
	}
	if diff := cmp.Diff(names, x.Names()); diff != "" {
		t.Errorf("names: %s", diff)
	}
}

func TestUnknownNames(t *testing.T) {
	_, faults := Compile([]string{"path", "devcie", "utm.campain", "query.", "header.Cookie", "header.authorization", "", "zebra", "header." + strings.Repeat("x", 200)})
	want := []string{
		`[1]: unknown attribute "devcie"; did you mean "device"?`,
		`[2]: unknown attribute "utm.campain"; did you mean "utm.campaign"?`,
		`[3]: attribute "query.": expected query.NAME`,
		`[4]: attribute "header.Cookie" cannot be used: it holds all cookies`,
		`[5]: attribute "header.authorization" cannot be used: it holds a secret`,
		`[6]: unknown attribute ""; expected one of path,`,
		`[7]: unknown attribute "zebra"; expected one of path,`,
		`[8]: attribute "header.xxx`,
	}
	if len(faults) != len(want) {
		t.Fatalf("%v", faults)
	}
	for i, f := range faults {
		if !strings.HasPrefix(f.Error(), want[i]) {
			t.Errorf("got  %s\nwant %s", f.Error(), want[i])
		}
	}
	if _, faults := Compile(make([]string, MaxNames+1)); len(faults) != 1 {
		t.Errorf("too many names: %v", faults)
	}
}

func TestDevices(t *testing.T) {
	for agent, want := range map[string][]string{
		iPhone: {"mobile", "ios", "safari"},
		"Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1":                     {"tablet", "ios", "safari"},
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36":                                    {"desktop", "windows", "chrome"},
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0":                      {"desktop", "windows", "edge"},
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15":                              {"desktop", "macos", "safari"},
		"Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0":                                                                             {"desktop", "linux", "firefox"},
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36":                                     {"desktop", "chromeos", "chrome"},
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36":                                    {"mobile", "android", "chrome"},
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36":                                           {"tablet", "android", "chrome"},
		"Mozilla/5.0 (Android 14; Tablet; rv:127.0) Gecko/127.0 Firefox/127.0":                                                                               {"tablet", "android", "firefox"},
		"Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36": {"mobile", "android", "samsung"},
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36":                                      {"desktop", "linux", "chrome"},
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)":                                                                           {"bot", "other", "other"},
		"curl/8.7.1": {"other", "other", "other"},
		"":           {"bot", "other", "other"},
	} {
		r := &request{Header: http.Header{"User-Agent": {agent}}}
		if diff := cmp.Diff(want, extract(t, r, "device", "os", "browser")); diff != "" {
			t.Errorf("%q (-want +got):\n%s", agent, diff)
		}
	}
}

func TestLocales(t *testing.T) {
	for header, want := range map[string]string{
		"": "", "de": "de", "de-at": "de-AT", "DE-AT": "de-AT", "zh-hant-tw": "zh-Hant-TW", "es-419": "es-419",
		"en;q=0.5, fr;q=0.8": "fr", "en;q=0.8,fr;q=0.8": "en", "*": "", "*,de;q=0.5": "de", "de;q=0": "", "de;q=x,en;q=0.1": "en",
		" de-CH ; q=1": "de-CH", "<script>": "", "d": "", "de--at": "", "de-": "", "1e": "", "de;x=1": "", "de;q=2, en;q=.1": "en",
		strings.Repeat("x", 9): "", "de-" + strings.Repeat("abcdefgh-", 5): "", ",,,de": "de", "de;q=NaN": "",
	} {
		if got := locale([]byte(header)); got != want {
			t.Errorf("locale(%q) = %q, want %q", header, got, want)
		}
	}
}

func TestReferrer(t *testing.T) {
	for url, want := range map[string]string{
		"": "", "https://a.example/": "a.example", "https://a.example": "a.example", "http://A.example:80/x": "a.example",
		"https://shop.example/x": "", "https://SHOP.example:9/x": "", "https://user:pass@b.example/": "b.example",
		"https://a.example?x": "a.example", "https://a.example#@shop.example": "a.example", "android-app://com.google.android.gm/": "com.google.android.gm",
		"about:blank": "", "https://[2001:db8::1]:443/": "[2001:db8::1]", "//a.example/": "", "https://www.shop.example/": "www.shop.example",
	} {
		if got := referrer([]byte(url), []byte("shop.example:8080")); got != want {
			t.Errorf("referrer(%q) = %q, want %q", url, got, want)
		}
	}
}

func TestBounded(t *testing.T) {
	long := strings.Repeat("ä", MaxValue)
	for value, want := range map[string]string{
		"": "", "x": "x", "\xff\xfe": "\uFFFD", "a\xffb": "a\uFFFDb", long: long[:MaxValue], "x" + long: ("x" + long)[:MaxValue-1],
		strings.Repeat("\xff", 5000): "\uFFFD",
	} {
		if got := bounded([]byte(value)); got != want {
			t.Errorf("bounded(%.20q) = %.20q, want %.20q", value, got, want)
		}
	}
}

func FuzzExtract(f *testing.F) {
	f.Add("de-AT,de;q=0.9", "https://a.example/", iPhone, "shop.example", "/x")
	f.Add("*;q=", "://", "Mozilla/5.0 ((((", "[::1", "\xff")
	x, _ := Compile([]string{"path", "host", "device", "os", "browser", "language", "locale", "referrer", "referrer_url"})
	f.Fuzz(func(t *testing.T, language, referer, agent, host, path string) {
		r := &request{
			Header: http.Header{"User-Agent": {agent}, "Accept-Language": {language}, "Referer": {referer}}, host: host, path: path,
		}
		for i, value := range x.Extract(nil, adapter{r}) {
			if len(value) > MaxValue || !utf8.ValidString(value) {
				t.Errorf("%s: %q", x.Names()[i], value)
			}
		}
	})
}

func BenchmarkExtract(b *testing.B) {
	x, _ := Compile([]string{"utm.campaign", "path", "device", "language"})
	r := &request{
		Header: http.Header{"User-Agent": {iPhone}, "Accept-Language": {"de-AT,de;q=0.9,en;q=0.8"}}, path: "/shop/shoes",
		query: url.Values{"utm_campaign": {"sale"}},
	}
	var dst []string
	b.ReportAllocs()
	for b.Loop() {
		dst = x.Extract(dst[:0], adapter{r})
	}
}
