package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// socket is a client's end of a WebSocket to the application.
type socket struct {
	t *testing.T
	*websocket.Conn
}

// dial opens a WebSocket at a path of the application, and takes its greeting.
func (f *front) dial(t *testing.T, path string, options *websocket.DialOptions) *socket {
	t.Helper()
	if options == nil {
		options = &websocket.DialOptions{}
	}
	options.HTTPClient = &http.Client{Transport: f.upgradable(t)}
	c, resp, err := websocket.Dial(t.Context(), f.url+path, options)
	if err != nil {
		t.Fatalf("open %s: %v %v", path, resp, err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	c.SetReadLimit(32 << 20)
	s := &socket{t, c}
	s.expect(websocket.MessageText, "welcome "+options.HTTPHeader.Get("Cookie"))
	return s
}

func (s *socket) say(kind websocket.MessageType, message string) {
	s.t.Helper()
	if err := s.Write(s.t.Context(), kind, []byte(message)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *socket) expect(kind websocket.MessageType, message string) {
	s.t.Helper()
	gotKind, got, err := s.Read(s.t.Context())
	if err != nil || gotKind != kind || string(got) != message {
		s.t.Fatalf("got %v %.60q, %v; want %v %.60q", gotKind, got, err, kind, message)
	}
}

// end reads up to the end, returns how it came, and hangs up.
func (s *socket) end() error {
	for {
		if _, _, err := s.Read(s.t.Context()); err != nil {
			_ = s.CloseNow()
			return err
		}
	}
}

// noted waits until the application has noted the end of a WebSocket.
func (a *application) noted(end string) {
	a.t.Helper()
	waitFor(a.t, 10*time.Second, "the application notes the end "+end, func() error {
		if closed := a.state().Closed; !slices.Contains(closed, end) {
			return fmt.Errorf("it knows of %q", closed)
		}
		return nil
	})
}

func TestWebSocket(t *testing.T) {
	overEach(t, func(t *testing.T, p protocol) {
		app := startApplication(t)
		f := p.open(t, app.config())
		large := make([]byte, 16<<20)
		_, _ = rand.NewChaCha8([32]byte{3}).Read(large)

		for path, compression := range map[string]websocket.CompressionMode{
			"/socket": websocket.CompressionDisabled, "/packed": websocket.CompressionContextTakeover,
		} {
			t.Run("messages at "+path, func(t *testing.T) {
				s := f.dial(t, path, &websocket.DialOptions{CompressionMode: compression, HTTPHeader: http.Header{"Cookie": {"session=7"}}})
				for _, message := range []string{"", "ünï", strings.Repeat("so ", 50_000), string(large[:125]), string(large[:126]), string(large[:65535]), string(large[:65536]), string(large)} {
					if strings.ToValidUTF8(message, "") == message {
						s.say(websocket.MessageText, message)
						s.expect(websocket.MessageText, message)
					}
					s.say(websocket.MessageBinary, message)
					s.expect(websocket.MessageBinary, message)
				}
			})
			t.Run("fragments at "+path, func(t *testing.T) {
				s := f.dial(t, path, &websocket.DialOptions{CompressionMode: compression})
				w, err := s.Writer(t.Context(), websocket.MessageBinary)
				for at := 0; at < 1<<20 && err == nil; at += 1 << 10 { // each Write is a frame
					_, err = w.Write(large[at : at+1<<10])
				}
				if err := errors.Join(err, w.Close()); err != nil {
					t.Fatal(err)
				}
				s.expect(websocket.MessageBinary, string(large[:1<<20]))
				var want strings.Builder
				for i := range 100 {
					fmt.Fprintf(&want, "part %d;", i)
				}
				s.say(websocket.MessageText, "/fragments 100")
				s.expect(websocket.MessageText, want.String()+"end")
			})
		}

		t.Run("pings", func(t *testing.T) {
			asked := make(chan string, 1)
			s := f.dial(t, "/socket", &websocket.DialOptions{OnPingReceived: func(_ context.Context, payload []byte) bool {
				asked <- string(payload)
				return true
			}})
			s.say(websocket.MessageText, "/ping are-you-there")
			s.expect(websocket.MessageText, "pong are-you-there")
			if got := <-asked; got != "are-you-there" {
				t.Errorf("the ping says %q", got)
			}
			reading := s.CloseRead(t.Context())
			if err := s.Ping(t.Context()); err != nil || reading.Err() != nil {
				t.Errorf("ping: %v, %v", err, reading.Err())
			}
		})

		t.Run("subprotocol", func(t *testing.T) {
			if got := f.dial(t, "/socket", &websocket.DialOptions{Subprotocols: []string{"chat.v1", "chat.v2"}}).Subprotocol(); got != "chat.v2" {
				t.Errorf("got %q", got)
			}
			if got := f.dial(t, "/socket", nil).Subprotocol(); got != "" {
				t.Errorf("unasked: got %q", got)
			}
		})

		t.Run("close codes", func(t *testing.T) {
			f.dial(t, "/socket", nil).closes(app, websocket.StatusNormalClosure, "done")
			f.dial(t, "/socket", nil).closes(app, 4001, "own-code")
			for _, code := range []websocket.StatusCode{websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusPolicyViolation, 4999} {
				s := f.dial(t, "/socket", nil)
				s.say(websocket.MessageText, fmt.Sprintf("/close %d because", code))
				var end websocket.CloseError
				if err := s.end(); !errors.As(err, &end) || end.Code != code || end.Reason != "because" {
					t.Errorf("close with %d: %v", code, err)
				}
				app.noted(fmt.Sprintf("%d because", code))
			}
		})

		t.Run("too large for the application", func(t *testing.T) {
			s := f.dial(t, "/socket", nil)
			_ = s.Write(t.Context(), websocket.MessageBinary, make([]byte, 33<<20)) // it may be cut off on the way
			if got := websocket.CloseStatus(s.end()); got != websocket.StatusMessageTooBig {
				t.Errorf("status %d", got)
			}
		})

		t.Run("refused", func(t *testing.T) {
			_, resp, err := websocket.Dial(t.Context(), f.url+"/nowhere", &websocket.DialOptions{HTTPClient: &http.Client{Transport: f.upgradable(t)}})
			if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
				t.Fatalf("%v, %v", resp, err)
			}
			if body, _ := io.ReadAll(resp.Body); string(body) != "not!" {
				t.Errorf("body %q", body)
			}
		})

		t.Run("abrupt ends", func(t *testing.T) {
			s := f.dial(t, "/socket", nil)
			s.say(websocket.MessageText, "/terminate")
			if err := s.end(); websocket.CloseStatus(err) != -1 {
				t.Errorf("the application hung up: %v", err)
			}
			before := len(app.state().Closed)
			if err := f.dial(t, "/socket", nil).CloseNow(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, 10*time.Second, "the application notes that the client hung up", func() error {
				if closed := app.state().Closed; len(closed) <= before || closed[before] != "1006 " {
					return fmt.Errorf("it knows of %q", closed)
				}
				return nil
			})
			left := f.dial(t, "/socket", nil)
			if err := app.process.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := left.end(); websocket.CloseStatus(err) != -1 {
				t.Errorf("the application was killed: %v", err)
			}
			waitFor(t, 10*time.Second, "no tunnel is left", func() error {
				if n := f.metric("sedge_http_streams"); n != 0 {
					return fmt.Errorf("%v are", n)
				}
				return nil
			})
		})
	})
}

// closes ends the WebSocket with a code that the application must see.
func (s *socket) closes(app *application, code websocket.StatusCode, reason string) {
	s.t.Helper()
	if err := s.Close(code, reason); err != nil {
		s.t.Errorf("close with %d: %v", code, err)
	}
	app.noted(fmt.Sprintf("%d %s", code, reason))
}

// Many WebSockets at once, each with messages under way in both directions.
func TestManyWebSockets(t *testing.T) {
	const sockets, messages = 100, 30
	overEach(t, func(t *testing.T, p protocol) {
		app := startApplication(t)
		f := p.open(t, app.config())
		var all []*socket
		for range sockets {
			all = append(all, f.dial(t, "/socket", nil))
		}
		if n := f.metric("sedge_http_streams"); n != sockets {
			t.Errorf("%v tunnels, want %d", n, sockets)
		}
		var group sync.WaitGroup
		for i, s := range all {
			message := func(j int) []byte {
				return bytes.Repeat(fmt.Appendf(nil, "%d/%d ", i, j), 1+j*j)
			}
			group.Go(func() {
				for j := range messages {
					if err := s.Write(t.Context(), websocket.MessageText, message(j)); err != nil {
						t.Errorf("socket %d, message %d: %v", i, j, err)
						return
					}
				}
			})
			group.Go(func() {
				for j := range messages {
					if _, got, err := s.Read(t.Context()); err != nil || !bytes.Equal(got, message(j)) {
						t.Errorf("socket %d, message %d: %.40q, %v", i, j, got, err)
						return
					}
				}
			})
		}
		group.Wait()
	})
}
