package cache

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	// maxPurges and maxPurgeBytes bound the purges by tag and prefix that are remembered.
	// Beyond, the whole index is compared with them once, and they are forgotten.
	maxPurges     = 4096
	maxPurgeBytes = 1 << 20

	// urlMarks is into how many classes URLs fall for the answers that are on their way
	// when a purge comes. One that falls in the class of another URL is not stored
	// this time.
	urlMarks = 16384
)

// Purge says how much a purge lets go.
type Purge byte

// The ways to purge. A hard purge drops objects. A soft one makes them stale, so that
// they are validated, or serve when the origin is away: see [Object.PurgedSoftly].
const (
	PurgeHard Purge = iota
	PurgeSoft
)

type judgement byte

const (
	notPurged judgement = iota
	purgedSoft
	purgedHard
)

// purges remembers which purges came. They are numbered, and a purge concerns the
// objects whose request to the origin began before.
//
// A purge by URL finds its objects at once; for those on their way the URL's class is marked.
// Purges by tag and prefix are records, which an object is compared with when it is hit.
type purges struct {
	clock   atomic.Uint64 // number of the latest purge
	refused atomic.Uint64

	// recorded is the number of the latest purge that hits have to look for.
	recorded atomic.Uint64

	marks [2][urlMarks]atomic.Uint64 // by Purge: number of the latest one of a class of URLs

	recording sync.Mutex // one purge is recorded at a time

	mu       sync.RWMutex
	floor    uint64 // purges up to this one are forgotten; whatever was not compared with them counts as purged
	softly   uint64 // latest soft purge of everything
	tags     map[string]purgedTag
	prefixes []purgedPrefix // the latest last
	bytes    int
}

// purgedTag holds the numbers of a tag's latest purges, by Purge.
type purgedTag [2]uint64

type purgedPrefix struct {
	number       uint64
	how          Purge
	host, prefix string
}

// Sequence returns the number of the latest purge. An answer is purged by all that come
// after the moment when its request to the origin began; see [Object.Began].
func (x *Objects[R, P, V]) Sequence() uint64 {
	if x == nil {
		return 0
	}
	return x.purges.clock.Load()
}

// keeps reports whether a hit may be served, after what was purged since the object was
// last looked at.
func (x *Objects[R, P, V]) keeps(o *Object[R, P, V]) bool {
	return o.checked.Load() >= x.purges.recorded.Load() || x.judge(o) != purgedHard
}

// judge compares an object with what hits have to look for.
func (x *Objects[R, P, V]) judge(o *Object[R, P, V]) judgement {
	p := &x.purges
	latest := p.recorded.Load()
	checked := o.checked.Load()
	if checked >= latest {
		return notPurged
	}
	p.mu.RLock()
	found := p.find(checked, o.Began, o.Host, o.Target, o.Tags)
	p.mu.RUnlock()
	if found == purgedHard {
		return found
	}
	if found == purgedSoft {
		o.softly.Store(true)
	}
	raise(&o.checked, latest)
	return found
}

// find looks for what concerns an answer that was compared with all purges up to one.
func (p *purges) find(compared, began uint64, host, target string, tags []string) judgement {
	if compared < p.floor {
		return purgedHard
	}
	found := notPurged
	if began < p.softly {
		found = purgedSoft
	}
	if len(p.tags) > 0 {
		for _, tag := range tags {
			numbers := p.tags[tag]
			if numbers[PurgeHard] > began {
				return purgedHard
			}
			if numbers[PurgeSoft] > began {
				found = purgedSoft
			}
		}
	}
	for i := len(p.prefixes) - 1; i >= 0 && p.prefixes[i].number > compared; i-- {
		r := &p.prefixes[i]
		if (r.host != "" && r.host != host) || !strings.HasPrefix(target, r.prefix) {
			continue
		}
		if r.how == PurgeHard {
			return purgedHard
		}
		found = purgedSoft
	}
	return found
}

// marked reports whether the class of an object's URL was purged since it began.
func (x *Objects[R, P, V]) marked(hash uint64, o *Object[R, P, V]) judgement {
	switch at := hash % urlMarks; {
	case x.purges.marks[PurgeHard][at].Load() > o.Began:
		return purgedHard
	case x.purges.marks[PurgeSoft][at].Load() > o.Began:
		return purgedSoft
	}
	return notPurged
}

// PurgeURL purges all objects of a URL, whatever their scheme, Vary and key, and the answers
// for it that are on their way. It returns how many objects were concerned. It is meant
// also for requests that change what the URL shows (RFC 9111 section 4.4): it costs about a
// look-up, and leaves nothing behind that grows.
func (x *Objects[R, P, V]) PurgeURL(host, target string, how Purge) int {
	if x == nil {
		return 0
	}
	hash := x.hashURL(host, target)
	number := x.purges.clock.Add(1)
	raise(&x.purges.marks[how][hash%urlMarks], number)
	concerned := 0
	for _, p := range x.urls[hash%objectShards].find(hash, host, target) {
		concerned += x.purgePrimary(p, number, how)
	}
	return concerned
}

func (x *Objects[R, P, V]) purgePrimary(p *primary[R, P, V], number uint64, how Purge) int {
	s := x.shard(p.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	concerned := 0
	for i := len(p.entries) - 1; i >= 0; i-- {
		e := p.entries[i]
		if e.object.Began >= number {
			continue
		}
		concerned++
		if how == PurgeSoft {
			e.object.softly.Store(true)
		} else {
			x.drop(s, e)
		}
	}
	return concerned
}

// PurgeTag purges all objects with a tag, when they are next asked for.
func (x *Objects[R, P, V]) PurgeTag(tag string, how Purge) {
	if x == nil {
		return
	}
	x.record(len(tag), func(p *purges, number uint64) {
		numbers := p.tags[tag]
		numbers[how] = number
		p.tags[tag] = numbers
	})
}

// PurgePrefix purges all objects of a host, or of every host if that is empty, whose target
// begins with a prefix, when they are next asked for.
func (x *Objects[R, P, V]) PurgePrefix(host, prefix string, how Purge) {
	if x == nil {
		return
	}
	x.record(len(host)+len(prefix), func(p *purges, number uint64) {
		p.prefixes = append(p.prefixes, purgedPrefix{number, how, host, prefix})
	})
}

// PurgeAll purges everything, also what is on its way. It returns how many objects
// were dropped at once: all of them, or none if the purge is soft.
func (x *Objects[R, P, V]) PurgeAll(how Purge) (dropped int) {
	if x == nil {
		return 0
	}
	if how == PurgeSoft {
		x.record(0, func(p *purges, number uint64) { p.softly = number })
		return 0
	}
	p := &x.purges
	p.recording.Lock()
	defer p.recording.Unlock()
	p.mu.Lock()
	number := p.clock.Add(1)
	p.forget(number)
	p.recorded.Store(number)
	p.mu.Unlock()
	return x.sweepPurged()
}

// record remembers a purge. When there are too many, all objects are compared with
// them, and they are forgotten.
func (x *Objects[R, P, V]) record(size int, note func(p *purges, number uint64)) {
	p := &x.purges
	p.recording.Lock()
	defer p.recording.Unlock()
	p.mu.Lock()
	number := p.clock.Add(1)
	note(p, number)
	p.bytes += size
	full := len(p.tags)+len(p.prefixes) > maxPurges || p.bytes > maxPurgeBytes
	p.recorded.Store(number)
	p.mu.Unlock()
	if !full {
		return
	}
	x.sweepPurged()
	p.mu.Lock()
	p.forget(number)
	p.mu.Unlock()
}

// forget lets go of all records up to a number.
func (p *purges) forget(number uint64) {
	p.floor, p.softly, p.bytes = number, 0, 0
	p.tags, p.prefixes = make(map[string]purgedTag), nil
}

// sweepPurged compares all objects with the records and drops those that are purged.
func (x *Objects[R, P, V]) sweepPurged() (dropped int) {
	var objects []*Object[R, P, V]
	for i := range x.shards {
		s := &x.shards[i]
		objects = objects[:0]
		s.mu.Lock()
		for n := s.recent.front; n != nil; n = n.next {
			objects = append(objects, n.value.object)
		}
		s.mu.Unlock()
		for _, o := range objects { // comparing may take long, so without the lock
			if !x.keeps(o) && x.Drop(o) {
				dropped++
			}
		}
		clear(objects)
	}
	return dropped
}

// raise sets a number to a later one.
func raise(at *atomic.Uint64, number uint64) {
	for {
		now := at.Load()
		if now >= number || at.CompareAndSwap(now, number) {
			return
		}
	}
}

func (x *Objects[R, P, V]) hashURL(host, target string) uint64 {
	var h maphash.Hash
	h.SetSeed(x.seed)
	_, _ = h.WriteString(host)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(target)
	return h.Sum64()
}

// urlShard finds the keys of a URL. Its lock is the last to be taken.
type urlShard[R, P, V any] struct {
	mu    sync.Mutex
	first map[uint64]*primary[R, P, V] // by hash; the others behind it
}

func (u *urlShard[R, P, V]) link(p *primary[R, P, V]) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if p.urlNext = u.first[p.hash]; p.urlNext != nil {
		p.urlNext.urlPrev = p
	}
	u.first[p.hash] = p
}

func (u *urlShard[R, P, V]) unlink(p *primary[R, P, V]) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if p.urlNext != nil {
		p.urlNext.urlPrev = p.urlPrev
	}
	switch {
	case p.urlPrev != nil:
		p.urlPrev.urlNext = p.urlNext
	case p.urlNext != nil:
		u.first[p.hash] = p.urlNext
	default:
		delete(u.first, p.hash)
	}
	p.urlPrev, p.urlNext = nil, nil
}

func (u *urlShard[R, P, V]) find(hash uint64, host, target string) []*primary[R, P, V] {
	u.mu.Lock()
	defer u.mu.Unlock()
	var found []*primary[R, P, V]
	for p := u.first[hash]; p != nil; p = p.urlNext {
		if p.host == host && p.target == target {
			found = append(found, p)
		}
	}
	return found
}
