package cache_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/proxy/cache"
)

// tell describes a verdict: what is done, why the origin is asked, and what is possible
// if that fails.
func tell(v cache.Verdict) string {
	use := [...]string{"validate", "fresh", "stale"}[v.Use]
	if v.Use == cache.UseValidate {
		use += " " + v.Forward.String()
	}
	switch {
	case v.Use != cache.UseValidate:
	case v.OnError:
		use += ", on error"
	case v.OnDisconnect:
		use += ", on disconnect"
	}
	return use
}

func TestVerdict(t *testing.T) {
	seconds := func(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
	const (
		plain = "Cache-Control: max-age=60"
		swr   = "Cache-Control: max-age=60, stale-while-revalidate=30"
		sie   = "Cache-Control: max-age=60, stale-if-error=30"
	)
	for _, c := range []struct {
		name    string
		control string
		after   float64 // seconds
		request string
		want    string
	}{
		{"9111 4.2: fresh at once", plain, 0, "", "fresh"},
		{"9111 4.2: fresh", plain, 59.9, "", "fresh"},
		{"9111 4.2: stale when lifetime and age are equal", plain, 60, "", "validate stale, on disconnect"},
		{"9111 4.2: stale", plain, 61, "", "validate stale, on disconnect"},
		{"9111 4.2: without a word about freshness", "X: y", 0, "", "validate stale, on disconnect"},
		{"9111 4.2.3: a clock that goes back is no age", plain, -10, "", "fresh"},

		{"9111 5.2.2.4: no-cache", "Cache-Control: no-cache, max-age=60", 0, "", "validate stale"},
		{"9111 5.2.2.4: not even on error", "Cache-Control: no-cache, stale-if-error=60", 0, "", "validate stale"},
		{"9111 5.2.2.2: must-revalidate, fresh", plain + ", must-revalidate", 59, "", "fresh"},
		{"9111 5.2.2.2: must-revalidate, stale", sie + ", must-revalidate", 61, "", "validate stale"},
		{"9111 5.2.2.8: proxy-revalidate", sie + ", proxy-revalidate", 61, "", "validate stale"},
		{"9111 5.2.2.10: s-maxage forbids any use once stale", plain + ", s-maxage=60", 61, "", "validate stale"},
		{"5861 4: but where the answer says otherwise", sie + ", s-maxage=60", 61, "", "validate stale, on error"},
		{"5861 3: likewise meanwhile", swr + ", s-maxage=60", 61, "", "stale"},
		{"9111 5.2.2.10: and not behind the window", swr + ", s-maxage=60", 91, "", "validate stale"},
		{"9111 4.2.4: whatever the request is content with", plain + ", must-revalidate", 61, "Cache-Control: max-stale", "validate stale"},
		{"9111 4.2.4: also for errors", plain + ", s-maxage=60", 61, "Cache-Control: stale-if-error=60", "validate stale"},

		{"5861 3: within the window", swr, 60, "", "stale"},
		{"5861 3: at its end", swr, 90, "", "stale"},
		{"5861 3: behind it", swr, 90.5, "", "validate stale, on disconnect"},
		{"5861 3: an invalid window", "Cache-Control: max-age=60, stale-while-revalidate=x", 61, "", "validate stale, on disconnect"},
		{"5861 3: of two windows the smaller", swr + ", stale-while-revalidate=10", 75, "", "validate stale, on disconnect"},
		{"5861 4: within the window", sie, 61, "", "validate stale, on error"},
		{"5861 4: at its end", sie, 90, "", "validate stale, on error"},
		{"5861 4: behind it, whatever fails", sie, 91, "", "validate stale"},
		{"5861 4: regardless of freshness wanted", sie, 61, "Cache-Control: max-age=5", "validate stale, on error"},
		{"5861 4: in the request", plain, 61, "Cache-Control: stale-if-error=5", "validate stale, on error"},
		{"5861 4: in the request, too old", plain, 66, "Cache-Control: stale-if-error=5", "validate stale, on disconnect"},
		{"5861 4: in the request, invalid", plain, 61, "Cache-Control: stale-if-error=soon", "validate stale, on disconnect"},

		{"9111 5.2.1.4: no-cache", plain, 0, "Cache-Control: no-cache", "validate request"},
		{"9111 5.2.1.4: no-cache of a stale answer", sie, 61, "Cache-Control: no-cache", "validate stale"},
		{"9111 5.2.1.4: within the window for stale answers", swr, 61, "Cache-Control: no-cache", "validate stale"},
		{"9111 5.4: Pragma", plain, 0, "Pragma: foo, No-Cache", "validate request"},
		{"9111 5.4: Pragma beside Cache-Control", plain, 0, "Pragma: no-cache\nCache-Control: foo", "fresh"},
		{"9111 5.4: Pragma in front of it", plain, 0, "Cache-Control: max-age=9\nPragma: no-cache", "fresh"},
		{"9111 5.2.1.1: max-age", plain, 5, "Cache-Control: max-age=5", "fresh"},
		{"9111 5.2.1.1: older", plain, 5.5, "Cache-Control: max-age=5", "validate request, on error"},
		{"9111 5.2.1.1: max-age=0", plain, 0.001, "Cache-Control: max-age=0", "validate request, on error"},
		{"9111 5.2.1.1: one that is no number is strict", plain, 1, "Cache-Control: max-age=x", "validate request, on error"},
		{"9111 5.2.1.1: of two the smaller", plain, 5, "Cache-Control: max-age=50\nCache-Control: max-age=1", "validate request, on error"},
		{"9111 5.2.1.1: the quoted form", plain, 5, `Cache-Control: max-age="9"`, "fresh"},
		{"9111 5.2.1.1: it does not want a stale answer", swr, 61, "Cache-Control: max-age=600", "validate stale"},
		{"9111 5.2.1.3: min-fresh", plain, 50, "Cache-Control: min-fresh=10", "fresh"},
		{"9111 5.2.1.3: less", plain, 51, "Cache-Control: min-fresh=10", "validate request, on error"},
		{"9111 5.2.1.3: of two the larger", plain, 51, "Cache-Control: min-fresh=10, min-fresh=1", "validate request, on error"},
		{"9111 5.2.1.3: one that is no number is ignored", plain, 51, "Cache-Control: min-fresh=soon", "fresh"},
		{"9111 5.2.1.3: it does not want a stale answer", swr, 61, "Cache-Control: min-fresh=1", "validate stale"},
		{"9111 5.2.1.2: max-stale without a number", plain, 1e6, "Cache-Control: max-stale", "stale"},
		{"9111 5.2.1.2: max-stale", plain, 65, "Cache-Control: max-stale=5", "stale"},
		{"9111 5.2.1.2: staler", plain, 66, "Cache-Control: max-stale=5", "validate stale, on disconnect"},
		{"9111 5.2.1.2: of two the smaller", plain, 66, "Cache-Control: max-stale, max-stale=5", "validate stale, on disconnect"},
		{"9111 5.2.1.2: one that is no number", plain, 66, "Cache-Control: max-stale=x", "validate stale, on disconnect"},
		{"9111 5.2.1.2: beside a max-age that is kept", plain, 65, "Cache-Control: max-stale=5, max-age=70", "stale"},
		{"9111 5.2.1.2: beside one that is not", plain, 65, "Cache-Control: max-stale=5, max-age=60", "validate stale"},
		{"9111 5.2.1.3: min-fresh beside max-stale", plain, 61, "Cache-Control: max-stale=5, min-fresh=1", "validate stale"},
		{"9111 5.2.1.2: without a word about freshness", "X: y", 1, "Cache-Control: max-stale=5", "stale"},
		{"9111 5.2: what is asked of answers says nothing in a request", plain, 1, "Cache-Control: private, s-maxage=0, must-revalidate", "fresh"},
		{"9111 5.2: broken syntax is strict", plain, 1, "Cache-Control: foo; no-cache", "validate request"},
		{"9111 5.2: and not content with less", plain, 61, "Cache-Control: foo; max-stale", "validate stale, on disconnect"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := cache.ReadRules(exchange(), head(t, 200, date, `ETag: "a"`, c.control), cache.Override{})
			v := r.At(noon.Add(seconds(c.after)), requestOf(c.request))
			if got := tell(v); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if v.Use == cache.UseStale && !v.OnError || v.OnError && !v.OnDisconnect {
				t.Errorf("%+v", v)
			}
		})
	}
}

func requestOf(lines string) *cache.Request {
	var all []string
	for line := range splitLines(lines) {
		all = append(all, line)
	}
	return request(all...)
}

func TestAgeAndTTL(t *testing.T) {
	r := cache.ReadRules(exchange(), head(t, 200, date, "Cache-Control: max-age=60", "Age: 20"), cache.Override{})
	for _, c := range []struct {
		after time.Duration
		want  string
	}{
		{0, "20 40"}, {-10 * time.Second, "20 40"}, {39 * time.Second, "59 1"}, {50 * time.Second, "70 -10"}, {40*time.Second + time.Millisecond, "60 -1"},
	} {
		v := r.At(noon.Add(c.after), &cache.Request{})
		status := cache.Status{HasTTL: true, TTL: v.TTL}
		if got, want := fmt.Sprintf("%s %s", cache.AppendAge(nil, v.Age), status.Append(nil)), fmt.Sprintf("%s sedge; hit; ttl=%s", c.want[:2], c.want[3:]); got != want {
			t.Errorf("after %v: %s, want %s", c.after, got, want)
		}
	}
	for age, want := range map[time.Duration]string{-1: "0", 1<<63 - 1: "2147483648"} {
		if got := string(cache.AppendAge(nil, age)); got != want {
			t.Errorf("age %v: %s", age, got)
		}
	}
}

// Its owner fixes for how long an answer is fresh, from when it came; Age is told as it is.
func TestOverrideCountsFromReceipt(t *testing.T) {
	r := cache.ReadRules(exchange(), head(t, 200, date, "Age: 500", "Cache-Control: max-age=1, stale-while-revalidate=10"), cache.Override{TTL: time.Minute})
	for after, want := range map[time.Duration]string{59: "fresh", 60: "stale", 70: "stale", 71: "validate stale, on disconnect"} {
		v := r.At(noon.Add(after*time.Second), &cache.Request{})
		if got := tell(v); got != want || v.Age != (500+after)*time.Second {
			t.Errorf("after %d s: %s, age %v", after, got, v.Age)
		}
	}
}

func TestExpire(t *testing.T) {
	r := cache.ReadRules(exchange(), head(t, 200, date, "Cache-Control: max-age=60, stale-while-revalidate=5, stale-if-error=9"), cache.Override{})
	e := r.Expire(noon.Add(10 * time.Second))
	for after, want := range map[time.Duration]string{10: "stale", 15: "stale", 16: "validate stale, on error", 20: "validate stale"} {
		if got := tell(e.At(noon.Add(after*time.Second), &cache.Request{})); got != want {
			t.Errorf("after %d s: %s, want %s", after, got, want)
		}
	}
	if late := r.Expire(noon.Add(time.Hour)); late.Lifetime != r.Lifetime {
		t.Error("what was to be stale later is fresh for longer")
	}
}

func TestRulesOfNothing(t *testing.T) {
	var r cache.Rules
	if v := r.At(noon, request("Cache-Control: max-stale")); v.Use != cache.UseValidate || v.OnDisconnect || r.Kept() {
		t.Errorf("%+v", v)
	}
}

func TestIgnoreClient(t *testing.T) {
	r := cache.ReadRules(exchange(), head(t, 200, date, "Cache-Control: max-age=60"), cache.Override{})
	for _, line := range []string{"Cache-Control: no-cache", "Cache-Control: max-age=0", "Cache-Control: min-fresh=600", "Pragma: no-cache"} {
		q := request(line)
		if v := r.At(noon.Add(time.Second), q); v.Use == cache.UseFresh {
			t.Errorf("%s does not count", line)
		}
		q.Apply(cache.Override{})
		if v := r.At(noon.Add(time.Second), q); v.Use == cache.UseFresh {
			t.Errorf("%s does not count by default", line)
		}
		q.Apply(cache.Override{IgnoreClient: true})
		if v := r.At(noon.Add(time.Second), q); v.Use != cache.UseFresh {
			t.Errorf("%s counts", line)
		}
	}
	q := request("Cache-Control: max-stale, no-store, only-if-cached")
	q.Apply(cache.Override{IgnoreClient: true})
	if v := r.At(noon.Add(time.Hour), q); v.Use != cache.UseValidate || !q.NoStore || !q.OnlyIfCached {
		t.Errorf("%+v %+v", v, q)
	}
}

func TestRequest(t *testing.T) {
	for _, c := range []struct {
		lines string
		want  func(*cache.Request) bool
	}{
		{"X: y\nCookie: a", func(q *cache.Request) bool {
			return !q.NoStore && !q.OnlyIfCached && !q.Authorization && !q.IsConditional() && !q.MustForward()
		}},
		{"CACHE-control: foo,No-Store", func(q *cache.Request) bool { return q.NoStore }},
		{"Cache-Control: only-if-cached", func(q *cache.Request) bool { return q.OnlyIfCached }},
		{"Cache-Control: foo; only-if-cached", func(q *cache.Request) bool { return !q.OnlyIfCached }},
		{"authorization: Bearer x", func(q *cache.Request) bool { return q.Authorization }},
		{"if-match: *", func(q *cache.Request) bool { return q.MustForward() }},
		{"If-Unmodified-Since: x", func(q *cache.Request) bool { return q.MustForward() }},
		{`If-None-Match: "a"`, func(q *cache.Request) bool { return q.IsConditional() && !q.MustForward() }},
		{"if-modified-since: x", func(q *cache.Request) bool { return q.IsConditional() }},
		{"RANGE: bytes=0-", func(q *cache.Request) bool { return q.IsConditional() }},
		{`If-Range: "a"`, func(q *cache.Request) bool { return !q.IsConditional() }},
	} {
		if q := requestOf(c.lines); !c.want(q) {
			t.Errorf("%q: %+v", c.lines, q)
		}
	}
}
