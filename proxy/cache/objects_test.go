package cache

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
)

type (
	testObjects = Objects[int, string, string]
	testObject  = Object[int, string, string]
)

func newObjects(cfg Config) *testObjects { return NewObjects[int, string, string](cfg) }

// answer makes an object whose key holds what a key of the proxy would.
func made(url, body string, vary ...string) *testObject {
	host, path, _ := strings.Cut(url, "/")
	o := &testObject{Key: "up\x00https\x00" + url, Scheme: "https", Host: host, Target: "/" + path, Status: 200, Body: []byte(body), Stored: start}
	o.Header.Set("Content-Type", "text/html")
	for _, v := range vary { // as name=value
		name, value, _ := strings.Cut(v, "=")
		o.Vary = append(o.Vary, name)
		o.Selecting += value + ";"
	}
	return o
}

// asking returns the selecting values of a request with these headers, as answer writes them.
func asking(headers ...string) func([]string) []byte {
	return func(names []string) (values []byte) {
		for _, name := range names {
			for _, h := range headers {
				if n, value, _ := strings.Cut(h, "="); n == name {
					values = append(values, value...)
				}
			}
			values = append(values, ';')
		}
		return values
	}
}

func (x *Objects[R, P, V]) ask(url string, headers ...string) *Object[R, P, V] {
	o, _ := x.Get([]byte("up\x00https\x00"+url), asking(headers...))
	return o
}

// check fails if the index does not hold together, or counts other bytes than those
// of what it holds.
func (x *Objects[R, P, V]) check(t interface {
	Helper()
	Fatalf(string, ...any)
}) {
	t.Helper()
	var used, variantsUsed int64
	contents := map[*content[P, V]]int{}
	linked := 0
	for i := range x.shards {
		s := &x.shards[i]
		places, variants, packed := 0, 0, 0
		for n := s.recent.front; n != nil; n = n.next {
			places++
			if p := n.value.primary; s.primaries[p.key] != p || !slices.Contains(p.entries, n.value) || !slices.Equal(p.names, n.value.object.Vary) {
				t.Fatalf("%q is not where its key says", p.key)
			}
			if n.next == nil && s.recent.back != n {
				t.Fatalf("the order is broken")
			}
		}
		for _, p := range s.primaries {
			used += x.sizes.primary
			if len(p.entries) == 0 || len(p.entries) > maxSelected {
				t.Fatalf("%d objects under %q", len(p.entries), p.key)
			}
			places -= len(p.entries)
			for _, e := range p.entries {
				used += e.object.own
				if contents[e.object.content]++; contents[e.object.content] == 1 {
					used += e.object.content.size()
				}
			}
			if !slices.Contains(x.urls[p.hash%objectShards].find(p.hash, p.host, p.target), p) {
				t.Fatalf("%q is not found by its URL", p.key)
			}
		}
		if places != 0 {
			t.Fatalf("%d places too many are in order", places)
		}
		for n := s.variants.recent.front; n != nil; n = n.next {
			u := n.value
			variantsUsed += u.size
			if !u.kept || u.variant.of.byKey[u.variant.key] != u.variant {
				t.Fatalf("a variant that was dropped is counted")
			}
			if u.body == nil {
				variants++
			} else {
				packed++
			}
		}
		if variants != s.variants.variants || packed != s.variants.packed {
			t.Fatalf("%d variants and %d packed ones, counted were %d and %d", variants, packed, s.variants.variants, s.variants.packed)
		}
		for p := range maps.Values(x.urls[i].first) {
			for ; p != nil; p = p.urlNext {
				linked++
			}
		}
		linked -= len(s.primaries)
	}
	for c, n := range contents {
		if c.places != n || len(c.variants.byKey) > maxVariants {
			t.Fatalf("content in %d places, counted were %d; %d variants", n, c.places, len(c.variants.byKey))
		}
	}
	if linked != 0 {
		t.Fatalf("%d URLs too many", linked)
	}
	if u := x.Usage(); u.Bytes != used || u.VariantBytes != variantsUsed {
		t.Fatalf("%d bytes of objects and %d of variants are held, counted were %d and %d", used, variantsUsed, u.Bytes, u.VariantBytes)
	}
	if u := x.Usage(); u.Bytes > x.objects.max || u.VariantBytes > x.variants.max {
		t.Fatalf("over the budget: %+v", u)
	}
}

func TestObjects(t *testing.T) {
	x := newObjects(Config{})
	if o, known := x.Get([]byte("up\x00https\x00shop.example/"), nil); o != nil || known {
		t.Fatal("found in an empty index")
	}
	first := made("shop.example/", "one")
	if !x.Put(first) || x.ask("shop.example/") != first {
		t.Fatal("not found after it was stored")
	}
	second := made("shop.example/", "two")
	if !x.Put(second) || x.ask("shop.example/") != second || x.Usage().Objects != 1 {
		t.Fatal("the older one stayed")
	}
	if x.ask("shop.example/a") != nil {
		t.Fatal("found under another key")
	}
	x.check(t)
	if !x.Drop(second) || x.Drop(second) || x.ask("shop.example/") != nil || x.Usage().Bytes != 0 {
		t.Fatalf("found after it was dropped: %+v", x.Usage())
	}
	x.check(t)
}

func TestNoObjects(t *testing.T) {
	x := newObjects(Config{Disabled: true})
	o := made("shop.example/", "one")
	x.Clear()
	x.Sweep(1)
	x.PurgeTag("a", PurgeHard)
	x.PurgePrefix("", "/", PurgeHard)
	if x != nil || x.Put(o) || x.ask("shop.example/") != nil || x.Drop(o) || x.MaxObject() != 0 || x.Usage() != (Usage{}) ||
		x.Sequence() != 0 || x.PurgeURL("shop.example", "/", PurgeHard) != 0 || x.PurgeAll(PurgeHard) != 0 {
		t.Error("an index that is off keeps something")
	}
	if listed, more := x.List("", 10); listed != nil || more {
		t.Error(listed, more)
	}
	if page, ok := o.Page(func() (string, int, bool) { return "page", 4, true }); page != "page" || !ok {
		t.Errorf("page %q %v", page, ok)
	}
	v := o.AddVariant(VariantKey{}, "value", 5)
	if v.Value != "value" || o.Variant(VariantKey{}) != nil || o.Packed(v, 0, nil) != nil {
		t.Error("a variant of what is not stored was kept")
	}
}

// A request gets an object only if its values of the fields that Vary names are those
// of the request that the object answered.
func TestVarySelects(t *testing.T) {
	x := newObjects(Config{})
	en, de := made("shop.example/", "hello", "lang=en"), made("shop.example/", "hallo", "lang=de")
	x.Put(en)
	x.Put(de)
	if x.ask("shop.example/", "lang=en") != en || x.ask("shop.example/", "lang=de") != de {
		t.Fatal("not the one for the request")
	}
	if o, known := x.Get([]byte("up\x00https\x00shop.example/"), asking("lang=fr")); o != nil || !known {
		t.Fatalf("for another language %v, known %v", o, known)
	}
	x.check(t)

	// Other names make the older ones unreachable, so they are dropped.
	both := made("shop.example/", "hallo", "lang=de", "coding=br")
	x.Put(both)
	if x.ask("shop.example/", "lang=de") != nil || x.ask("shop.example/", "lang=de", "coding=br") != both || x.Usage().Objects != 1 {
		t.Fatal("objects of a superseded Vary stayed")
	}
	none := made("shop.example/", "for all")
	x.Put(none)
	if x.ask("shop.example/", "lang=de", "coding=br") != none || x.Usage().Objects != 1 {
		t.Fatal("the latest answer is for all, and was not found")
	}
	x.check(t)
}

func TestObjectsOfOneKeyAreBounded(t *testing.T) {
	x := newObjects(Config{})
	for i := range 3 * maxSelected {
		x.Put(made("shop.example/", "x", fmt.Sprintf("agent=%d", i)))
		x.ask("shop.example/", "agent=0")
	}
	x.check(t)
	if x.Usage().Objects != maxSelected || x.ask("shop.example/", "agent=0") == nil || x.ask("shop.example/", "agent=1") != nil || x.ask("shop.example/", fmt.Sprintf("agent=%d", 3*maxSelected-1)) == nil {
		t.Errorf("%+v", x.Usage())
	}
}

func TestLeastUsedObjectGoesFirst(t *testing.T) {
	x := newObjects(Config{ObjectMemory: 1 << 20})
	body := strings.Repeat("x", 100<<10) // nine of them
	for i := range 8 {
		x.Put(made(fmt.Sprint("shop.example/", i), body))
	}
	x.ask("shop.example/0")
	x.Put(made("shop.example/8", body))
	for i := 9; i < 12; i++ {
		x.Put(made(fmt.Sprint("shop.example/", i), body))
		x.ask("shop.example/0")
	}
	for i, kept := range []bool{true, false, false, false, true, true, true, true, true, true, true, true} {
		if got := x.ask(fmt.Sprint("shop.example/", i)) != nil; got != kept {
			t.Errorf("%d kept: %v, want %v", i, got, kept)
		}
	}
	if u := x.Usage(); u.Evicted != 3 {
		t.Errorf("%+v", u)
	}
	x.check(t)
}

// Also among many, of which several share a shard.
func TestUsedObjectsStay(t *testing.T) {
	x := newObjects(Config{ObjectMemory: 1 << 20})
	body := strings.Repeat("x", 2<<10) // a few hundred of them
	for i := range 100 {
		x.Put(made(fmt.Sprint("shop.example/", i), body))
	}
	for i := 100; i < 1000; i++ {
		x.Put(made(fmt.Sprint("shop.example/", i), body))
		if i%50 == 0 {
			for j := range 100 {
				if x.ask(fmt.Sprint("shop.example/", j)) == nil {
					t.Fatalf("%d, which is used, went when %d came", j, i)
				}
			}
		}
	}
	if x.Usage().Evicted < 500 {
		t.Errorf("%+v", x.Usage())
	}
	x.check(t)
}

func TestTooLargeObjectsAreNotStored(t *testing.T) {
	x := newObjects(Config{ObjectMemory: 1 << 20, MaxObject: 10 << 10})
	if x.Put(made("shop.example/", strings.Repeat("x", 10<<10+1))) || !x.Put(made("shop.example/", strings.Repeat("x", 10<<10))) {
		t.Error("the bound is not kept")
	}
	large := made("shop.example/", "x")
	large.RulesSize = 2 << 20
	if x.Put(large) {
		t.Error("larger than all memory, and stored")
	}
	x.check(t)
}

func TestRenewedObjectShares(t *testing.T) {
	x := newObjects(Config{})
	old := made("shop.example/", strings.Repeat("x", 10000))
	old.Tags = []string{"home"}
	x.Put(old)
	x.ask("shop.example/")
	made := 0
	compile := func() (string, int, bool) { made++; return "page", 5000, true }
	old.Page(compile)
	v := old.AddVariant(VariantKey{Generation: 1}, "edited", 300)
	before := x.Usage()

	fresh := old.Renew(true)
	old.Header.CopyTo(&fresh.Header)
	if !x.Put(fresh) || x.ask("shop.example/") != fresh {
		t.Fatal("not in the place of the older one")
	}
	if after := x.Usage(); after != before {
		t.Errorf("after it was renewed %+v, before %+v", after, before)
	}
	if page, ok := fresh.Page(compile); page != "page" || !ok || made != 1 || fresh.Variant(VariantKey{Generation: 1}) != v {
		t.Error("what was made of the body was lost")
	}
	if listed, _ := x.List("", 1); listed[0].Hits != 2 || listed[0].Variants != 1 || !slices.Equal(listed[0].Tags, []string{"home"}) {
		t.Errorf("%+v", listed)
	}
	x.check(t)

	// What was made of it may depend on the header.
	other := fresh.Renew(false)
	fresh.Header.CopyTo(&other.Header)
	if !x.Put(other) || other.Variant(VariantKey{Generation: 1}) != nil || x.Usage().Variants != 0 {
		t.Error("variants of another header stayed")
	}
	if other.Page(compile); made != 2 || &other.Body[0] != &old.Body[0] {
		t.Error("the page was not made anew, or the body is another")
	}
	x.check(t)
	x.Drop(other)
	if u := x.Usage(); u.Bytes != 0 || u.VariantBytes != 0 {
		t.Errorf("%+v", u)
	}
}

// A 304 confirms the answer that was asked about. If another has come in the meantime,
// the latter is the newer one.
func TestRenewedObjectDoesNotReplaceANewer(t *testing.T) {
	x := newObjects(Config{})
	old := made("shop.example/", "old", "lang=en")
	x.Put(old)
	late := old.Renew(true)
	newer := made("shop.example/", "new", "lang=en")
	x.Put(newer)
	if x.Put(late) || x.ask("shop.example/", "lang=en") != newer {
		t.Error("the older one came back")
	}
	late, all := newer.Renew(true), made("shop.example/", "newest")
	x.Put(all)
	if x.Put(late) || x.ask("shop.example/") != all {
		t.Error("the older one came back with its Vary")
	}
	late = all.Renew(true)
	x.Clear()
	if !x.Put(late) || x.ask("shop.example/") != late {
		t.Error("nothing newer was there, and it was not stored")
	}
	late = made("shop.example/", "body", "lang=en")
	x.Put(late)
	x.Put(made("shop.example/", "body", "lang=de"))
	x.Drop(late)
	if late = late.Renew(true); !x.Put(late) || x.ask("shop.example/", "lang=en") != late {
		t.Error("nothing newer was there for this request, and it was not stored")
	}
	// A 304 may also answer another request than the one that brought the body.
	x.Clear()
	late = made("shop.example/", "body", "lang=en")
	x.Put(late)
	both := late.Renew(true)
	both.Selecting = "de;"
	x.Put(both)
	x.check(t)
	if x.ask("shop.example/", "lang=en") != late || x.ask("shop.example/", "lang=de") != both {
		t.Error("one body does not serve both")
	}
	x.Drop(late)
	x.check(t)
	x.Drop(both)
	if u := x.Usage(); u.Bytes != 0 {
		t.Errorf("%+v", u)
	}
}

// Whatever is done, the budgets hold, what is counted is what is held, what was
// just stored is found, and what is found is what was stored last for the request.
func TestObjectsAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newObjects(Config{ObjectMemory: 1 << 20, VariantMemory: 1 << 20})
		type request struct{ url, lang string }
		stored := map[request]*testObject{}
		vary := map[string]bool{}
		tagged := func(tag string) {
			maps.DeleteFunc(stored, func(_ request, o *testObject) bool { return slices.Contains(o.Tags, tag) })
		}
		step := 0
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			step++
			url := fmt.Sprintf("shop.example/%d", rapid.IntRange(0, 12).Draw(t, "url"))
			lang := rapid.SampledFrom([]string{"en", "de"}).Draw(t, "lang")
			at := request{url, ""}
			if vary[url] {
				at.lang = lang
			}
			switch rapid.SampledFrom([]string{"put", "put", "put", "get", "get", "renew", "page", "variant", "pack", "drop", "tag", "prefix", "url", "all", "clear", "sweep"}).Draw(t, "op") {
			case "put":
				body := strings.Repeat("x", rapid.SampledFrom([]int{0, 100, 5000, 60000, 130000}).Draw(t, "size"))
				o := made(url, body)
				if rapid.Bool().Draw(t, "varies") {
					o = made(url, body, "lang="+lang)
				}
				o.Began = x.Sequence()
				if rapid.Bool().Draw(t, "tagged") {
					o.Tags = []string{"tag " + lang}
				}
				if vary[url] != (o.Vary != nil) {
					maps.DeleteFunc(stored, func(r request, _ *testObject) bool { return r.url == url })
				}
				vary[url], at = o.Vary != nil, request{url, ""}
				if o.Vary != nil {
					at.lang = lang
				}
				if !x.Put(o) {
					t.Fatal("not kept")
				}
				stored[at] = o
				if x.ask(url, "lang="+lang) != o {
					t.Fatal("not found after it was stored")
				}
			case "get":
				if got := x.ask(url, "lang="+lang); got != nil && got != stored[at] {
					t.Fatal("found another object")
				}
			case "renew":
				if o := x.ask(url, "lang="+lang); o != nil {
					fresh := o.Renew(rapid.Bool().Draw(t, "made"))
					fresh.Began = x.Sequence()
					if !x.Put(fresh) {
						t.Fatal("not kept")
					}
					stored[at] = fresh
				}
			case "page":
				if o := stored[at]; o != nil {
					size := rapid.SampledFrom([]int{0, 1000, 100000, 600000}).Draw(t, "page")
					o.Page(func() (string, int, bool) { return "page", size, size > 0 })
				}
			case "variant":
				if o := stored[at]; o != nil {
					for n := range rapid.SampledFrom([]int{1, 3, 300}).Draw(t, "variants") {
						key := VariantKey{Generation: uint64(step), Form: uint32(n)}
						v := o.AddVariant(key, "value", 300)
						if got := o.Variant(key); got != nil && got != v {
							t.Fatal("found another variant")
						}
					}
				}
			case "pack":
				if o := stored[at]; o != nil {
					v := o.AddVariant(VariantKey{}, "value", 300)
					for range hotHits {
						o.Packed(v, 1, func() []byte { return make([]byte, rapid.SampledFrom([]int{0, 20000, 300000}).Draw(t, "packed")) })
					}
				}
			case "drop":
				if o := stored[at]; o != nil {
					x.Drop(o)
					delete(stored, at)
				}
			case "tag":
				x.PurgeTag("tag "+lang, PurgeHard)
				tagged("tag " + lang)
			case "prefix":
				x.PurgePrefix("shop.example", "/1", PurgeHard)
				maps.DeleteFunc(stored, func(_ request, o *testObject) bool { return strings.HasPrefix(o.Target, "/1") })
			case "url":
				host, path, _ := strings.Cut(url, "/")
				x.PurgeURL(host, "/"+path, PurgeHard)
				maps.DeleteFunc(stored, func(r request, _ *testObject) bool { return r.url == url })
			case "all":
				x.PurgeAll(PurgeHard)
				clear(stored)
			case "clear":
				x.Clear()
				clear(stored)
			case "sweep":
				x.Sweep(uint64(step))
			}
			x.check(t)
		}
		x.Clear()
		if u := x.Usage(); u.Bytes != 0 || u.Objects != 0 || u.VariantBytes != 0 || u.Variants != 0 || u.Packed != 0 {
			t.Fatalf("after Clear %+v", u)
		}
		x.check(t)
	})
}

// Many do everything at the same time; in the end all is counted.
func TestObjectsTogether(t *testing.T) {
	x := newObjects(Config{ObjectMemory: 1 << 20, VariantMemory: 1 << 20})
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 2000 {
				url := fmt.Sprintf("shop.example/%d", random.IntN(20))
				o := x.ask(url, "lang=en")
				if o == nil {
					o = made(url, strings.Repeat("x", random.IntN(60000)), "lang=en")
					o.Tags = []string{"tag"}
					o.Began = x.Sequence()
					x.Put(o)
				}
				switch random.IntN(12) {
				case 0:
					fresh := o.Renew(random.IntN(2) == 0)
					fresh.Began = x.Sequence()
					x.Put(fresh)
				case 1:
					x.Drop(o)
				case 2:
					x.PurgeURL("shop.example", o.Target, Purge(random.IntN(2)))
				case 3:
					x.PurgeTag("tag", PurgeSoft)
				case 4:
					x.Sweep(uint64(random.IntN(50)))
				case 5:
					x.List("https://shop", 5)
				case 6:
					x.Clear()
				default:
					o.Page(func() (string, int, bool) { return "page", 50000, true })
					v := o.AddVariant(VariantKey{Generation: uint64(random.IntN(50))}, "value", 3000)
					o.Packed(v, 0, func() []byte { return make([]byte, 10000) })
				}
			}
		})
	}
	wg.Wait()
	x.check(t)
	x.Clear()
	x.check(t)
	if u := x.Usage(); u.Bytes != 0 || u.VariantBytes != 0 {
		t.Errorf("%+v", u)
	}
}

func TestHitsAllocateNothing(t *testing.T) {
	x := newObjects(Config{})
	o := made("shop.example/", "body", "lang=en", "coding=br")
	x.Put(o)
	x.PurgeTag("other", PurgeHard)
	o.Page(func() (string, int, bool) { return "page", 4, true })
	key := VariantKey{Plan: decision.Digest{1}, Generation: 2}
	o.AddVariant(key, "value", 5)
	wire := []byte("up\x00https\x00shop.example/")
	values := []byte("en;br;")
	if n := testing.AllocsPerRun(100, func() {
		o, _ := x.Get(wire, func([]string) []byte { return values })
		if page, _ := o.Page(nil); page != "page" {
			t.Error("no page")
		}
		v := o.Variant(key)
		if v == nil {
			t.Error("no variant")
		}
		o.Packed(v, 1, func() []byte { return values })
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What the index holds takes no more memory than it counts, but for the garbage
// collector's own share.
func TestObjectsTakeTheMemoryThatIsCounted(t *testing.T) {
	for name, size := range map[string]int{"small": 300, "pages": 15 << 10, "large": 200 << 10} {
		t.Run(name, func(t *testing.T) {
			const budget = 32 << 20
			heap := func() int64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.GC()
				runtime.ReadMemStats(&m)
				return int64(m.HeapInuse)
			}
			before := heap()
			x := newObjects(Config{ObjectMemory: budget, VariantMemory: 8 << 20})
			plan := 0
			for i := 0; x.Usage().Evicted < 100; i++ {
				o := realistic(i, size)
				if !x.Put(o) {
					t.Fatal("not kept")
				}
				if i%10 == 0 {
					o.Page(func() (string, int, bool) { return string(make([]byte, size)), int(allocated(size)), true })
				}
				for range 5 {
					plan++
					value := string(make([]byte, 400))
					v := o.AddVariant(VariantKey{Generation: uint64(plan)}, value, int(allocated(len(value)))+16)
					for range hotHits * (i % 20 / 19) {
						o.Packed(v, 1, func() []byte { return make([]byte, 12<<10) })
					}
				}
			}
			u := x.Usage()
			taken := heap() - before
			t.Logf("%d objects, %d bytes counted, %d taken (%.2f); %d variants", u.Objects, u.Bytes+u.VariantBytes, taken,
				float64(taken)/float64(u.Bytes+u.VariantBytes), u.Variants)
			if limit := 13 * (u.Bytes + u.VariantBytes) / 10; taken > limit {
				t.Errorf("%d bytes are taken, and %d counted: %+v", taken, u.Bytes+u.VariantBytes, u)
			}
			x.check(t)
			runtime.KeepAlive(x)
		})
	}
}

// realistic makes an object as the proxy makes them.
func realistic(i, size int) *testObject {
	o := made(fmt.Sprintf("www.shop.example/category/%d/product-with-a-name-%d?color=red", i%50, i), "", "Accept-Encoding=gzip,br", "Accept-Language=de-de,de;q=0.9")
	o.Body = bytes.Repeat([]byte("x"), size)
	for _, line := range [][2]string{
		{"Date", "Tue, 01 Dec 2026 10:00:00 GMT"}, {"Last-Modified", "Tue, 01 Dec 2026 09:00:00 GMT"}, {"ETag", `"5f3a-61b2c3d4e5f60"`},
		{"Cache-Control", "public, max-age=300, stale-while-revalidate=60"}, {"Vary", "Accept-Encoding, Accept-Language"},
		{"Server", "nginx"}, {"Content-Encoding", "gzip"}, {"X-Content-Type-Options", "nosniff"}, {"X-Frame-Options", "SAMEORIGIN"},
		{"Strict-Transport-Security", "max-age=31536000; includeSubDomains"}, {"Referrer-Policy", "strict-origin-when-cross-origin"},
		{"Content-Security-Policy", "default-src 'self'; img-src *; script-src 'self' https://cdn.example"}, {"Surrogate-Key", "product category home"},
	} {
		o.Header.Set(line[0], line[1])
	}
	o.Tags = []string{"product", "category", "home"}
	var fresh testObject
	o.Header.CopyTo(&fresh.Header)
	o.Stored = start.Add(time.Duration(i))
	return o
}

func BenchmarkHit(b *testing.B) {
	x := newObjects(Config{})
	for i := range 1000 {
		o := realistic(i, 15<<10)
		x.Put(o)
		o.AddVariant(VariantKey{}, "value", 300)
	}
	o := realistic(500, 0)
	key, values := []byte(o.Key), []byte(o.Selecting)
	b.Run("object", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x.Get(key, func([]string) []byte { return values })
		}
	})
	b.Run("variant", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			o, _ := x.Get(key, func([]string) []byte { return values })
			o.Packed(o.Variant(VariantKey{}), 1, func() []byte { return values })
		}
	})
	b.Run("flight", func(b *testing.B) {
		s := NewFlights(x, time.Now)
		missing := []byte("missing")
		b.ReportAllocs()
		for b.Loop() {
			f, _ := s.Join(missing, nil)
			f.Leave()
		}
	})
}
