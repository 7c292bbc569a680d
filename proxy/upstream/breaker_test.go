package upstream

import (
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"
)

func TestBreaker(t *testing.T) {
	var mood atomic.Value // what the origin says; "" closes
	mood.Store("")
	o := newOrigin(t, func(p *peer) {
		for {
			if _, ok := p.request(); !ok {
				return
			}
			answer := mood.Load().(string)
			if answer == "" {
				return
			}
			p.send(answer)
		}
	})
	c := newClock()
	u := newUpstreamIn(t, Deps{Now: c.now}, o.url(), func(c *Config) { c.Breaker.Requests, c.Breaker.Failures, c.KeepAlive = 10, 0.5, time.Hour })
	open := func() bool { return u.Status().BreakerOpen }
	for range 9 {
		if got := ask(t, u, Options{}); got != "closed" || open() {
			t.Fatalf("got %s, open %v", got, open())
		}
	}
	ask(t, u, Options{})
	if !open() {
		t.Fatal("ten failures of ten leave the breaker closed")
	}
	refused := func(want time.Duration) {
		t.Helper()
		sent := len(o.received())
		_, _, err := fetch(u, get(t), nil, Options{})
		var e *Error
		if !errors.As(err, &e) || e.Kind != Open || e.Kind.Status() != 503 || e.RetryAfter != want || len(o.received()) != sent {
			t.Fatalf("got %v, want it refused for %s", err, want)
		}
	}
	refused(time.Second)
	// One probe after each pause, which doubles; nothing else gets through.
	c.forward(time.Second)
	if got := ask(t, u, Options{}); got != "closed" {
		t.Fatalf("the probe got %s", got)
	}
	refused(2 * time.Second)
	// What the client breaks off tells nothing.
	c.forward(2 * time.Second)
	probe, err := u.admit()
	if !probe || err != nil {
		t.Fatalf("probe %v, %v", probe, err)
	}
	u.conclude(probe, &Error{Op: "test", Kind: Client, Err: io.ErrUnexpectedEOF})
	refused(2 * time.Second)
	c.forward(2 * time.Second)
	mood.Store(okHello)
	if got := ask(t, u, Options{}); got != "hello" || open() {
		t.Fatalf("got %s, open %v", got, open())
	}
	// The failures before it are forgotten.
	mood.Store("")
	for range 9 {
		ask(t, u, Options{})
	}
	if open() {
		t.Error("open again too soon")
	}
	if s := u.Status(); s.Opened != 1 || s.Refused != 3 {
		t.Errorf("status %+v", s)
	}
}

func TestBreakerCountsTenSecondsAndShares(t *testing.T) {
	c := newClock()
	u := newUpstreamIn(t, Deps{Now: c.now}, "http://192.0.2.1", func(c *Config) { c.Breaker.Requests, c.Breaker.Failures = 10, 0.5 })
	end := func(err error) {
		probe, refused := u.admit()
		if refused == nil {
			u.conclude(probe, err)
		}
	}
	bad := &Error{Op: "test", Kind: Timeout, Err: errClosed}
	for range 30 { // slowly: never ten in ten seconds
		end(bad)
		c.forward(2 * time.Second)
	}
	if u.Status().BreakerOpen {
		t.Fatal("slow failures open the breaker")
	}
	c.forward(time.Minute)
	for range 100 {
		end(nil)
	}
	for range 99 {
		end(bad)
	}
	if u.Status().BreakerOpen {
		t.Fatal("less than the share opens the breaker")
	}
	end(&Error{Op: "test", Kind: Busy, Err: errBusy})
	end(&Error{Op: "test", Kind: Client, Err: errClosed})
	if u.Status().BreakerOpen {
		t.Fatal("what is not the upstream's failing opens the breaker")
	}
	for range 3 {
		end(bad)
	}
	if !u.Status().BreakerOpen {
		t.Fatal("the share is reached, and the breaker is closed")
	}
}
