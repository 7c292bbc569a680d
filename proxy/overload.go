package proxy

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// sampleEvery is how often the load is looked at, while requests come.
	sampleEvery = 10 * time.Millisecond

	// patience is how long the queue may be too long without a break. Bursts of
	// requests end in that time.
	patience = 100 * time.Millisecond

	// queuePerCPU is how many requests, for each processor, a queue must hold to
	// count as one.
	queuePerCPU = 8

	// overdue is how many times the limit a canary may be away before nearly
	// everything is refused.
	overdue = 3

	// wholeShare is the share that stands for all requests. Some are always
	// admitted: without them nobody would learn that the load is over.
	wholeShare = 1 << 16
	mostShed   = wholeShare * 49 / 50

	// memoryEase is the share of the memory limit below which all is well again.
	memoryEase = 0.9

	// relieveEvery is how long it takes at the limit until what is kept is dropped
	// once more.
	relieveEvery = 10 * time.Second
)

// overload refuses requests when the node has more of them than it can answer. A
// queue in front of a busy processor makes everybody wait and nobody served
// earlier, so some are told at once to come again, and the others are served as
// quickly as ever.
//
// How long the queue is, a canary tells: a byte through a pipe that waits, as a
// request does, for the network poller and then for a processor. Unlike the number
// of requests this does not grow when an origin is slow. A burst that passes is
// waited out, and so are neighbours that take the processor away while there is
// hardly anything to do.
type overload struct {
	maxInFlight int64
	maxDelay    time.Duration
	maxMemory   int64 // 0: no limit
	inFlight    *atomic.Int64
	fewest      uint32 // so many requests in the queue are not worth refusing
	relieve     func() // drops what is kept in memory

	// Times are since begun: the clock on the wall may be set back while the canary
	// is away, and none would be sent until it has caught up.
	begun  time.Time
	pipe   *os.File      // where the canary is sent; nil before start
	sent   atomic.Int64  // when it was last sent, in nanoseconds
	away   atomic.Bool   // it has not come back
	before uint32        // requests that had come when it was sent; of whoever sends it
	came   atomic.Uint32 // requests since start
	share  atomic.Uint32 // of requests that are refused, of wholeShare
	turn   atomic.Uint32
	stands atomic.Bool // the queue is long, and has been for a while
	full   atomic.Bool // memory is at its limit
	eased  time.Time   // when what is kept was last dropped; of the goroutine that watches
	closed sync.Once
}

func newOverload(cfg *Config, inFlight *atomic.Int64, relieve func()) *overload {
	o := &overload{
		maxInFlight: int64(cfg.MaxInFlight), maxDelay: cfg.MaxQueueDelay, maxMemory: int64(cfg.MaxMemory), inFlight: inFlight,
		fewest: uint32(queuePerCPU * runtime.GOMAXPROCS(0)), begun: time.Now(), relieve: relieve,
	}
	o.sent.Store(-int64(sampleEvery)) // the first is due
	return o
}

// start sends for the canary. Without it the limits of requests and memory hold
// alone.
func (o *overload) start() error {
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("watch the load: %w", err)
	}
	o.pipe = write
	go o.watch(read)
	return nil
}

func (o *overload) stop() {
	o.closed.Do(func() {
		if o.pipe != nil {
			_ = o.pipe.Close() // ends watch
		}
	})
}

// watch looks at each canary that comes back. If it fails, nothing is refused any
// more but what is over the number of requests.
func (o *overload) watch(read *os.File) {
	defer read.Close()
	defer func() {
		if recover() != nil {
			o.away.Store(true) // none is sent
			o.share.Store(0)
			o.stands.Store(false)
			o.full.Store(false)
		}
	}()
	memory := newMemoryProbe()
	var queue queue
	for one := make([]byte, 1); ; {
		if _, err := read.Read(one); err != nil {
			return
		}
		now, share := time.Now(), o.share.Load()
		delay := now.Sub(o.begun) - time.Duration(o.sent.Load())
		long := delay > o.maxDelay && o.came.Load()-o.before >= o.fewest
		stands := queue.stands(now, long) || long && share > 0
		switch {
		case stands:
			o.share.Store(moreShare(share, float64(delay)/float64(o.maxDelay)))
		case !long:
			o.share.Store(lessShare(share))
		}
		o.stands.Store(stands)
		if o.maxMemory > 0 {
			o.watchMemory(now, memory())
		}
		o.away.Store(false)
	}
}

// watchMemory refuses requests at the limit. What is only kept for later goes first:
// a node whose caches do not fit into its memory is to serve without them.
func (o *overload) watchMemory(now time.Time, used int64) {
	full := used >= o.maxMemory || o.full.Load() && float64(used) >= memoryEase*float64(o.maxMemory)
	o.full.Store(full)
	if full && now.Sub(o.eased) >= relieveEvery {
		o.eased = now
		go o.relieve()
	}
}

// admits reports whether a request that came now is served.
func (o *overload) admits() bool {
	o.came.Add(1)
	late := o.sendCanary()
	if o.inFlight.Load() >= o.maxInFlight || o.full.Load() {
		return false
	}
	share := o.share.Load()
	if late > overdue*o.maxDelay && o.stands.Load() {
		share = mostShed // until the queue is gone; the share itself finds its place later
	}
	if share == 0 {
		return true
	}
	// Refusals are spread evenly: the sum of shares steps over a whole at each.
	after := o.turn.Add(share)
	return after/wholeShare == (after-share)/wholeShare
}

// sendCanary sends it, if the last is a moment ago; if one is away, it tells for how
// long.
func (o *overload) sendCanary() time.Duration {
	if o.pipe == nil {
		return 0
	}
	now := time.Since(o.begun)
	since := now - time.Duration(o.sent.Load())
	switch {
	case o.away.Load():
		return since
	case since < sampleEvery || o.away.Swap(true):
		return 0
	}
	for share, due := o.share.Load(), since/sampleEvery-1; share > 0 && due > 0; due-- {
		share = lessShare(share) // for one that was not sent: there was nobody to wait
		o.share.Store(share)
	}
	o.before = o.came.Load()
	o.sent.Store(int64(now))
	_, _ = o.pipe.Write([]byte{0}) // the empty pipe takes a byte without waiting
	return 0
}

// queue tells a queue that stands from one that comes and goes.
type queue struct {
	since time.Time // when it became too long; zero if it is not
}

// stands notes whether the queue is too long now, and reports whether it has been
// for a while.
func (q *queue) stands(now time.Time, long bool) bool {
	switch {
	case !long:
		q.since = time.Time{}
	case q.since.IsZero():
		q.since = now
	}
	return long && now.Sub(q.since) >= patience
}

// moreShare refuses more when the queue is so many times as long as it may be.
func moreShare(share uint32, excess float64) uint32 {
	step := 0.02 + 0.05*min(excess-1, 4)
	return min(mostShed, share+uint32(float64(wholeShare-share)*step))
}

// lessShare refuses a little less.
func lessShare(share uint32) uint32 {
	return share - min(share, share/128+wholeShare/4096)
}

// newMemoryProbe returns a function that tells how many bytes of memory the Go
// runtime holds, files that are mapped apart.
func newMemoryProbe() func() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	return func() int64 {
		metrics.Read(samples)
		return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
	}
}

// retryAfter is how many seconds a client that was refused is asked to wait.
const retryAfter = 2

// refuse answers a request beyond the limits with as little work as possible.
func (s *Server) refuse(ctx *fasthttp.RequestCtx) {
	s.stats.Shed.Add(1)
	s.stats.answered(fasthttp.StatusServiceUnavailable)
	resp := &ctx.Response
	resp.SetStatusCode(fasthttp.StatusServiceUnavailable)
	resp.Header.Set(fasthttp.HeaderRetryAfter, strconv.Itoa(retryAfter))
	resp.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	resp.Header.SetContentType("text/plain; charset=utf-8")
	resp.SetBodyString("The site is too busy at the moment; please try again in a few seconds.\n")
	if !s.bodiless(ctx) {
		resp.SetConnectionClose() // a body is not waited for
	}
}

// bodiless reports whether a request that nobody has looked at has a sound head and
// no body, so that the next one can follow.
func (s *Server) bodiless(ctx *fasthttp.RequestCtx) bool {
	x := s.exchanges.Get().(*exchange)
	defer s.exchanges.Put(x)
	fields, frame, err := checkHead(x.fields, &ctx.Request.Header)
	clear(fields)
	x.fields = fields[:0]
	if err != nil || frame.length != 0 {
		return false
	}
	ctx.Conn().(downstream).begin(&ctx.Request.Header, frame)
	return true
}
