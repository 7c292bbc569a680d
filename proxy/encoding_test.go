package proxy

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sedge-proxy/sedge/internal/corpus"
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

func packBytes(body string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, body)
	_ = w.Close()
	return b.Bytes()
}

// site is an origin's pages by their path.
type site map[string]sitePage

type sitePage struct{ plain, packed string }

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
			pagesRead["/"+filepath.Base(file)] = sitePage{string(b), string(packBytes(string(b)))}
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
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		body = s[r.URL.Path].packed
	}
	_, _ = io.WriteString(w, body)
}

// decoded returns a reply's body without its coding.
func decoded(t testing.TB, r reply) string {
	t.Helper()
	if r.Header.Get("Content-Encoding") != "gzip" {
		return r.body
	}
	z, err := gzip.NewReader(strings.NewReader(r.body))
	if err != nil {
		t.Fatalf("answer is not gzip: %v", err)
	}
	body, err := io.ReadAll(z)
	if err != nil {
		t.Fatalf("answer's gzip: %v", err)
	}
	return string(body)
}

// flushing packs and flushes each write.
type flushing struct {
	*gzip.Writer
	to io.Writer
}

func newFlushing(to io.Writer) *flushing { return &flushing{gzip.NewWriter(to), to} }

func (f *flushing) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	if err == nil {
		err = f.Flush()
	}
	return n, err
}

// lateGzip unpacks from the first read on, since making a reader waits for bytes.
type lateGzip struct {
	from io.Reader
	z    *gzip.Reader
}

func (l *lateGzip) Read(p []byte) (n int, err error) {
	if l.z == nil {
		if l.z, err = gzip.NewReader(l.from); err != nil {
			return 0, err
		}
	}
	return l.z.Read(p)
}
