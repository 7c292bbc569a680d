package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// application is a running testdata/node/app.js.
type application struct {
	*client // of the application itself
	process *os.Process
}

func startApplication(t *testing.T) *application {
	t.Helper()
	dir := filepath.Join("testdata", "node")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "ws")); err != nil {
		missing(t, "no Node packages in "+dir+"; make setup installs them")
	}
	address := freePorts(t, 1)[0]
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.Command(program(t, "node"), "app.js", port)
	cmd.Dir = dir
	process := startProgram(t, address, cmd)
	return &application{newClient(t, "http://"+address), process}
}

// config puts a node in front of the application.
func (a *application) config() map[string]any { return behind(a.base, true) }

// appState is what the application says of itself.
type appState struct {
	Open   int      // answers that it keeps open
	Gone   int      // clients that went away before their answer was complete
	Closed []string // code and reason with which WebSockets ended
}

func (a *application) state() (s appState) {
	a.t.Helper()
	text := a.page("/state").body
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		a.t.Fatalf("state: %v in %s", err, text)
	}
	return s
}

// await waits until the application keeps so many answers open.
func (a *application) await(count int) {
	a.t.Helper()
	waitFor(a.t, 10*time.Second, fmt.Sprintf("%d answers are open", count), func() error {
		if s := a.state(); s.Open != count {
			return fmt.Errorf("%d are", s.Open)
		}
		return nil
	})
}

// publish sends a text to whoever waits on a channel.
func (a *application) publish(channel, text string) {
	a.t.Helper()
	if got := a.do(http.MethodPost, "/publish?channel="+channel, text); got.body != "1" {
		a.t.Fatalf("channel %s: %s receive", channel, got.body)
	}
}

// open begins a request whose answer is read bit by bit.
func (f *front) open(ctx context.Context, transport http.RoundTripper, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, f.url+path, body)
	if err != nil {
		return nil, err
	}
	return transport.RoundTrip(req)
}

// Each event is there before the application is told to send the next.
func TestServerSentEvents(t *testing.T) {
	overEach(t, func(t *testing.T, p protocol) {
		app := startApplication(t)
		f := p.open(t, app.config())
		resp, err := f.open(t.Context(), f.transport(t), http.MethodGet, "/events?channel=news", nil)
		if err != nil {
			t.Fatal(err) // so also the head came before any event
		}
		defer resp.Body.Close()
		if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("content type %q", got)
		}
		lines := bufio.NewReader(resp.Body)
		for i := range 50 {
			event := fmt.Sprintf("event %d %s", i, strings.Repeat("x", i*i))
			app.publish("news", event)
			line, err := lines.ReadString('\n')
			if err != nil || line != "data: "+event+"\n" {
				t.Fatalf("event %d: %q, %v", i, line, err)
			}
			if empty, err := lines.ReadString('\n'); err != nil || empty != "\n" {
				t.Fatalf("event %d ends with %q, %v", i, empty, err)
			}
		}
		app.publish("news", "end")
		if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
			t.Errorf("after the end: %q, %v", rest, err)
		}
	})
}

func TestLongPolling(t *testing.T) {
	const clients = 100
	overEach(t, func(t *testing.T, p protocol) {
		app := startApplication(t)
		f := p.open(t, app.config())
		c := f.client(t)
		var group sync.WaitGroup
		for i := range clients {
			group.Go(func() {
				if a, err := c.try(http.MethodGet, fmt.Sprintf("/poll?channel=%d", i), ""); err != nil || a.body != fmt.Sprintf("for %d", i) {
					t.Errorf("client %d: %q, %v", i, a.body, err)
				}
			})
		}
		app.await(clients)
		for i := range clients {
			app.publish(strconv.Itoa(i), fmt.Sprintf("for %d", i))
		}
		group.Wait()
	})
}

// Whoever hangs up while the application says nothing is noticed there soon, so
// that nobody who is gone holds its connections.
func TestClientGone(t *testing.T) {
	const clients = 50
	overEach(t, func(t *testing.T, p protocol) {
		app := startApplication(t)
		f := p.open(t, app.config())
		transport := f.transport(t)
		ctx, hangUp := context.WithCancel(t.Context())
		defer hangUp()
		var group sync.WaitGroup
		for i := range clients {
			group.Go(func() {
				resp, err := f.open(ctx, transport, http.MethodGet, fmt.Sprintf("/poll?channel=%d", i), nil)
				if err == nil {
					t.Errorf("poll %d: status %d", i, resp.StatusCode)
				}
			})
			group.Go(func() {
				resp, err := f.open(ctx, transport, http.MethodGet, fmt.Sprintf("/events?channel=%d", i), nil)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
				}
				if err == nil {
					t.Errorf("event stream %d came to its end", i)
				}
			})
		}
		app.await(2 * clients)
		hangUp()
		group.Wait()
		app.await(0)
		if gone := app.state().Gone; gone != 2*clients {
			t.Errorf("%d clients went away, want %d", gone, 2*clients)
		}
	})
}

// The application says no in the middle of an upload, and the client hears it.
func TestUploadRefusedHalfway(t *testing.T) {
	overEach(t, func(t *testing.T, p protocol) {
		app := startApplication(t)
		f := p.open(t, app.config())
		for _, then := range []string{"close", "pause", "read"} {
			for _, framing := range []string{"length", "chunked"} {
				t.Run(then+" "+framing, func(t *testing.T) {
					c := f.client(t)
					for range 5 {
						var body io.Reader = &pattern{left: 64 << 20}
						req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/refuse?then="+then, body)
						if err != nil {
							t.Fatal(err)
						}
						if framing == "length" {
							req.ContentLength = 64 << 20
						}
						resp, err := c.http.Do(req)
						if err != nil {
							t.Fatal(err)
						}
						text, err := io.ReadAll(resp.Body)
						_ = resp.Body.Close()
						if resp.StatusCode != http.StatusRequestEntityTooLarge || string(text) != "too large" || err != nil {
							t.Errorf("status %d %q, %v", resp.StatusCode, text, err)
						}
					}
				})
			}
		}
	})
}

// pattern is a long text in which every place is known, so that nothing can be
// lost, doubled or swapped unseen; the application knows it too.
type pattern struct {
	left int64
	at   int64
	tick func() // called now and then
}

const patternBlock = 64 << 10

// patternAt fills p, at most up to the end of a block, with what stands at an offset.
func patternAt(p []byte, at int64) int {
	from := int(at % patternBlock)
	n := min(len(p), patternBlock-from)
	for done := 0; done < n; {
		if from+done < 8 {
			p[done] = byte(at / patternBlock >> (56 - 8*(from+done))) // the number, big-endian
			done++
			continue
		}
		done += copy(p[done:n], patternText[from+done:])
	}
	return n
}

var patternText = bytes.Repeat([]byte("sixty-four kilobytes of it. "), patternBlock/28+1)[:patternBlock]

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := patternAt(b[:min(int64(len(b)), p.left)], p.at)
	p.advance(n)
	return n, nil
}

// Write takes what must go on with the pattern.
func (p *pattern) Write(b []byte) (int, error) {
	var want [patternBlock]byte
	for done := 0; done < len(b); {
		n := patternAt(want[:min(len(want), len(b)-done)], p.at)
		if !bytes.Equal(b[done:done+n], want[:n]) {
			return done, fmt.Errorf("other bytes from offset %d on", p.at)
		}
		p.advance(n)
		done += n
	}
	return len(b), nil
}

func (p *pattern) advance(n int) {
	before := p.at
	p.at += int64(n)
	p.left -= int64(n)
	if p.tick != nil && before>>22 != p.at>>22 {
		p.tick()
	}
}

// memory returns the resident memory of a process in bytes.
func memory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kilobytes int64
	if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
		t.Fatalf("no VmRSS in %s", status)
	}
	return kilobytes << 10
}

// Large bodies pass in both directions, and are never kept.
func TestLargeBodies(t *testing.T) {
	const most, growth = 150 << 20, 50 << 20
	overEach(t, func(t *testing.T, p protocol) {
		app := startApplication(t)
		f := p.open(t, app.config())
		transport := f.transport(t)
		before, peak := memory(t, f.cmd.Process.Pid), int64(0)
		look := func() { peak = max(peak, memory(t, f.cmd.Process.Pid)) }
		for framing, chunked := range map[string]bool{"by length": false, "chunked": true} {
			size := int64(1 << 30)
			if chunked {
				size = int64(rounds(1<<28, 1<<30))
			}
			t.Run("download "+framing, func(t *testing.T) {
				f.download(t, transport, &pattern{left: size, tick: look}, chunked)
			})
			t.Run("upload "+framing, func(t *testing.T) {
				f.upload(t, transport, &pattern{left: size, tick: look}, chunked)
			})
		}
		t.Logf("memory: %d MiB before, at most %d MiB", before>>20, peak>>20)
		if peak == 0 || peak > most || peak-before > growth {
			t.Errorf("memory goes from %d to %d MiB", before>>20, peak>>20)
		}
	})
}

func (f *front) download(t *testing.T, transport http.RoundTripper, want *pattern, chunked bool) {
	t.Helper()
	size, path := want.left, fmt.Sprintf("/download?bytes=%d", want.left)
	declared := size
	if chunked {
		path, declared = path+"&chunked", -1
	}
	resp, err := f.open(t.Context(), transport, http.MethodGet, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(want, resp.Body); err != nil || n != size || resp.ContentLength != declared {
		t.Errorf("%d bytes, %d declared: %v", n, resp.ContentLength, err)
	}
}

func (f *front) upload(t *testing.T, transport http.RoundTripper, body *pattern, chunked bool) {
	t.Helper()
	size := body.left
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/upload", body)
	if err != nil {
		t.Fatal(err)
	}
	declared := ""
	if !chunked {
		req.ContentLength, declared = size, strconv.FormatInt(size, 10)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got struct {
		Bytes    int64
		Intact   bool
		Declared string
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.Bytes != size || !got.Intact || got.Declared != declared {
		t.Errorf("status %d, the application got %+v, %v", resp.StatusCode, got, err)
	}
}
