package proxy

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/metrics"
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
	queuePerCPU = 32

	// unsafeDelay is how many times as long the queue must be before requests that
	// change something are refused too: they are few, and somebody's order may be
	// among them.
	unsafeDelay = 10

	// wholeShare is the share that stands for all requests. Some are always
	// admitted: without them nobody would learn that the load is over.
	wholeShare = 1 << 16
	leastShare = wholeShare / 50

	// gain is by how much the share that is admitted changes with each canary, for a
	// queue that is twice as long as it may be, and for one that is empty.
	gain = 0.02

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
	back   atomic.Int64  // when it last came back
	away   atomic.Bool   // it has not come back
	before uint32        // requests that had come when it was sent; of whoever sends it
	came   atomic.Uint32 // requests since start
	delay  atomic.Int64  // of the last canary
	share  atomic.Uint32 // of requests that are admitted, of wholeShare
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
	o.share.Store(wholeShare)
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
			o.share.Store(wholeShare)
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
		back := now.Sub(o.begun)
		delay := back - time.Duration(o.sent.Load())
		long := delay > o.maxDelay && o.came.Load()-o.before >= o.fewest
		stands := queue.stands(now, long) || long && share < wholeShare
		switch {
		case stands:
			o.share.Store(nextShare(share, float64(delay)/float64(o.maxDelay)))
		case !long:
			o.share.Store(nextShare(share, min(1, float64(delay)/float64(o.maxDelay))))
		}
		o.delay.Store(int64(delay))
		o.stands.Store(stands)
		if o.maxMemory > 0 {
			o.watchMemory(now, memory())
		}
		o.back.Store(int64(back))
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

// admits reports whether a request that came now is served. safe says that it only
// asks for something.
func (o *overload) admits(safe bool) bool {
	o.came.Add(1)
	late := o.sendCanary()
	if o.inFlight.Load() >= o.maxInFlight || o.full.Load() {
		return false
	}
	share := o.share.Load()
	if share == wholeShare && !o.stands.Load() {
		return true
	}
	delay := max(late, time.Duration(o.delay.Load()))
	if !safe && delay < unsafeDelay*o.maxDelay {
		return true
	}
	// What is queued already is made up for at once; the share itself follows slowly
	// and finds its place.
	if delay > o.maxDelay {
		share = uint32(float64(share) * float64(o.maxDelay) / float64(delay))
	}
	share = max(share, leastShare)
	// Those that are admitted are spread evenly: the sum of shares steps over a whole
	// at each.
	after := o.turn.Add(share)
	return after/wholeShare != (after-share)/wholeShare
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
	if due := (now-time.Duration(o.back.Load()))/sampleEvery - 1; due > 0 {
		o.delay.Store(0) // of canaries that were not sent: there was nobody to wait
		for share := o.share.Load(); share < wholeShare && due > 0; due-- {
			share = nextShare(share, 0)
			o.share.Store(share)
		}
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

// nextShare admits less while the queue is longer than it may be, so many times, and
// more while it is shorter.
func nextShare(share uint32, length float64) uint32 {
	change := max(0.7, 1-gain*(length-1))
	return min(wholeShare, max(leastShare, uint32(math.Ceil(float64(share)*change))))
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

const (
	// retryAfter is how many seconds a client that was refused is asked to wait.
	retryAfter  = "2"
	refusalType = "text/plain; charset=utf-8"
	refusalText = "The site is too busy at the moment; please try again in a few seconds.\n"
)

// refusal is the whole answer to a request beyond the limits.
var refusal = fmt.Appendf(nil, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: %s\r\nContent-Length: %d\r\nRetry-After: %s\r\nCache-Control: no-store\r\n\r\n%s",
	refusalType, len(refusalText), retryAfter, refusalText)

// refuseAtOnce answers the request whose head was gathered, before anything was made
// of it, if it is such that this cannot go wrong.
func (c *conn) refuseAtOnce() bool {
	end := plainGet(c.in.rest[c.in.taken:])
	if end < 0 {
		return false
	}
	c.mu.Lock()
	err := c.send(refusal)
	c.mu.Unlock()
	if err != nil {
		return false
	}
	c.in.taken += end
	c.server.stats.Shed.Add(1)
	c.server.stats.answered(fasthttp.StatusServiceUnavailable)
	return true
}

// plainGet returns where the head of a GET ends that has no body and wants nothing
// special of the connection, or -1 for any other head, and for one that leaves any
// doubt.
func plainGet(head []byte) int {
	end := bytes.Index(head, []byte("\r\n\r\n"))
	if end < 0 || !bytes.HasPrefix(head, []byte("GET /")) {
		return -1
	}
	line, rest, _ := bytes.Cut(head[:end+2], []byte("\r\n"))
	if !bytes.HasSuffix(line, []byte(" HTTP/1.1")) || bytes.IndexByte(line, '\n') >= 0 {
		return -1
	}
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		if bytes.IndexByte(line, '\n') >= 0 || line[0] == ' ' || line[0] == '\t' {
			return -1
		}
		for _, name := range [...]string{"content-", "transfer-", "connection", "expect", "upgrade"} {
			if len(line) >= len(name) && equalFold(line[:len(name)], name) && !equalFold(line, "connection: keep-alive") {
				return -1
			}
		}
	}
	return end + 4
}

// isRefused reports whether a request is one too many. Over HTTP/1.1 that was asked
// when its head had come.
func (s *Server) isRefused(ctx *fasthttp.RequestCtx) bool {
	if c, ok := ctx.Conn().(*conn); ok {
		return c.refused
	}
	return !s.overload.admits(isSafe(ctx.Method()))
}

// isSafe reports whether a request's first bytes, or its method, say that it only asks
// for something.
func isSafe(head []byte) bool {
	return bytes.HasPrefix(head, []byte("GET")) || bytes.HasPrefix(head, []byte("HEAD"))
}

// refuse answers a request beyond the limits with as little work as possible.
func (s *Server) refuse(ctx *fasthttp.RequestCtx) {
	s.stats.Shed.Add(1)
	s.stats.answered(fasthttp.StatusServiceUnavailable)
	resp := &ctx.Response
	resp.SetStatusCode(fasthttp.StatusServiceUnavailable)
	resp.Header.Set(fasthttp.HeaderRetryAfter, retryAfter)
	resp.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	if isCall(&ctx.Request.Header) {
		failCall(resp, fasthttp.StatusServiceUnavailable, "the site is too busy at the moment", "")
	} else {
		resp.Header.SetContentType(refusalType)
		resp.SetBodyString(refusalText)
	}
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
