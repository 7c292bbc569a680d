package segmenter

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/sedge-proxy/sedge/decision"
)

// Scorer answers from a cache; see the package comment for what makes an entry
// good. It is safe for concurrent use.
type Scorer struct {
	rules      *Rules
	generation uint64
	seed       maphash.Seed
	cache      *ristretto.Cache[uint64, *entry]

	closing  sync.RWMutex // held while writing to the cache, which must not be closed then
	closed   bool
	hits     atomic.Uint64
	computed atomic.Uint64
	refused  atomic.Uint64
	failures []atomic.Uint64 // by rule number
}

// entry is a kept answer with all that proves it.
type entry struct {
	visitor    string
	attributes []string
	profile    uint64 // digest of the profile inputs
	valid      window
	result     *decision.Segmentation
}

// typicalEntry is the cost of an entry with a visitor id, one short attribute
// and one segment; it only sizes the cache's frequency counters.
const typicalEntry = 512

// NewScorer makes a scorer for one generation of the configuration. Close it
// when the generation's last request is done.
func NewScorer(rules *Rules, cfg Config, generation uint64) (*Scorer, error) {
	size := cfg.CacheSize
	if size == 0 {
		size = DefaultCacheSize
	}
	cache, err := ristretto.NewCache(&ristretto.Config[uint64, *entry]{
		NumCounters: max(1000, 10*int64(size)/typicalEntry),
		MaxCost:     int64(size),
		BufferItems: 64,
		Metrics:     true,
		KeyToHash:   func(key uint64) (uint64, uint64) { return key, 0 },
	})
	if err != nil {
		return nil, fmt.Errorf("make segment cache: %w", err)
	}
	return &Scorer{
		rules: rules, generation: generation, seed: maphash.MakeSeed(), cache: cache,
		failures: make([]atomic.Uint64, rules.rules),
	}, nil
}

// Segment decides which segments the visitor is in. The result is shared and
// must not be changed. It never fails: facts that do not fit the rules (a fault of
// the caller) are in no segment, and are counted.
func (s *Scorer) Segment(f *decision.Facts) *decision.Segmentation {
	if len(f.Attributes) < len(s.rules.inputs.request) {
		s.refused.Add(1)
		return &decision.Segmentation{}
	}
	attributes := f.Attributes[:len(s.rules.inputs.request)]
	key := s.key(f.VisitorID, attributes)
	profile := s.profileDigest(profileOf(f))
	if e, ok := s.cache.Get(key); ok && e.profile == profile && e.valid.holds(f.Now) &&
		e.visitor == f.VisitorID && slices.Equal(e.attributes, attributes) {
		s.hits.Add(1)
		return e.result
	}
	s.computed.Add(1)
	result, valid, err := s.rules.evaluate(f, s.failures)
	if err != nil {
		s.refused.Add(1)
		return &decision.Segmentation{}
	}
	s.keep(key, &entry{visitor: strings.Clone(f.VisitorID), attributes: cloneAll(attributes), profile: profile, valid: valid, result: result})
	return result
}

func (s *Scorer) keep(key uint64, e *entry) {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if !s.closed {
		s.cache.Set(key, e, e.cost())
	}
}

// key places an answer. The seed is random, so nobody can choose ids or query
// values that fall on one place; equality is proved by the entry.
func (s *Scorer) key(visitor string, attributes []string) uint64 {
	var d digest
	d.hash.SetSeed(s.seed)
	d.int(int64(s.generation))
	d.text(visitor)
	for _, value := range attributes {
		d.text(value)
	}
	return d.hash.Sum64()
}

// profileDigest is of the profile inputs that rules read, and of nothing else.
func (s *Scorer) profileDigest(p *decision.Profile) uint64 {
	in := &s.rules.inputs
	var d digest
	d.hash.SetSeed(s.seed)
	for _, i := range in.visitor {
		read := visitorFields[i].reads(p)
		d.int(read[0])
		d.int(read[1])
	}
	for _, name := range in.counts {
		d.int(p.Counts[name])
	}
	for _, name := range in.traits {
		d.trait(p.Traits[name])
	}
	return d.hash.Sum64()
}

// digest hashes values with their lengths, so that neighbours cannot be
// mistaken for one another.
type digest struct {
	hash maphash.Hash
	buf  [8]byte
}

func (d *digest) int(n int64) {
	binary.LittleEndian.PutUint64(d.buf[:], uint64(n))
	d.hash.Write(d.buf[:])
}

func (d *digest) text(s string) {
	d.int(int64(len(s)))
	d.hash.WriteString(s)
}

func (d *digest) trait(v any) {
	switch v := v.(type) {
	case nil:
		d.hash.WriteByte('0')
	case string:
		d.hash.WriteByte('s')
		d.text(v)
	case float64:
		d.hash.WriteByte('f')
		d.int(int64(math.Float64bits(v)))
	case bool:
		d.hash.WriteByte('b')
		d.int(truth(v)[0])
	default: // not a value of a profile; hashed by what it prints
		d.hash.WriteByte('?')
		d.text(fmt.Sprintf("%T %v", v, v))
	}
}

// cost is the memory of an entry with all that hangs on it, and with its share
// of the cache's own tables (ristretto adds 56 bytes for its item).
func (e *entry) cost() int64 {
	const tables = 160
	n := tables + int(unsafe.Sizeof(*e)) + int(unsafe.Sizeof(*e.result)) + len(e.visitor)
	n += len(e.attributes) * int(unsafe.Sizeof(""))
	for _, value := range e.attributes {
		n += len(value)
	}
	n += cap(e.result.Members) * int(unsafe.Sizeof(""))
	n += cap(e.result.Scores) * int(unsafe.Sizeof(decision.Score{}))
	return int64(n)
}

func cloneAll(values []string) []string {
	clones := make([]string, len(values))
	for i, value := range values {
		clones[i] = strings.Clone(value)
	}
	return clones
}

// Stats are a scorer's counters since it was made.
type Stats struct {
	Hits     uint64 // answers from the cache
	Computed uint64 // evaluations of all rules
	Refused  uint64 // facts that did not fit the rules
	Failed   uint64 // rules that could not be evaluated and counted as not matching
	Evicted  uint64 // answers that made room for others
	Bytes    int64  // memory of the kept answers

	// Failing names the rules behind Failed.
	Failing []RuleFailures
}

// RuleFailures counts how often one rule could not be evaluated.
type RuleFailures struct {
	Name  string // of the segment or score
	When  string
	Count uint64
}

// Stats returns the counters.
func (s *Scorer) Stats() Stats {
	m := s.cache.Metrics
	stats := Stats{
		Hits: s.hits.Load(), Computed: s.computed.Load(), Refused: s.refused.Load(),
		Evicted: m.KeysEvicted(), Bytes: int64(m.CostAdded()) - int64(m.CostEvicted()),
	}
	s.rules.each(func(number int, name string, r *rule) {
		if n := s.failures[number].Load(); n > 0 {
			stats.Failed += n
			stats.Failing = append(stats.Failing, RuleFailures{Name: name, When: r.text, Count: n})
		}
	})
	return stats
}

// Close frees the cache. A request that still asks gets its answer computed.
func (s *Scorer) Close() {
	s.closing.Lock()
	defer s.closing.Unlock()
	if !s.closed {
		s.closed = true
		s.cache.Close()
	}
}
