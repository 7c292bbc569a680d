package e2e

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// canarySite is an origin with pages of each kind that a cache must tell apart. Which
// they are is fixed by what is asked, so answers can be checked byte for byte.
type canarySite struct {
	base    string
	version atomic.Int64 // of all pages; it grows
	asked   atomic.Int64
}

// canaryKind is a kind of page. All its pages are PATH/KIND/NAME, below any PATH.
type canaryKind struct {
	control  string // Cache-Control
	vary     string // the one request header that the page depends on besides Accept-Encoding
	echo     bool   // it shows the shop's own cookie of whoever asks
	gives    bool   // it sets a cookie that is one visitor's own
	members  bool   // it shows the Authorization that it needs
	tag      bool   // it has an ETag, conditions are answered, and parts
	dated    bool   // it has a Last-Modified, likewise
	packs    bool   // it is compressed for those who take it
	chunked  bool   // it has no length
	drips    bool   // it comes slowly, in pieces
	breaks   bool   // it never comes to its end
	status   int    // 0: 200
	moved    bool   // it redirects to an address with the shop's own cookie
	body     string // "html", "json" or "css"
	size     int    // of the filler
	holdable bool   // a shared cache may keep it
}

// canaryKinds begin with those that are asked for most.
var canaryKinds = []string{
	"fresh", "large", "shared", "flavour", "bycookie", "members", "json", "private", "silent", "bysecret", "style", "gives",
	"short", "asks", "huge", "language", "nostore", "drips", "moved", "gone", "breaks",
}

var canaryPages = map[string]canaryKind{
	"fresh":    {control: "max-age=60", tag: true, size: 2 << 10, holdable: true},
	"large":    {control: "public, max-age=60", tag: true, dated: true, packs: true, size: 50 << 10, holdable: true},
	"shared":   {control: "max-age=0, s-maxage=2", chunked: true, size: 20 << 10, holdable: true},
	"flavour":  {control: "max-age=60", vary: "X-Flavour", packs: true, size: 9 << 10, holdable: true},
	"bycookie": {control: "max-age=60", vary: "Cookie", echo: true, tag: true, size: 1 << 10, holdable: true},
	"json":     {control: "max-age=60", body: "json", tag: true, packs: true, size: 3 << 10, holdable: true},
	"short":    {control: "max-age=1, stale-while-revalidate=30, stale-if-error=60", tag: true, size: 5 << 10, holdable: true},
	"private":  {control: "private, max-age=60", echo: true, tag: true, size: 4 << 10},
	"silent":   {echo: true, dated: true, size: 6 << 10}, // whoever guesses a lifetime is wrong
	"asks":     {control: "no-cache", tag: true, packs: true, size: 30 << 10, holdable: true},
	"huge":     {control: "max-age=60", chunked: true, packs: true, size: 400 << 10, holdable: true},
	"language": {control: "max-age=60", vary: "Accept-Language", tag: true, packs: true, size: 12 << 10, holdable: true},
	"bysecret": {control: "max-age=60", vary: "X-Secret", size: 1 << 10, holdable: true},
	"style":    {control: "max-age=60", body: "css", tag: true, size: 2 << 10, holdable: true},
	"nostore":  {control: "no-store", echo: true, tag: true, packs: true, size: 1 << 10},
	"gives":    {control: "max-age=60", gives: true, size: 2 << 10},
	"members":  {control: "public, max-age=60", members: true, tag: true, size: 1 << 10},
	"drips":    {control: "max-age=60", drips: true, size: 8 << 10, holdable: true},
	"moved":    {control: "private", moved: true, status: http.StatusFound},
	"gone":     {control: "max-age=60", status: http.StatusNotFound, size: 1 << 10, holdable: true},
	"breaks":   {control: "max-age=60", breaks: true, size: 30 << 10},
}

// canaryAsk is all that a page may depend on.
type canaryAsk struct {
	kind                     string
	scheme, host, path       string
	query                    string
	vary, cookie, permission string // "" for what the page does not look at
	version                  int64
}

// askOf reads a request as the origin does.
func askOf(r *http.Request, version int64) canaryAsk {
	parts := strings.Split(r.URL.Path, "/")
	a := canaryAsk{
		scheme: r.Header.Get("X-Forwarded-Proto"), host: r.Host, path: r.URL.Path, query: r.URL.RawQuery, version: version,
	}
	if len(parts) > 2 {
		a.kind = parts[2]
	}
	k := canaryPages[a.kind]
	sid := ""
	if c, err := r.Cookie("sid"); err == nil {
		sid = c.Value
	}
	if k.vary != "" && k.vary != "Cookie" {
		a.vary = r.Header.Get(k.vary)
	}
	if k.echo || k.gives || k.moved {
		a.cookie = sid
	}
	if k.members {
		a.permission = r.Header.Get("Authorization")
	}
	return a
}

// places are where experiences put something.
var places = []string{"values", "segment", "edition", "split", "held", "toggle", "coupon", "offer"}

// page is the origin's own body.
func (a *canaryAsk) page() string {
	k := canaryPages[a.kind]
	shown := fmt.Sprintf("%s://%s%s?%s version %d vary %q cookie %q permission %q", a.scheme, a.host, a.path, a.query, a.version, a.vary, a.shownCookie(), a.permission)
	switch k.body {
	case "json":
		text, err := json.Marshal(canaryData{Page: shown, Secret: "nobody", Filler: strings.Repeat("data ", k.size/5)})
		if err != nil {
			panic(err)
		}
		return string(text)
	case "css":
		return "/* " + shown + " */\n.SEGMENT { color: red }\n" + strings.Repeat("p { margin: 0 }\n", k.size/16)
	}
	var b strings.Builder
	b.Grow(k.size + 1024)
	fmt.Fprintf(&b, "<!doctype html><html><head><title>canary</title></head><body><p id=\"page\">%s</p>\n", strings.ReplaceAll(shown, "&", "&amp;"))
	for i, place := range places {
		if i == len(places)-2 { // the last two stand at the end
			for b.Len() < k.size {
				b.WriteString("<p>Once upon a time a proxy kept what it should not have kept.</p>\n")
			}
		}
		fmt.Fprintf(&b, "<div id=%q></div>\n", place)
	}
	b.WriteString("</body></html>\n")
	return b.String()
}

// canaryData is a page in JSON.
type canaryData struct {
	Page   string `json:"page"`
	Secret string `json:"secret"`
	Filler string `json:"filler"`
}

func (a *canaryAsk) shownCookie() string {
	if canaryPages[a.kind].echo {
		return a.cookie
	}
	return ""
}

// tag is the validator of a body in a coding.
func (a *canaryAsk) tag(coding string) string {
	sum := sha256.Sum256([]byte(a.page()))
	return fmt.Sprintf(`"%x%s"`, sum[:8], coding)
}

// changed is when the page became what it is.
func (a *canaryAsk) changed() time.Time {
	return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(a.version) * time.Minute)
}

func startCanarySite(t *testing.T) *canarySite {
	t.Helper()
	s := &canarySite{}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.base = server.URL
	return s
}

func (s *canarySite) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	a := askOf(r, s.version.Load())
	k, ok := canaryPages[a.kind]
	h := w.Header()
	switch {
	case !ok:
		http.NotFound(w, r)
		return
	case r.Method == http.MethodPost:
		h.Set("Content-Type", "text/plain")
		fmt.Fprintf(w, "posted by %s", a.cookie)
		return
	}
	h.Set("X-Version", strconv.FormatInt(a.version, 10))
	h.Set("Content-Type", map[string]string{"": "text/html; charset=utf-8", "json": "application/json", "css": "text/css"}[k.body])
	if k.control != "" {
		h.Set("Cache-Control", k.control)
	}
	if k.vary != "" {
		h.Add("Vary", k.vary)
	}
	if k.gives {
		h.Add("Set-Cookie", "seen="+a.cookie+"; Path=/")
	}
	if k.members && a.permission == "" {
		h.Set("WWW-Authenticate", "Bearer")
		h.Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if k.moved {
		h.Set("Location", "/o/fresh/p1?from="+a.cookie)
	}
	body, coding := []byte(a.page()), ""
	if k.packs {
		h.Add("Vary", "Accept-Encoding")
		if coding = preferred(r.Header.Get("Accept-Encoding")); coding != "" {
			h.Set("Content-Encoding", coding)
			body = packAs(coding, body)
		}
	}
	s.send(w, r, &a, body, coding)
}

// send sends a body in the way of its kind.
func (s *canarySite) send(w http.ResponseWriter, r *http.Request, a *canaryAsk, body []byte, coding string) {
	k := canaryPages[a.kind]
	var changed time.Time
	if k.tag {
		w.Header().Set("ETag", a.tag(coding))
	}
	if k.dated {
		changed = a.changed()
	}
	switch {
	case k.breaks:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:len(body)/2])
		panic(http.ErrAbortHandler)
	case k.chunked, k.drips:
		flush := http.NewResponseController(w)
		for piece := range slices.Chunk(body, len(body)/4+1) {
			_, _ = w.Write(piece)
			_ = flush.Flush()
			if k.drips {
				pause := time.NewTimer(5 * time.Millisecond)
				<-pause.C
			}
		}
	case k.status != 0:
		w.WriteHeader(k.status)
		_, _ = w.Write(body)
	default:
		http.ServeContent(w, r, "", changed, bytes.NewReader(body))
	}
}

// preferred is the first of the codings that the origin knows and the client takes.
func preferred(accepted string) string {
	for _, coding := range []string{"zstd", "br", "gzip"} {
		if strings.Contains(accepted, coding) {
			return coding
		}
	}
	return ""
}

func packAs(coding string, body []byte) []byte {
	var packed bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w, _ = gzip.NewWriterLevel(&packed, gzip.BestSpeed) // a level that exists
	case "br":
		w = brotli.NewWriterLevel(&packed, brotli.BestSpeed)
	case "zstd":
		z, err := zstd.NewWriter(&packed, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic(err)
		}
		w = z
	default:
		panic("no coding " + coding)
	}
	_, _ = w.Write(body) // into memory
	_ = w.Close()
	return packed.Bytes()
}

// unpackAs undoes a content coding. What is cut off gives what there was, and an error.
func unpackAs(coding string, body []byte) ([]byte, error) {
	switch coding {
	case "", "identity":
		return body, nil
	case "gzip":
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(z)
	case "br":
		return io.ReadAll(brotli.NewReader(bytes.NewReader(body)))
	case "zstd":
		z, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		return io.ReadAll(z)
	}
	return nil, fmt.Errorf("unknown coding %q", coding)
}
