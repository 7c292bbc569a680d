package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
)

// ofOneAnswer is what may differ between two answers of one page: who asked, and when.
var ofOneAnswer = regexp.MustCompile(`(X-Request-Id: |Age: |; ttl=|sedge_vid=)[^\r;]*`)

// TestReadyAnswersAreTheSame holds a page that leaves with its head made before against the
// same one on the long way, byte by byte and in the order of its fields.
func TestReadyAnswersAreTheSame(t *testing.T) {
	o := origin(t, func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Content-Type": "text/html; charset=utf-8", "Cache-Control": "public, max-age=600", "ETag": `"v1"`, "Vary": "X-Kind",
			"Server": "origin Content-Length: 0", "Link": "</a.css>; rel=preload", "Age": "3", "Cache-Status": "inner; hit", "Last-Modified": "Mon, 02 Jan 2006 15:04:05 GMT",
			"Surrogate-Key": "a b", "Content-Security-Policy": "img-src *",
		} {
			w.Header().Set(name, value)
		}
		_, _ = io.WriteString(w, shopPage+strings.Repeat("<p>text</p>", 100))
	})
	for name, e := range map[string]*engines{
		"edited": always(text("#hero", "Hi")), "left as it is": always(&decision.Plan{Concerned: true}),
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, o, setup{engines: e})
			_, cookie := n.visitor()
			for client, header := range map[string]string{
				"somebody known": "Cookie: " + cookie + "\r\n", "somebody new": "Accept: text/html\r\n",
				"gzip": "Cookie: " + cookie + "\r\nAccept-Encoding: gzip\r\n", "a bot": "User-Agent: Googlebot\r\n",
			} {
				if !strings.Contains(header, "User-Agent") {
					header += "User-Agent: Mozilla/5.0\r\n"
				}
				ask := func(more string) string {
					return n.raw("GET /page HTTP/1.1\r\nHost: shop.example\r\n" + header + more + "\r\n")
				}
				for range 5 {
					ask("")
				}
				ready, long := ask(""), ask("If-None-Match: \"another\"\r\n")
				got, want := ofOneAnswer.ReplaceAllString(ready, "$1"), ofOneAnswer.ReplaceAllString(long, "$1")
				if got != want || !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
					t.Errorf("%s:\n%s\nand on the long way\n%s", client, got, want)
				}
			}
		})
	}
}

// TestReadyAnswersAreCounted looks at what is recorded of them.
func TestReadyAnswersAreCounted(t *testing.T) {
	exposure := decision.Exposure{Assignment: decision.Assignment{Experiment: "hero", Arm: "a"}}
	plan := text("#hero", "Hi")
	plan.Triggers = []decision.Trigger{{Exposure: exposure, Edits: []int{0}}}
	n := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Cache-Control", "s-maxage=600")
		_, _ = io.WriteString(w, shopPage)
	}), setup{engines: always(plan)})
	_, cookie := n.visitor()
	const rounds = 10
	for range rounds {
		if r := n.get("/", "Cookie", cookie); r.StatusCode != 200 || !strings.Contains(r.body, "Hi") || strconv.Itoa(len(r.body)) != r.Header.Get("Content-Length") {
			t.Fatalf("status %d %v %q", r.StatusCode, r.Header, r.body)
		}
	}
	for _, kind := range []event.Type{event.Page, event.Trigger, event.Delivery} {
		eventually(t, "an event of each answer", func() bool { return len(n.engines.recorded(kind)) == rounds })
	}
	if got := n.server.stats.Personalized.Load(); got != rounds {
		t.Errorf("%d personalized", got)
	}
}

// TestAnotherAnswerInThePlaceOfAReadyOne gives a ready answer up before it has left, as a
// panic behind it does: the one in its place has its own head.
func TestAnotherAnswerInThePlaceOfAReadyOne(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	s := &Server{cfg: Config{IdleTimeout: time.Minute}}
	c := &conn{Conn: server, out: server, server: s}
	var ctx fasthttp.RequestCtx
	body := &madeBody{head: []byte("HTTP/1.1 200 OK\r\n\r\n")}
	body.attach(flowTarget{server: s, down: c})
	c.carry(&ctx, body, 0)
	ctx.Response.Reset()
	const instead = "HTTP/1.1 500 Internal Server Error\r\n\r\n"
	go func() {
		_, _ = c.Write([]byte(instead))
		_ = server.Close()
	}()
	if got, _ := io.ReadAll(client); string(got) != instead {
		t.Errorf("the client got %q", got)
	}
}

// TestReadyHeadsAreTheSameOverEachProtocol lets a page come, and its head be learned, over
// HTTP/2, and asks for it over HTTP/1.1 then.
func TestReadyHeadsAreTheSameOverEachProtocol(t *testing.T) {
	date := time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat)
	n := start(t, origin(t, func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{"Content-Type": "text/html", "Cache-Control": "s-maxage=600", "ETag": `"v1"`, "Date": date} {
			w.Header().Set(name, value)
		}
		_, _ = io.WriteString(w, shopPage)
	}), setup{engines: always(text("#hero", "Hi")), over: overHTTP2})
	_, cookie := n.visitor()
	for range 3 {
		if r := n.get("/", "Cookie", cookie, "Host", "shop.example", "Accept", "text/html"); r.Header.Get("Date") != date {
			t.Errorf("over HTTP/2: %v", r.Header)
		}
	}
	for _, more := range []string{"", "If-None-Match: \"another\"\r\n", ""} {
		c := n.dial()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0\r\nAccept: text/html\r\nConnection: keep-alive\r\nCookie: "+cookie+"\r\n"+more+"\r\n")
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		if got := r.Header["Date"]; len(got) != 1 || got[0] != date {
			t.Errorf("%q: %q; %v", more, got, r.Header)
		}
	}
}
