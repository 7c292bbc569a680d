package cache_test

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/cache"
)

// noon is when answers come in these tests, and date is that as a header.
var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

const (
	date      = "Date: Wed, 04 Mar 2026 12:00:00 GMT"
	hourLater = "Wed, 04 Mar 2026 13:00:00 GMT"
	hourAgo   = "Wed, 04 Mar 2026 11:00:00 GMT"
)

// head parses an answer's head as the proxy does: names stay as they are spelled.
func head(t testing.TB, status int, lines ...string) *fasthttp.ResponseHeader {
	t.Helper()
	if !strings.Contains(strings.Join(lines, "\n"), "Content-Length:") {
		lines = append([]string{"Content-Length: 3"}, lines...)
	}
	raw := fmt.Sprintf("HTTP/1.1 %d Status\r\n%s\r\n\r\n", status, strings.Join(lines, "\r\n"))
	h := &fasthttp.ResponseHeader{}
	h.DisableNormalizing()
	h.SetNoDefaultContentType(true)
	if err := h.Read(bufio.NewReaderSize(strings.NewReader(raw), len(raw))); err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	return h
}

// request reads header lines as the proxy does.
func request(lines ...string) *cache.Request {
	q := &cache.Request{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		q.Add([]byte(name), bytes.TrimSpace([]byte(value)))
	}
	return q
}

func exchange() *cache.Exchange {
	return &cache.Exchange{Method: []byte("GET"), Path: []byte("/page"), Request: request(), Sent: noon, Received: noon}
}

// describe says in a word what becomes of an answer at the moment when it has come.
func describe(r *cache.Rules) string {
	switch {
	case r.Storable && r.Lifetime > r.InitialAge:
		return fmt.Sprintf("fresh %v", (r.Lifetime - r.InitialAge).Seconds())
	case r.Storable:
		return "stale"
	case r.Revalidatable:
		return "validate: " + string(r.Reason)
	}
	return "no: " + string(r.Reason)
}

// TestRules names its cases by the section that decides them.
func TestRules(t *testing.T) {
	const etag = `ETag: "a"`
	for _, c := range []struct {
		name  string
		lines []string // Date and status 200 go without saying
		want  string
	}{
		// What may be kept at all
		{"9111 3: no word about freshness", nil, "no: no-freshness"},
		{"9111 3: no freshness, but a validator", []string{etag}, "validate: no-freshness"},
		{"9111 3: public without freshness", []string{"Cache-Control: public"}, "no: no-freshness"},
		{"9111 5.2.2.5: no-store", []string{"Cache-Control: no-store, max-age=60", etag}, "no: no-store"},
		{"9111 5.2.2.7: private", []string{"Cache-Control: private, max-age=60", etag}, "no: private"},
		{"9111 5.2.2.7: private that names fields", []string{`Cache-Control: private="X-User", max-age=60`}, "no: private"},
		{"9111 5.2.2.7: private in the form of a token", []string{`Cache-Control: max-age=60, private=x-user`}, "no: private"},
		{"9111 5.2.2.7: private beside public", []string{"Cache-Control: public, private, max-age=60"}, "no: private"},
		{"9111 5.2.2.4: no-cache without a validator", []string{"Cache-Control: no-cache, max-age=60"}, "no: no-cache"},
		{"9111 5.2.2.4: no-cache", []string{"Cache-Control: no-cache, max-age=60", etag}, "validate: no-cache"},
		{"9111 5.2.2.4: no-cache that names fields", []string{`Cache-Control: max-age=60, no-cache="Set-Cookie, X"`, etag}, "validate: no-cache"},
		{"9111 7.3: Set-Cookie, more strictly than there", []string{"Cache-Control: public, max-age=60", "set-cookie: a=b"}, "no: set-cookie"},
		{"9110 14.4: Content-Range says nothing on a 200", []string{"Cache-Control: max-age=60", "Content-Range: bytes 0-2/3"}, "fresh 60"},
		{"9111 4.1: Vary: *", []string{"Cache-Control: max-age=60", "Vary: *"}, "no: vary"},
		{"9111 4.1: * among names", []string{"Cache-Control: max-age=60", "Vary: Foo", "vary: Bar, *"}, "no: vary"},
		{"9110 12.5.5: Vary that is no list of names", []string{"Cache-Control: max-age=60", "Vary: Foo Bar"}, "no: vary"},
		{"9110 12.5.5: Vary without names", []string{"Cache-Control: max-age=60", "Vary: ,"}, "fresh 60"},
		{"9111 5.4: Pragma says nothing in an answer", []string{"Cache-Control: max-age=60", "Pragma: no-cache"}, "fresh 60"},
		{"9111 5.2.3: an extension is passed over", []string{`Cache-Control: community="UCI", max-age=60`}, "fresh 60"},
		{"8246 2: immutable is nothing to a shared cache", []string{"Cache-Control: max-age=60, immutable"}, "fresh 60"},

		// Freshness lifetime
		{"9111 4.2.1: max-age", []string{"Cache-Control: max-age=60"}, "fresh 60"},
		{"9111 4.2.1: s-maxage before max-age", []string{"Cache-Control: max-age=60, s-maxage=90"}, "fresh 90"},
		{"9111 4.2.1: a shorter s-maxage too", []string{"Cache-Control: s-maxage=0, max-age=60"}, "no: stale"},
		{"9111 4.2.1: s-maxage before Expires", []string{"Cache-Control: s-maxage=90", "Expires: " + hourAgo}, "fresh 90"},
		{"9111 5.3: max-age before Expires", []string{"Cache-Control: max-age=60", "Expires: " + hourAgo}, "fresh 60"},
		{"9111 5.3: max-age=0 before Expires", []string{"Cache-Control: max-age=0", "Expires: " + hourLater}, "no: stale"},
		{"9111 4.2.1: Expires", []string{"Expires: " + hourLater}, "fresh 3600"},
		{"9111 4.2.1: Expires beside directives without freshness", []string{"Expires: " + hourLater, "Cache-Control: public"}, "fresh 3600"},
		{"9111 5.3: Expires in the past", []string{"Expires: " + hourAgo, etag}, "validate: stale"},
		{"9111 5.3: Expires that is Date", []string{"Expires: Wed, 04 Mar 2026 12:00:00 GMT"}, "no: stale"},
		{"9111 5.3: Expires: 0", []string{"Expires: 0"}, "no: stale"},
		{"9111 5.3: Expires: -1", []string{"Expires: -1"}, "no: stale"},
		{"9111 5.3: an empty Expires", []string{"Expires:"}, "no: stale"},
		{"9111 4.2.1: two Expires, the earliest counts", []string{"Expires: " + hourLater, "Expires: Wed, 04 Mar 2026 12:01:00 GMT"}, "fresh 60"},
		{"9111 4.2.1: two Expires, one invalid", []string{"Expires: " + hourLater, "Expires: soon"}, "no: stale"},
		{"9111 1.2.2: more than can be counted", []string{"Cache-Control: max-age=2147483649"}, "fresh 2.147483648e+09"},
		{"9111 1.2.2: more than fits into anything", []string{"Cache-Control: max-age=99999999999999999999999999"}, "fresh 2.147483648e+09"},
		{"9111 5.3: Expires in the far future", []string{"Expires: Fri, 31 Dec 9999 23:59:59 GMT"}, "fresh 2.147483648e+09"},
		{"9111 4.2.1: Expires less Date, of another clock", []string{"Expires: Wed, 04 Mar 2026 14:00:00 GMT", "Date: " + hourLater}, "fresh 3600"},

		// Syntax of Cache-Control
		{"9111 5.2: directives ignore case", []string{"Cache-Control: MaX-aGe=60"}, "fresh 60"},
		{"9110 5.1: so does the field", []string{"cAcHe-CoNtRoL: max-age=60"}, "fresh 60"},
		{"9110 5.3: several lines", []string{"Cache-Control: max-age=60", "Cache-Control: private"}, "no: private"},
		{"9111 5.2: the quoted form", []string{`Cache-Control: max-age="60"`}, "fresh 60"},
		{"9110 5.6.1: empty members", []string{"Cache-Control: , ,max-age=60, ,"}, "fresh 60"},
		{"9110 5.6.1: tabs and no blanks", []string{"Cache-Control: public,\tmax-age=60"}, "fresh 60"},
		{"9110 5.6.4: a comma in quotes", []string{`Cache-Control: ext="a, no-store, max-age=1", max-age=60`}, "fresh 60"},
		{"9110 5.6.4: a quote in quotes", []string{`Cache-Control: ext="a\", no-store", max-age=60`}, "fresh 60"},
		{"9111 4.2.1: of two the smaller", []string{"Cache-Control: max-age=60, max-age=30"}, "fresh 30"},
		{"9111 4.2.1: whichever comes first", []string{"Cache-Control: max-age=30", "Cache-Control: max-age=60"}, "fresh 30"},
		{"9111 4.2.1: max-age with a fraction", []string{"Cache-Control: max-age=60.5"}, "no: stale"},
		{"9111 4.2.1: a negative max-age", []string{"Cache-Control: max-age=-60"}, "no: stale"},
		{"9111 4.2.1: max-age in single quotes", []string{"Cache-Control: max-age='60'"}, "no: stale"},
		{"9111 4.2.1: max-age without a number", []string{"Cache-Control: max-age"}, "no: stale"},
		{"9111 4.2.1: max-age with an empty one", []string{"Cache-Control: max-age="}, "no: stale"},
		{"9111 4.2.1: max-age that is none, beside Expires", []string{"Cache-Control: max-age=x", "Expires: " + hourLater}, "no: stale"},
		{"9111 4.2.1: s-maxage that is none, beside max-age", []string{"Cache-Control: s-maxage=x, max-age=60"}, "no: stale"},
		{"9111 4.2.1: a blank before the equals sign", []string{"Cache-Control: max-age =60"}, "no: stale"},
		{"9111 4.2.1: a blank behind it", []string{"Cache-Control: max-age= 60"}, "no: stale"},
		{"9111 4.2.1: two numbers", []string{"Cache-Control: max-age=60 60"}, "no: stale"},
		{"9111 4.2.1: semicolons", []string{"Cache-Control: public; max-age=60"}, "no: stale"},
		{"9111 4.2.1: what forbids counts in broken syntax", []string{"Cache-Control: public; private", "Expires: " + hourLater}, "no: private"},
		{"9111 4.2.1: without commas", []string{"Cache-Control: no-cache no-store", "Expires: " + hourLater}, "no: no-store"},
		{"9111 4.2.1: a quote without an end hides nothing", []string{`Cache-Control: max-age=60, ext="a, no-store`}, "no: no-store"},
		{"9111 4.2.1: a quote in the midst hides nothing", []string{`Cache-Control: x"y, private, z", max-age=60`}, "no: private"},
		{"9111 5.2.3: broken syntax without known words", []string{"Cache-Control: foo bar, = , @, max-age=60"}, "fresh 60"},
		{"9111 5.2: no-store with an argument", []string{"Cache-Control: no-store=1, max-age=60"}, "no: no-store"},
		{"9111 5.2: words that only begin like directives", []string{"Cache-Control: no-storex, xprivate, max-agex=1, max-age=60"}, "fresh 60"},

		// Dates
		{"9110 5.6.7: rfc850-date", []string{"Expires: Wednesday, 04-Mar-26 13:00:00 GMT"}, "fresh 3600"},
		{"9110 5.6.7: asctime-date", []string{"Expires: Wed Mar  4 13:00:00 2026"}, "fresh 3600"},
		{"9110 5.6.7: asctime-date with two digits", []string{"Expires: Sat Mar 14 12:00:00 2026"}, "fresh 864000"},
		{"9110 5.6.7: two digits, 50 years ahead", []string{"Date: Wednesday, 04-Mar-26 12:00:00 GMT", "Expires: Tuesday, 04-Mar-75 12:00:00 GMT"}, "fresh 1.5463008e+09"},
		{"9110 5.6.7: two digits, more than 50 years ahead", []string{"Expires: Friday, 04-Mar-77 12:00:00 GMT"}, "no: stale"},
		{"9111 4.2: dates ignore case", []string{"Expires: WED, 04 MAR 2026 13:00:00 gmt"}, "fresh 3600"},
		{"9111 4.2: another zone", []string{"Expires: Wed, 04 Mar 2026 13:00:00 PST"}, "no: stale"},
		{"9111 4.2: another zone in rfc850", []string{"Expires: Wednesday, 04-Mar-26 13:00:00 EST"}, "no: stale"},
		{"9111 4.2: an offset", []string{"Expires: Wed, 04 Mar 2026 13:00:00 +0000"}, "no: stale"},
		{"9110 5.6.7: no zone", []string{"Expires: Wed, 04 Mar 2026 13:00:00"}, "no: stale"},
		{"9110 5.6.7: no day name", []string{"Expires: 04 Mar 2026 13:00:00 GMT"}, "no: stale"},
		{"9110 5.6.7: one digit of the day", []string{"Expires: Wed, 4 Mar 2026 13:00:00 GMT"}, "no: stale"},
		{"9110 5.6.7: one digit of the hour", []string{"Expires: Wed, 04 Mar 2026 9:00:00 GMT"}, "no: stale"},
		{"9110 5.6.7: a year of two digits", []string{"Expires: Wed, 04 Mar 26 13:00:00 GMT"}, "no: stale"},
		{"9110 5.6.7: two blanks", []string{"Expires: Wed, 04  Mar 2026 13:00:00 GMT"}, "no: stale"},
		{"9110 5.6.7: points for colons", []string{"Expires: Wed, 04 Mar 2026 13.00.00 GMT"}, "no: stale"},
		{"9110 5.6.7: something behind", []string{"Expires: Wed, 04 Mar 2026 13:00:00 GMT+1"}, "no: stale"},
		{"9110 5.6.7: no such day", []string{"Expires: Wed, 31 Feb 2027 13:00:00 GMT"}, "no: stale"},
		{"9110 5.6.7: day 0", []string{"Expires: Wed, 00 Mar 2027 13:00:00 GMT"}, "no: stale"},
		{"9110 5.6.7: hour 24", []string{"Expires: Wed, 04 Mar 2026 24:00:00 GMT"}, "no: stale"},
		{"9111 4.2: a leap second is not later than it is", []string{"Expires: Wed, 04 Mar 2026 12:59:60 GMT"}, "fresh 3599"},
		{"9110 6.6.1: an invalid Date is as none", []string{"Date: now", "Expires: " + hourLater}, "fresh 3600"},
		{"9110 6.6.1: two Dates are as none", []string{date, "Date: " + hourLater, "Expires: " + hourLater}, "fresh 3600"},
		{"9110 6.6.1: twice the same is one", []string{"Date: " + hourAgo, "Date: " + hourAgo, "Expires: " + hourAgo}, "no: stale"},

		// Age
		{"9111 4.2.3: Age", []string{"Cache-Control: max-age=60", "Age: 20"}, "fresh 40"},
		{"9111 4.2.3: Age beyond max-age", []string{"Cache-Control: max-age=60", "Age: 60", etag}, "validate: stale"},
		{"9111 4.2.3: Age shortens Expires", []string{"Expires: " + hourLater, "Age: 600"}, "fresh 3000"},
		{"9111 4.2.3: Date an hour ago", []string{"Cache-Control: max-age=7200", "Date: " + hourAgo}, "fresh 3600"},
		{"9111 4.2.3: the larger of Age and apparent age", []string{"Cache-Control: max-age=7200", "Date: " + hourAgo, "Age: 5400"}, "fresh 1800"},
		{"9111 4.2.3: Date in the future is no negative age", []string{"Cache-Control: max-age=60", "Date: " + hourLater}, "fresh 60"},
		{"9111 5.1: Age: 0", []string{"Cache-Control: max-age=60", "Age: 0"}, "fresh 60"},
		{"9111 5.1: of a list the first", []string{"Cache-Control: max-age=60", "Age: 20, 0"}, "fresh 40"},
		{"9111 5.1: of two lines the first", []string{"Cache-Control: max-age=60", "Age: 20", "Age: 50"}, "fresh 40"},
		{"9111 5.1: empty members of it", []string{"Cache-Control: max-age=60", "Age: , 20"}, "fresh 40"},
		{"9111 5.1: an Age that is no number is ignored", []string{"Cache-Control: max-age=60", "Age: twenty"}, "fresh 60"},
		{"9111 5.1: a negative one too", []string{"Cache-Control: max-age=60", "Age: -20"}, "fresh 60"},
		{"9111 5.1: a fraction too", []string{"Cache-Control: max-age=60", "Age: 20.5"}, "fresh 60"},
		{"9111 5.1: the first of a list, if invalid, ends it", []string{"Cache-Control: max-age=60", "Age: x, 20"}, "fresh 60"},
		{"9111 1.2.2: an Age beyond counting", []string{"Cache-Control: max-age=60", "Age: 99999999999999999999"}, "no: stale"},
		{"9111 1.2.2: that, and max-age beyond counting", []string{"Cache-Control: max-age=99999999999", "Age: 99999999999"}, "no: stale"},

		// Stale windows
		{"5861 3: stale at once, and usable", []string{"Cache-Control: max-age=0, stale-while-revalidate=60"}, "stale"},
		{"5861 4: stale at once, and usable on errors", []string{"Cache-Control: max-age=0, stale-if-error=60"}, "stale"},
		{"5861 3: a window that is no number", []string{"Cache-Control: max-age=0, stale-while-revalidate"}, "no: stale"},
		{"5861 3: too old for its window", []string{"Cache-Control: max-age=10, stale-while-revalidate=10", "Age: 20"}, "no: stale"},
		{"9111 5.2.2.2: must-revalidate allows no window", []string{"Cache-Control: max-age=0, stale-while-revalidate=60, must-revalidate"}, "no: stale"},
		{"9111 5.2.2.10: nor does s-maxage", []string{"Cache-Control: s-maxage=0"}, "no: stale"},
		{"5861 3: unless the answer says otherwise", []string{"Cache-Control: s-maxage=0, stale-while-revalidate=60"}, "stale"},

		// Targeted fields
		{"9213 2.2: CDN-Cache-Control before Cache-Control", []string{"CDN-Cache-Control: max-age=600", "Cache-Control: no-store"}, "fresh 600"},
		{"9213 2.2: also if it is stricter", []string{"CDN-Cache-Control: private", "Cache-Control: max-age=60"}, "no: private"},
		{"9213 2.2: s-maxage of the other does not count", []string{"CDN-Cache-Control: max-age=600", "Cache-Control: max-age=60, s-maxage=120"}, "fresh 600"},
		{"9213 2.2: nor does Expires", []string{"CDN-Cache-Control: foo", "Expires: " + hourLater, etag}, "validate: no-freshness"},
		{"9213 2.2: the product's own field before it", []string{"CDN-Cache-Control: max-age=600", "sedge-cache-control: max-age=30"}, "fresh 30"},
		{"9213 2.2: the next if that is invalid", []string{"CDN-Cache-Control: max-age=600", "Sedge-Cache-Control: max-age=30,"}, "fresh 600"},
		{"9213 2.2: Surrogate-Control is none of them", []string{"Surrogate-Control: max-age=600", "Cache-Control: max-age=60"}, "fresh 60"},
		{"9213 2.2: a field for others", []string{"ExampleCDN-Cache-Control: max-age=600", "Cache-Control: max-age=60"}, "fresh 60"},
		{"9213 2.2: no-store makes max-age inoperative", []string{"CDN-Cache-Control: max-age=600, no-store"}, "no: no-store"},
		{"9213 2.2: no-cache too", []string{"CDN-Cache-Control: max-age=600, no-cache", etag}, "validate: no-cache"},
		{"9213 2.1: no-cache that names fields", []string{`CDN-Cache-Control: max-age=600, no-cache="a"`, etag}, "validate: no-cache"},
		{"9213 2.1: an empty one is ignored", []string{"CDN-Cache-Control:", "Cache-Control: max-age=60"}, "fresh 60"},
		{"9213 2.1: broken, so ignored", []string{"CDN-Cache-Control: max-age=600, , no-store", "Cache-Control: max-age=60"}, "fresh 60"},
		{"9213 2.1: capitals are broken", []string{"CDN-Cache-Control: Max-Age=600", "Cache-Control: max-age=60"}, "fresh 60"},
		{"9213 2.1: blanks around the equals sign are broken", []string{"CDN-Cache-Control: max-age = 600", "Cache-Control: max-age=60"}, "fresh 60"},
		{"9213 2.1: semicolons begin parameters", []string{"CDN-Cache-Control: max-age=600;foo=bar;a", "Cache-Control: max-age=60"}, "fresh 600"},
		{"9213 2.1: a string is no number", []string{`CDN-Cache-Control: max-age="600"`, "Cache-Control: max-age=60"}, "no: no-freshness"},
		{"9213 2.1: a fraction is none", []string{"CDN-Cache-Control: max-age=600.0", "Cache-Control: max-age=60"}, "no: no-freshness"},
		{"9213 2.1: a negative one counts for nothing", []string{"CDN-Cache-Control: max-age=-1, s-maxage=60"}, "fresh 60"},
		{"9213 2.1: no number counts for nothing", []string{"CDN-Cache-Control: max-age"}, "no: no-freshness"},
		{"9213 2.1: no-store that is false", []string{"CDN-Cache-Control: max-age=60, no-store=?0"}, "fresh 60"},
		{"8941 3.1.1: inner lists are sound", []string{`CDN-Cache-Control: foo=(a "b" 1.5;q=1  ?1), max-age=60`}, "fresh 60"},
		{"8941 3.3: items of every kind", []string{`CDN-Cache-Control: a="\"x\\", b=:aGk=:, c=*t/x:, d=-12.345, e=?0, max-age=60`}, "fresh 60"},
		{"8941 4.2.2: of two the last", []string{"CDN-Cache-Control: max-age=10, max-age=60"}, "fresh 60"},
		{"8941 4.2: two lines are one", []string{"CDN-Cache-Control: max-age=60", "CDN-Cache-Control: no-store"}, "no: no-store"},
		{"8941 4.2: a comma at the end is broken", []string{"CDN-Cache-Control: max-age=600,", "Cache-Control: max-age=60"}, "fresh 60"},
		{"8941 3.3.1: sixteen digits are broken", []string{"CDN-Cache-Control: max-age=1234567890123456", "Cache-Control: max-age=60"}, "fresh 60"},
		{"8941 3.3.1: fifteen are not", []string{"CDN-Cache-Control: max-age=123456789012345"}, "fresh 2.147483648e+09"},
		{"8941 3.3.3: a string that does not end", []string{`CDN-Cache-Control: a="b, max-age=600`, "Cache-Control: max-age=60"}, "fresh 60"},
		{"9111 4.2.3: Age counts for targeted fields", []string{"CDN-Cache-Control: max-age=60", "Age: 20"}, "fresh 40"},

		// Bounds of tags
		{"tags: as many as can be kept", []string{"Cache-Control: max-age=60", "Surrogate-Key: " + strings.Repeat("tag ", 256)}, "fresh 60"},
		{"tags: one more", []string{"Cache-Control: max-age=60", "Cache-Tag: x", "Surrogate-Key: " + strings.Repeat("tag ", 256)}, "no: tags"},
		{"tags: too long", []string{"Cache-Control: max-age=60", "Cache-Tag: " + strings.Repeat("x", 16<<10+1)}, "no: tags"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines := c.lines
			if !strings.Contains(strings.Join(lines, "\n"), "Date:") {
				lines = append([]string{date}, lines...)
			}
			r := cache.ReadRules(exchange(), head(t, 200, lines...), cache.Override{})
			if got := describe(&r); got != c.want {
				t.Errorf("%q: %s, want %s", c.lines, got, c.want)
			}
			if r.Kept() && r.Storable != (r.Reason == "") {
				t.Errorf("storable %v, for reason %q", r.Storable, r.Reason)
			}
		})
	}
}

func TestStatuses(t *testing.T) {
	lines := []string{date, "Cache-Control: max-age=60", `ETag: "a"`}
	for _, c := range []struct {
		name  string
		want  string
		lines []string
		which []int
	}{
		{"9111 3: explicitly fresh", "fresh 60", lines, []int{200, 203, 204, 299, 300, 301, 302, 303, 307, 308, 400, 403, 404, 405, 410, 414, 451, 499, 500, 502, 503, 504, 599}},
		{"9111 3: parts and confirmations", "no: status", lines, []int{206, 304}},
		{"6585: must not be kept", "no: status", lines, []int{428, 429, 431, 511}},
		{"9110 15.5: about one request", "no: status", lines, []int{401, 407, 408, 411, 412, 413, 416, 417, 421, 425, 426}},
		{"9110 15.1: a validator is of no use, since no 304 confirms it", "no: no-freshness", []string{date, `ETag: "a"`}, []int{204, 300, 301, 308, 404, 405, 410, 414, 501}},
		{"9111 3: nothing allows to keep it", "no: no-freshness", []string{date, `ETag: "a"`}, []int{201, 302, 303, 307, 400, 403, 500, 503}},
		{"9110 15.3.4: as 200", "validate: no-freshness", []string{date, `ETag: "a"`}, []int{200, 203}},
		{"9111 5.2.2.9: public allows to keep it", "stale", []string{date, "Cache-Control: public, stale-while-revalidate=60"}, []int{201, 302, 403}},
		{"9111 3: a window does not", "no: no-freshness", []string{date, "Cache-Control: stale-while-revalidate=60"}, []int{201, 302, 403}},
		{"9111 5.2.2.3: understood, so no-store does not count", "fresh 60", append(lines, "Cache-Control: must-understand, no-store"), []int{200, 203, 204, 301, 404, 410, 503}},
		{"9111 5.2.2.3: not understood", "no: must-understand", append(lines, "Cache-Control: must-understand, no-store"), []int{201, 299, 499, 599}},
		{"9111 5.2.2.3: not understood, without no-store", "no: must-understand", append(lines, "Cache-Control: must-understand"), []int{299}},
		{"9111 5.2: must-understand takes no argument", "no: no-store", append(lines, "Cache-Control: must-understand=1, no-store"), []int{200}},
		{"9213 2.2: must-understand in a targeted field", "fresh 30", append(lines, "CDN-Cache-Control: must-understand, no-store, max-age=30"), []int{200}},
	} {
		for _, status := range c.which {
			t.Run(fmt.Sprintf("%s %d", c.name, status), func(t *testing.T) {
				r := cache.ReadRules(exchange(), head(t, status, c.lines...), cache.Override{})
				if got := describe(&r); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
			})
		}
	}
}

// What the request, and not the answer, says about keeping it.
func TestRequestForbidsToKeep(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*cache.Exchange)
		want   string
	}{
		{"9111 3: GET", func(*cache.Exchange) {}, "fresh 60"},
		{"9111 3: no request at hand", func(x *cache.Exchange) { x.Request = nil }, "fresh 60"},
		{"9110 9.3.2: HEAD", func(x *cache.Exchange) { x.Method = []byte("HEAD") }, "no: method"},
		{"9110 9.3.3: POST", func(x *cache.Exchange) { x.Method = []byte("POST") }, "no: method"},
		{"9110 9.1: methods have case", func(x *cache.Exchange) { x.Method = []byte("get") }, "no: method"},
		{"9111 3.5: Authorization, more strictly than there", func(x *cache.Exchange) { x.Request = request("authorization: Basic eA==") }, "no: authorization"},
		{"9111 5.2.1.5: no-store", func(x *cache.Exchange) { x.Request = request("Cache-Control: no-store") }, "no: request-no-store"},
		{"9111 3.3: incomplete", func(x *cache.Exchange) { x.Incomplete = true }, "no: incomplete"},
		{"9111 4.2.3: response delay", func(x *cache.Exchange) { x.Sent = noon.Add(-10 * time.Second) }, "fresh 50"},
		{"9111 4.2.3: a clock that went back", func(x *cache.Exchange) { x.Sent = noon.Add(time.Hour) }, "fresh 60"},
		{"9111 4.2.3: a part of a second is no age", func(x *cache.Exchange) { x.Received = noon.Add(900 * time.Millisecond); x.Sent = x.Received }, "fresh 60"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := exchange()
			c.change(x)
			r := cache.ReadRules(x, head(t, 200, date, "Cache-Control: public, s-maxage=60, must-revalidate"), cache.Override{})
			if got := describe(&r); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestOverride(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		path   string
		lines  []string
		want   string
	}{
		{"nothing is said", 200, "/", nil, "fresh 300"},
		{"less is said", 200, "/", []string{"Cache-Control: max-age=1"}, "fresh 300"},
		{"more is said", 200, "/", []string{"Cache-Control: s-maxage=900"}, "fresh 300"},
		{"Expires is past", 200, "/", []string{"Expires: 0"}, "fresh 300"},
		{"Age does not count", 200, "/", []string{"Age: 500"}, "fresh 300"},
		{"not found", 404, "/", nil, "fresh 300"},
		{"a redirect that may change", 302, "/", nil, "no: no-freshness"},
		{"an error", 500, "/", nil, "no: no-freshness"},
		{"an error that is fresh by its own word", 500, "/", []string{"Cache-Control: max-age=1"}, "fresh 1"},
		{"private", 200, "/", []string{"Cache-Control: private"}, "no: private"},
		{"no-store", 200, "/", []string{"Cache-Control: no-store"}, "no: no-store"},
		{"no-store for those who do not understand", 200, "/", []string{"Cache-Control: no-store, must-understand"}, "no: no-freshness"},
		{"no-cache", 200, "/", []string{"Cache-Control: no-cache", `ETag: "a"`}, "validate: no-cache"},
		{"sets a cookie", 200, "/", []string{"Set-Cookie: a=b"}, "no: set-cookie"},
		{"Vary: *", 200, "/", []string{"Vary: *"}, "no: vary"},
		{"a page under a static name", 200, "/account/x.css", []string{"Content-Type: text/html; charset=utf-8"}, "no: mismatch"},
		{"a stylesheet under its name", 200, "/x.css", []string{"Content-Type: text/css"}, "fresh 300"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := exchange()
			x.Path = []byte(c.path)
			r := cache.ReadRules(x, head(t, c.status, append([]string{date}, c.lines...)...), cache.Override{TTL: 5 * time.Minute})
			if got := describe(&r); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// A visitor who is lured to a static name does not leave their page behind.
func TestMismatch(t *testing.T) {
	const fresh = "Cache-Control: public, max-age=60"
	for _, c := range []struct {
		path, contentType string
		cookies           bool
		want              string
	}{
		{"/account/x.css", "text/html", true, "no: mismatch"},
		{"/account/x.css", "TEXT/HTML;charset=utf-8", true, "no: mismatch"},
		{"/account/x.CSS", "application/xhtml+xml", true, "no: mismatch"},
		{"/account/x.css", "", true, "no: mismatch"},
		{"/account;x.css", "text/html", true, "no: mismatch"},
		{"/account/x.css;v=1", "text/html", true, "no: mismatch"},
		{"/account%2Fx.css", "text/html", true, "no: mismatch"},
		{"/account/x%2ecss", "text/html", true, "no: mismatch"},
		{"/account/x.%63ss", "text/html", true, "no: mismatch"},
		{"/account/x.css%00", "text/html", true, "no: mismatch"},
		{"/account/x.css%3Fa", "text/html", true, "no: mismatch"},
		{"/account/.css", "text/html", true, "no: mismatch"},
		{"/api/me/x.js", "application/json", true, "no: mismatch"},
		{"/api/me/x.png", "application/problem+json", true, "no: mismatch"},
		{"/data.json", "application/json", true, "fresh 60"},
		{"/data.json", "text/html", true, "no: mismatch"},
		{"/logo.png", "image/png", true, "fresh 60"},
		{"/logo.png", "application/octet-stream", true, "fresh 60"},
		{"/page.html", "text/html", true, "fresh 60"},
		{"/page", "text/html", true, "fresh 60"},
		{"/a.css/page", "text/html", true, "fresh 60"},
		{"/account/x.css", "text/html", false, "fresh 60"},
		{"/100%", "text/html", true, "fresh 60"},
	} {
		x := exchange()
		x.Path = []byte(c.path)
		if c.cookies {
			x.Known = []string{"cookie"}
		}
		lines := []string{date, fresh}
		if c.contentType != "" {
			lines = append(lines, "Content-Type: "+c.contentType)
		}
		r := cache.ReadRules(x, head(t, 200, lines...), cache.Override{})
		if got := describe(&r); got != c.want {
			t.Errorf("%s as %q: %s, want %s", c.path, c.contentType, got, c.want)
		}
	}
	x := exchange()
	x.Path = []byte("/account/x.css")
	r := cache.ReadRules(x, head(t, 200, date, `ETag: "a"`, "Content-Type: text/html"), cache.Override{})
	if r.Kept() {
		t.Error("kept without a word of the origin's")
	}
}

func TestNamesAndTags(t *testing.T) {
	r := cache.ReadRules(exchange(), head(t, 200, date, "Cache-Control: max-age=60",
		"Vary: Foo, accept-encoding", "VARY: foo ,Bar", "Surrogate-Key: b a  c", "Cache-Tag: a, x y ,", "surrogate-key: b"), cache.Override{})
	if got := fmt.Sprint(r.Vary); got != "[accept-encoding bar foo]" {
		t.Errorf("selected by %s", got)
	}
	if got := strings.Join(r.Tags, "|"); got != "a|b|c|x y" {
		t.Errorf("tags %s", got)
	}
	if r.Size() < len("accept-encodingbarfooabcx y")+7*16 {
		t.Errorf("size %d", r.Size())
	}
}

// Whoever passes an answer on must know whether shared caches behind it may keep it.
func TestShared(t *testing.T) {
	for _, c := range []struct {
		lines string
		want  bool
	}{
		{"Cache-Control: public", true},
		{"Cache-Control: max-age=60", true},
		{"Cache-Control: s-maxage=60, max-age=0", true},
		{"Cache-Control: max-age=0", false},
		{"Cache-Control: max-age=60, private", false},
		{"Cache-Control: public, no-store", false},
		{"Cache-Control: no-cache, max-age=60", false},
		{"Cache-Control: private\r\nCDN-Cache-Control: max-age=60", true},
		{"Surrogate-Control: x", true},
		{"Expires: " + hourLater, true},
		{"Expires: " + hourAgo, false},
		{"Expires: " + hourLater + "\r\nCache-Control: max-age=0", false},
		{"X: y", false},
	} {
		x := exchange()
		x.Method = []byte("POST") // it is also told of answers that are not kept
		if r := cache.ReadRules(x, head(t, 200, date, c.lines), cache.Override{}); r.Shared != c.want {
			t.Errorf("%q: shared %v", c.lines, r.Shared)
		}
	}
}

func TestDirectivesThatPassOn(t *testing.T) {
	r := cache.ReadRules(exchange(), head(t, 200, date, "Cache-Control: no-transform, no-store", "CDN-Cache-Control: max-age=60"), cache.Override{})
	if !r.Control.NoTransform || !r.Control.NoStore || !r.Storable {
		t.Errorf("%+v", r)
	}
	if d := cache.ReadControl(head(t, 200, "CACHE-control: No-Transform=x")); d != (cache.Directives{NoTransform: true}) {
		t.Errorf("%+v", d)
	}
}
