package proxy

import (
	"bytes"
	"container/list"
	"hash/maphash"
	"io"
	"sync"

	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/rewrite"
)

const (
	// lookalikeShare is the part of the memory for compiled pages that is for those
	// which are found by their address.
	lookalikeShare = 4

	// lookalikeCost is charged for an address, besides its page.
	lookalikeCost = 192

	// mostCompiled is how often a page that comes with other bytes is compiled in vain:
	// if none of what followed was like it, what the origin changes is more than a token.
	mostCompiled = 3
)

// lookalikes keeps, by address, the page that was compiled last from there. What comes
// from there next is mostly the same, and else often differs from it only in what
// nobody looks at, such as a token (see [rewrite.Page.Differences]). To compare bytes
// takes less time than to hash them, and both far less than to read a page.
//
// Addresses are known by a hash: whatever is found is compared with what has come. All
// methods of nil work and keep nothing. It is safe for concurrent use.
type lookalikes struct {
	seed maphash.Seed
	room int64

	mu    sync.Mutex
	used  int64
	pages map[uint64]*list.Element
	order list.List // of *lookalike, the one used last in front
}

// lookalike is what is known of an address.
type lookalike struct {
	address  uint64
	kind     cache.Kind
	length   int       // of the latest page that was like no other
	compiled int       // pages in a row that nothing was like
	page     *seenPage // nil: none
	size     int64
}

func newLookalikes(room int64) *lookalikes {
	if room <= 0 {
		return nil
	}
	return &lookalikes{seed: maphash.MakeSeed(), room: room, pages: map[uint64]*list.Element{}}
}

// address hashes where a page came from.
func (l *lookalikes) address(parts ...string) uint64 {
	if l == nil {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(l.seed)
	for _, part := range parts {
		_, _ = h.WriteString(part)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

// find returns the page of an address, nil for none.
func (l *lookalikes) find(address uint64, kind cache.Kind) *seenPage {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	element := l.pages[address]
	if element == nil {
		return nil
	}
	l.order.MoveToFront(element)
	if e := element.Value.(*lookalike); e.kind == kind {
		return e.page
	}
	return nil
}

// expects reports whether a page as long as the one before it may be like that; if not,
// its length is noted.
func (l *lookalikes) expects(address uint64, length int) bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entry(address)
	if e.length != length {
		e.length = length
		return false
	}
	return e.page != nil || e.compiled < mostCompiled
}

// wants notes that a page was like no other, and reports whether it should be compiled,
// since one of its length came before it.
func (l *lookalikes) wants(address uint64, kind cache.Kind, length int) bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entry(address)
	same := e.kind == kind && e.length == length
	e.length = length
	if e.kind != kind {
		e.compiled, e.kind, e.page = 0, kind, nil
		l.resize(e, 0)
	}
	if !same || e.compiled == mostCompiled {
		return false
	}
	e.compiled++
	return true
}

// matched notes that a page which was compiled for an address was worth it.
func (l *lookalikes) matched(address uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if element := l.pages[address]; element != nil {
		element.Value.(*lookalike).compiled = 0
	}
}

// keep makes a page that of its address; nil is none.
func (l *lookalikes) keep(address uint64, kind cache.Kind, page *seenPage) {
	if l == nil || page == nil {
		return
	}
	size := int64(page.Size() + spliceMemory)
	if !page.plain() {
		size += int64(len(page.raw))
	}
	if size > l.room/8 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entry(address)
	e.kind, e.length, e.page = kind, len(page.raw), page
	l.resize(e, size)
}

// entry returns what is known of an address, made if that is nothing. The caller holds mu.
func (l *lookalikes) entry(address uint64) *lookalike {
	if element := l.pages[address]; element != nil {
		l.order.MoveToFront(element)
		return element.Value.(*lookalike)
	}
	e := &lookalike{address: address}
	l.pages[address] = l.order.PushFront(e)
	l.used += lookalikeCost
	l.resize(e, 0)
	return e
}

// resize notes what an entry takes now, and drops those that were not used for longest
// beyond the room. The caller holds mu.
func (l *lookalikes) resize(e *lookalike, size int64) {
	l.used += size - e.size
	e.size = size
	for l.used > l.room {
		oldest := l.order.Remove(l.order.Back()).(*lookalike)
		delete(l.pages, oldest.address)
		l.used -= oldest.size + lookalikeCost
	}
}

// clear forgets all pages.
func (l *lookalikes) clear() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used = 0
	clear(l.pages)
	l.order.Init()
}

// seenSplice is an edited page: of a page that was seen before, or of one that is like it.
type seenSplice struct {
	*rewrite.Splice
	body []byte // that the ranges are of, if that is another than the page that was seen
}

func (s seenSplice) writeTo(w io.Writer) (int64, error) {
	if s.body == nil {
		return s.WriteTo(w)
	}
	return s.WriteOver(w, s.body)
}

// spliceAlike returns the page with its edits if it is the one that came last from its
// address, or like it; the zero value if not.
func (b *pageBody) spliceAlike(kind cache.Kind, program *program, given rewrite.Given) seenSplice {
	l := b.server.lookalikes
	page := l.find(b.address, kind)
	if page == nil || len(page.raw) != len(b.arrived.kept) {
		return seenSplice{}
	}
	b.differ = b.differ[:0]
	alike := false
	if page.plain() {
		b.differ, alike = page.Differences(b.differ, b.arrived.kept)
	} else { // it was unpacked or mapped
		alike = bytes.Equal(page.raw, b.arrived.kept)
	}
	if !alike {
		return seenSplice{}
	}
	if len(b.differ) == 0 {
		return seenSplice{page.splice(b.notes.plan, program, given), nil}
	}
	if program.ReadsText() {
		return seenSplice{}
	}
	s := page.splice(b.notes.plan, program, given)
	if s == nil || !s.Covers(b.differ) {
		return seenSplice{}
	}
	l.matched(b.address)
	b.server.stats.Alike.Add(1)
	return seenSplice{s, b.arrived.kept}
}
