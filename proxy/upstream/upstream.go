package upstream

import (
	"bufio"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sedge-proxy/sedge/decision"
)

// Upstream is an origin: its servers with their connections. It may be used by many
// goroutines.
type Upstream struct {
	cfg     Config
	deps    Deps
	now     func() time.Time
	members []*member
	shared  *shared
	stop    context.CancelFunc // of the checks
	closed  bool               // guarded by shared.mu
	scratch sync.Pool          // *scratch

	mapped   decision.Bodies // in which URLs are mapped
	longest  int             // bytes of an authority that is the origin's
	mark     string          // of these settings
	identity string
}

// Deps are what an upstream needs of the world. All but Now may be left out.
type Deps struct {
	// Now tells the time for the age of idle connections, for health and breaker, and
	// for the Date of answers that have none.
	Now func() time.Time
	// Random draws among equals and spreads checks; [rand.Uint64] by default.
	Random func() uint64
	// LookUp resolves a name; the system's resolver by default.
	LookUp func(ctx context.Context, name string) ([]netip.Addr, error)
	// Dial connects to an address; a [net.Dialer] by default.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Log is told when a server or the upstream goes or comes back.
	Log *slog.Logger
}

func (d *Deps) setDefaults() {
	if d.Random == nil {
		d.Random = rand.Uint64
	}
	if d.LookUp == nil {
		d.LookUp = func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		}
	}
	if d.Dial == nil {
		d.Dial = (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
}

const copyBufferSize = 32 << 10

// scratch is what one exchange needs until the head of its answer is parsed.
type scratch struct {
	request []byte // head, and body if that is small
	small   []byte // that body
	head    head
	opts    Options
	clean   cleanHead
}

// headReaders lend out what fasthttp parses heads from, and not for as long as an answer
// is waited for.
var headReaders = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, maxHead+1<<10) }}

// New makes an upstream of valid settings.
func New(cfg Config, deps Deps) (*Upstream, error) {
	deps.setDefaults()
	return build(cfg, deps, &shared{servers: map[serverID]*server{}})
}

// With makes the upstream that takes this one's place when the settings change. The
// servers that stay keep their connections and their health, and the breaker and the
// counts go on. Both may be used until each is closed.
func (u *Upstream) With(cfg Config) (*Upstream, error) { return build(cfg, u.deps, u.shared) }

func build(cfg Config, deps Deps, s *shared) (*Upstream, error) {
	cfg.setDefaults()
	u := &Upstream{cfg: cfg, deps: deps, now: deps.Now, shared: s, stop: func() {}}
	for i, server := range cfg.Servers {
		m, err := u.newMember(server)
		if err != nil {
			u.Close()
			return nil, fmt.Errorf("upstream %q: %w", cfg.Name, err)
		}
		m.index = i
		u.members = append(u.members, m)
	}
	u.compileMapping()
	u.identity = u.identify()
	u.scratch.New = func() any { return new(scratch) }
	if cfg.Health.Path != "" {
		u.startChecks()
	}
	return u, nil
}

// identify makes the identity of an upstream.
func (u *Upstream) identify() string {
	sum := fnv.New64a()
	_, _ = io.WriteString(sum, u.cfg.Host)
	for _, m := range u.members {
		_, _ = fmt.Fprintf(sum, " %t %s", m.origin.secure, m.origin.address)
	}
	return fmt.Sprintf("%s %016x %s", u.cfg.Name, sum.Sum64(), u.mark)
}

// Identity tells upstreams apart whose answers may differ: it is another one when the
// servers change, or what they are told the site is called, or how URLs are mapped.
func (u *Upstream) Identity() string { return u.identity }

// newMember takes the server over from the upstream before, or makes it.
func (u *Upstream) newMember(c Server) (*member, error) {
	o, err := parseOrigin(c.URL)
	if err != nil {
		return nil, err
	}
	m := &member{weight: float64(*c.Weight), backup: c.Backup, checks: u.cfg.Health.Path != "", seed: hashText(o.address)}
	switch u.cfg.Host {
	case HostUpstream:
		m.host = o.host
	case HostClient:
	default:
		m.host = u.cfg.Host
	}
	id := u.cfg.serverID(c.URL)
	u.shared.mu.Lock()
	defer u.shared.mu.Unlock()
	m.server = u.shared.servers[id]
	if m.server == nil {
		p, err := newPool(&u.cfg, id, o, &u.deps)
		if err != nil {
			return nil, err
		}
		m.server = &server{id: id, origin: o, pool: p}
		u.shared.servers[id] = m.server
	}
	m.users++
	return m, nil
}

// TellsVia reports whether requests to the origin say that they came through Sedge.
func (u *Upstream) TellsVia() bool { return u.cfg.Via == nil || *u.cfg.Via }

// HTTP2 reports whether the servers are spoken to in HTTP/2, so that there are no
// upgrades.
func (u *Upstream) HTTP2() bool { return u.cfg.Protocol != HTTP1 }

// Name returns the name that the configuration gave.
func (u *Upstream) Name() string { return u.cfg.Name }

// Close ends the checks, closes the idle connections now and each other one after
// its exchange; nothing new is dialed. Servers that another upstream has taken over
// stay.
func (u *Upstream) Close() {
	u.shared.mu.Lock()
	defer u.shared.mu.Unlock()
	if u.closed {
		return
	}
	u.closed = true
	u.stop()
	for _, m := range u.members {
		if m.users--; m.users == 0 {
			delete(u.shared.servers, m.id)
			m.pool.close()
		}
	}
}

func (u *Upstream) acquireScratch() *scratch { return u.scratch.Get().(*scratch) }

func (u *Upstream) releaseScratch(s *scratch) {
	s.clean = cleanHead{}
	s.opts = Options{}
	clear(s.head.fields)
	clear(s.head.named)
	clear(s.head.codings)
	s.head = head{fields: s.head.fields[:0], named: s.head.named[:0], codings: s.head.codings[:0]}
	u.scratch.Put(s)
}
