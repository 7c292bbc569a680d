package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

// server is one place that serves an upstream, with its connections and what is
// known of its health. It outlives a reload that leaves its settings alone, so
// several Upstreams may hold it.
//
// Its transport is the pool, whose connections carry one request at a time, or many
// over HTTP/2.
type server struct {
	id     serverID
	origin origin
	pool   *pool
	health
	counters

	users int // Upstreams; guarded by the mu of what they share
}

// serverID is what a server and its connections depend on: an upstream whose
// settings change otherwise keeps them.
type serverID struct {
	url, protocol, host, serverName, caFile, certFile, keyFile string
	dial, idle, keepAlive, resolve                             time.Duration
	maxConns, maxPending                                       int
	insecure                                                   bool
}

func (c *Config) serverID(url string) serverID {
	return serverID{
		url: url, protocol: c.Protocol, host: c.Host, serverName: c.ServerName, caFile: c.CAFile, certFile: c.ClientCertFile, keyFile: c.ClientKeyFile,
		dial: c.DialTimeout, idle: c.IdleTimeout, keepAlive: c.KeepAlive, resolve: c.Resolve,
		maxConns: c.MaxConns, maxPending: c.MaxPending, insecure: c.InsecureSkipVerify,
	}
}

// counters are read by [Upstream.Status].
type counters struct {
	requests     atomic.Uint64
	errors       [numKinds]atomic.Uint64 // by Kind
	ejections    atomic.Uint64
	failedChecks atomic.Uint64
}

// health is whether a server gets requests. Times are Unix nanoseconds; 0 is never.
type health struct {
	down     atomic.Bool  // by its checks
	outUntil atomic.Int64 // by its requests: ejected, or since when it is back
	upSince  atomic.Int64 // when checks brought it back
	failures atomic.Int32 // requests in a row

	mu      sync.Mutex
	strikes int // ejections that followed one another soon
	streak  int // checks in a row that speak against the present state
}

// ejected reports whether a server is out for what its requests came to.
func (h *health) ejected(now time.Time) bool { return h.outUntil.Load() > now.UnixNano() }

// coldest is the share of its weight that a server begins with.
const coldest = 0.1

// warmth is the share of its weight that a server gets, since it came back.
func (h *health) warmth(now time.Time, slowStart time.Duration) float64 {
	back := max(h.outUntil.Load(), h.upSince.Load())
	if back == 0 {
		return 1
	}
	return min(1, max(coldest, float64(now.UnixNano()-back)/float64(slowStart)))
}

// reinstate ends an ejection before its time.
func (h *health) reinstate(now time.Time) {
	if until := h.outUntil.Load(); until > now.UnixNano() {
		h.outUntil.CompareAndSwap(until, now.UnixNano())
	}
}

// member is a server as one Upstream uses it.
type member struct {
	*server
	index  int
	host   string // Host header to send; "" is the client's
	weight float64
	backup bool
	checks bool    // of its health, by which it may be down
	seed   uint64  // its part of the hash of visitors
	turn   float64 // of the round robin; guarded by shared.mu
}

// available reports whether the server should get requests.
func (m *member) available(now time.Time) bool { return !m.isDown() && !m.ejected(now) }

func (m *member) isDown() bool { return m.checks && m.down.Load() }

// succeeded notes a good answer: whatever put the server out, it is well now.
func (m *member) succeeded(u *Upstream) {
	if m.failures.Load() != 0 {
		m.failures.Store(0)
	}
	if m.outUntil.Load() != 0 {
		m.reinstate(u.now())
	}
}

// failed notes an attempt that came to nothing. It is the server's failing unless
// the client broke off or there was no room.
func (u *Upstream) failed(m *member, kind Kind) {
	m.errors[kind].Add(1)
	if kind == Busy || kind == Client {
		return
	}
	u.blamed(m)
}

// blamed ejects a server that has failed too often in a row.
func (u *Upstream) blamed(m *member) {
	limit := &u.cfg.Ejection
	if len(u.members) == 1 || limit.Disabled || int(m.failures.Add(1)) < limit.Failures {
		return
	}
	u.shared.mu.Lock()
	defer u.shared.mu.Unlock()
	now := u.now()
	others, out := 0, 0
	for _, o := range u.members {
		switch {
		case o.server == m.server:
		case o.available(now):
			others++
		default:
			out++
		}
	}
	switch {
	case !m.available(now):
	case others == 0:
		// What they all have in common is not one server's fault: try them all.
		for _, o := range u.members {
			o.reinstate(now)
		}
	case float64(out) < float64(limit.MaxEjected)*float64(len(u.members)):
		pause := m.eject(now, limit)
		u.deps.Log.Warn("upstream server ejected", "upstream", u.cfg.Name, "server", m.origin.address, "failures", limit.Failures, "for", pause.String())
	}
}

// eject puts a server out. When it is back, the next failure puts it out again.
func (m *member) eject(now time.Time, limit *Ejection) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if last := m.outUntil.Load(); now.UnixNano()-last > int64(limit.MaxTime) {
		m.strikes = 0
	}
	pause := limit.MaxTime
	if limit.Time <= limit.MaxTime>>m.strikes {
		pause = limit.Time << m.strikes
	}
	m.strikes = min(m.strikes+1, 30)
	m.failures.Store(int32(limit.Failures - 1))
	m.outUntil.Store(now.Add(pause).UnixNano())
	m.ejections.Add(1)
	return pause
}
