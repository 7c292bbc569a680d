package coding

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/sedge-proxy/sedge/internal/corpus"
)

func TestWriter(t *testing.T) {
	var p Pool
	for _, c := range preferred[Live] {
		for e := range efforts {
			for _, size := range []int{0, 1, 100, 50_000, 1_000_000} {
				body := text(size)
				for range 2 { // the second time with a used writer
					whole := p.Append([]byte("in front"), c, e, []byte(body))
					rest, ok := bytes.CutPrefix(whole, []byte("in front"))
					if got, err := unpack(&p, Layers{c}, bytes.NewReader(rest)); !ok || err != nil || got != body {
						t.Errorf("%v, effort %d: %d bytes become %d, %v", c, e, size, len(got), err)
					}
				}
			}
		}
	}
}

// A writer that is given back in the middle of a body brings nothing of it to the next.
func TestWriterLeavesNothingBehind(t *testing.T) {
	var p Pool
	for _, c := range preferred[Live] {
		for e := range efforts {
			w := p.Writer(c, e, io.Discard)
			_, _ = io.WriteString(w, strings.Repeat("secret", 20_000))
			w.Release()
			packed := p.Append(nil, c, e, []byte("page"))
			if got, err := unpack(&p, Layers{c}, bytes.NewReader(packed)); err != nil || got != "page" {
				t.Errorf("%v: %q, %v", c, got, err)
			}
		}
	}
}

// Clients need no more memory to read what we send than RFC 9659 lets us expect.
func TestWindowOfWriters(t *testing.T) {
	var p Pool
	for e := range efforts {
		var h zstd.Header
		if err := h.Decode(p.Append(nil, Zstd, e, []byte(text(1<<20)))); err != nil || h.WindowSize > 1<<windowBits {
			t.Errorf("effort %d: window %d, %v", e, h.WindowSize, err)
		}
	}
}

// BenchmarkPack and BenchmarkUnpack make the table of docs/PERFORMANCE.md.
func BenchmarkPack(b *testing.B) {
	var p Pool
	for _, name := range benchPages {
		body := benchPage(b, name)
		for e := range efforts {
			for _, c := range preferred[Live] {
				b.Run(fmt.Sprintf("%d KB/%s/%v", len(body)/1000, [...]string{"live", "kept"}[e], c), func(b *testing.B) {
					dst := p.Append(nil, c, e, body)
					b.SetBytes(int64(len(body)))
					b.ReportAllocs()
					for b.Loop() {
						dst = p.Append(dst[:0], c, e, body)
					}
					b.ReportMetric(float64(len(body))/float64(len(dst)), "ratio")
				})
			}
		}
	}
}

func BenchmarkUnpack(b *testing.B) {
	var p Pool
	for _, name := range benchPages {
		body := benchPage(b, name)
		for _, c := range preferred[Live] {
			b.Run(fmt.Sprintf("%d KB/%v", len(body)/1000, c), func(b *testing.B) {
				packed := p.Append(nil, c, Kept, body)
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					r := p.Reader(Layers{c}, bytes.NewReader(packed))
					if n, err := io.Copy(io.Discard, r); n != int64(len(body)) || err != nil {
						b.Fatal(n, err)
					}
					r.Release()
				}
			})
		}
	}
}

var benchPages = []string{"v8-blog.html", "ars-1.html", "topicseed-1.html", "pixnet.html"}

func benchPage(b *testing.B, name string) []byte {
	body, err := os.ReadFile(corpus.Path(b, "html", "pages") + "/" + name)
	if err != nil {
		b.Fatal(err)
	}
	return body
}
