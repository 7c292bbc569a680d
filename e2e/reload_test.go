package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// versions is an application whose page shows the number of the configuration that
// it was served by, so that a page tells by which one it was.
type versions struct {
	*application
	applied atomic.Int64 // the last that is known to be in force
	written atomic.Int64 // the last that can be
}

func (v *versions) config(number int64) map[string]any {
	config := v.application.config()
	config["server"] = map[string]any{"personalize_budget": "10s", "access_log": false}
	config["experiences"] = []any{map[string]any{
		"name": "version", "pages": []string{"/page"},
		"edits": []any{map[string]any{"select": "h1", "op": "set_inner", "text": fmt.Sprintf("version %d.", number)}},
	}}
	return config
}

// reload puts the next configuration in force.
func (v *versions) reload(f *front) {
	f.t.Helper()
	f.configure(f.t, v.config(v.written.Add(1)))
	f.signal(syscall.SIGHUP)
	c := f.client(f.t)
	waitFor(f.t, 20*time.Second, "the configuration is in force", func() error {
		_, err := v.seen(c, v.written.Load())
		return err
	})
	c.http.CloseIdleConnections()
	v.applied.Store(v.written.Load())
}

// seen loads the page and returns the number of the configuration that served it,
// which must be at least that given.
func (v *versions) seen(c *client, least int64) (number int64, err error) {
	a, err := c.try(http.MethodGet, "/page", "")
	if err != nil {
		return 0, err
	}
	_, text, _ := strings.Cut(a.body, "<h1>")
	if _, err := fmt.Sscanf(text, "version %d.</h1>", &number); err != nil || a.status != http.StatusOK || number < least {
		return 0, fmt.Errorf("status %d, %q, want version %d or later", a.status, a.body, least)
	}
	return number, nil
}

// check finds the page served by a configuration that was in force at some moment
// since it was asked for.
func (v *versions) check(c *client) error {
	number, err := v.seen(c, v.applied.Load())
	if most := v.written.Load(); err == nil && number > most {
		err = fmt.Errorf("version %d, but %d is the last", number, most)
	}
	return err
}

// crowd is visitors who do not stop.
type crowd struct {
	t     *testing.T
	group sync.WaitGroup
	stop  atomic.Bool
	done  atomic.Int64
}

// startCrowd lets visitors load pages, upload and download, until the crowd is dispersed:
// some over connections that they keep, some over a new one each time.
func startCrowd(t *testing.T, f *front, v *versions) *crowd {
	l := &crowd{t: t}
	for i := range 8 {
		transport := f.transport(t)
		transport.DisableKeepAlives = i%4 == 3
		c := clientOver(t, f.url, transport)
		l.group.Go(func() {
			defer transport.CloseIdleConnections()
			for round := i; !l.stop.Load(); round++ {
				if err := l.visit(c, v, round); err != nil {
					t.Errorf("visitor %d, request %d: %v", i, l.done.Load(), err)
					return
				}
				l.done.Add(1)
			}
		})
	}
	return l
}

func (l *crowd) visit(c *client, v *versions, round int) error {
	switch round % 4 {
	case 0:
		a, err := c.try(http.MethodPost, "/upload", strings.Repeat("not the pattern", 2000))
		if err == nil && !strings.Contains(a.body, `"bytes":30000`) {
			err = fmt.Errorf("status %d, %q", a.status, a.body)
		}
		return err
	case 1:
		a, err := c.try(http.MethodGet, "/download?bytes=200000&chunked", "")
		if err != nil {
			return err
		}
		_, err = (&pattern{left: 200_000}).Write([]byte(a.body))
		if err == nil && len(a.body) != 200_000 {
			err = fmt.Errorf("status %d, %d bytes", a.status, len(a.body))
		}
		return err
	}
	return v.check(c)
}

func (l *crowd) end() {
	l.stop.Store(true)
	l.group.Wait()
	l.t.Logf("%d requests", l.done.Load())
	if l.done.Load() < 50 {
		l.t.Errorf("only %d requests", l.done.Load())
	}
}

// streams are a WebSocket, an event stream and a download that stay under way.
type streams struct {
	socket   *socket
	events   *bufio.Reader
	download io.Reader
	read     pattern
	hangUp   func()
}

func openStreams(t *testing.T, f *front, download int64) *streams {
	t.Helper()
	transport := f.transport(t)
	get := func(path string) io.ReadCloser {
		resp, err := f.open(t.Context(), transport, http.MethodGet, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Body
	}
	events, file := get("/events?channel=news"), get(fmt.Sprintf("/download?bytes=%d", download))
	s := &streams{f.dial(t, "/socket", nil), bufio.NewReader(events), file, pattern{left: download}, func() {
		_ = events.Close()
		_ = file.Close()
		transport.CloseIdleConnections()
	}}
	t.Cleanup(s.hangUp)
	return s
}

// use has each of them do something.
func (s *streams) use(t *testing.T, app *application, text string) {
	t.Helper()
	s.socket.say(websocket.MessageText, text)
	s.socket.expect(websocket.MessageText, text)
	app.publish("news", text)
	if line, err := s.events.ReadString('\n'); err != nil || line != "data: "+text+"\n" {
		t.Fatalf("event %q, %v", line, err)
	}
	_, _ = s.events.ReadString('\n')
	if _, err := io.CopyN(&s.read, s.download, min(1<<20, s.read.left)); err != nil {
		t.Fatalf("download: %v", err)
	}
}

// finish lets all of them come to their proper end.
func (s *streams) finish(t *testing.T, app *application) {
	t.Helper()
	app.publish("news", "end")
	if rest, err := io.ReadAll(s.events); err != nil || len(rest) > 0 {
		t.Errorf("behind the events: %q, %v", rest, err)
	}
	if _, err := io.Copy(&s.read, s.download); err != nil || s.read.left != 0 {
		t.Errorf("download: %d bytes are missing, %v", s.read.left, err)
	}
	s.socket.say(websocket.MessageText, "/close 1000 bye")
	if err := s.socket.end(); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("the WebSocket ends with %v", err)
	}
	s.hangUp()
}

// footprint is what a node holds.
type footprint struct{ goroutines, files, memory float64 }

func (n *node) footprint() footprint {
	return footprint{n.metric("go_goroutines"), n.metric("process_open_fds"), n.metric("process_resident_memory_bytes")}
}

// Reload after reload under load: no request fails, nothing is cut, nothing leaks.
func TestReloadUnderLoad(t *testing.T) {
	overEach(t, func(t *testing.T, p protocol) {
		v := &versions{application: startApplication(t)}
		f := p.open(t, v.config(0))
		round := func(reloads int) footprint {
			s, l := openStreams(t, f, 120<<20), startCrowd(t, f, v)
			for i := range reloads {
				v.reload(f)
				s.use(t, v.application, fmt.Sprintf("reload %d", i))
			}
			l.end()
			s.finish(t, v.application)
			waitFor(t, 20*time.Second, "all connections are closed", func() error {
				if n := f.metric("sedge_http_connections"); n > 0 {
					return fmt.Errorf("%v are open", n)
				}
				return nil
			})
			return f.footprint()
		}
		// By then the garbage of reloads comes and goes as it will; in the long run also
		// all the compiled plans are there that are kept, 1024.
		before := round(rounds(40, 1100))
		after := round(rounds(100, 1000))
		t.Logf("before %.0f, after %.0f", before, after)
		if after.goroutines > before.goroutines+10 || after.files > before.files+10 || after.memory > before.memory+96<<20 {
			t.Errorf("before %.0f, after %.0f", before, after)
		}
	})
}

// A node that is told to end answers all that it has begun, and then ends well.
func TestDrain(t *testing.T) {
	overEach(t, func(t *testing.T, p protocol) {
		v := &versions{application: startApplication(t)}
		f := p.open(t, v.config(0))
		s := openStreams(t, f, 20<<20)
		c := f.client(t)
		var group sync.WaitGroup
		group.Go(func() {
			if a, err := c.try(http.MethodGet, "/poll?channel=slow", ""); err != nil || a.body != "at last" {
				t.Errorf("the slow answer is %q, %v", a.body, err)
			}
		})
		half, body := io.Pipe()
		group.Go(func() {
			resp, err := f.open(t.Context(), f.transport(t), http.MethodPost, "/upload", half)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if text, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(text), `"bytes":300000,"intact":true`) {
				t.Errorf("the upload is answered with %q, %v", text, err)
			}
		})
		content := &pattern{left: 300_000}
		_, _ = io.CopyN(body, content, 150_000)
		v.await(2) // the poll and the events

		f.signal(syscall.SIGTERM)
		waitFor(t, 10*time.Second, "new connections are refused", func() error {
			nc, err := net.Dial("tcp", address(f.url))
			if err == nil {
				nc.Close()
				return errors.New("one was taken")
			}
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Error(err)
			}
			return nil
		})
		s.use(t, v.application, "still here")
		v.publish("slow", "at last")
		_, _ = io.Copy(body, content)
		_ = body.Close()
		group.Wait()
		s.finish(t, v.application)
		if err := f.end(); err != nil {
			t.Errorf("the node ends with %v", err)
		}
		f.launch() // the next one finds everything in order
		if err := v.check(c); err != nil {
			t.Error(err)
		}
	})
}

// With a socket that outlives the node, as systemd holds one, a restart refuses
// nobody and cuts nothing: who comes meanwhile waits for the next node.
func TestRestartWithPassedSocket(t *testing.T) {
	overEach(t, func(t *testing.T, p protocol) {
		v := &versions{application: startApplication(t)}
		f := p.open(t, v.config(0))
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		f.hold(t)
		f.launch()
		l := startCrowd(t, f, v)
		for range rounds(5, 50) {
			seen := l.done.Load()
			waitFor(t, 20*time.Second, "the load goes on", func() error {
				if l.done.Load() < seen+50 {
					return fmt.Errorf("%d requests", l.done.Load()-seen)
				}
				return nil
			})
			if err := f.stop(); err != nil {
				t.Errorf("the node ends with %v", err)
			}
			f.launch()
		}
		l.end()
	})
}

// hold opens the site's sockets for the node.
func (f *front) hold(t *testing.T) {
	t.Helper()
	bases := []string{f.site}
	if f.url != f.site {
		bases = append(bases, f.url)
	}
	for _, base := range bases {
		listener, err := net.Listen("tcp", address(base))
		if err != nil {
			t.Fatal(err)
		}
		socket, err := listener.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		_ = listener.Close() // the file is the same socket
		t.Cleanup(func() { socket.Close() })
		f.sockets = append(f.sockets, socket)
	}
}

// address returns host and port of a base URL.
func address(base string) string { return base[strings.Index(base, "//")+2:] }
