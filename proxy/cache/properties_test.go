package cache_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/proxy/cache"
)

// directive draws a directive of an answer, sound or not.
func directive() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		name := rapid.SampledFrom([]string{
			"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error", "public", "private", "no-store", "no-cache",
			"must-revalidate", "proxy-revalidate", "must-understand", "no-transform", "immutable", "foo",
		}).Draw(t, "name")
		argument := rapid.SampledFrom([]string{"", "", "=60", "=0", "=600", `="30"`, "=x", `="a, b"`, "=-1", "=99999999999"}).Draw(t, "argument")
		return name + argument
	})
}

func rulesOf(t testing.TB, lines ...string) cache.Rules {
	return cache.ReadRules(exchange(), head(t, 200, append(lines, date, `ETag: "a"`)...), cache.Override{})
}

// usable says up to when an answer may be used in each of the ways there are, in
// seconds from its receipt.
func usable(r *cache.Rules) (fresh, stale, onError int) {
	q := &cache.Request{}
	for _, after := range []int{1, 29, 31, 59, 61, 119, 121, 599, 601, 1199, 1201} {
		v := r.At(noon.Add(time.Duration(after)*time.Second), q)
		if v.Use == cache.UseFresh {
			fresh = after
		}
		if v.Use != cache.UseValidate {
			stale = after
		}
		if v.OnError {
			onError = after
		}
	}
	return fresh, stale, onError
}

// One more directive never makes an answer more usable, save those that are for that.
func TestMoreDirectivesPermitNoMore(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		base := rapid.SliceOfN(directive(), 1, 4).Draw(rt, "directives")
		more := directive().Draw(rt, "one more")
		name, _, _ := strings.Cut(more, "=")
		switch name {
		case "public", "must-understand":
			return
		case "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error":
			if !strings.Contains(","+strings.Join(base, ","), ","+name) {
				return // it may permit something if it was not said before
			}
		}
		at := rapid.IntRange(0, len(base)).Draw(rt, "at")
		all := append(append(append([]string(nil), base[:at]...), more), base[at:]...)
		before, after := rulesOf(t, "Cache-Control: "+strings.Join(base, ", ")), rulesOf(t, "Cache-Control: "+strings.Join(all, ", "))
		f1, s1, e1 := usable(&before)
		f2, s2, e2 := usable(&after)
		if f2 > f1 || s2 > s1 || e2 > e1 || after.Kept() && !before.Kept() {
			rt.Fatalf("%s: %d %d %d; with %s %d %d %d", base, f1, s1, e1, more, f2, s2, e2)
		}
	})
}

// Neither order, nor lines, nor case, nor blanks matter.
func TestDirectivesAreASet(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		base := rapid.SliceOfN(directive(), 1, 5).Draw(rt, "directives")
		want := rulesOf(t, "Cache-Control: "+strings.Join(base, ","))
		var lines []string
		for _, d := range rapid.Permutation(base).Draw(rt, "order") {
			if rapid.Bool().Draw(rt, "upper") {
				d = strings.ToUpper(d)
			}
			if len(lines) > 0 && rapid.Bool().Draw(rt, "same line") {
				lines[len(lines)-1] += rapid.SampledFrom([]string{",", " , ", ",\t,"}).Draw(rt, "comma") + d
			} else {
				lines = append(lines, "cache-CONTROL:"+d)
			}
		}
		if got := rulesOf(t, lines...); fmt.Sprint(got) != fmt.Sprint(want) {
			rt.Fatalf("%q\n%+v\n%q\n%+v", base, want, lines, got)
		}
	})
}

// render writes directives down, in the syntax that both Cache-Control and the targeted
// fields have.
func render(d cache.Directives) string {
	var all []string
	for name, set := range map[string]bool{
		"private": d.Private, "no-store": d.NoStore, "no-cache": d.NoCache, "no-transform": d.NoTransform, "public": d.Public,
		"must-understand": d.MustUnderstand, "must-revalidate": d.MustRevalidate, "proxy-revalidate": d.ProxyRevalidate, "none": true,
	} {
		if set {
			all = append(all, name)
		}
	}
	for name, delta := range map[string]cache.Delta{
		"max-age": d.MaxAge, "s-maxage": d.SharedMaxAge, "stale-while-revalidate": d.StaleWhileRevalidate, "stale-if-error": d.StaleIfError,
	} {
		if delta.Given {
			all = append(all, fmt.Sprintf("%s=%d", name, delta.Seconds))
		}
	}
	return strings.Join(all, ", ")
}

func drawDirectives(t *rapid.T) cache.Directives {
	flag := func(name string) bool { return rapid.Bool().Draw(t, name) }
	delta := func(name string) cache.Delta {
		if !flag(name) {
			return cache.Delta{}
		}
		return cache.Delta{Seconds: rapid.Uint32Range(0, 1<<31).Draw(t, name), Given: true}
	}
	return cache.Directives{
		Private: flag("private"), NoStore: flag("no-store"), NoCache: flag("no-cache"), NoTransform: flag("no-transform"),
		Public: flag("public"), MustUnderstand: flag("must-understand"), MustRevalidate: flag("must-revalidate"), ProxyRevalidate: flag("proxy-revalidate"),
		MaxAge: delta("max-age"), SharedMaxAge: delta("s-maxage"), StaleWhileRevalidate: delta("stale-while-revalidate"), StaleIfError: delta("stale-if-error"),
	}
}

// What was written down is read as it was, and a targeted field means what
// Cache-Control would have meant.
func TestDirectivesRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := drawDirectives(rt)
		text := render(d)
		if got := cache.ReadControl(head(t, 200, "Cache-Control: "+text)); got != d {
			rt.Fatalf("%s\n%+v\n%+v", text, d, got)
		}
		plain, targeted := rulesOf(t, "Cache-Control: "+text), rulesOf(t, "CDN-Cache-Control: "+text, "Cache-Control: no-store")
		plain.Control, targeted.Control = cache.Directives{}, cache.Directives{}
		plain.Shared, targeted.Shared = false, false
		plain.MayBePersonal, targeted.MayBePersonal = false, false
		if fmt.Sprint(plain) != fmt.Sprint(targeted) {
			rt.Fatalf("%s\n%+v\n%+v", text, plain, targeted)
		}
	})
}

// As time passes an answer only gets less usable, and what a request asks for beyond
// that makes it less usable still.
func TestTimePasses(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := rulesOf(t, "Cache-Control: "+render(drawDirectives(rt)), fmt.Sprintf("Age: %d", rapid.IntRange(0, 100).Draw(rt, "age")))
		demand := rapid.SampledFrom([]string{"max-age=30", "min-fresh=30", "no-cache", "max-age=x", "foo"}).Draw(rt, "demand")
		plain, demanding := &cache.Request{}, request("Cache-Control: "+demand)
		order := [...]int{cache.UseValidate: 0, cache.UseStale: 1, cache.UseFresh: 2}
		last := cache.Verdict{Use: cache.UseFresh, OnError: true, OnDisconnect: true, TTL: 1<<63 - 1}
		for _, after := range []time.Duration{-time.Hour, 0, 1, time.Second, 30 * time.Second, time.Minute, time.Hour, 1000 * time.Hour, 1 << 61} {
			v, d := r.At(noon.Add(after), plain), r.At(noon.Add(after), demanding)
			if order[v.Use] > order[last.Use] || v.TTL > last.TTL || v.OnError && !last.OnError || v.OnDisconnect && !last.OnDisconnect {
				rt.Fatalf("after %v %+v, before %+v", after, v, last)
			}
			if order[d.Use] > order[v.Use] || d.OnError && !v.OnError || d.OnDisconnect && !v.OnDisconnect || d.Age != v.Age || d.TTL != v.TTL {
				rt.Fatalf("%s, after %v: %+v, without %+v", demand, after, d, v)
			}
			if (v.TTL > 0) != (v.Use == cache.UseFresh) {
				rt.Fatalf("%+v", v)
			}
			last = v
		}
	})
}

// Dates in all forms are read as they were written.
func TestDatesRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		at := noon.Add(time.Duration(rapid.Int64Range(-49*365*86400, 49*365*86400).Draw(rt, "seconds")) * time.Second)
		for _, format := range []string{"Mon, 02 Jan 2006 15:04:05 GMT", "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC} {
			v := cache.ReadValidators(head(t, 200, date, "Last-Modified: "+at.Format(format)), noon)
			if !v.Modified.Equal(at) {
				rt.Fatalf("%s: %v", at.Format(format), v.Modified)
			}
		}
	})
}

// Whatever is asked for, a part lies within the body, and is one that was asked for.
func TestPartsLieWithin(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		length := rapid.Int64Range(1, 100).Draw(rt, "length")
		first, last := rapid.Int64Range(0, 120).Draw(rt, "first"), rapid.Int64Range(0, 120).Draw(rt, "last")
		o := request(fmt.Sprintf("Range: bytes=%d-%d", first, last)).Evaluate(&cache.Validators{}, false, 200, length)
		switch {
		case last < first:
			if o.Status != 200 {
				rt.Fatalf("%+v", o)
			}
		case first >= length:
			if o.Status != 416 {
				rt.Fatalf("%+v", o)
			}
		case o != cache.Reply{Status: 206, First: first, Length: min(last, length-1) - first + 1}:
			rt.Fatalf("%+v", o)
		}
	})
}

// A stored tag is found in any list that holds it, and in no other.
func TestTagsInLists(t *testing.T) {
	tag := rapid.StringMatching(`(W/)?"[a-c,\\*/ W]{0,4}"`)
	rapid.Check(t, func(rt *rapid.T) {
		own := tag.Draw(rt, "own")
		list := rapid.SliceOfN(tag, 1, 4).Draw(rt, "list")
		want := false
		for _, other := range list {
			want = want || strings.TrimPrefix(other, "W/") == strings.TrimPrefix(own, "W/")
		}
		q := request("If-None-Match: " + strings.Join(list, rapid.SampledFrom([]string{",", ", ", " ,"}).Draw(rt, "comma")))
		o := q.Evaluate(&cache.Validators{ETag: own}, false, 200, 1)
		if (o.Status == 304) != want {
			rt.Fatalf("%s in %q: %d", own, list, o.Status)
		}
	})
}

// The sets of codings are equal just if the codings are.
func TestCodingSets(t *testing.T) {
	names := []string{"gzip", "br", "zstd", "deflate"}
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(name string) (accepted [4]bool, value string) {
			var members []string
			for i, coding := range names {
				weight := rapid.SampledFrom([]string{"", ";q=0", ";q=0.5", " ; q=0.0", "absent"}).Draw(rt, name+coding)
				if accepted[i] = weight == "" || weight == ";q=0.5"; weight != "absent" {
					members = append(members, coding+weight)
				}
			}
			return accepted, strings.Join(rapid.Permutation(members).Draw(rt, name+"order"), ", ")
		}
		a, textA := draw("a")
		b, textB := draw("b")
		same := bytes.Equal(selecting("accept-encoding", textA), selecting("accept-encoding", textB))
		if same != (a == b) {
			rt.Fatalf("%s and %s are the same: %v", textA, textB, same)
		}
	})
}

// Freshening with what is stored changes nothing, and doing it twice is doing it once.
func TestFresheningIsIdempotent(t *testing.T) {
	line := rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"X-A", "x-a", "Cache-Control", "ETag", "Vary", "Expires", "Server", "Content-Type", "Content-Encoding", "Last-Modified"}).Draw(t, "name") +
			": " + rapid.SampledFrom([]string{"1", "2", `"x"`}).Draw(t, "value")
	})
	rapid.Check(t, func(rt *rapid.T) {
		stored := head(t, 200, append(rapid.SliceOfN(line, 0, 6).Draw(rt, "stored"), date)...)
		update := head(t, 304, append(rapid.SliceOfN(line, 0, 6).Draw(rt, "update"), date)...)
		freshen := func(stored, update *fasthttp.ResponseHeader) *fasthttp.ResponseHeader {
			h := &fasthttp.ResponseHeader{}
			if err := cache.Freshen(h, stored, update); err != nil {
				rt.Fatal(err)
			}
			return h
		}
		if got := freshen(stored, stored); fields(got) != fields(stored) {
			rt.Fatalf("%s\n\n%s", fields(stored), fields(got))
		}
		once := freshen(stored, update)
		if twice := freshen(once, update); fields(twice) != fields(once) {
			rt.Fatalf("%s\n\n%s", fields(once), fields(twice))
		}
	})
}

// What a first look at the head says no to is never storable.
func TestMayBeStorable(t *testing.T) {
	lines := []string{"X-Other: a", "Expires: " + hourLater, "Expires: 0", "Age: 90", "Set-Cookie: a=b", "Content-Range: bytes 0-1/9", "Vary: *", "Cache-Tag: a"}
	for _, d := range []string{
		"max-age=60", "max-age=0", "s-maxage=60", "s-maxage=0", "stale-while-revalidate=60", "stale-if-error=60", "public", "private", "no-store",
		"no-cache", "must-revalidate", "no-store, must-understand", "max-age=x, foo",
	} {
		lines = append(lines, "Cache-Control: "+d, "cdn-cache-control: "+d)
	}
	storable, refused := 0, 0
	for _, status := range []int{200, 206, 299, 302, 404, 503} {
		for _, one := range lines {
			for _, other := range lines {
				for _, ttl := range []time.Duration{0, time.Minute} {
					h, o := head(t, status, date, one, other), cache.Override{TTL: ttl}
					r, may := cache.ReadRules(exchange(), h, o), cache.MayBeStorable(h, o)
					if r.Storable && !may {
						t.Errorf("%d, %q, %q, %v: may not be storable, and is", status, one, other, ttl)
					}
					if r.Storable {
						storable++
					} else if !may {
						refused++
					}
				}
			}
		}
	}
	if storable < 1000 || refused < 1000 {
		t.Errorf("%d are storable, %d are seen not to be at the first look", storable, refused)
	}
}
