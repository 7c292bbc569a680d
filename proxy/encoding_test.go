package proxy

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	brotli "github.com/molecule-man/go-brrr"

	"github.com/sedge-proxy/sedge/internal/corpus"
	"github.com/sedge-proxy/sedge/proxy/coding"
)

// compressing is an origin that packs its page for those who take gzip.
func compressing(t testing.TB, contentType, body string, header ...string) string {
	return origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(header); i += 2 {
			if header[i+1] != "" {
				w.Header().Add(header[i], header[i+1])
			}
		}
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			_, _ = io.WriteString(w, body)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(packBytes(body))
	})
}

func packBytes(body string) []byte { return packAs("gzip", body) }

// codecs reads what the server sends. Tests of its package show that it reads what others
// write.
var codecs coding.Pool

// flusher is a writer of a coding.
type flusher interface {
	io.WriteCloser
	Flush() error
}

// packerFor makes a writer as origins have one: with checksums, large windows and other
// levels than ours. Its name is that of a coding, or "raw deflate".
func packerFor(name string, to io.Writer) flusher {
	var w flusher
	var err error
	switch name {
	case "gzip", "x-gzip":
		w = gzip.NewWriter(to)
	case "deflate":
		w = zlib.NewWriter(to)
	case "raw deflate":
		w, err = flate.NewWriter(to, 6)
	case "br":
		w, err = brotli.NewWriter(to, 6)
	case "zstd":
		w, err = zstd.NewWriter(to, zstd.WithEncoderConcurrency(1))
	default:
		panic("no such coding: " + name)
	}
	if err != nil {
		panic(err)
	}
	return w
}

// packAs packs a body in a coding as packerFor knows it, or in a list of them.
func packAs(names, body string) []byte {
	for name := range strings.SplitSeq(names, ", ") {
		if name == "" || name == "identity" {
			continue
		}
		var b bytes.Buffer
		w := packerFor(name, &b)
		_, _ = io.WriteString(w, body)
		if err := w.Close(); err != nil {
			panic(err)
		}
		body = b.String()
	}
	return []byte(body)
}

// nameOf is what Content-Encoding says of a coding of packAs.
func nameOf(names string) string { return strings.ReplaceAll(names, "raw ", "") }

// site is an origin's pages by their path.
type site map[string]sitePage

type sitePage struct {
	plain  string
	packed map[string]string // by coding
}

// pageCodings are those of a site's pages, in the order in which they are sent.
var pageCodings = []string{"br", "zstd", "gzip"}

// realPages returns pages of real sites. They are packed once: that takes long.
func realPages(t testing.TB) site {
	pagesOnce.Do(func() {
		files, err := filepath.Glob(corpus.Path(t, "html", "pages") + "/*.html")
		if err != nil || len(files) == 0 {
			t.Fatalf("no pages: %v", err)
		}
		pagesRead = site{}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			page := sitePage{string(b), map[string]string{}}
			for _, name := range pageCodings {
				page.packed[name] = string(packAs(name, page.plain))
			}
			pagesRead["/"+filepath.Base(file)] = page
		}
	})
	return pagesRead
}

var (
	pagesOnce sync.Once
	pagesRead site
)

func (s site) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	body := s[r.URL.Path].plain
	for _, name := range pageCodings {
		if strings.Contains(r.Header.Get("Accept-Encoding"), name) {
			w.Header().Set("Content-Encoding", name)
			body = s[r.URL.Path].packed[name]
			break
		}
	}
	_, _ = io.WriteString(w, body)
}

// decoded returns a reply's body without its coding.
func decoded(t testing.TB, r reply) string {
	t.Helper()
	body, err := io.ReadAll(decoder(t, r.Response, strings.NewReader(r.body)))
	if err != nil {
		t.Fatalf("answer's %s: %v", r.Header.Get("Content-Encoding"), err)
	}
	return string(body)
}

// decoder reads an answer's body without its coding.
func decoder(t testing.TB, r *http.Response, body io.Reader) io.Reader {
	t.Helper()
	layers, ok := coding.ParseLayers([]byte(r.Header.Get("Content-Encoding")))
	if !ok {
		t.Fatalf("the answer's coding is %q", r.Header.Get("Content-Encoding"))
	}
	if !layers.Packed() {
		return body
	}
	return codecs.Reader(layers, body)
}

// flushing packs and flushes each write.
type flushing struct{ flusher }

func newFlushing(name string, to io.Writer) flushing { return flushing{packerFor(name, to)} }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.flusher.Write(p)
	if err == nil {
		err = f.Flush()
	}
	return n, err
}
