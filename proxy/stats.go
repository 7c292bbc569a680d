package proxy

import "sync/atomic"

// Reason says in one word why something was not done. The set is closed, so it
// may label a metric.
type Reason string

// Why a concerned page was answered with the origin's own page.
const (
	ReasonBudget   Reason = "budget"   // the time for deciding was used up
	ReasonProfile  Reason = "profile"  // the visitor's profile could not be read
	ReasonPlugin   Reason = "plugin"   // a plugin was slow, dead or wrong
	ReasonPanic    Reason = "panic"    // an engine panicked
	ReasonCompile  Reason = "compile"  // edits could not be compiled
	ReasonAction   Reason = "action"   // a request action was not valid
	ReasonEncoding Reason = "encoding" // content coding that is not known
	ReasonCharset  Reason = "charset"  // character set that cannot be edited
	ReasonNoChange Reason = "no_transform"
	ReasonPartial  Reason = "partial" // part of a page
	ReasonCorrupt  Reason = "corrupt" // compressed body is damaged
	ReasonBomb     Reason = "bomb"    // compressed body grows beyond all measure
	ReasonRewrite  Reason = "rewrite" // the rewriter gave up
)

// reasons lists every reason once; a counter's place is its index here.
var reasons = [...]Reason{
	ReasonBudget, ReasonProfile, ReasonPlugin, ReasonPanic, ReasonCompile, ReasonAction, ReasonEncoding,
	ReasonCharset, ReasonNoChange, ReasonPartial, ReasonCorrupt, ReasonBomb, ReasonRewrite,
}

// Stats counts what the server did since it was made. All counters only grow,
// save for the gauges.
type Stats struct {
	// Requests counts answers by class of status, [1] for 1xx to [5] for 5xx;
	// [0] counts requests that ended without an answer.
	Requests [6]atomic.Uint64

	Connections atomic.Int64  // gauge: open connections
	InFlight    atomic.Int64  // gauge: requests in their handler
	Streams     atomic.Int64  // gauge: bodies and tunnels under way
	Refused     atomic.Uint64 // connections refused at a limit
	Evicted     atomic.Uint64 // connections closed to make room for others
	Handshakes  atomic.Uint64 // of TLS that came to nothing
	Shed        atomic.Uint64 // requests refused because of overload
	BadRequests atomic.Uint64 // requests refused for their framing
	Panics      atomic.Uint64 // requests whose handler panicked
	BytesOut    atomic.Uint64
	Writes      atomic.Uint64 // calls to the kernel that sent something

	Concerned      atomic.Uint64 // requests for a page that an experience names
	Personalized   atomic.Uint64 // answers with at least one edit or action applied
	CacheHits      atomic.Uint64
	CacheMisses    atomic.Uint64
	CacheBypass    atomic.Uint64
	CacheStores    atomic.Uint64
	CacheStale     atomic.Uint64 // stale answers that served since the origin failed
	CacheConfirmed atomic.Uint64 // by a 304
	RewriteBytes   atomic.Uint64 // bytes of pages read by the rewriter
	Spliced        atomic.Uint64 // pages edited without reading them, since their bytes were seen before
	Alike          atomic.Uint64 // of them: pages that were like one seen before, with other bytes in places that nobody looks at
	Conflicts      atomic.Uint64 // pages on which an edit hid one of another experience
	SlotsRefused   atomic.Uint64 // edits with slots left out of elements that are no place for them
	// PolicyRefused counts how often an edit was left out because the page's policy forbids it.
	PolicyRefused atomic.Uint64

	Minted  atomic.Uint64 // visitors given their cookie
	Forged  atomic.Uint64 // cookies that no key has signed
	Bots    atomic.Uint64 // requests of bots
	Dropped atomic.Uint64 // events that the recorder had to drop

	UpstreamErrors atomic.Uint64 // requests that the upstream failed
	Broken         atomic.Uint64 // answers cut off after they had begun

	failedOpen [len(reasons)]atomic.Uint64
}

// FailedOpen returns how often a concerned page was answered with the origin's
// own page for the reason.
func (s *Stats) FailedOpen(reason Reason) uint64 {
	for i, r := range reasons {
		if r == reason {
			return s.failedOpen[i].Load()
		}
	}
	return 0
}

// Reasons returns every reason that FailedOpen knows.
func Reasons() []Reason { return append([]Reason(nil), reasons[:]...) }

func (s *Stats) failOpen(reason Reason) {
	for i, r := range reasons {
		if r == reason {
			s.failedOpen[i].Add(1)
		}
	}
}

func (s *Stats) answered(status int) { s.Requests[statusClass(status)].Add(1) }

// statusClass is the first digit of a status, 0 for what is none.
func statusClass(status int) int {
	if class := status / 100; class >= 1 && class <= 5 {
		return class
	}
	return 0
}
