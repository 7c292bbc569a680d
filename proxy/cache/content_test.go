package cache

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/rewrite"
)

func TestPageIsMadeOnce(t *testing.T) {
	x := newObjects(Config{})
	o := made("shop.example/", "body")
	x.Put(o)
	before := x.Usage().Bytes
	var made atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			page, ok := o.Page(func() (string, int, bool) {
				made.Add(1)
				return "page", 1000, true
			})
			if page != "page" || !ok {
				t.Errorf("page %q %v", page, ok)
			}
		})
	}
	wg.Wait()
	if after := x.Usage().Bytes; made.Load() != 1 || after != before+1000 {
		t.Errorf("made %d times, %d bytes after %d", made.Load(), after, before)
	}
	x.check(t)
}

func TestPageThatFailsIsNotTriedAgain(t *testing.T) {
	x := newObjects(Config{})
	for name, fail := range map[string]func() (string, int, bool){
		"refused":   func() (string, int, bool) { return "", 0, false },
		"panicking": func() (string, int, bool) { panic("made to") },
	} {
		o := made("shop.example/"+name, "body")
		x.Put(o)
		func() {
			defer func() { _ = recover() }()
			if page, ok := o.Page(fail); page != "" || ok {
				t.Errorf("%s: page %q %v", name, page, ok)
			}
		}()
		if page, ok := o.Page(func() (string, int, bool) { return "page", 4, true }); page != "" || ok {
			t.Errorf("%s: tried again: page %q %v", name, page, ok)
		}
	}
	x.check(t)
}

func TestVeryLargePageServesOnce(t *testing.T) {
	x := newObjects(Config{ObjectMemory: 1 << 20})
	o := made("shop.example/", "body")
	x.Put(o)
	large := func() (string, int, bool) { return "page", 600 << 10, true }
	if page, ok := o.Page(large); page != "page" || !ok {
		t.Errorf("the request that made it got %q %v", page, ok)
	}
	if page, ok := o.Page(large); page != "" || ok {
		t.Errorf("the next one got %q %v", page, ok)
	}
	if x.ask("shop.example/") != o {
		t.Error("the object had to go for it")
	}
	x.check(t)
}

// An object that was dropped while somebody still has it charges nothing, but works.
func TestDroppedObjectChargesNothing(t *testing.T) {
	x := newObjects(Config{})
	o := made("shop.example/", "body")
	x.Put(o)
	v := o.AddVariant(VariantKey{}, "value", 100)
	x.Drop(o)
	if page, ok := o.Page(func() (string, int, bool) { return "page", 1000, true }); page != "page" || !ok {
		t.Errorf("page %q %v", page, ok)
	}
	if o.Variant(VariantKey{}) != nil || o.AddVariant(VariantKey{}, "other", 5).Value != "other" {
		t.Error("a variant outlived its object")
	}
	for range 2 * hotHits {
		if o.Packed(v, 0, func() []byte { return []byte("packed") }) != nil {
			t.Error("packed for an object that is gone")
		}
	}
	if u := x.Usage(); u.Bytes != 0 || u.VariantBytes != 0 {
		t.Errorf("%+v", u)
	}
	x.check(t)
}

func TestVariantsAreFoundByAllOfTheirKey(t *testing.T) {
	x := newObjects(Config{})
	o := made("shop.example/", "body")
	x.Put(o)
	key := VariantKey{Plan: decision.Digest{1}, Generation: 2, Form: 3}
	v := o.AddVariant(key, "first", 5)
	if o.AddVariant(key, "second", 6) != v || v.Value != "first" || o.Variant(key) != v {
		t.Error("not the one that was first")
	}
	for _, other := range []VariantKey{
		{Plan: decision.Digest{2}, Generation: 2, Form: 3}, {Plan: decision.Digest{1}, Generation: 3, Form: 3}, {Plan: decision.Digest{1}, Generation: 2, Form: 4},
	} {
		if o.Variant(other) != nil {
			t.Errorf("found as %v", other)
		}
	}
	another := made("shop.example/a", "body")
	x.Put(another)
	if another.Variant(key) != nil {
		t.Error("found at another object")
	}
	x.check(t)
}

func TestVariantsOfOneObjectAreBounded(t *testing.T) {
	x := newObjects(Config{})
	o, other := made("shop.example/", "body"), made("shop.example/a", "body")
	x.Put(o)
	x.Put(other)
	other.AddVariant(VariantKey{}, "value", 5)
	for i := range 2 * maxVariants {
		o.AddVariant(VariantKey{Form: uint32(i)}, "value", 5)
		o.Variant(VariantKey{Form: 0})
	}
	if u := x.Usage(); u.Variants != maxVariants+1 || u.VariantsEvicted != maxVariants {
		t.Errorf("%+v", u)
	}
	if o.Variant(VariantKey{Form: 0}) == nil || o.Variant(VariantKey{Form: 1}) != nil || other.Variant(VariantKey{}) == nil {
		t.Error("not the one that was not used for longest went")
	}
	x.check(t)
}

func TestSweepDropsOlderGenerations(t *testing.T) {
	x := newObjects(Config{})
	for i := range 40 {
		o := made(fmt.Sprint("shop.example/", i), "body")
		x.Put(o)
		for generation := range 4 {
			v := o.AddVariant(VariantKey{Generation: uint64(generation)}, "value", 5)
			for range hotHits {
				o.Packed(v, uint8(generation), func() []byte { return []byte("packed") })
			}
		}
	}
	x.Sweep(2)
	if u := x.Usage(); u.Variants != 80 || u.Packed != 80 || u.Objects != 40 {
		t.Errorf("%+v", u)
	}
	x.check(t)
	if o := x.ask("shop.example/7"); o.Variant(VariantKey{Generation: 1}) != nil || o.Variant(VariantKey{Generation: 2}) == nil {
		t.Error("the wrong ones went")
	}
}

func TestHotVariantsArePacked(t *testing.T) {
	x := newObjects(Config{})
	o := made("shop.example/", "body")
	x.Put(o)
	v := o.AddVariant(VariantKey{}, "value", 5)
	made := 0
	pack := func() []byte { made++; return []byte("packed") }
	for i := range hotHits - 1 {
		if o.Packed(v, 1, pack) != nil {
			t.Fatalf("packed at hit %d", i+1)
		}
	}
	if o.Packed(v, 2, pack) != nil {
		t.Fatal("hits of one coding count for another")
	}
	for range 3 {
		if got := o.Packed(v, 1, pack); string(got) != "packed" || made != 1 {
			t.Fatalf("%q, made %d times", got, made)
		}
	}
	if u := x.Usage(); u.Packed != 1 {
		t.Errorf("%+v", u)
	}
	x.check(t)
	for range 2 * hotHits {
		o.Packed(v, 3, func() []byte { made++; return nil })
	}
	if made != 2 || o.Variant(VariantKey{}) != v {
		t.Errorf("tried %d times what cannot be packed", made-1)
	}
	func() {
		defer func() { _ = recover() }()
		for range hotHits {
			o.Packed(v, 0, func() []byte { panic("made to") })
		}
	}()
	if o.Packed(v, 0, pack) != nil || made != 2 {
		t.Error("tried again what panicked")
	}
	x.check(t)
}

// One request packs while the others go on, and nobody waits.
func TestPackingHoldsNobodyUp(t *testing.T) {
	x := newObjects(Config{})
	o := made("shop.example/", "body")
	x.Put(o)
	v := o.AddVariant(VariantKey{}, "value", 5)
	for range hotHits - 1 {
		o.Packed(v, 0, nil)
	}
	begun, goOn := make(chan struct{}), make(chan struct{})
	done := make(chan []byte)
	go func() {
		done <- o.Packed(v, 0, func() []byte {
			close(begun)
			<-goOn
			return []byte("packed")
		})
	}()
	<-begun
	if got := o.Packed(v, 0, nil); got != nil || x.ask("shop.example/") != o {
		t.Errorf("got %q", got)
	}
	o.AddVariant(VariantKey{Form: 1}, "value", 5)
	close(goOn)
	if got := <-done; string(got) != "packed" {
		t.Errorf("got %q", got)
	}
	if got := o.Packed(v, 0, nil); string(got) != "packed" {
		t.Errorf("got %q", got)
	}
	x.check(t)

	// In the meantime the object may go.
	for range hotHits {
		o.Packed(v, 1, func() []byte {
			x.Drop(o)
			return []byte("packed")
		})
	}
	x.check(t)
	if u := x.Usage(); u.VariantBytes != 0 {
		t.Errorf("%+v", u)
	}
}

// When memory is short, what was not used for longest goes: packed forms without
// their variants, too.
func TestVariantsKeepTheirBudget(t *testing.T) {
	x := newObjects(Config{VariantMemory: 1 << 20})
	for i := range 100 {
		o := made(fmt.Sprint("shop.example/", i), "body")
		x.Put(o)
		v := o.AddVariant(VariantKey{}, "value", 300)
		for range hotHits {
			o.Packed(v, 0, func() []byte { return make([]byte, 30<<10) })
		}
		for j := range i {
			x.ask(fmt.Sprint("shop.example/", j)).Variant(VariantKey{})
		}
	}
	u := x.Usage()
	if u.Objects != 100 || u.Variants != 100 || u.Packed == 0 || u.Packed > 32 || u.Evicted != 0 {
		t.Errorf("%+v", u)
	}
	x.check(t)
	o := x.ask("shop.example/0")
	v := o.Variant(VariantKey{})
	for i := range hotHits {
		if got := o.Packed(v, 0, func() []byte { return []byte("packed anew") }); (got != nil) != (i == hotHits-1) {
			t.Errorf("hit %d of an evicted form: %q", i, got)
		}
	}
	x.check(t)
}

// A variant of a page costs about what its edits insert, not the page once more.
func TestHundredVariantsCostLittleMoreThanOne(t *testing.T) {
	var page bytes.Buffer
	page.WriteString(`<!doctype html><html><head><title>Shop</title></head><body><div id="hero"><h1>Welcome</h1></div><ul>`)
	for i := 0; page.Len() < 60<<10; i++ {
		fmt.Fprintf(&page, `<li class="product"><a href="/p/%d">Product %d</a> <span class="price">%d.99</span></li>`, i, i, i)
	}
	page.WriteString(`</ul><footer>Bye</footer></body></html>`)

	type spliced struct {
		*rewrite.Splice
	}
	x := NewObjects[int, *rewrite.Page, spliced](Config{})
	o := &Object[int, *rewrite.Page, spliced]{Key: "shop", Scheme: "https", Host: "shop.example", Target: "/", Status: 200, Body: page.Bytes()}
	if !x.Put(o) {
		t.Fatal("not kept")
	}
	compiled, ok := o.Page(func() (*rewrite.Page, int, bool) {
		p, _ := rewrite.CompilePage(o.Body, rewrite.Limits{})
		return p, p.Size() - len(o.Body), p != nil
	})
	if !ok {
		t.Fatal("not compiled")
	}
	one := x.Usage()
	const variants = 100
	for i := range variants {
		program, err := rewrite.Compile([]decision.PlannedEdit{
			{Apply: true, Edit: decision.Edit{Select: "#hero h1", Op: decision.OpSetInner, Text: fmt.Sprintf("Welcome back, segment %d", i)}},
			{Apply: true, Edit: decision.Edit{Select: "ul", Op: decision.OpAppend, HTML: fmt.Sprintf(`<li class="offer">%d %% off everything today</li>`, i)}},
			{Apply: true, Edit: decision.Edit{Select: "footer", Op: decision.OpRemove}},
		})
		if err != nil {
			t.Fatal(err)
		}
		s := compiled.Splice(program, rewrite.Given{})
		o.AddVariant(VariantKey{Plan: decision.Digest{byte(i)}, Generation: 1}, spliced{s}, s.Size())
	}
	u := x.Usage()
	each := u.VariantBytes / variants
	t.Logf("a page of %d bytes takes %d, compiled; each of %d variants %d", page.Len(), one.Bytes, variants, each)
	if u.Variants != variants || u.Bytes != one.Bytes || each > 1500 {
		t.Errorf("%+v", u)
	}
	if got := string(o.Variant(VariantKey{Plan: decision.Digest{42}, Generation: 1}).Value.AppendTo(nil)); !strings.Contains(got, "segment 42") {
		t.Error("not the variant")
	}
	x.check(t)
}
