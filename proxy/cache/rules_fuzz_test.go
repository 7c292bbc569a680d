package cache_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/proxy/cache"
)

// headWith has one field whose value may hold anything.
func headWith(name string, value []byte) *fasthttp.ResponseHeader {
	h := &fasthttp.ResponseHeader{}
	h.DisableNormalizing()
	h.SetNoDefaultContentType(true)
	h.SetBytesV(name, value)
	return h
}

// Whatever a line says, words that forbid are not lost in it, and what comes of both
// directions is bounded.
func FuzzDirectives(f *testing.F) {
	for _, seed := range []string{
		"max-age=60, public", `private="a, b", no-cache`, `ext="a\", no-store", s-maxage="1"`, `x="`, "max-age =60; no-store", "=,,\t,",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		h := headWith("Cache-Control", value)
		d := cache.ReadControl(h)
		for _, delta := range []cache.Delta{d.MaxAge, d.SharedMaxAge, d.StaleIfError, d.StaleWhileRevalidate} {
			if delta.Seconds > 1<<31 || !delta.Given && delta.Seconds != 0 {
				t.Errorf("%q: %+v", value, d)
			}
		}
		strict := headWith("Cache-Control", append(bytes.Clone(value), ", no-store"...))
		if !cache.ReadControl(strict).NoStore {
			t.Errorf("%q hides what comes behind", value)
		}
		r := cache.ReadRules(exchange(), h, cache.Override{})
		var q cache.Request
		q.Add([]byte("Cache-Control"), value)
		q.Add([]byte("Pragma"), value)
		if v := r.At(noon, &q); v.Use == cache.UseFresh && (d.NoStore || d.Private || d.NoCache) && !d.MustUnderstand {
			t.Errorf("%q: %+v", value, v)
		}
	})
}

// A targeted field is either valid, or as if it were not there.
func FuzzTargeted(f *testing.F) {
	for _, seed := range []string{
		"max-age=60, private", `a=(1 "b" c);d=?0, no-store`, `a=:aGk=:;b, max-age=1.5`, "max-age=-1,", `a="\"`, "*=*", "max-age=123456789012345",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		h := headWith("CDN-Cache-Control", value)
		h.Set("Cache-Control", "max-age=77")
		r := cache.ReadRules(exchange(), h, cache.Override{})
		if r.Storable && r.Lifetime.Seconds() == 77 && !bytes.Contains(value, []byte("77")) {
			// Ignored: so it is with one more member.
			h.SetBytesV("CDN-Cache-Control", append(bytes.Clone(value), ", max-age=5"...))
			if again := cache.ReadRules(exchange(), h, cache.Override{}); len(bytes.Trim(value, " \t")) > 0 && !endsOpen(value) && again.Lifetime.Seconds() != 77 {
				t.Errorf("%q is broken, and is not with more behind it", value)
			}
		}
		if strings.ToLower(string(value)) != string(value) && !bytes.ContainsAny(value, `=;`) && r.Lifetime.Seconds() != 77 {
			t.Errorf("%q has capitals in its keys", value)
		}
	})
}

// endsOpen reports whether more bytes could complete what is broken: a string, an inner
// list or a sequence without its end.
func endsOpen(value []byte) bool { return bytes.ContainsAny(value, `"(:`) }

// A part lies within the body, whatever is asked for.
func FuzzRange(f *testing.F) {
	for _, seed := range []string{"bytes=0-9", "bytes=-5, 3-", "BYTES= 1-1 ,", "bytes=99999999999999999999-", "pages=1", "bytes=9-0"} {
		f.Add([]byte(seed), int64(1000))
	}
	f.Fuzz(func(t *testing.T, value []byte, length int64) {
		var q cache.Request
		q.Add([]byte("Range"), value)
		o := q.Evaluate(&cache.Validators{}, false, 200, length)
		switch o.Status {
		case 200, 416:
			if o.First != 0 || o.Length != 0 {
				t.Errorf("%q of %d: %+v", value, length, o)
			}
		case 206:
			if o.First < 0 || o.Length <= 0 || o.First > length-o.Length {
				t.Errorf("%q of %d: %+v", value, length, o)
			}
		default:
			t.Errorf("%q of %d: %+v", value, length, o)
		}
	})
}

// Conditions and dates of strangers.
func FuzzConditions(f *testing.F) {
	f.Add([]byte(`"a", W/"b,c", *`), []byte(`"a"`))
	f.Add([]byte("Wed, 04 Mar 2026 12:00:00 GMT"), []byte("Wednesday, 04-Mar-26 12:00:00 GMT"))
	f.Fuzz(func(t *testing.T, asked, stored []byte) {
		h := headWith("ETag", stored)
		h.SetBytesV("Last-Modified", stored)
		h.SetBytesV("Expires", stored)
		h.SetBytesV("Age", stored)
		v := cache.ReadValidators(h, noon)
		for _, name := range []string{"If-None-Match", "If-Modified-Since", "If-Range", "if-match"} {
			var q cache.Request
			q.Add([]byte(name), asked)
			q.Add([]byte("Range"), []byte("bytes=0-0"))
			if o := q.Evaluate(&v, false, 200, 10); o.Status != 200 && o.Status != 206 && o.Status != 304 {
				t.Errorf("%s: %q of %q: %+v", name, asked, stored, o)
			}
		}
		r := cache.ReadRules(exchange(), h, cache.Override{})
		if v := r.At(noon, &cache.Request{}); v.Age < 0 {
			t.Errorf("%q: %+v", stored, v)
		}
		own := cache.Validators{ETag: string(stored)}
		var q cache.Request
		q.Add([]byte("If-None-Match"), stored)
		if o := q.Evaluate(&own, false, 200, 10); o.Status != 304 && isTag(stored) {
			t.Errorf("%q does not match itself", stored)
		}
	})
}

func isTag(b []byte) bool {
	b = bytes.TrimPrefix(b, []byte("W/"))
	return len(b) > 2 && b[0] == '"' && b[len(b)-1] == '"' && bytes.Count(b, []byte(`"`)) == 2
}

// Selecting values can hold anything, and only say the same if they are the same.
func FuzzSelecting(f *testing.F) {
	f.Add("foo", []byte(`a, "b, c"`), []byte("d"))
	f.Add("accept-encoding", []byte("gzip;q=0, *, br"), []byte("identity;q=0"))
	f.Fuzz(func(t *testing.T, name string, a, b []byte) {
		one := cache.AppendSelecting(nil, name, [][]byte{a})
		if !bytes.Equal(one, cache.AppendSelecting([]byte("x"), name, [][]byte{a})[1:]) {
			t.Errorf("%s: %q depends on what stands in front", name, a)
		}
		switch name {
		case "cookie", "user-agent":
			trimmed := func(b []byte) string { return strings.Trim(string(b), " \t") }
			if bytes.Equal(one, cache.AppendSelecting(nil, name, [][]byte{b})) != (trimmed(a) == trimmed(b)) {
				t.Errorf("%q and %q", a, b)
			}
		}
		cache.AppendSelecting(nil, name, [][]byte{a, b})
	})
}
