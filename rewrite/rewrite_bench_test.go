package rewrite

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/sedge-proxy/sedge/decision"

	"github.com/sedge-proxy/sedge/internal/corpus"
)

// Run with: go test -run '^$' -bench . ./rewrite
// The figures are bytes of page per second over all pages of the corpus.

func realPages(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(corpus.Path(t, "html", "pages"), "*.html"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	pages := make(map[string][]byte)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pages[filepath.Base(file)] = data
	}
	return pages
}

func benchmarkPages(b *testing.B, pages map[string][]byte, edits ...decision.Edit) {
	program := compile(b, edits...)
	size := 0
	for _, page := range pages {
		size += len(page)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		for _, page := range pages {
			r := program.NewRewriter(io.Discard, Limits{Encoding: EncodingUTF8})
			r.Write(page)
			r.Close()
			r.Release()
		}
	}
}

var threeEdits = []decision.Edit{
	{Select: "title", Op: decision.OpSetInner, Text: "Welcome back"},
	{Select: "#main h1", Op: decision.OpAppend, HTML: "<em>for you</em>"},
	{Select: "body", Op: decision.OpAppend, HTML: "<script src=/x.js></script>"},
}

func manyEdits(n int) []decision.Edit {
	var edits []decision.Edit
	for i := range n {
		edits = append(edits, decision.Edit{
			Select: fmt.Sprintf([]string{"#id%d", ".class-%d", "div.hero%d > h2", "section[data-slot='s%d'] p", "a[href*='/p/%d']"}[i%5], i),
			Op:     decision.OpSetInner, Text: "x",
		})
	}
	return edits
}

func BenchmarkScanOnly(b *testing.B)    { benchmarkPages(b, realPages(b)) }
func BenchmarkOneEdit(b *testing.B)     { benchmarkPages(b, realPages(b), threeEdits[2]) }
func BenchmarkThreeEdits(b *testing.B)  { benchmarkPages(b, realPages(b), threeEdits...) }
func BenchmarkTwentyEdits(b *testing.B) { benchmarkPages(b, realPages(b), manyEdits(20)...) }
func BenchmarkTwoHundred(b *testing.B)  { benchmarkPages(b, realPages(b), manyEdits(200)...) }
func BenchmarkEachLink(b *testing.B) {
	benchmarkPages(b, realPages(b), decision.Edit{Select: "a[href]", Op: decision.OpSetAttribute, Name: "data-seen", Value: "1"})
}

// BenchmarkManySelectors runs programs of 0, 3 and 200 selectors in turn and takes
// the best time of each page, so that it says something on a busy machine too. It
// reports the speeds, beside that of finding every "<", and what 200 selectors cost
// beside 3.
func BenchmarkManySelectors(b *testing.B) {
	programs := []*Program{compile(b), compile(b, threeEdits...), compile(b, manyEdits(200)...)}
	pages, size := realPages(b), 0
	best := make(map[string]*[4]time.Duration)
	for name, page := range pages {
		size += len(page)
		best[name] = &[4]time.Duration{time.Hour, time.Hour, time.Hour, time.Hour}
	}
	for b.Loop() {
		for name, page := range pages {
			for i := range best[name] {
				start := time.Now()
				if i < len(programs) {
					r := programs[i].NewRewriter(io.Discard, Limits{Encoding: EncodingUTF8})
					r.Write(page)
					r.Close()
					r.Release()
				} else {
					for rest, n := page, 0; n >= 0; {
						rest = rest[n:]
						if n = bytes.IndexByte(rest, '<'); n >= 0 {
							n++
						}
					}
				}
				best[name][i] = min(best[name][i], time.Since(start))
			}
		}
	}
	var took [4]time.Duration
	for _, times := range best {
		for i := range took {
			took[i] += times[i]
		}
	}
	for i, unit := range []string{"MB/s-none", "MB/s-3", "MB/s-200", "MB/s-indexbyte"} {
		b.ReportMetric(float64(size)/took[i].Seconds()/1e6, unit)
	}
	b.ReportMetric(took[2].Seconds()/took[1].Seconds(), "200-by-3")
}

// benchmarkSplice measures finding the matches of a program in compiled pages, and
// writing the edited pages.
func benchmarkSplice(b *testing.B, edits []decision.Edit) {
	program := compile(b, edits...)
	var pages []*Page
	var splices []*Splice
	size := 0
	for name, body := range realPages(b) {
		page, reason := CompilePage(body, Limits{})
		if page == nil {
			b.Fatalf("%s: %s", name, reason)
		}
		pages, splices = append(pages, page), append(splices, page.Splice(program, Given{}))
		size += len(body)
	}
	b.Run("find", func(b *testing.B) {
		b.SetBytes(int64(size))
		b.ReportAllocs()
		for b.Loop() {
			for _, page := range pages {
				page.Splice(program, Given{})
			}
		}
	})
	b.Run("append", func(b *testing.B) {
		b.SetBytes(int64(size))
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			for _, s := range splices {
				dst = s.AppendTo(dst[:0])
			}
		}
	})
}

func BenchmarkSpliceThree(b *testing.B)      { benchmarkSplice(b, threeEdits) }
func BenchmarkSpliceTwoHundred(b *testing.B) { benchmarkSplice(b, manyEdits(200)) }
func BenchmarkSpliceEachLink(b *testing.B) {
	benchmarkSplice(b, []decision.Edit{{Select: "a[href]", Op: decision.OpSetAttribute, Name: "data-seen", Value: "1"}})
}

// BenchmarkPolicy is what a policy costs a page: reading a usual one, and deciding.
func BenchmarkPolicy(b *testing.B) {
	const line = "default-src 'self'; script-src 'nonce-TmV2ZXIgbWluZA==' 'strict-dynamic' https: 'unsafe-inline'; style-src 'self' 'nonce-TmV2ZXIgbWluZA==' https://fonts.example; " +
		"img-src * data:; font-src https://fonts.example; connect-src 'self' https://*.metrics.example; frame-ancestors 'none'; object-src 'none'; base-uri 'self'; report-uri /csp"
	program := compile(b, threeEdits...)
	for name, read := range map[string]func() *Policy{
		"none": func() *Policy { return nil },
		"one":  func() *Policy { return ParsePolicy([]string{line}, nil, policyPage) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := program.NewRewriter(io.Discard, Limits{Encoding: EncodingUTF8, Policy: read()})
				io.WriteString(r, "<!doctype html><body></body>")
				r.Close()
				r.Release()
			}
		})
	}
}

// BenchmarkCopy is what splicing is measured against.
func BenchmarkCopy(b *testing.B) {
	pages, size := realPages(b), 0
	for _, page := range pages {
		size += len(page)
	}
	b.SetBytes(int64(size))
	var dst []byte
	for b.Loop() {
		for _, page := range pages {
			dst = append(dst[:0], page...)
		}
	}
}

func BenchmarkCompilePage(b *testing.B) {
	pages, size := realPages(b), 0
	for _, page := range pages {
		size += len(page)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		for _, page := range pages {
			CompilePage(page, Limits{})
		}
	}
}

func BenchmarkReplaceText(b *testing.B) {
	for name, pattern := range map[string]string{"plain": "the", "pattern": `(?i)\bthe\b`, "nowhere": "[\u2603]"} {
		b.Run(name, func(b *testing.B) {
			benchmarkPages(b, realPages(b), decision.Edit{Select: "body", Op: decision.OpReplaceText, Pattern: pattern, Text: "a"})
		})
	}
}

func BenchmarkDeepNesting(b *testing.B) {
	page := strings.Repeat("<div>", 20000) + strings.Repeat("</div>", 20000)
	benchmarkPages(b, map[string][]byte{"deep": []byte(page)},
		decision.Edit{Select: "div div div div div", Op: decision.OpSetAttribute, Name: "x", Value: "1"})
}

func BenchmarkCompileTwentyEdits(b *testing.B) {
	edits := planned(manyEdits(20)...)
	for i := range edits {
		edits[i].Text, edits[i].HTML = "", "<p class=x>text</p>"
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(edits); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTokenizer is x/net/html's tokenizer on the same pages, for comparison.
func BenchmarkTokenizer(b *testing.B) {
	pages, size := realPages(b), 0
	for _, page := range pages {
		size += len(page)
	}
	b.SetBytes(int64(size))
	for b.Loop() {
		for _, page := range pages {
			for z := html.NewTokenizer(bytes.NewReader(page)); z.Next() != html.ErrorToken; {
				z.TagName()
			}
		}
	}
}
