package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/proxy/upstream"
)

// call begins a call of gRPC whose messages come from body.
func (n *node) call(path string, body io.Reader) *http.Response {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodPost, n.base+path, body)
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	resp, err := n.client.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func plainRoute() []Route {
	no := false
	return []Route{{Upstream: "origin", Personalize: &no}}
}

// Messages pass one by one in both directions, and what ends the call passes behind
// them, on plain routes and on personalized ones.
func TestCallsPass(t *testing.T) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Te") != "trailers" || r.ContentLength != -1 {
			t.Errorf("the origin got %v of %d bytes", r.Header, r.ContentLength)
		}
		h := w.Header()
		h.Set("Content-Type", "application/grpc")
		h.Set("X-Both", "head")
		control := http.NewResponseController(w)
		_ = control.Flush()
		for buffer := make([]byte, 100); ; {
			n, err := r.Body.Read(buffer)
			_, _ = w.Write(buffer[:n])
			_ = control.Flush()
			if err != nil {
				break
			}
		}
		h.Set(http.TrailerPrefix+"Grpc-Status", "0")
		h.Add(http.TrailerPrefix+"X-Both", "1")
		h.Add(http.TrailerPrefix+"X-Both", "2")
	})
	for name, routes := range map[string][]Route{"plain": plainRoute(), "personalized": nil} {
		t.Run(name, func(t *testing.T) {
			// A client that says nothing for longer than others may is not cut.
			n := start(t, o, setup{over: overHTTP2 + toHTTP2, routes: routes, config: Config{IdleTimeout: 200 * time.Millisecond}})
			messages, send := io.Pipe()
			resp := n.call("/s/m", messages)
			for i := range 3 {
				if i == 2 {
					<-time.After(400 * time.Millisecond) // a silent client is what is tested
				}
				message := fmt.Sprintf("message %d", i)
				_, _ = io.WriteString(send, message)
				got := make([]byte, len(message))
				if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != message {
					t.Fatalf("%q %v", got, err)
				}
			}
			_ = send.Close()
			if rest, err := io.ReadAll(resp.Body); len(rest) > 0 || err != nil {
				t.Errorf("after the end: %q %v", rest, err)
			}
			if fmt.Sprint(resp.Header["X-Both"], resp.Trailer) != "[head] map[Grpc-Status:[0] X-Both:[1 2]]" {
				t.Errorf("head %v, trailers %v", resp.Header, resp.Trailer)
			}
		})
	}
}

// A call that Sedge cannot pass on is answered as clients of gRPC understand.
func TestFailedCalls(t *testing.T) {
	down, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down.Close()
	hanging := origin(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for name, test := range map[string]struct {
		setup  setup
		origin string
		status string
		class  int
	}{
		"origin down":   {setup{}, down.Addr().String(), "14", 5},
		"silent origin": {setup{up: upstream.Config{StreamTimeout: 50 * time.Millisecond}}, hanging, "14", 5},
		"overload":      {setup{}, hanging, "14", 5},
		"too large":     {setup{config: Config{MaxBody: 2}}, hanging, "8", 4},
		"no route":      {setup{routes: []Route{{Upstream: "origin", Hosts: []string{"other.example"}}}}, hanging, "12", 4},
	} {
		t.Run(name, func(t *testing.T) {
			test.setup.over = overHTTP2 + toHTTP2
			n := start(t, test.origin, test.setup)
			if name == "overload" {
				n.server.overload.full.Store(true)
			}
			resp := n.call("/s/m", strings.NewReader("message"))
			body, err := io.ReadAll(resp.Body)
			if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/grpc" || resp.Header.Get("Grpc-Status") != test.status ||
				resp.Header.Get("Grpc-Message") == "" || len(body) > 0 || err != nil {
				t.Errorf("%d %v %q %v", resp.StatusCode, resp.Header, body, err)
			}
			eventually(t, "it is counted as what it is", func() bool { return n.server.Stats().Requests[test.class].Load() == 1 })
		})
	}
}

// What calls itself gRPC for the web is plain HTTP.
func TestCallsOfTheWebArePlain(t *testing.T) {
	n := start(t, "127.0.0.1:1", setup{})
	for _, contentType := range []string{"application/grpc-web+proto", "application/grpcx", "text/plain"} {
		if r := n.do("POST", "/", strings.NewReader("x"), "Content-Type", contentType); r.StatusCode != 502 {
			t.Errorf("%s: %d", contentType, r.StatusCode)
		}
	}
}

// An upgrade is refused in so many words where it cannot be carried.
func TestNoUpgradeOverHTTP2(t *testing.T) {
	n := start(t, pages(t, "text/plain", "ok"), setup{over: plainHTTP1 + toHTTP2})
	c := n.dial()
	fmt.Fprint(c, "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNotImplemented || !strings.Contains(n.log.String(), "upgrade refused") {
		t.Errorf("%s, log %s", resp.Status, n.log)
	}
}
