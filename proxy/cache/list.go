package cache

import (
	"slices"
	"strings"
	"time"
)

// maxListed bounds what [Objects.List] returns.
const maxListed = 1000

// Listed is what an operator is told of an object.
type Listed struct {
	URL      string // without what else its key may hold
	Status   int
	Stored   time.Time
	Body     int   // bytes of its body
	Bytes    int64 // in memory, with the page made of it
	Hits     uint64
	Variants int
	Tags     []string
	Softly   bool // purged softly
}

// List returns objects whose URL begins with a prefix, ordered by URL, at most limit and at
// most a thousand; more reports that there are others. A prefix that begins with a slash
// is that of targets, of whatever host. What was purged and not asked for since is left
// out.
func (x *Objects[R, P, V]) List(prefix string, limit int) (listed []Listed, more bool) {
	if x == nil {
		return nil, false
	}
	limit = min(limit, maxListed)
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		for n := s.recent.front; n != nil && !more; n = n.next {
			o := n.value.object
			named := beginsWith(prefix, o.Scheme, "://", o.Host, o.Target) || strings.HasPrefix(prefix, "/") && strings.HasPrefix(o.Target, prefix)
			if !named || !x.keeps(o) {
				continue
			}
			if len(listed) >= limit {
				more = true
				continue
			}
			listed = append(listed, Listed{
				URL: o.Scheme + "://" + o.Host + o.Target, Status: o.Status, Stored: o.Stored,
				Body: len(o.Body), Bytes: o.own + o.content.size(), Hits: n.value.hits,
				Variants: len(o.content.variants.byKey), Tags: o.Tags, Softly: o.PurgedSoftly(),
			})
		}
		s.mu.Unlock()
	}
	slices.SortStableFunc(listed, func(a, b Listed) int { return strings.Compare(a.URL, b.URL) })
	return listed, more
}

// beginsWith reports whether the parts, put together, begin with a prefix.
func beginsWith(prefix string, parts ...string) bool {
	for _, part := range parts {
		if len(prefix) <= len(part) {
			return strings.HasPrefix(part, prefix)
		}
		if !strings.HasPrefix(prefix, part) {
			return false
		}
		prefix = prefix[len(part):]
	}
	return false // longer than the whole
}
