package upstream

import (
	"bufio"
	"bytes"
	"fmt"
	"sync"
	"time"
)

// Upstream is one origin with its connections. It may be used by many goroutines.
type Upstream struct {
	cfg     Config
	origin  origin
	host    string // Host header to send; "" is the client's
	now     func() time.Time
	pool    *pool
	scratch sync.Pool // *scratch
	buffers sync.Pool // *[]byte of copyBufferSize
}

// Stats tells how many connections there are.
type Stats struct {
	// Active connections belong to an exchange or a tunnel, also while dialing.
	Active int
	// Idle connections wait to be used again.
	Idle int
}

const copyBufferSize = 32 << 10

// scratch is what one exchange needs until the head of its answer is parsed.
type scratch struct {
	request []byte // head, and body if that is small
	clean   []byte // head of the answer as fasthttp shall see it
	head    head
	bytes   bytes.Reader
	reader  *bufio.Reader // over bytes, as fasthttp parses from a bufio.Reader
}

// New makes an upstream of valid settings; now tells the time for the age of idle
// connections and for the Date of answers that have none.
func New(cfg Config, now func() time.Time) (*Upstream, error) {
	cfg.setDefaults()
	o, err := parseOrigin(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("upstream %q: %w", cfg.Name, err)
	}
	settings, err := cfg.tlsConfig(o)
	if err != nil {
		return nil, fmt.Errorf("upstream %q: %w", cfg.Name, err)
	}
	u := &Upstream{cfg: cfg, origin: o, now: now}
	switch cfg.Host {
	case HostUpstream:
		u.host = o.host
	case HostClient:
	default:
		u.host = cfg.Host
	}
	u.pool = newPool(&u.cfg, o, settings, now)
	u.scratch.New = func() any {
		return &scratch{reader: bufio.NewReaderSize(nil, maxHead+1<<10)}
	}
	u.buffers.New = func() any {
		b := make([]byte, copyBufferSize)
		return &b
	}
	return u, nil
}

// Name returns the name that the configuration gave.
func (u *Upstream) Name() string { return u.cfg.Name }

// Stats returns the present numbers of connections.
func (u *Upstream) Stats() Stats { return u.pool.stats() }

// Close closes the idle connections now and each other one after its exchange;
// nothing new is dialed.
func (u *Upstream) Close() { u.pool.close() }

func (u *Upstream) acquireScratch() *scratch { return u.scratch.Get().(*scratch) }

func (u *Upstream) releaseScratch(s *scratch) {
	s.bytes.Reset(nil)
	s.reader.Reset(nil)
	clear(s.head.named)
	s.head = head{named: s.head.named[:0]}
	u.scratch.Put(s)
}
