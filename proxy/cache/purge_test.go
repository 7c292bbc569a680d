package cache

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func tagged(o *testObject, tags ...string) *testObject {
	o.Tags = tags
	return o
}

func TestPurges(t *testing.T) {
	urls := []string{"shop.example/", "shop.example/blog/a", "shop.example/blog/b?page=2", "other.example/blog/a"}
	for _, tc := range []struct {
		name  string
		purge func(x *testObjects, how Purge)
		gone  []string
	}{
		{"URL", func(x *testObjects, how Purge) {
			if n := x.PurgeURL("shop.example", "/blog/a", how); n != 3 {
				t.Errorf("URL: %d were concerned, want 3", n)
			}
		}, []string{"shop.example/blog/a"}},
		{"URL with a query", func(x *testObjects, how Purge) { x.PurgeURL("shop.example", "/blog/b?page=2", how) }, []string{"shop.example/blog/b?page=2"}},
		{"URL that is not there", func(x *testObjects, how Purge) { x.PurgeURL("shop.example", "/blog/", how) }, nil},
		{"prefix", func(x *testObjects, how Purge) { x.PurgePrefix("shop.example", "/blog/", how) }, []string{"shop.example/blog/a", "shop.example/blog/b?page=2"}},
		{"prefix of all hosts", func(x *testObjects, how Purge) { x.PurgePrefix("", "/blog/a", how) }, []string{"shop.example/blog/a", "other.example/blog/a"}},
		{"tag", func(x *testObjects, how Purge) { x.PurgeTag("/blog/a", how) }, []string{"shop.example/blog/a", "other.example/blog/a"}},
		{"part of a tag", func(x *testObjects, how Purge) { x.PurgeTag("/blog", how) }, nil},
		{"everything", func(x *testObjects, how Purge) { x.PurgeAll(how) }, urls},
	} {
		for how, name := range map[Purge]string{PurgeHard: "hard", PurgeSoft: "soft"} {
			x := newObjects(Config{})
			ask := func(url, lang string) *testObject { return x.ask(url, "lang="+lang) }
			for _, url := range urls {
				_, path, _ := strings.Cut(url, "/")
				for _, lang := range []string{"en", "de"} {
					x.Put(tagged(made(url, "body", "lang="+lang), "page", "/"+path))
				}
				plain := made(url, "body")
				plain.Key, plain.Scheme = "up\x00http\x00"+url, "http"
				plain.Tags = []string{"/" + path}
				x.Put(plain)
			}
			tc.purge(x, how)
			for _, url := range urls {
				http, _ := x.Get([]byte("up\x00http\x00"+url), nil)
				for _, o := range []*testObject{ask(url, "en"), ask(url, "de"), http} {
					switch gone := slices.Contains(tc.gone, url); {
					case o == nil != (gone && how == PurgeHard):
						t.Errorf("%s, %s: %s is kept: %v", tc.name, name, url, o != nil)
					case o != nil && o.PurgedSoftly() != gone:
						t.Errorf("%s, %s: %s is stale: %v", tc.name, name, url, !gone)
					}
				}
			}
			x.check(t)
		}
	}
}

// Between the moment when a purge gets its number and the one when it finds its objects,
// others may be stored. And hashes may collide.
func TestPurgeByURLSparesWhatBeganLater(t *testing.T) {
	x := newObjects(Config{})
	o := made("shop.example/", "body")
	o.Began = 5
	x.Put(o)
	urls, hash := &x.urls[x.hashURL(o.Host, o.Target)%objectShards], x.hashURL(o.Host, o.Target)
	if found := urls.find(hash, o.Host, o.Target); len(found) != 1 || x.purgePrimary(found[0], 5, PurgeHard) != 0 || x.purgePrimary(found[0], 6, PurgeHard) != 1 {
		t.Error("the wrong ones went")
	}
	x.Put(o)
	if len(urls.find(hash, o.Host, "/other")) != 0 || len(urls.find(hash, "other.example", o.Target)) != 0 {
		t.Error("found by its hash alone")
	}
}

func TestPurgeAllSaysHowManyWent(t *testing.T) {
	x := newObjects(Config{})
	for i := range 50 {
		x.Put(made(fmt.Sprint("shop.example/", i), "body"))
	}
	if n := x.PurgeAll(PurgeHard); n != 50 || x.Usage().Bytes != 0 {
		t.Errorf("%d went: %+v", n, x.Usage())
	}
	late := made("shop.example/", "body")
	late.Began = x.Sequence()
	if !x.Put(late) || x.ask("shop.example/") != late {
		t.Error("nothing is kept any more")
	}
}

// What was asked for before a purge, and comes after it, is what was purged.
func TestPurgesConcernWhatIsOnItsWay(t *testing.T) {
	for name, purge := range map[string]func(x *testObjects, how Purge){
		"URL":        func(x *testObjects, how Purge) { x.PurgeURL("shop.example", "/a", how) },
		"prefix":     func(x *testObjects, how Purge) { x.PurgePrefix("", "/", how) },
		"tag":        func(x *testObjects, how Purge) { x.PurgeTag("tag", how) },
		"everything": func(x *testObjects, how Purge) { x.PurgeAll(how) },
	} {
		x := newObjects(Config{})
		o := tagged(made("shop.example/a", "body"), "tag")
		o.Began = x.Sequence()
		purge(x, PurgeHard)
		if x.Put(o) || x.ask("shop.example/a") != nil {
			t.Errorf("%s: stored after it was purged", name)
		}
		o = tagged(made("shop.example/a", "body"), "tag")
		o.Began = x.Sequence()
		if !x.Put(o) || x.ask("shop.example/a") != o || o.PurgedSoftly() {
			t.Errorf("%s: what began later was not stored", name)
		}
		o = tagged(made("shop.example/a", "body"), "tag")
		o.Began = x.Sequence()
		purge(x, PurgeSoft)
		if !x.Put(o) || x.ask("shop.example/a") != o || !o.PurgedSoftly() {
			t.Errorf("%s: not stored as stale after a soft purge", name)
		}
		// What confirms it asked later.
		fresh := o.Renew(true)
		fresh.Began = x.Sequence()
		if !x.Put(fresh) || x.ask("shop.example/a").PurgedSoftly() {
			t.Errorf("%s: stale after it was confirmed", name)
		}
		if u := x.Usage(); u.Refused != 1 {
			t.Errorf("%s: %+v", name, u)
		}
		x.check(t)
	}
}

// What is remembered of purges is bounded; none is forgotten for that.
func TestPurgesAreBounded(t *testing.T) {
	x := newObjects(Config{})
	early := tagged(made("shop.example/early", "body"), "other")
	early.Began = x.Sequence()
	for i := range 100 {
		o := tagged(made(fmt.Sprintf("shop.example/%d", i), "body"), fmt.Sprint("tag ", i))
		o.Began = x.Sequence()
		x.Put(o)
	}
	soft := tagged(made("shop.example/soft", "body"), "soft")
	x.Put(soft)
	x.PurgeTag("tag 7", PurgeHard)
	x.PurgePrefix("shop.example", "/8", PurgeHard) // 8 and 80 to 89
	x.PurgeTag("soft", PurgeSoft)
	for i := range maxPurges {
		x.PurgeTag(fmt.Sprint("nothing ", i), PurgeHard)
	}
	if n := len(x.purges.tags) + len(x.purges.prefixes); n > 10 {
		t.Errorf("%d purges are remembered", n)
	}
	if u := x.Usage(); u.Objects != 101-12 {
		t.Errorf("%d objects are left, want 89", u.Objects)
	}
	if x.ask("shop.example/7") != nil || x.ask("shop.example/9") == nil || x.ask("shop.example/85") != nil || !x.ask("shop.example/soft").PurgedSoftly() {
		t.Error("the wrong ones went")
	}
	// Nobody knows any more what was purged since this one began.
	if x.Put(early) {
		t.Error("stored an answer from before the purges that are forgotten")
	}
	for i := range 3 {
		x.PurgeTag(strings.Repeat("x", maxPurgeBytes/2)+fmt.Sprint(i), PurgeHard)
	}
	if x.purges.bytes > maxPurgeBytes {
		t.Errorf("%d bytes are remembered", x.purges.bytes)
	}
	for range 2 * maxPurges { // as an origin with many forms makes them
		x.PurgeURL("shop.example", "/cart", PurgeHard)
	}
	if n := len(x.purges.tags) + len(x.purges.prefixes); n > 10 {
		t.Errorf("%d purges by URL are remembered", n)
	}
	x.check(t)
}

func TestList(t *testing.T) {
	x := newObjects(Config{})
	for i := range 20 {
		x.Put(tagged(made(fmt.Sprintf("shop.example/%02d", i), strings.Repeat("x", i)), "tag"))
	}
	x.Put(made("other.example/", "body"))
	o := x.ask("shop.example/03")
	o.AddVariant(VariantKey{}, "value", 5)
	x.PurgeURL("shop.example", "/04", PurgeSoft)
	x.PurgePrefix("", "/1", PurgeHard)

	listed, more := x.List("https://shop.example/0", 100)
	if len(listed) != 10 || more {
		t.Fatalf("%d listed, more %v", len(listed), more)
	}
	if l := listed[3]; l.URL != "https://shop.example/03" || l.Hits != 1 || l.Variants != 1 || l.Body != 3 || l.Status != 200 ||
		!l.Stored.Equal(start) || !slices.Equal(l.Tags, []string{"tag"}) || l.Bytes < 500 || l.Softly || !listed[4].Softly {
		t.Errorf("%+v, %+v", l, listed[4])
	}
	for prefix, want := range map[string]int{"": 11, "https://": 11, "https:": 11, "https://o": 1, "https://other.example/": 1, "https://other.example/x": 0, "http:": 0, "/": 11, "/0": 10, "shop": 0, "https://shop.example/1": 0} {
		if listed, _ := x.List(prefix, 100); len(listed) != want {
			t.Errorf("%q: %d listed, want %d", prefix, len(listed), want)
		}
	}
	if listed, more := x.List("", 5); len(listed) != 5 || !more {
		t.Errorf("%d listed, more %v", len(listed), more)
	}
}
