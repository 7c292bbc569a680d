package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
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
	conn    net.Conn
	br      *bufio.Reader
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
		status, cookie, err := c.roundTrip()
		switch {
		case err == nil && status == 200 && cookie != "":
			c.request = []byte(page + "Cookie: " + cookie + "\r\n\r\n")
			return nil
		case attempt == 50:
			return fmt.Errorf("the first page: status %d, cookie %q, %w", status, cookie, err)
		case err != nil:
			if err := c.dial(address); err != nil {
				return err
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (c *client) dial(address string) error {
	if c.conn != nil {
		c.conn.Close()
	}
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err
	}
	c.conn, c.br = conn, bufio.NewReaderSize(conn, 64<<10)
	return nil
}

func (c *client) roundTrip() (status int, cookie string, err error) {
	_ = c.conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.conn.Write(c.request); err != nil {
		return 0, "", err
	}
	length := -1
	for first := true; ; first = false {
		line, err := c.br.ReadSlice('\n')
		if err != nil {
			return status, cookie, err
		}
		switch {
		case first:
			status, _ = strconv.Atoi(string(line[9:12]))
		case len(line) == 2:
			return status, cookie, c.skip(length)
		case bytes.HasPrefix(line, []byte("Content-Length: ")):
			length, _ = strconv.Atoi(strings.TrimSpace(string(line[16:])))
		case bytes.HasPrefix(line, []byte("Set-Cookie: sedge_vid=")):
			cookie, _, _ = strings.Cut(string(line[12:]), ";")
		}
	}
}

// skip reads the body: of a length, or else in chunks.
func (c *client) skip(length int) error {
	if length >= 0 {
		_, err := c.br.Discard(length)
		return err
	}
	for {
		line, err := c.br.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 31)
		if err != nil {
			return err
		}
		if _, err := c.br.Discard(int(size) + 2); err != nil {
			return err
		}
		if size == 0 {
			return nil
		}
	}
}

func (c *client) work(free chan<- *client, address string) {
	for due := range c.due {
		late := time.Since(due)
		status, _, err := c.roundTrip()
		took := time.Since(due)
		c.mu.Lock()
		c.late = append(c.late, late)
		switch {
		case err != nil || status != 200 && status != 503:
			c.errors++
		case status == 503:
			c.refused++
		default:
			c.served = append(c.served, took)
		}
		c.mu.Unlock()
		if err != nil && c.dial(address) != nil {
			c.br = bufio.NewReader(strings.NewReader(""))
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

// origin serves one page of about 60 KB, in which a number of elements are edited.
type origin struct {
	listener net.Listener
}

func startOrigin(edits int) (*origin, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	page.WriteString("<!doctype html><title>Shop</title><main><div id=hero><h1>Welcome</h1></div>\n")
	const size = 60 << 10
	for i := range edits {
		fmt.Fprintf(&page, "<article id=p%d><h2>Product %d</h2><a class=cta href=/p/%d>Buy</a>\n", i, i, i)
		for j := 0; page.Len() < size*(i+1)/edits; j++ {
			fmt.Fprintf(&page, "<p>Line %d of some text on what this product is good for, and <em>for whom</em>.</p>\n", j)
		}
		page.WriteString("</article>\n")
	}
	page.WriteString("</main>")
	answer := append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n", page.Len()), page.Bytes()...)
	o := &origin{listener: listener}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(conn, answer)
		}
	}()
	return o, nil
}

func serve(conn net.Conn, answer []byte) {
	defer conn.Close()
	br := bufio.NewReader(conn)
	for length := 0; ; {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return
		}
		if n, err := fmt.Sscanf(string(line), "Content-Length: %d", &length); n == 1 && err == nil {
			continue
		}
		if len(line) == 2 {
			if _, err := br.Discard(length); err != nil {
				return
			}
			length = 0
			if _, err := conn.Write(answer); err != nil {
				return
			}
		}
	}
}

func (o *origin) address() string { return o.listener.Addr().String() }

func (o *origin) stop() { o.listener.Close() }

func freeAddress() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// await waits until the site answers.
func (n *node) await() error {
	for range 300 {
		conn, err := net.Dial("tcp", n.site)
		if err == nil {
			conn.Close()
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	log, _ := os.ReadFile(filepath.Join(n.dir, "log"))
	return fmt.Errorf("the node does not answer on %s: %s", n.site, log)
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
