package proxy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/internal/corpus"
)

type vector struct {
	ID, Tier, Level, Expect, Note, Desc, Raw string
}

// vectorFiles are the sets of requests of testdata/http.
var vectorFiles = []string{"desync-guardian.json", "http11probe.json", "te-gadgets.json"}

func vectors(t testing.TB, file string) []vector {
	b, err := os.ReadFile(corpus.Path(t, "http", file))
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// wire is one character per byte.
func (v vector) wire(host string) string {
	b := make([]byte, 0, len(v.Raw))
	for _, r := range v.Raw {
		b = append(b, byte(r))
	}
	return strings.ReplaceAll(string(b), "localhost:8080", host)
}

// recorder is a keep-alive origin that parses strictly what it gets, and keeps it.
type recorder struct {
	mu       sync.Mutex
	requests []string // heads as received
	dirty    []string // what no strict server would have got
	complete []message
	begun    []string // first words of requests that broke off; of the test alone
}

func (r *recorder) take() (requests, dirty []string, complete []message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	requests, dirty, complete = r.requests, r.dirty, r.complete
	r.requests, r.dirty, r.complete = nil, nil, nil
	return
}

var cleanLine = regexp.MustCompile("^[!#$%&'*+.^`|~0-9A-Za-z-]+: ?[^\\x00-\\x08\\x0a-\\x1f\\x7f]*\r\n$")

func (r *recorder) serve(br *bufio.Reader, c net.Conn) {
	for {
		head, err := readRequest(br)
		if err != nil {
			if head != "" {
				r.note(&r.dirty, "a request that ends in its head: "+head)
			}
			return
		}
		r.note(&r.requests, head)
		lines := strings.SplitAfter(head, "\r\n")
		for _, line := range lines[1 : len(lines)-2] {
			if !cleanLine.MatchString(line) {
				r.note(&r.dirty, line)
			}
		}
		if !regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-~]+ HTTP/1\\.1\r\n$").MatchString(lines[0]) {
			r.note(&r.dirty, lines[0])
		}
		req, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(head), br)))
		if err != nil {
			r.note(&r.dirty, "unreadable: "+head)
			return
		}
		if req.ContentLength > 0 && len(req.TransferEncoding) > 0 || len(req.TransferEncoding) > 1 {
			r.note(&r.dirty, "two framings: "+head)
		}
		m := message{method: req.Method, target: req.RequestURI}
		// Reading through req.Body would take bytes of the next request into its
		// buffer, so the body is read by hand.
		if m.body, m.trailers, err = readBody(br, req); err != nil {
			return
		}
		r.mu.Lock()
		r.complete = append(r.complete, m)
		r.mu.Unlock()
		if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
}

func (r *recorder) note(list *[]string, s string) {
	r.mu.Lock()
	*list = append(*list, s)
	r.mu.Unlock()
}

// readBody reads what a clean head announces; a line between chunks is a size alone.
func readBody(br *bufio.Reader, req *http.Request) (body, trailers string, err error) {
	var b strings.Builder
	if len(req.TransferEncoding) == 0 {
		_, err := io.CopyN(&b, br, max(0, req.ContentLength))
		return b.String(), "", err
	}
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return b.String(), "", err
		}
		size, err := strconv.ParseUint(strings.TrimSuffix(line, "\r\n"), 16, 32)
		if err != nil {
			return b.String(), "", err
		}
		if size == 0 {
			trailers, err := readRequest(br)
			return b.String(), strings.TrimSuffix(trailers, "\r\n"), err
		}
		if _, err := io.CopyN(&b, br, int64(size)); err != nil {
			return b.String(), "", err
		}
		if end, err := br.ReadString('\n'); err != nil || end != "\r\n" {
			return b.String(), "", fmt.Errorf("a chunk ends in %q, %v", end, err)
		}
	}
}

// exchangeRaw sends a vector and returns the statuses of the answers and whether
// the server would have closed the connection by itself.
func exchangeRaw(t *testing.T, n *node, wire string) (statuses []string, closed bool) {
	t.Helper()
	answer := n.raw(wire)
	eventually(t, "nothing is in flight", func() bool { return n.server.Stats().InFlight.Load() == 0 })
	for _, m := range regexp.MustCompile(`HTTP/1\.1 (\d\d\d)`).FindAllStringSubmatch(answer, -1) {
		statuses = append(statuses, m[1])
	}
	return statuses, answer == "" || strings.Contains(answer, "\r\nConnection: close\r\n")
}

func isTimeoutError(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// refusable are vectors that their authors call compliant and that are refused
// with good reason.
var refusable = map[string]string{
	"more-compliant-tests#6": "the vector holds only the beginning of the body that it announces",
	"rfc-compliant#9":        "transfer codings that nobody here decodes",
	"rfc-compliant#13":       "a request without a target",
}

// Severe vectors are refused, and nothing ever reaches the origin dirty or twice.
func TestFramingVectors(t *testing.T) {
	n, record := mangledNode(t, plainHTTP1)
	for _, file := range vectorFiles {
		for _, v := range vectors(t, file) {
			statuses, closed := exchangeRaw(t, n, v.wire(n.addr))
			requests, dirty, _ := record.take()
			if len(dirty) > 0 {
				t.Errorf("%s %s: dirty at the origin: %q", file, v.ID, dirty)
			}
			if len(requests) > 1 {
				// One of them may be the vector's before, which was given up late.
				exchangeRaw(t, n, v.wire(n.addr))
				requests, _, _ = record.take()
			}
			for _, request := range requests {
				if strings.Count(request, "\r\nVia: 1.1 sedge\r\n") != 1 {
					t.Errorf("%s %s: not a request of ours at the origin: %q", file, v.ID, request)
				}
			}
			if len(requests) > 1 && !strings.Contains(strings.ToLower(v.ID+v.Desc), "pipelin") {
				t.Errorf("%s %s: %d requests at the origin: %q", file, v.ID, len(requests), requests)
			}
			if last := len(statuses) - 1; len(statuses) > 1 && len(requests) < 2 && statuses[last][0] == '2' && statuses[0] != "100" {
				t.Errorf("%s %s: answers %v", file, v.ID, statuses)
			}
			switch {
			case v.Tier == "Severe", v.Level == "Must" && (v.Expect == "400" || v.Expect == "400 or close"):
				if !closed || len(statuses) > 0 && statuses[0][0] != '4' && statuses[0][0] != '5' {
					t.Errorf("%s %s (%s%s): answers %v, closed %v: %s%s %q", file, v.ID, v.Tier, v.Level, statuses, closed, v.Note, v.Desc, v.Raw[:min(len(v.Raw), 200)])
				}
			case v.Tier == "Compliant" && refusable[v.ID] == "":
				if len(statuses) == 0 || statuses[0] != "200" {
					t.Errorf("%s %s: a compliant request got %v: %s", file, v.ID, statuses, v.Note)
				}
			}
		}
	}
}

// What plain fasthttp lets through.
func TestRefusedHeads(t *testing.T) {
	record := &recorder{}
	n := start(t, rawOrigin(t, record.serve), setup{})
	const head = "GET / HTTP/1.1\r\nHost: x\r\n"
	cases := map[string]string{
		"space in a name":          head + "Transfer- Encoding: chunked\r\n\r\n",
		"space before the colon":   head + "A : b\r\n\r\n",
		"underscore look-alike":    head + "Transfer_Encoding: chunked\r\n\r\n",
		"hyphen look-alike":        head + "Transfer---Encoding: chunked\r\n\r\n",
		"length look-alike":        head + "Content_Length: 3\r\n\r\nabc",
		"HTTP/0.9":                 "GET / HTTP/0.9\r\nHost: x\r\n\r\n",
		"HTTP/1.2":                 "GET / HTTP/1.2\r\nHost: x\r\n\r\n",
		"8-bit target":             "GET /\xe9 HTTP/1.1\r\nHost: x\r\n\r\n",
		"fragment":                 "GET /#a HTTP/1.1\r\nHost: x\r\n\r\n",
		"folded line":              head + "A: b\r\n c\r\n\r\n",
		"user in Host":             "GET / HTTP/1.1\r\nHost: a@x\r\n\r\n",
		"path in Host":             "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n",
		"empty Host":               "GET / HTTP/1.1\r\nHost:\r\n\r\n",
		"no Host":                  "GET / HTTP/1.1\r\n\r\n",
		"two Hosts":                "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
		"identity":                 head + "Transfer-Encoding: identity\r\n\r\n",
		"chunked twice":            head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunked, chunked":         head + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
		"both framings":            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunked in HTTP/1.0":      "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":              "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
		"list of lengths":          "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nabcde",
		"empty length":             "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\n",
		"signed length":            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nabcde",
		"length overflow":          "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"octal length":             "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 010\r\n\r\nabcdefgh",
		"empty name":               head + ": x\r\n\r\n",
		"bare LF":                  "GET / HTTP/1.1\nHost: x\n\n",
		"bare LF in a header":      head + "A: b\nC: d\r\n\r\n",
		"bare CR":                  head + "A: b\rC: d\r\n\r\n",
		"NUL":                      head + "A: b\x00c\r\n\r\n",
		"absolute form disagrees":  "GET http://other/ HTTP/1.1\r\nHost: x\r\n\r\n",
		"user in absolute form":    "GET http://a@x/ HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT":                  "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n",
		"unknown expectation":      "POST / HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\na",
		"expectation with framing": "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: identity\r\nContent-Length: 1\r\n\r\na",
		"very many headers":        head + strings.Repeat("A: b\r\n", maxFields+1) + "\r\n",
		"head too large":           head + "A: " + strings.Repeat("b", 40<<10) + "\r\n\r\n",
	}
	for name, wire := range cases {
		answer := n.raw(wire + "GET /second HTTP/1.1\r\nHost: x\r\n\r\n")
		if strings.Count(answer, "HTTP/1.1 ") > 1 || !regexp.MustCompile(`^(HTTP/1\.1 [45]\d\d )?`).MatchString(answer) || strings.HasPrefix(answer, "HTTP/1.1 2") {
			t.Errorf("%s: %q", name, answer)
		}
		if requests, _, _ := record.take(); len(requests) > 0 {
			t.Errorf("%s: the origin got %q", name, requests)
		}
	}
}

// What is unusual and right passes.
func TestAcceptedHeads(t *testing.T) {
	record := &recorder{}
	n := start(t, rawOrigin(t, record.serve), setup{})
	cases := map[string]string{
		"absolute form": "GET http://x/a?b HTTP/1.1\r\nHost: x\r\n\r\n",
		"8-bit value":   "GET / HTTP/1.1\r\nHost: x\r\nA: \xe9\r\n\r\n",
		"options":       "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
		"HTTP/1.0":      "GET / HTTP/1.0\r\n\r\n",
		"IPv6 host":     "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
		"chunks":        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"expectation":   "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
		"long cookie":   "GET / HTTP/1.1\r\nHost: x\r\nCookie: a=" + strings.Repeat("b", 16<<10) + "\r\n\r\n",
		"odd target":    "GET /a//b/../c%2Fd?x=|{} HTTP/1.1\r\nHost: x\r\n\r\n",
	}
	for name, wire := range cases {
		answer := n.raw(wire)
		requests, dirty, _ := record.take()
		if !strings.Contains(answer, "HTTP/1.1 200") || len(requests) != 1 || len(dirty) != 0 {
			t.Errorf("%s: %q; origin got %q, dirty %q", name, answer, requests, dirty)
		}
		if name == "odd target" && !strings.HasPrefix(requests[0], "GET /a//b/../c%2Fd?x=|{} ") {
			t.Errorf("target was changed: %q", requests)
		}
	}
}

// A body that nobody reads is never taken for the next request.
func TestUnreadBodyIsNoRequest(t *testing.T) {
	record := &recorder{}
	n := start(t, rawOrigin(t, record.serve), setup{})
	smuggled := "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, wire := range map[string]string{
		"reserved path": "POST /_sedge/v1/none HTTP/1.1\r\nHost: x\r\nContent-Length: 37\r\n\r\n" + smuggled,
		"bad method":    "GET /_sedge/v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 37\r\n\r\n" + smuggled,
	} {
		n.raw(wire)
		if requests, _, _ := record.take(); len(requests) > 0 {
			t.Errorf("%s: the origin got %q", name, requests)
		}
	}
}

func TestSlowHeadIsCutOff(t *testing.T) {
	n := start(t, pages(t, "text/plain", "ok"), setup{config: Config{HeaderTimeout: 200 * time.Millisecond}})
	c, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for _, b := range []byte("GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", 1000)) {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond): // the pace of the attack
				_, _ = c.Write([]byte{b})
			}
		}
	}()
	began := time.Now()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if answer, err := io.ReadAll(c); isTimeoutError(err) {
		t.Errorf("still open after %v: %q", time.Since(began), answer)
	}
}

func TestConnectionsPerAddress(t *testing.T) {
	n := start(t, pages(t, "text/plain", "ok"), setup{config: Config{MaxConnectionsPerIP: 2}})
	var conns []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		readAnswer(t, c)
		conns = append(conns, c)
	}
	if answer := n.raw("GET / HTTP/1.1\r\nHost: x\r\n\r\n"); strings.HasPrefix(answer, "HTTP/1.1 200") {
		t.Errorf("a third connection got %q", answer)
	}
	conns[0].Close()
	eventually(t, "room again", func() bool {
		return strings.HasPrefix(n.raw("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 200")
	})
}

// One client has a whole network of addresses over IPv6.
func TestConnectionsPerNetwork(t *testing.T) {
	for ip, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "2001:db8:1:3::1": "2001:db8:1:3::", "fe80::1%eth0": "fe80::",
	} {
		if got := household(netip.MustParseAddr(ip)).String(); got != want {
			t.Errorf("%s: got %s, want %s", ip, got, want)
		}
	}
}

func TestLogsHoldNoBytesOfAttackers(t *testing.T) {
	n := start(t, pages(t, "text/html", shopPage), setup{})
	n.raw("GET /evil%0aline HTTP/1.1\r\nHost: x\r\nCookie: secret=1\r\n\r\n")
	n.raw("EVIL\x01 garbage\r\n\r\n")
	n.get("/?token=secret")
	eventually(t, "logged", func() bool { return strings.Count(n.log.String(), `"msg":"request"`) >= 2 })
	for _, line := range strings.Split(strings.TrimSpace(n.log.String()), "\n") {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil || strings.Contains(line, "secret") || strings.Contains(line, "EVIL") {
			t.Errorf("line %q: %v", line, err)
		}
	}
}

func FuzzCheckHead(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n")
	f.Add("POST http://x/ HTTP/1.0\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
	f.Fuzz(func(t *testing.T, wire string) {
		checkWire(t, wire)
	})
}

// The table of what is guaranteed names tests that exist.
func TestMatrixNamesTests(t *testing.T) {
	matrix, err := os.ReadFile("../docs/HTTP.md")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, room := range []string{".", "upstream", "cache", "../visitor"} {
		files, err := filepath.Glob(room + "/*_test.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", room, len(files), err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(b)
		}
	}
	for _, name := range regexp.MustCompile(`\b(Test|Fuzz|contract)[A-Z]\w*`).FindAllString(string(matrix), -1) {
		if !strings.Contains(source.String(), "func "+name+"(") {
			t.Errorf("there is no %s", name)
		}
	}
}
