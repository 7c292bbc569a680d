package main

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sedge-proxy/sedge/bench/internal/rig"
)

// load sends requests over a fixed number of connections, each with a visitor of
// its own.
type load struct {
	address string
	clients []*client
	free    chan *client
}

// result is what a run came to; times are of the requests that were served.
type result struct {
	served, refused float64 // per second
	p50, p99        time.Duration
	late            time.Duration // p99 of how late requests were sent: this program's own fault
	errors          int
}

// client is one connection. It serves one request at a time.
type client struct {
	conn    *rig.Conn
	request []byte
	due     chan time.Time
	done    func() // told of the answer; may be nil

	mu      sync.Mutex
	served  []time.Duration
	late    []time.Duration
	refused int
	errors  int
}

// underWay is how many requests are under way at a time when no rate is given.
const underWay = 8

func newLoad(address string, conns int) (*load, error) {
	l := &load{address: address, free: make(chan *client, conns)}
	for range conns {
		c := &client{due: make(chan time.Time, 1)}
		if err := c.meet(address); err != nil {
			l.close()
			return nil, err
		}
		l.clients = append(l.clients, c)
		l.free <- c
		go c.work(l.free, address)
	}
	return l, nil
}

// meet opens the connection and gets the visitor's cookie.
func (c *client) meet(address string) error {
	if err := c.dial(address); err != nil {
		return err
	}
	const page = "GET /page HTTP/1.1\r\nHost: shop.example\r\nAccept: text/html\r\nSec-Fetch-Dest: document\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Chrome/140\r\n"
	c.request = []byte(page + "\r\n")
	for attempt := 0; ; attempt++ {
		a, err := c.conn.Do(c.request, nil)
		switch {
		case err == nil && a.Status == 200 && a.Cookie != "":
			c.request = []byte(page + "Cookie: " + a.Cookie + "\r\n\r\n")
			return nil
		case attempt == 50:
			return fmt.Errorf("the first page: status %d, cookie %q, %w", a.Status, a.Cookie, err)
		case err != nil:
			if err := c.dial(address); err != nil {
				return err
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// dial opens the connection anew. Where it cannot, the old one stays, and every
// request on it fails.
func (c *client) dial(address string) error {
	if c.conn != nil {
		c.conn.Close()
	}
	conn, err := rig.Dial(address)
	if err == nil {
		c.conn = conn
	}
	return err
}

func (c *client) work(free chan<- *client, address string) {
	for due := range c.due {
		late := time.Since(due)
		a, err := c.conn.Do(c.request, nil)
		took := time.Since(due)
		c.mu.Lock()
		c.late = append(c.late, late)
		switch {
		case err != nil || a.Status != 200 && a.Status != 503:
			c.errors++
		case a.Status == 503:
			c.refused++
		default:
			c.served = append(c.served, took)
		}
		c.mu.Unlock()
		if err != nil {
			_ = c.dial(address)
		}
		if c.done != nil {
			c.done()
		}
		free <- c
	}
}

// run offers rate requests a second for a time, or with rate 0 as many as are
// answered with a fixed number under way.
func (l *load) run(rate float64, length time.Duration) result {
	for _, c := range l.clients {
		c.mu.Lock()
		c.served, c.late, c.refused, c.errors = nil, nil, 0, 0
		c.mu.Unlock()
	}
	began := time.Now()
	if rate == 0 {
		l.closedLoop(began.Add(length))
	} else {
		l.openLoop(began, rate, length)
	}
	for range l.clients { // the last answers
		c := <-l.free
		defer func() { l.free <- c }()
	}
	seconds := time.Since(began).Seconds()
	var r result
	var served, late []time.Duration
	for _, c := range l.clients {
		served, late = append(served, c.served...), append(late, c.late...)
		r.refused += float64(c.refused) / seconds
		r.errors += c.errors
	}
	slices.Sort(served)
	slices.Sort(late)
	if n := len(late); n > 0 {
		r.late = late[n*99/100]
	}
	r.served = float64(len(served)) / seconds
	if n := len(served); n > 0 {
		r.p50, r.p99 = served[n/2], served[n*99/100]
	}
	return r
}

// closedLoop keeps as many requests under way as that, over all connections in turn.
func (l *load) closedLoop(until time.Time) {
	room := make(chan struct{}, underWay)
	for time.Now().Before(until) {
		room <- struct{}{}
		c := <-l.free
		c.done = func() { <-room }
		c.due <- time.Now()
	}
	for range underWay {
		room <- struct{}{}
	}
	for _, c := range l.clients {
		c.done = nil
	}
}

// openLoop sends what is due, also when the answers are slow: then requests wait
// for a connection, and their time runs on.
func (l *load) openLoop(began time.Time, rate float64, length time.Duration) {
	each := time.Duration(float64(time.Second) / rate)
	for due := began; due.Sub(began) < length; due = due.Add(each) {
		if wait := time.Until(due); wait > 0 {
			time.Sleep(max(wait, 200*time.Microsecond))
		}
		c := <-l.free
		c.due <- due
	}
}

func (l *load) close() {
	for _, c := range l.clients {
		close(c.due)
		c.conn.Close()
	}
}

// slowKind is a way to be slow.
type slowKind struct {
	name  string
	begin string                               // what is sent at once
	drip  func(conn net.Conn, round int) error // what is done each second
}

var slowKinds = []slowKind{
	{"idle after an answer", "GET /page HTTP/1.1\r\nHost: x\r\n\r\n", func(net.Conn, int) error { return nil }},
	{"heads that never end, a byte a second", "GET /page HTTP/1.1\r\nHost: x\r\nX-Slow: ", dripByte},
	{"bodies that never end, a byte a second", "POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", dripByte},
	{"answers that are not read", strings.Repeat("GET /page HTTP/1.1\r\nHost: x\r\n\r\n", 8), func(net.Conn, int) error { return nil }},
}

func dripByte(conn net.Conn, _ int) error {
	_, err := conn.Write([]byte("a"))
	return err
}

// slowConns are many slow connections.
type slowConns struct {
	mu    sync.Mutex
	conns []net.Conn
	kind  slowKind
	done  chan struct{}
	ended chan struct{}
}

func openSlow(address string, kind slowKind, count int) (*slowConns, error) {
	s := &slowConns{kind: kind, done: make(chan struct{}), ended: make(chan struct{})}
	for i := range count {
		// Addresses of the loopback network, as a port range is too small for all.
		dialer := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%200))}}
		conn, err := dialer.Dial("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("slow connection %d: %w", i, err)
		}
		_, _ = io.WriteString(conn, kind.begin)
		s.conns = append(s.conns, conn)
	}
	go s.drip()
	return s, nil
}

func (s *slowConns) drip() {
	defer close(s.ended)
	for round := 0; ; round++ {
		select {
		case <-s.done:
			return
		case <-time.After(time.Second):
		}
		for i, conn := range s.conns {
			if conn != nil && s.kind.drip(conn, round) != nil {
				conn.Close()
				s.mu.Lock()
				s.conns[i] = nil
				s.mu.Unlock()
			}
		}
	}
}

// open returns how many connections could be written to a moment ago.
func (s *slowConns) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, conn := range s.conns {
		if conn != nil {
			n++
		}
	}
	return n
}

func (s *slowConns) close() {
	close(s.done)
	<-s.ended
	for _, conn := range s.conns {
		if conn != nil {
			conn.Close()
		}
	}
}
