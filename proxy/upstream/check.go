package upstream

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"
)

const healthAgent = "sedge-health"

// startChecks asks each server on its own, so that one that is slow to answer does
// not keep the others from being asked.
func (u *Upstream) startChecks() {
	ctx, stop := context.WithCancel(context.Background())
	u.stop = stop
	for _, m := range u.members {
		go u.watch(ctx, m)
	}
}

// watch checks a server until ctx ends. The first check comes at a random moment of
// the first interval: nodes that start together do not ask together.
func (u *Upstream) watch(ctx context.Context, m *member) {
	interval := u.cfg.Health.Interval
	timer := time.NewTimer(time.Duration(u.chance() * float64(interval)))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := u.check(ctx, m)
		if ctx.Err() != nil {
			return
		}
		u.checked(m, err)
		timer.Reset(interval)
	}
}

// check asks a server once, over a connection of its own beside those of the pool:
// a server at its limit is not down.
func (u *Upstream) check(ctx context.Context, m *member) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, u.cfg.Health.Timeout)
	defer cancel()
	host := u.cfg.Health.Host
	setDefault(&host, m.host)
	setDefault(&host, m.origin.host)
	status, err := u.ask(ctx, m, host)
	if err != nil {
		return err
	}
	from, to, err := parseStatuses(u.cfg.Health.Status)
	if err == nil && (status < from || status > to) {
		err = fmt.Errorf("status %d", status)
	}
	return err
}

// ask sends the check and returns the status of the answer.
func (u *Upstream) ask(ctx context.Context, m *member, host string) (int, error) {
	if m.pool.streams != nil {
		return m.pool.streams.ask(ctx, host, u.cfg.Health.Path)
	}
	c, err := m.pool.dial(ctx, m.pool.clientName([]byte(host)))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	defer c.inbox.release()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	_, err = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nVia: %s\r\nConnection: close\r\n\r\n", u.cfg.Health.Path, host, healthAgent, via)
	if err != nil {
		return 0, err
	}
	c.InMessage = true
	var h head
	if c.head, err = readHead(&c.inbox, c.head); err != nil {
		return 0, err
	}
	_, err = parseHead(c.head, &h)
	return h.status, err
}

// checked counts a check, and takes the server out or back after enough of them.
func (u *Upstream) checked(m *member, err error) {
	good := err == nil
	if !good {
		m.failedChecks.Add(1)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	down := m.down.Load()
	if good != down { // as it was thought to be
		m.streak = 0
		return
	}
	need := u.cfg.Health.Unhealthy
	if down {
		need = u.cfg.Health.Healthy
	}
	if m.streak++; m.streak < need {
		return
	}
	m.streak = 0
	log := u.deps.Log.With("upstream", u.cfg.Name, "server", m.origin.address)
	if down {
		m.upSince.Store(u.now().UnixNano())
		m.reinstate(u.now())
		m.down.Store(false)
		log.Info("upstream server is up")
		return
	}
	m.down.Store(true)
	log.Warn("upstream server is down", "error", err.Error())
}

// ask sends a GET over a connection of its own and returns the status of the answer.
func (s *streamConns) ask(ctx context.Context, host, path string) (int, error) {
	c, err := s.dial(ctx, s.pool.clientName([]byte(host)), nil)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	u := &url.URL{Scheme: "http", Host: host, Opaque: path}
	if s.pool.origin.secure {
		u.Scheme = "https"
	}
	header := http.Header{fasthttp.HeaderUserAgent: {healthAgent}, fasthttp.HeaderVia: {via}}
	resp, err := c.RoundTrip((&http.Request{Method: http.MethodGet, URL: u, Header: header}).WithContext(ctx))
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close()
	return resp.StatusCode, nil
}
