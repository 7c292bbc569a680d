package upstream

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func checking(c *Config) {
	c.Health = Health{Path: "/healthz", Interval: 5 * time.Millisecond, Timeout: 10 * time.Second, Healthy: 2, Unhealthy: 2}
}

func TestChecksTakeServersOutAndBack(t *testing.T) {
	var status atomic.Value
	status.Store("200 OK")
	sick := newOrigin(t, func(p *peer) {
		for {
			head, ok := p.request()
			if !ok {
				return
			}
			if !strings.HasPrefix(head, "GET /healthz ") {
				p.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsick")
				continue
			}
			answer := status.Load().(string)
			if answer == "" {
				p.gone()
				return
			}
			p.send("HTTP/1.1 " + answer + "\r\nContent-Length: 0\r\n\r\n")
		}
	})
	well := newOrigin(t, named("well"))
	for _, bad := range []string{"500 Internal Server Error", "404 Not Found", ""} {
		t.Run("answer "+bad, func(t *testing.T) {
			status.Store("200 OK")
			c := newClock()
			u := servers(t, c, []*rawOrigin{sick, well}, checking, func(c *Config) {
				if bad == "" { // only silence is told by the time
					c.Health.Timeout = 300 * time.Millisecond
				}
			})
			eventually(t, "checks come", func() bool { return len(well.received()) > 3 })
			wantStates(t, u, Up, Up)
			status.Store(bad)
			eventually(t, "the server is down", func() bool { return u.states()[0] == Down })
			for range 4 {
				if got := ask(t, u, Options{}); got != "well" {
					t.Errorf("got %s", got)
				}
			}
			status.Store("204 No Content")
			eventually(t, "the server is back", func() bool { return u.states()[0] == SlowStart })
			c.forward(time.Minute)
			wantStates(t, u, Up, Up)
			if u.Status().Servers[0].FailedChecks < 2 {
				t.Error("failed checks are not counted")
			}
		})
	}
	head := ""
	for _, h := range sick.received() {
		if strings.HasPrefix(h, "GET /healthz ") {
			head = h
		}
	}
	if !strings.Contains(head, "Host: "+strings.TrimPrefix(sick.url(), "http://")+"\r\n") || !strings.Contains(head, "User-Agent: sedge-health\r\n") {
		t.Errorf("the check is %q", head)
	}
}

// One good check among bad ones, or the other way round, changes nothing.
func TestChecksCountInARow(t *testing.T) {
	c := newClock()
	u := servers(t, c, []*rawOrigin{newOrigin(t, named("a")), newOrigin(t, named("b"))}, func(c *Config) {
		c.Health = Health{Path: "/", Interval: time.Hour, Healthy: 2, Unhealthy: 3}
	})
	m := u.members[0]
	for _, step := range []struct {
		check string
		down  bool
	}{
		{"bad", false}, {"bad", false}, {"good", false}, {"bad", false}, {"bad", false}, {"bad", true},
		{"good", true}, {"bad", true}, {"good", true}, {"good", false}, {"bad", false},
	} {
		var err error
		if step.check == "bad" {
			err = errClosed
		}
		u.checked(m, err)
		if m.down.Load() != step.down {
			t.Fatalf("after a %s check: down %v", step.check, m.down.Load())
		}
	}
	// A successor without checks does not wait for one to bring the server back.
	c.forward(time.Minute)
	m.down.Store(true)
	cfg := u.cfg
	cfg.Health = Health{}
	next, err := u.With(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	wantStates(t, next, Up, Up)
	wantStates(t, u, Down, Up)
}
