package proxy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// smuggled is what an attacker would have the origin see as a request.
const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\nX: "

// mangledNode runs Sedge before a recording keep-alive origin.
func mangledNode(t testing.TB, over protocol) (*node, *recorder) {
	record := &recorder{}
	n := start(t, rawOrigin(t, record.serve), setup{over: over, config: Config{HeaderTimeout: 10 * time.Second, IdleTimeout: 10 * time.Second}})
	return n, record
}

// verdict is what must become of a request.
type verdict uint8

const (
	refused verdict = iota // 4xx or 5xx, or closed, and nothing whole at the origin
	passed                 // 200, and the origin has just this request
	either                 // as long as the origin has nothing that was not sent
)

// judge sends bytes and checks what came of them at both ends.
func judge(t *testing.T, n *node, record *recorder, name, wire string, want verdict) {
	t.Helper()
	answer := n.raw(wire)
	// A refused upload is noticed at the origin when its connection closes.
	if want != passed {
		eventually(t, "nothing is in flight", func() bool { return n.server.Stats().InFlight.Load() == 0 })
	}
	heads, dirty, complete := record.take()
	if len(dirty) > 0 {
		t.Errorf("%s: dirty at the origin: %q", name, dirty)
	}
	whole, begun := strictMessages([]byte(wire))
	if wrong := record.unaccounted(whole, begun, heads, complete); len(wrong) > 0 {
		t.Errorf("%s: the origin got what was not sent: %q", name, wrong)
	}
	if strings.Contains(fmt.Sprint(complete), "smuggled") && want != passed {
		t.Errorf("%s: the origin got the smuggled request: %q", name, complete)
	}
	ok := strings.HasPrefix(answer, "HTTP/1.1 200 ")
	switch {
	case want == refused && (ok || len(complete) > 0 || answer != "" && answer[9] != '4' && answer[9] != '5'):
		t.Errorf("%s: passed: answer %.80q, origin %q", name, answer, complete)
	case want == passed && (!ok || len(complete) == 0):
		t.Errorf("%s: refused: answer %.300q, origin %q", name, answer, heads)
	}
}

// HAZARDS TE.TE, CL.TE, TE.CL: a coding that one server reads and another does not.
// Every byte that is no letter stands once at every place of the line.
func TestMangledTransferEncoding(t *testing.T) {
	t.Parallel()
	n, record := mangledNode(t, plainHTTP1)
	places := map[string]string{
		"before the name": "%sTransfer-Encoding: chunked", "in the name": "Transfer%s-Encoding: chunked",
		"behind the name": "Transfer-Encoding%s: chunked", "before the value": "Transfer-Encoding:%schunked",
		"in the value": "Transfer-Encoding: chu%snked", "behind the value": "Transfer-Encoding: chunked%s",
	}
	chunked := "1\r\nZ\r\n0\r\n\r\n"
	shapes := map[string]string{
		"CL.TE": "Content-Length: 6\r\n%s\r\n\r\n0\r\n\r\nX",
		"TE.CL": "%s\r\nContent-Length: 4\r\n\r\n5c\r\n" + smuggled + "\r\n0\r\n\r\n",
		"TE":    "%s\r\n\r\n" + chunked + smuggled + "\r\n\r\n",
	}
	for place, line := range places {
		for b := 0; b <= 0xff; b++ {
			if b == ':' && place == "in the name" || b >= 0x21 && b < 0x7f && !strings.ContainsRune("\"(),;:=_-!", rune(b)) {
				continue
			}
			mangled := fmt.Sprintf(line, string([]byte{byte(b)}))
			for shape, rest := range shapes {
				want := refused
				blank := b == ' ' || b == '\t'
				if shape == "TE" && blank && (place == "before the value" || place == "behind the value") {
					want = passed // optional white space
				}
				judge(t, n, record, fmt.Sprintf("%s, %#x %s", shape, b, place), "POST / HTTP/1.1\r\nHost: x\r\n"+fmt.Sprintf(rest, mangled), want)
			}
		}
	}
	for _, line := range []string{
		"Transfer-Encoding: ", "Transfer-Encoding: ,", "Transfer-Encoding: ,,", "Transfer-Encoding: chunked,", "Transfer-Encoding: ,chunked",
		"Transfer-Encoding: chunked, chunked", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity, chunked", "Transfer-Encoding: gzip, chunked",
		"Transfer-Encoding: chunked, gzip", "Transfer-Encoding: identity", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunkedx", "Transfer-Encoding: chunk",
		`Transfer-Encoding: "chunked"`, "Transfer-Encoding: 'chunked'", "Transfer-Encoding: chunked;q=1", "Transfer-Encoding: chunked; a", "Transfer-Encoding: chunked chunked",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding:", "Transfer-Encoding:\r\n chunked", "Transfer-Encoding: chunked\r\n ", "Transfer-Encoding: chunked\r\n\tx", "Transfer-Encoding:\n chunked",
		"X: y\nTransfer-Encoding: chunked", "X: y\rTransfer-Encoding: chunked", "X: y\r\r\nTransfer-Encoding: chunked", "X: y\x00\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\n", "Transfer-Encoding : chunked",
		"Transfer Encoding: chunked", "Transfer-Encoding\r\n: chunked", "Transfer-Encoding; chunked", "Transfer-Encoding= chunked", "Transfer-Encoding chunked", "Transfer_Encoding: chunked", "TransferEncoding: chunked",
		"Transfer--Encoding: chunked", "Transfer-Encoding-: chunked", "-Transfer-Encoding: chunked", "Transfer.Encoding: chunked", "transfer_encoding: chunked", ": chunked",
	} {
		for _, length := range []string{"", "Content-Length: 5\r\n"} {
			judge(t, n, record, line, "POST / HTTP/1.1\r\nHost: x\r\n"+length+line+"\r\n\r\n0\r\n\r\n"+smuggled+"\r\n\r\n", refused)
		}
	}
	for _, line := range []string{"transfer-encoding: chunked", "TRANSFER-ENCODING: CHUNKED", "Transfer-Encoding:chunked", "Transfer-Encoding: \t Chunked \t"} {
		judge(t, n, record, line, "POST / HTTP/1.1\r\nHost: x\r\n"+line+"\r\n\r\n"+chunked, passed)
	}
}

// HAZARDS: empty or comma-only Content-Length, overflow; a length read in two ways.
func TestMangledContentLength(t *testing.T) {
	n, record := mangledNode(t, plainHTTP1)
	const body = "abcde"
	for value, want := range map[string]verdict{
		"5": passed, " 5": passed, "5 ": passed, "\t5\t": passed,
		"+5": refused, "-5": refused, "-0": refused, "0x5": refused, "0o5": refused, "0b1": refused, "5.0": refused, "5e0": refused, "5a": refused, "a5": refused, "5_0": refused,
		"5 5": refused, "5,5": refused, "5, 5": refused, "5, 6": refused, ",5": refused, "5,": refused, ",": refused, ",,": refused, "": refused, " ": refused, "5;": refused, `"5"`: refused, "'5'": refused,
		"05": refused, "00": refused, "005": refused, "0000000000000000000005": refused, "9223372036854775807": refused, "9223372036854775808": refused,
		"18446744073709551615": refused, "18446744073709551616": refused, "18446744073709551621": refused, "4294967301": refused, "99999999999999999999999": refused,
		"5\x00": refused, "\x005": refused, "5\x0b": refused, "5\x0c": refused, "\x0b5": refused, "5\x7f": refused, "5\xa0": refused, "\xa05": refused, "\xef\xbc\x95": refused, "5\r": refused, "\n 5": refused, "\r\n 5": refused, "5\r\n ": refused,
		"5\r\nContent-Length: 5": refused, "5\r\nContent-Length: 0": refused, "0\r\nContent-Length: 5": refused, "5\r\ncontent-length: 6": refused, "5\r\nTransfer-Encoding: chunked": refused, "5\r\nContent-Length:": refused,
	} {
		judge(t, n, record, fmt.Sprintf("%q", value), "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length:"+value+"\r\n\r\n"+body, want)
	}
	for _, name := range []string{"Content_Length", "ContentLength", "Content--Length", "Content-Length ", " Content-Length", "\tContent-Length", "Content-Length\x00", "Content\x0b-Length", "Content-Length\x0b", "Content Length", "\xefContent-Length", "Content-Length-"} {
		judge(t, n, record, name, "POST /a HTTP/1.1\r\nHost: x\r\n"+name+": 45\r\n\r\n"+smuggled+"y\r\n\r\n", refused)
	}
}

func TestMangledRequestLine(t *testing.T) {
	n, record := mangledNode(t, plainHTTP1)
	for line, want := range map[string]verdict{
		"GET /a HTTP/1.1": passed, "get /a HTTP/1.1": either, "FOO /a HTTP/1.1": passed, "M-SEARCH /a HTTP/1.1": passed, "GET /a?b=c&d=/../ HTTP/1.1": passed, "GET http://x/a HTTP/1.1": passed, "GET HTTP://x/a HTTP/1.1": passed, "GET http://X/a HTTP/1.1": passed, "OPTIONS * HTTP/1.1": passed,
		"GET  /a HTTP/1.1": refused, "GET /a  HTTP/1.1": refused, "GET\t/a HTTP/1.1": refused, "GET /a\tHTTP/1.1": refused, " GET /a HTTP/1.1": refused, "\tGET /a HTTP/1.1": refused, "GET /a HTTP/1.1 ": refused, "GET /a HTTP/1.1\t": refused, "GET /a\x0bb HTTP/1.1": refused,
		"GET /a b HTTP/1.1": refused, "GET HTTP/1.1": refused, "GET  HTTP/1.1": refused, "GET /a": refused, "GET": refused, "": refused, "/a HTTP/1.1": refused, "GET a HTTP/1.1": refused, "GET ?a HTTP/1.1": refused, "GET * HTTP/1.1": refused, "OPTIONS ** HTTP/1.1": refused, "GET x:80 HTTP/1.1": refused, "CONNECT x:80 HTTP/1.1": refused, "CONNECT / HTTP/1.1": refused, "TRACE / HTTP/1.1": refused,
		"GET /a HTTP/1.2": refused, "GET /a HTTP/2.0": refused, "GET /a HTTP/0.9": refused, "GET /a HTTP/1.": refused, "GET /a HTTP/1.10": refused, "GET /a HTTP/01.1": refused, "GET /a HTTP/11": refused, "GET /a http/1.1": refused, "GET /a HTTP/1,1": refused, "GET /a HTTP /1.1": refused, "GET /a XTTP/1.1": refused, "GET /a HTTP/1.1\x00": refused, "GET /a HTTP/-1.1": refused, "GET /a HTTP/1.1x": refused,
		"GET http://y/a HTTP/1.1": refused, "GET http://x:81/a HTTP/1.1": refused, "GET http://u@x/a HTTP/1.1": refused, "GET http:///a HTTP/1.1": refused, "GET http:/a HTTP/1.1": refused, "GET ://x/a HTTP/1.1": refused, "GET ftp://x/a HTTP/1.1": refused, "GET x://x/a HTTP/1.1": refused, "GET http://x#/a HTTP/1.1": refused, "GET http://x\\@y/a HTTP/1.1": refused,
		"GET /a\x00 HTTP/1.1": refused, "GET /\x7f HTTP/1.1": refused, "GET /\x80 HTTP/1.1": refused, "GET /\xff HTTP/1.1": refused, "GET /\x01 HTTP/1.1": refused, "GET /a#b HTTP/1.1": refused, "GET /a\r HTTP/1.1": refused, "GET /a\nX: HTTP/1.1": refused,
		"G\x00ET /a HTTP/1.1": refused, "GE T /a HTTP/1.1": refused, "G(T /a HTTP/1.1": refused, "\xefGET /a HTTP/1.1": refused, "GET:/a HTTP/1.1": refused, "PRI * HTTP/2.0": refused,
	} {
		judge(t, n, record, fmt.Sprintf("%q", line), line+"\r\nHost: x\r\n\r\n", want)
	}
	for wire, want := range map[string]verdict{
		"GET /a HTTP/1.1\nHost: x\n\n": refused, "GET /a HTTP/1.1\nHost: x\r\n\r\n": refused, "\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n": refused, "GET /a HTTP/1.0\nA: b\r\n\r\n": refused, "GET /a HTTP/1.1\r\nHost: x\r\n\n": refused, "GET /a HTTP/1.1\r\nHost: x\n\r\n": refused, "GET /a HTTP/1.1\rHost: x\r\r": refused, "GET /a HTTP/1.1\n\rHost: x\n\r\n\r": refused,
		"\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n": either, "\r\n\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n": either, "\x00GET /a HTTP/1.1\r\nHost: x\r\n\r\n": refused, "\xef\xbb\xbfGET /a HTTP/1.1\r\nHost: x\r\n\r\n": refused,
		"GET /a HTTP/1.1\r\n Host: x\r\n\r\n": refused, "GET /a HTTP/1.1\r\n\r\nHost: x\r\n\r\n": refused, "GET /a HTTP/1.1\r\nHost: x": refused, "GET /a HTTP/1.1\r\nHost: x\r\n": refused,
	} {
		judge(t, n, record, fmt.Sprintf("%q", wire), wire, want)
	}
	for host, want := range map[string]verdict{
		"x": passed, "X": passed, "x:80": passed, "x:": passed, "[::1]": passed, "[::1]:80": passed, "1.2.3.4": passed, "a_b.example": passed,
		"": refused, " ": refused, "x y": refused, "x,y": refused, "x/y": refused, "x?y": refused, "x#y": refused, "x@y": refused, "u:p@x": refused, "x:80:80": refused, "x:a": refused, "x:-1": refused, ":80": refused, "[::1": refused, "[::1]x": refused, "[]": refused, "x\x00": refused, "x\x0b": refused, "x\\y": refused, "x%2fy": refused, "x\r\nHost: x": refused, "x\r\nhost: y": refused, "\xe9": refused, "x;y": refused, "'x'": refused, "<x>": refused, strings.Repeat("x", 300): refused,
	} {
		judge(t, n, record, fmt.Sprintf("Host %.20q", host), "GET /a HTTP/1.1\r\nHost: "+host+"\r\n\r\n", want)
	}
}

func TestMangledChunks(t *testing.T) {
	n, record := mangledNode(t, plainHTTP1)
	for body, want := range map[string]verdict{
		"0\r\n\r\n": passed, "5\r\nhello\r\n0\r\n\r\n": passed, "a\r\n0123456789\r\n0\r\n\r\n": passed, "A\r\n0123456789\r\n0\r\n\r\n": passed, "00005\r\nhello\r\n000\r\n\r\n": passed,
		"5;a\r\nhello\r\n0\r\n\r\n": passed, "5;a=b\r\nhello\r\n0;c\r\n\r\n": passed, "5;a=\"b;\\\"c\"\r\nhello\r\n0\r\n\r\n": passed, "5 ; a = b\r\nhello\r\n0\r\n\r\n": passed, "5;a;b=c\r\nhello\r\n0\r\n\r\n": passed,
		"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n": passed, "5\r\nhello\r\n0\r\nHost: y\r\nContent-Length: 5\r\n\r\n": either,
		"0x5\r\nhello\r\n0\r\n\r\n": refused, "+5\r\nhello\r\n0\r\n\r\n": refused, "-5\r\nhello\r\n0\r\n\r\n": refused, "-0\r\n\r\n": refused, " 5\r\nhello\r\n0\r\n\r\n": refused, "5 \r\nhello\r\n0\r\n\r\n": refused, "5\t\r\nhello\r\n0\r\n\r\n": refused, "5 5\r\nhello\r\n0\r\n\r\n": refused, "5_0\r\nhello\r\n0\r\n\r\n": refused, "g\r\nhello\r\n0\r\n\r\n": refused, "\r\nhello\r\n0\r\n\r\n": refused, ";a\r\nhello\r\n0\r\n\r\n": refused, "5h\r\nhello\r\n0\r\n\r\n": refused, "5,\r\nhello\r\n0\r\n\r\n": refused, "5.0\r\nhello\r\n0\r\n\r\n": refused, `"5"` + "\r\nhello\r\n0\r\n\r\n": refused,
		"5;bad[=x\r\nhello\r\n0\r\n\r\n": refused, "5;\r\nhello\r\n0\r\n\r\n": refused, "5;=b\r\nhello\r\n0\r\n\r\n": refused, "5;a=\r\nhello\r\n0\r\n\r\n": refused, "5;a=\"b\r\nhello\r\n0\r\n\r\n": refused, "5;a\rb\r\nhello\r\n0\r\n\r\n": refused, "5;a\nhello\r\n0\r\n\r\n": refused, "5;a\x00\r\nhello\r\n0\r\n\r\n": refused, "5;" + strings.Repeat("a", 64<<10) + "\r\nhello\r\n0\r\n\r\n": refused, "5 a\r\nhello\r\n0\r\n\r\n": refused,
		"5\nhello\r\n0\r\n\r\n": refused, "5\r\nhello\n0\r\n\r\n": refused, "5\rhello\r\n0\r\n\r\n": refused, "5\r\nhello0\r\n\r\n": refused, "5\r\nhello\r0\r\n\r\n": refused, "5\r\nhelloX\r\n0\r\n\r\n": refused, "5\r\nhell\r\n0\r\n\r\n": refused, "5\r\nhello\r\n0\n\n": refused, "5\r\nhello\r\n0\r\n\n": refused, "5\r\nhello\r\n\r\n0\r\n\r\n": refused,
		"5\r\nhello\r\n": refused, "5\r\nhello\r\n0\r\n": refused, "5\r\nhello\r\n0": refused, "5\r\nhel": refused, "5\r\n": refused, "5": refused, "": refused,
		"fffffffffffffffff\r\nhello\r\n0\r\n\r\n": refused, "ffffffffffffffff\r\nhello\r\n0\r\n\r\n": refused, "7fffffffffffffff\r\nhello\r\n0\r\n\r\n": refused, "10000000000000005\r\nhello\r\n0\r\n\r\n": refused, "100000005\r\nhello\r\n0\r\n\r\n": refused, strings.Repeat("0", 20) + "5\r\nhello\r\n0\r\n\r\n": refused,
		"5\r\nhello\r\n0\r\nX : 1\r\n\r\n": refused, "5\r\nhello\r\n0\r\nX\r\n\r\n": refused, "5\r\nhello\r\n0\r\n X: 1\r\n\r\n": refused, "5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n": refused, "5\r\nhello\r\n0\r\nX: a\rb\r\n\r\n": refused, "5\r\nhello\r\n0\r\nX: a\x00\r\n\r\n": refused, "5\r\nhello\r\n0\r\nX: a\n\n": refused, "5\r\nhello\r\n0\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n": refused,
	} {
		judge(t, n, record, fmt.Sprintf("%.60q", body), "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"+body, want)
	}
}

// HAZARDS CL.0 and 0.CL, early bytes of an upgrade, HTTP/1.0 with a coding,
// pipelining: what stands behind a request is the next one or nothing.
func TestWhatFollowsARequest(t *testing.T) {
	t.Parallel()
	n, record := mangledNode(t, plainHTTP1)
	get := "GET /b HTTP/1.1\r\nHost: x\r\n\r\n"
	inner := get + "padding"
	for name, c := range map[string]struct {
		wire string
		want []message
	}{
		"pipelined":                 {"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" + get + get, []message{{method: "GET", target: "/a"}, {method: "GET", target: "/b"}, {method: "GET", target: "/b"}}},
		"behind a body":             {"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + get, []message{{method: "POST", target: "/a", body: "abc"}, {method: "GET", target: "/b"}}},
		"behind chunks":             {"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + get, []message{{method: "POST", target: "/a", body: "abc"}, {method: "GET", target: "/b"}}},
		"behind trailers":           {"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n" + get, []message{{"POST", "/a", "abc", "X: y\r\n"}, {method: "GET", target: "/b"}}},
		"bodies one after another":  {strings.Repeat("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 2) + get, []message{{method: "POST", target: "/a", body: "abc"}, {method: "POST", target: "/a", body: "abc"}, {method: "GET", target: "/b"}}},
		"CL.0: a GET with a body":   {"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 35\r\n\r\n" + inner + get, []message{{method: "GET", target: "/a", body: inner}, {method: "GET", target: "/b"}}},
		"0.CL: an expectation":      {"GET /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 35\r\n\r\n" + inner + get, []message{{method: "GET", target: "/a", body: inner}, {method: "GET", target: "/b"}}},
		"0.CL: expectation, spaced": {"POST /a HTTP/1.1\r\nHost: x\r\nExpect:  100-Continue \r\nContent-Length: 3\r\n\r\nabc" + get, []message{{method: "POST", target: "/a", body: "abc"}, {method: "GET", target: "/b"}}},
		"expectation of nothing":    {"GET /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n" + get, []message{{method: "GET", target: "/a"}, {method: "GET", target: "/b"}}},
		"another expectation":       {"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue, x\r\nContent-Length: 35\r\n\r\n" + get, nil},
		"two expectations":          {"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nExpect: y\r\nContent-Length: 35\r\n\r\n" + get, nil},
		"a mangled expectation":     {"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\x0b\r\nContent-Length: 35\r\n\r\n" + get, nil},
		"an upgrade with a body":    {"POST /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc" + get, []message{{method: "POST", target: "/a", body: "abc"}, {method: "GET", target: "/b"}}},
		"an upgrade to h2c":         {"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n" + get, []message{{method: "GET", target: "/a"}, {method: "GET", target: "/b"}}},
		"HTTP/1.0 ends":             {"GET /a HTTP/1.0\r\nHost: x\r\n\r\n" + get, []message{{method: "GET", target: "/a"}}},
		"HTTP/1.0 goes on":          {"GET /a HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n" + get, []message{{method: "GET", target: "/a"}, {method: "GET", target: "/b"}}},
		"HTTP/1.0 with a body":      {"POST /a HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc" + get, []message{{method: "POST", target: "/a", body: "abc"}, {method: "GET", target: "/b"}}},
		"HTTP/1.0 with a coding":    {"POST /a HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get, nil},
		"Connection: close":         {"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + get, []message{{method: "GET", target: "/a"}}},
		"behind a refused one":      {"GET /a HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n" + get, nil},
		"behind a broken body":      {"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n" + get, nil},
		"behind our own answer":     {"POST /_sedge/v1/none HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + get, []message{{method: "GET", target: "/b"}}},
		"behind ours, in chunks":    {"POST /_sedge/v1/none HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + get, []message{{method: "GET", target: "/b"}}},
		"behind ours, broken":       {"POST /_sedge/v1/none HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc0\r\n\r\n" + get, nil},
		"behind ours, unasked":      {"POST /_sedge/v1/none HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 35\r\n\r\n" + get + get, nil},
		"behind ours, large":        {"POST /_sedge/v1/none HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1000000) + get, nil},
	} {
		t.Run(name, func(t *testing.T) {
			n.raw(c.wire)
			eventually(t, "nothing is in flight", func() bool { return n.server.Stats().InFlight.Load() == 0 })
			_, dirty, complete := record.take()
			if fmt.Sprint(complete) != fmt.Sprint(c.want) || len(dirty) > 0 {
				t.Errorf("the origin got %q, want %q; dirty %q", complete, c.want, dirty)
			}
		})
	}
}

// However a message is cut into pieces, it is the same message.
func TestPiecesMeanTheSame(t *testing.T) {
	t.Parallel()
	n, record := mangledNode(t, plainHTTP1)
	wire := "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n" +
		"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	want := fmt.Sprint([]message{{"POST", "/a", "abc", "X: y\r\n"}, {method: "POST", target: "/b", body: "abc"}, {method: "GET", target: "/c"}})
	for step := 1; step <= len(wire); step++ {
		c := dialNode(t, n)
		for rest := wire; len(rest) > 0; rest = rest[min(step, len(rest)):] {
			if _, err := c.Write([]byte(rest[:min(step, len(rest))])); err != nil {
				t.Fatal(err)
			}
		}
		answers := readAll(c)
		if _, dirty, complete := record.take(); fmt.Sprint(complete) != want || len(dirty) > 0 || strings.Count(answers, "HTTP/1.1 200") != 3 {
			t.Fatalf("in pieces of %d: the origin got %q, dirty %q; answers %q", step, complete, dirty, answers)
		}
	}
}

// mutate changes a few bytes as an attacker would.
func mutate(r *rand.Rand, wire []byte) []byte {
	wire = append([]byte(nil), wire...)
	special := []string{"\r", "\n", "\r\n", " ", "\t", "\x00", "\x0b", ":", ",", ";", "0", "chunked", "Transfer-Encoding: chunked\r\n", "Content-Length: 5\r\n", "\r\n\r\n", smuggled + "\r\n\r\n", "Expect: 100-continue\r\n", "\x80", "HTTP/1.1", "+", "0x"}
	for range 1 + r.IntN(3) {
		at := r.IntN(len(wire) + 1)
		switch piece := special[r.IntN(len(special))]; r.IntN(4) {
		case 0:
			wire = append(wire[:at:at], append([]byte(piece), wire[at:]...)...)
		case 1:
			if end := min(len(wire), at+1+r.IntN(4)); at < end {
				wire = append(wire[:at:at], wire[end:]...)
			}
		case 2:
			if at < len(wire) {
				wire[at] ^= 1 << r.IntN(8)
			}
		default:
			end := min(len(wire), at+r.IntN(40))
			wire = append(wire[:end:end], append(append([]byte(nil), wire[at:end]...), wire[end:]...)...)
		}
	}
	return wire
}

// checkBytes sends whatever bytes and compares the origin's view with that of a
// strict parser.
func checkBytes(t *testing.T, n *node, record *recorder, wire string) {
	n.t = t // a fuzz target may not use the test around it
	n.raw(wire)
	eventually(t, "nothing is in flight", func() bool { return n.server.Stats().InFlight.Load() == 0 })
	heads, dirty, complete := record.take()
	whole, begun := strictMessages([]byte(wire))
	if wrong := record.unaccounted(whole, begun, heads, complete); len(wrong) > 0 || len(dirty) > 0 {
		t.Fatalf("of %q the origin got what was not sent: %q, dirty %q", wire, wrong, dirty)
	}
}

// shortVectors returns what is worth changing at random.
func shortVectors(t testing.TB) (wires []string) {
	for _, file := range vectorFiles {
		for _, v := range vectors(t, file) {
			if wire := v.wire("x"); len(wire) < 4<<10 {
				wires = append(wires, wire)
			}
		}
	}
	return wires
}

// Neighbours of all vectors, found by chance: the origin sees what a strict parser
// sees, or less.
func TestNeighboursOfVectors(t *testing.T) {
	t.Parallel()
	n, record := mangledNode(t, plainHTTP1)
	r := rand.New(rand.NewPCG(1, 2))
	seeds := shortVectors(t)
	for range 1500 {
		checkBytes(t, n, record, string(mutate(r, []byte(seeds[r.IntN(len(seeds))]))))
	}
}

func FuzzRequestBytes(f *testing.F) {
	for _, wire := range shortVectors(f) {
		f.Add(wire)
	}
	f.Add("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\nGET /c HTTP/1.1\r\nHost: x\r\n\r\n")
	n, record := mangledNode(f, plainHTTP1)
	f.Fuzz(func(t *testing.T, wire string) {
		if len(wire) > 64<<10 {
			return
		}
		checkBytes(t, n, record, wire)
	})
}
