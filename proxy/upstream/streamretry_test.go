package upstream

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/net/http2"
)

// What the server says it has done nothing of is sent again, and nothing else.
func TestHTTP2OnlyTheUntouchedIsSentAgain(t *testing.T) {
	big := strings.Repeat("x", 3*smallBody)
	refuse := func(code http2.ErrCode) func(*frames, uint32) {
		return func(f *frames, s uint32) { _ = f.WriteRSTStream(s, code) }
	}
	goAway := func(last uint32) func(*frames, uint32) {
		return func(f *frames, s uint32) { _ = f.WriteGoAway(last, http2.ErrCodeNo, []byte("bytes")); f.next() }
	}
	hangUp := func(f *frames, s uint32) { f.peer.Close() }
	for _, test := range []struct {
		name  string
		req   func(t testing.TB) *fasthttp.Request
		body  string
		fail  func(*frames, uint32)
		again bool
	}{
		{"GET refused", get, "", refuse(http2.ErrCodeRefusedStream), true},
		{"GET reset", get, "", refuse(http2.ErrCodeInternal), false},
		{"GET cancelled", get, "", refuse(http2.ErrCodeCancel), false},
		{"GET hung up on", get, "", hangUp, true},
		{"GET gone away", get, "", goAway(1), true},
		{"POST refused", func(t testing.TB) *fasthttp.Request { return post(t, 5) }, "hello", refuse(http2.ErrCodeRefusedStream), true},
		{"POST gone away", func(t testing.TB) *fasthttp.Request { return post(t, 5) }, "hello", goAway(1), true},
		{"POST taken, then gone away", func(t testing.TB) *fasthttp.Request { return post(t, 5) }, "hello", func(f *frames, s uint32) {
			_ = f.WriteGoAway(s, http2.ErrCodeNo, nil)
			f.peer.Close()
		}, false},
		{"POST hung up on", func(t testing.TB) *fasthttp.Request { return post(t, 5) }, "hello", hangUp, false},
		{"call refused", call, "hello", refuse(http2.ErrCodeRefusedStream), true},
		{"call gone away", call, "hello", goAway(1), true},
		{"call hung up on", call, "hello", hangUp, false},
		{"big call refused", call, big, refuse(http2.ErrCodeRefusedStream), false},
		{"big upload gone away", func(t testing.TB) *fasthttp.Request { return post(t, len(big)) }, big, goAway(1), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var asked atomic.Int64
			bodies := make(chan string, 10)
			o := frameOrigin(t, func(f *frames) {
				for n := 0; ; n++ {
					stream, fields := f.request()
					if fields == nil {
						return
					}
					if n == 0 && f.peer.number == 1 { // warms the connection up
						f.hello(stream)
						continue
					}
					body := ""
					if test.body != "" {
						body, _ = f.rest()
					}
					bodies <- body
					if asked.Add(1) > 1 {
						f.hello(stream)
						continue
					}
					test.fail(f, stream)
				}
			})
			u := newUpstream(t, o.url(), clearText)
			wantOK(t, u, "hello")
			var body io.Reader
			if test.body != "" {
				body = strings.NewReader(test.body)
			}
			status, got, err := fetch(u, test.req(t), body, Options{})
			want := int64(1)
			if test.again {
				want = 2
				if status != 200 || got != "hello" || err != nil {
					t.Errorf("got %d %q %v", status, got, err)
				}
			} else if !errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "bytes") {
				t.Errorf("got %d %q %v", status, got, err)
			}
			if n := asked.Load(); n != want {
				t.Fatalf("it was sent %d times, want %d", n, want)
			}
			for range want {
				if b := <-bodies; b != test.body {
					t.Errorf("%d bytes of the body came", len(b))
				}
			}
			eventually(t, "nothing is under way", func() bool { return u.members[0].pool.active() == 0 })
		})
	}
}

// A refusal can come before the body has been read to its end. What was read of it is
// sent again, and the rest read on, unless a read had to be interrupted.
func TestHTTP2RefusedInMidBody(t *testing.T) {
	for _, test := range []struct {
		name       string
		window     uint32 // of the server that refuses
		status     int
		answer     string
		interrupts int64
	}{
		{"between reads", 2, 200, "hello", 0},
		{"in a read", 3, 0, "", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			reading, cut := make(chan struct{}), make(chan struct{})
			var reads, interrupts atomic.Int64
			body := readerFunc(func(p []byte) (int, error) {
				switch n := reads.Add(1); {
				case n == 1:
					return copy(p, "mes"), nil
				case test.interrupts > 0:
					close(reading)
					<-cut
					return 0, errors.New("interrupted")
				case n == 2:
					return copy(p, "sage"), nil
				}
				return 0, io.EOF
			})
			refusing := frameOrigin(t, func(f *frames) {
				stream, _ := f.request()
				if test.interrupts > 0 {
					<-reading
				}
				for isData := test.interrupts > 0; !isData; { // what the window takes of the first part
					frame, err := f.ReadFrame()
					if err != nil {
						t.Error(err)
						return
					}
					_, isData = frame.(*http2.DataFrame)
				}
				_ = f.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
				f.next()
			}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: test.window})
			got := make(chan string, 1)
			good := frameOrigin(t, func(f *frames) {
				if stream, fields := f.request(); fields != nil {
					text, _ := f.rest()
					got <- text
					f.hello(stream)
					f.next()
				}
			})
			u := servers(t, newClock(), []*rawOrigin{refusing, good}, clearText, func(c *Config) { c.Servers[1].Backup = true })
			status, answer, err := fetch(u, call(t), body, Options{Interrupt: func() { interrupts.Add(1); close(cut) }})
			if status != test.status || answer != test.answer || err == nil != (status == 200) || interrupts.Load() != test.interrupts {
				t.Errorf("got %d %q %v and %d interrupts", status, answer, err, interrupts.Load())
			}
			if status == 200 {
				if text := <-got; text != "message" {
					t.Errorf("the other server got %q", text)
				}
			}
		})
	}
}

// readerFunc is a reader of one function.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A server that refuses for good is not asked for ever.
func TestHTTP2RefusalsEnd(t *testing.T) {
	var asked atomic.Int64
	o := frameOrigin(t, func(f *frames) {
		for {
			stream, fields := f.request()
			if fields == nil {
				return
			}
			asked.Add(1)
			_ = f.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
		}
	})
	u := newUpstream(t, o.url(), clearText)
	for range 3 {
		_, _, err := fetch(u, get(t), nil, Options{})
		wantKind(t, err, Closed)
	}
	if n := asked.Load(); n > 6 {
		t.Errorf("asked %d times", n)
	}
}

// A request that the server has not seen goes to another one.
func TestHTTP2AnotherServerIsAsked(t *testing.T) {
	refusing := frameOrigin(t, func(f *frames) {
		for {
			stream, fields := f.request()
			if fields == nil {
				return
			}
			_ = f.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
		}
	})
	good := frameOrigin(t, func(f *frames) {
		for {
			stream, fields := f.request()
			if fields == nil {
				return
			}
			f.hello(stream)
		}
	})
	old := newOrigin(t, answering(okHello)) // speaks HTTP/1.1 alone
	u := servers(t, newClock(), []*rawOrigin{refusing, old, good}, clearText)
	for i := range 9 {
		status, body, err := fetch(u, call(t), strings.NewReader("message"), Options{})
		if status != 200 || body != "hello" || err != nil {
			t.Errorf("request %d: %d %q %v", i, status, body, err)
		}
	}
}

// holding answers each request when it is told to.
func holding(t *testing.T, settings ...http2.Setting) (o *rawOrigin, arrived chan struct{}, goOn chan struct{}) {
	arrived, goOn = make(chan struct{}, 1000), make(chan struct{})
	o = frameOrigin(t, func(f *frames) {
		for {
			stream, fields := f.request()
			if fields == nil {
				return
			}
			arrived <- struct{}{}
			go func() {
				select {
				case <-goOn:
				case <-f.peer.origin.held:
					return
				}
				f.hello(stream)
			}()
		}
	}, settings...)
	return o, arrived, goOn
}

// Requests share a connection as far as the server allows, and no more are under way
// than the settings say.
func TestHTTP2RequestsShareConnections(t *testing.T) {
	for _, test := range []struct{ allowed, most, conns int }{{1000, 100, 1}, {250, 200, 1}, {10, 35, 4}} {
		t.Run(fmt.Sprint(test.allowed), func(t *testing.T) {
			o, arrived, goOn := holding(t, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(test.allowed)})
			u := newUpstream(t, o.url(), clearText, func(c *Config) { c.MaxConns, c.MaxPending = test.most, 1 })
			var group sync.WaitGroup
			for range test.most {
				group.Go(func() {
					if status, _, err := fetch(u, get(t), nil, Options{}); status != 200 || err != nil {
						t.Errorf("%d %v", status, err)
					}
				})
			}
			for range test.most {
				<-arrived
			}
			if got := u.Stats(); got != (Stats{Active: test.conns}) || o.connections() != test.conns {
				t.Errorf("connections %+v, %d at the origin, want %d", got, o.connections(), test.conns)
			}
			waits := make(chan error, 1)
			go func() {
				_, _, err := fetch(u, get(t), nil, Options{})
				waits <- err
			}()
			eventually(t, "one waits", func() bool { return len(u.members[0].pool.waiting) == 1 })
			_, _, err := fetch(u, get(t), nil, Options{})
			wantKind(t, err, Busy)
			close(goOn)
			group.Wait()
			if err := <-waits; err != nil {
				t.Error(err)
			}
			eventually(t, "all is idle", func() bool { return u.Stats() == Stats{Idle: test.conns} })
		})
	}
}

// A connection that the server ends carries its requests to their end, and the next
// go over another one.
func TestHTTP2GoAwayLetsRequestsEnd(t *testing.T) {
	o, arrived, goOn := holding(t)
	u := newUpstream(t, o.url(), clearText)
	ended := make(chan error, 2)
	ask := func() {
		status, _, err := fetch(u, get(t), nil, Options{})
		if err == nil && status != 200 {
			err = fmt.Errorf("status %d", status)
		}
		ended <- err
	}
	go ask()
	<-arrived
	c := u.members[0].pool.streams.conns[0]
	o.mu.Lock()
	_ = http2.NewFramer(o.conns[0], nil).WriteGoAway(1, http2.ErrCodeNo, nil)
	o.mu.Unlock()
	eventually(t, "the connection takes no more", func() bool { return c.Available() == 0 })
	go ask()
	<-arrived
	if n := o.connections(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
	close(goOn)
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	eventually(t, "the old connection is gone", func() bool { return u.Stats() == Stats{Idle: 1} })
}

// Closing an upstream closes what is idle at once, and what is not after its requests.
func TestHTTP2CloseLetsRequestsEnd(t *testing.T) {
	o, arrived, goOn := holding(t)
	u := newUpstream(t, o.url(), clearText)
	ended := make(chan error, 1)
	go func() {
		_, _, err := fetch(u, get(t), nil, Options{})
		ended <- err
	}()
	<-arrived
	u.Close()
	_, _, err := fetch(u, get(t), nil, Options{})
	wantKind(t, err, Dial)
	close(goOn)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	eventually(t, "nothing is left", func() bool { return u.Stats() == Stats{} })
}

func TestHTTP2ConnectionToAddressThatIsGoneIsNotKept(t *testing.T) {
	a, arrived, goOn := holding(t)
	b, _, more := holding(t)
	close(more)
	n := &names{}
	u := moving(t, newClock(), n, map[string]*rawOrigin{"192.0.2.1": a, "192.0.2.2": b}, clearText)
	n.teach(nil, "192.0.2.1")
	ended := make(chan error, 1)
	go func() {
		_, _, err := fetch(u, get(t), nil, Options{})
		ended <- err
	}()
	<-arrived
	n.teach(nil, "192.0.2.2")
	if err := u.members[0].pool.names.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantOK(t, u, "hello")
	if b.connections() != 1 {
		t.Error("the new address was not asked")
	}
	close(goOn)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	eventually(t, "the old connection is gone", func() bool { return u.Stats() == Stats{Idle: 1} })
}

// Requests at a time are shared out to all addresses of a server, also to one that
// comes later, and one request alone needs no second connection.
func TestHTTP2AddressesShare(t *testing.T) {
	at, arrived, ends := map[string]*rawOrigin{}, map[string]chan struct{}{}, []chan struct{}{}
	for _, address := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		o, a, goOn := holding(t)
		at[address], arrived[address] = o, a
		ends = append(ends, goOn)
	}
	n := &names{}
	u := moving(t, newClock(), n, at, clearText)
	n.teach(nil, "192.0.2.1", "192.0.2.2")
	var group sync.WaitGroup
	ask := func() {
		group.Go(func() {
			if _, _, err := fetch(u, get(t), nil, Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	ask()
	eventually(t, "the first is connected", func() bool { return u.Stats() == Stats{Active: 1} })
	connected := func() (n int) {
		u.members[0].pool.streams.mu.Lock()
		defer u.members[0].pool.streams.mu.Unlock()
		return len(u.members[0].pool.streams.conns)
	}
	ask()
	eventually(t, "there is a connection to each", func() bool { return connected() == 2 })
	n.teach(nil, "192.0.2.1", "192.0.2.2", "192.0.2.3")
	if err := u.members[0].pool.names.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask()
	ask() // the one before may have found an idle connection
	eventually(t, "the new one has its own", func() bool { return connected() == 3 })
	for range 5 {
		ask()
	}
	for _, a := range arrived { // each has the least in its turn
		for range 3 {
			<-a
		}
	}
	if got := u.Stats(); got != (Stats{Active: 3}) {
		t.Errorf("connections %+v, want one to each", got)
	}
	for _, end := range ends {
		close(end)
	}
	group.Wait()
	for range 5 {
		wantOK(t, u, "hello")
	}
	eventually(t, "three are idle", func() bool { return u.Stats() == Stats{Idle: 3} })
}

// Whatever is wrong with the first words of a server, it is told so in time.
func TestHTTP2NeedsAServerThatSpeaksIt(t *testing.T) {
	quick := func(c *Config) { c.DialTimeout = 100 * time.Millisecond }
	for name, test := range map[string]struct {
		serve func(p *peer)
		kind  Kind
		says  string
	}{
		"HTTP/1.1":       {answering("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), Dial, "HTTP/1.1"},
		"silence":        {func(p *peer) { p.gone() }, Timeout, "deadline"},
		"a slammed door": {func(p *peer) {}, Dial, "does not speak HTTP/2"},
		"something else": {func(p *peer) { p.send("220 mail.example ESMTP\r\n"); p.gone() }, Dial, "hung up"},
		"no room for anyone": {func(p *peer) {
			_ = http2.NewFramer(p, nil).WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
			p.gone()
		}, Dial, "allows no requests"},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t, newOrigin(t, test.serve).url(), clearText, quick)
			_, _, err := fetch(u, get(t), nil, Options{})
			wantKind(t, err, test.kind)
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want it to say %q", err, test.says)
			}
			eventually(t, "nothing is left", func() bool { return u.Stats() == Stats{} && u.members[0].pool.active() == 0 })
		})
	}
}

// A head that the server does not take is the request's fault.
func TestHTTP2LargeHeadIsNotTheServersFault(t *testing.T) {
	o, _, goOn := holding(t, http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 2000})
	close(goOn)
	u := newUpstream(t, o.url(), clearText)
	for range 3 {
		req := prepared(t, "GET / HTTP/1.1\r\nHost: a\r\nX-Large: "+strings.Repeat("x", 3000)+"\r\n\r\n", PrepareOptions{Host: "a"})
		_, _, err := fetch(u, req, nil, Options{})
		wantKind(t, err, Client)
		wantOK(t, u, "hello")
	}
	if n := o.connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestHTTP2ChecksTakeServersOutAndBack(t *testing.T) {
	var status atomic.Value
	status.Store("200")
	agents := make(chan string, 1000)
	o := frameOrigin(t, func(f *frames) {
		for {
			stream, fields := f.request()
			if fields == nil {
				return
			}
			agents <- fields[":path"] + " " + fields[":authority"] + " " + fields["user-agent"]
			f.head(stream, true, ":status", status.Load().(string))
		}
	})
	u := newUpstream(t, o.url(), clearText, checking, func(c *Config) { c.Health.Host = "health.example" })
	if got := <-agents; got != "/healthz health.example sedge-health" {
		t.Errorf("asked for %q", got)
	}
	status.Store("500")
	eventually(t, "the server is down", func() bool { return u.states()[0] == Down })
	status.Store("204")
	eventually(t, "the server is back", func() bool { return u.states()[0] == SlowStart })
}
