package coding

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
	brotli "github.com/molecule-man/go-brrr"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// format is a way in which origins send a body.
type format struct {
	name   string
	coding Coding
	pack   func(body string) []byte
}

// formats are made by other libraries than ours where there are any, and with settings
// that ours do not have.
var formats = []format{
	{"gzip", Gzip, func(s string) []byte {
		return packed(s, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	}},
	{"zlib", Deflate, func(s string) []byte {
		return packed(s, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })
	}},
	{"deflate without zlib", Deflate, func(s string) []byte {
		return packed(s, func(w io.Writer) io.WriteCloser { return must(flate.NewWriter(w, 6)) })
	}},
	{"stored deflate", Deflate, func(s string) []byte {
		return packed(s, func(w io.Writer) io.WriteCloser { return must(flate.NewWriter(w, 0)) })
	}},
	{"br", Brotli, func(s string) []byte {
		return packed(s, func(w io.Writer) io.WriteCloser {
			return must(brotli.NewWriterOptions(w, 5, brotli.WriterOptions{LGWin: 24}))
		})
	}},
	{"zstd", Zstd, func(s string) []byte {
		return packed(s, func(w io.Writer) io.WriteCloser {
			return must(zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20), zstd.WithZeroFrames(true)))
		})
	}},
	{"zstd of known length", Zstd, func(s string) []byte {
		e := must(zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true)))
		return e.EncodeAll([]byte(s), nil)
	}},
}

func packed(s string, writer func(io.Writer) io.WriteCloser) []byte {
	var b bytes.Buffer
	w := writer(&b)
	_ = must(io.WriteString(w, s))
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// text is n bytes that pack as well as a page does.
func text(n int) string {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "<p class=%x>%d</p>\n", r.IntN(50), r.IntN(10000))
	}
	return b.String()[:n]
}

func unpack(p *Pool, l Layers, from io.Reader) (string, error) {
	r := p.Reader(l, from)
	defer r.Release()
	body, err := io.ReadAll(r)
	return string(body), err
}

func TestReader(t *testing.T) {
	var p Pool
	for _, f := range formats {
		t.Run(f.name, func(t *testing.T) {
			for _, size := range []int{0, 1, 100, 70_000, 300_000} {
				body := text(size)
				raw := f.pack(body)
				for name, from := range map[string]io.Reader{
					"whole":          bytes.NewReader(raw),
					"byte by byte":   iotest.OneByteReader(bytes.NewReader(raw)),
					"end with bytes": iotest.DataErrReader(bytes.NewReader(raw)),
				} {
					for range 2 { // the second time over a used reader
						if got, err := unpack(&p, Layers{f.coding}, from); err != nil || got != body {
							t.Errorf("%d bytes, %s: %d, %v", size, name, len(got), err)
						}
						from = bytes.NewReader(raw)
					}
				}
			}
		})
	}
}

// Readers hand out what has come; they wait for nothing that is not needed for it.
func TestReaderHoldsNothingBack(t *testing.T) {
	var p Pool
	for _, c := range preferred[Live] {
		for e := range efforts {
			from, to := io.Pipe()
			r := p.Reader(Layers{c}, from)
			parts := []string{"<head>", text(40_000), "x", text(200_000), "<p>end"}
			go func() {
				w := p.Writer(c, e, to)
				for _, part := range parts {
					_, _ = io.WriteString(w, part)
					_ = w.Flush()
				}
				_ = w.Close() // only now: the parts were read before that
				w.Release()
				_ = to.Close()
			}()
			for i, part := range parts {
				got := make([]byte, len(part))
				if _, err := io.ReadFull(r, got); err != nil || string(got) != part {
					t.Fatalf("%v, effort %d, part %d: %v", c, e, i, err)
				}
			}
			if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%v: %d, %v at the end", c, n, err)
			}
			r.Release()
		}
	}
}

func TestLayers(t *testing.T) {
	var p Pool
	body := text(50_000)
	for _, inner := range formats {
		for _, outer := range formats {
			raw := outer.pack(string(inner.pack(body)))
			l := Layers{inner.coding, outer.coding}
			if got, err := unpack(&p, l, bytes.NewReader(raw)); err != nil || got != body {
				t.Errorf("%s in %s: %d bytes, %v", inner.name, outer.name, len(got), err)
			}
			if _, err := unpack(&p, l, bytes.NewReader(raw[:len(raw)/2])); err == nil {
				t.Errorf("%s in %s: the cut one is whole", inner.name, outer.name)
			}
		}
	}
}

// What stands behind a body is padding to browsers, but for zstd, where they expect
// another frame.
func TestWhatFollows(t *testing.T) {
	var p Pool
	body := text(10_000)
	for _, f := range formats {
		raw := f.pack(body)
		for _, padding := range []string{"\x00", strings.Repeat("\x00", 9000), "\r\n<!-- from a cache -->"} {
			got, err := unpack(&p, Layers{f.coding}, io.MultiReader(bytes.NewReader(raw), strings.NewReader(padding)))
			if fine := err == nil; got != body || fine == (f.coding == Zstd) {
				t.Errorf("%s before %.20q: %d bytes, %v", f.name, padding, len(got), err)
			}
			broken := errors.New("the connection broke")
			from := io.MultiReader(bytes.NewReader(raw), strings.NewReader(padding), iotest.ErrReader(broken))
			if _, err := unpack(&p, Layers{f.coding}, from); err == nil {
				t.Errorf("%s: a break in the padding is overlooked", f.name)
			}
		}
		got, err := unpack(&p, Layers{f.coding}, bytes.NewReader(append(bytes.Clone(raw), raw...)))
		want := body
		if f.coding == Gzip || f.coding == Zstd {
			want += body
		}
		if err != nil || got != want {
			t.Errorf("%s twice: %d bytes, %v; want %d", f.name, len(got), err, len(want))
		}
	}
	for _, skip := range []string{"before", "behind"} {
		raw, skipped := formats[5].pack(body), "\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
		from := skipped + string(raw)
		if skip == "behind" {
			from = string(raw) + skipped
		}
		if got, err := unpack(&p, Layers{Zstd}, strings.NewReader(from)); err != nil || got != body {
			t.Errorf("a frame to skip %s: %d bytes, %v", skip, len(got), err)
		}
	}
}

// A body that ends too early is never whole, wherever it is cut, and a break of the
// source is told as what it is.
func TestCutBodies(t *testing.T) {
	var p Pool
	for _, f := range formats {
		raw := f.pack(text(3000))
		for n := range len(raw) + 1 {
			if _, err := unpack(&p, Layers{f.coding}, bytes.NewReader(raw[:n])); (err == nil) != (n == len(raw)) {
				t.Errorf("%s: %v after %d of %d bytes", f.name, err, n, len(raw))
			}
			for _, broken := range []error{errors.New("the connection broke"), io.ErrUnexpectedEOF} {
				from := io.MultiReader(bytes.NewReader(raw[:n]), iotest.ErrReader(broken))
				if _, err := unpack(&p, Layers{f.coding}, from); err != broken {
					t.Errorf("%s: %v after %d of %d bytes", f.name, err, n, len(raw))
				}
			}
		}
	}
}

// Damage is found, save in what has no checksum; there it changes the page at most.
func TestDamagedBodies(t *testing.T) {
	var p Pool
	body := text(20_000)
	for _, f := range formats {
		raw := f.pack(body)
		for name, at := range map[string]int{"beginning": 0, "middle": len(raw) / 2, "end": len(raw) - 2} {
			damaged := bytes.Clone(raw)
			for i := range 2 {
				damaged[at+i] ^= 0xa5
			}
			got, err := unpack(&p, Layers{f.coding}, bytes.NewReader(damaged))
			checked := f.coding != Brotli && f.name != "deflate without zlib" && f.name != "stored deflate"
			if err == nil && (checked || got == body) {
				t.Errorf("%s: the damage at the %s is overlooked", f.name, name)
			}
			if got, err := unpack(&p, Layers{f.coding}, bytes.NewReader(raw)); err != nil || got != body {
				t.Errorf("%s: after damage at the %s %d bytes, %v", f.name, name, len(got), err)
			}
		}
	}
	if _, err := unpack(&p, Layers{Gzip}, strings.NewReader("<p>not packed at all</p>")); err == nil {
		t.Error("HTML is gzip")
	}
}

// zeros is a body that packs to next to nothing.
func zeros(n int) string { return strings.Repeat("\x00", n) }

func TestBombs(t *testing.T) {
	var p Pool
	for _, f := range formats {
		if f.name == "stored deflate" {
			continue
		}
		sound, bomb := f.pack(zeros(BombFloor)), f.pack(zeros(2*BombFloor))
		if got, err := unpack(&p, Layers{f.coding}, bytes.NewReader(sound)); err != nil || len(got) != BombFloor {
			t.Errorf("%s: %d bytes, %v", f.name, len(got), err)
		}
		got, err := unpack(&p, Layers{f.coding}, bytes.NewReader(bomb))
		if most := max(BombFloor, bombRatio*(len(bomb)+1)); err != ErrBomb || len(got) > most {
			t.Errorf("%s: %d bytes of %d, %v", f.name, len(got), len(bomb), err)
		}
	}
	// Neither layer alone is one.
	inner := formats[0].pack(zeros(2 * BombFloor))
	if len(inner) > BombFloor {
		t.Fatal("no bomb")
	}
	for _, f := range formats[:5] {
		if f.name == "stored deflate" {
			continue
		}
		if got, err := unpack(&p, Layers{Gzip, f.coding}, bytes.NewReader(f.pack(string(inner)))); err != ErrBomb || len(got) > 2*BombFloor {
			t.Errorf("gzip in %s: %d bytes, %v", f.name, len(got), err)
		}
	}
}

// endless repeats what it has.
type endless struct {
	piece []byte
	at    int
	read  int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.piece[e.at:])
	e.at = (e.at + n) % len(e.piece)
	e.read += n
	return n, nil
}

// What never gives anything ends, whatever nothing is made of.
func TestBarrenBodies(t *testing.T) {
	var p Pool
	empty, blocksInBlocks := string(formats[0].pack("")), ""
	for _, b := range []byte("\x00\x00\x00\xff\xff") {
		blocksInBlocks += strings.Repeat("\x00\x00\x00\xff\xff", 1000) + "\x00\x01\x00\xfe\xff" + string([]byte{b})
	}
	for name, c := range map[string]struct {
		layers      Layers
		head, piece string
	}{
		"gzip members":          {Layers{Gzip}, "", empty},
		"gzip blocks":           {Layers{Gzip}, "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", "\x00\x00\x00\xff\xff"},
		"gzip name":             {Layers{Gzip}, "\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\xff", "name"},
		"gzip padding":          {Layers{Gzip}, string(formats[0].pack("x")), "\x00"},
		"zlib blocks":           {Layers{Deflate}, "\x78\x9c", "\x00\x00\x00\xff\xff"},
		"deflate blocks":        {Layers{Deflate}, "", "\x00\x00\x00\xff\xff"},
		"brotli metadata":       {Layers{Brotli}, "\x0c", "\x06"},
		"brotli padding":        {Layers{Brotli}, string(formats[4].pack("x")), "\x00"},
		"zstd frames":           {Layers{Zstd}, "", string(formats[6].pack(""))},
		"zstd frames to skip":   {Layers{Zstd}, "", "\x50\x2a\x4d\x18\x00\x00\x00\x00"},
		"zstd long frame":       {Layers{Zstd}, "\x50\x2a\x4d\x18\xff\xff\xff\xff", "x"},
		"zstd blocks":           {Layers{Zstd}, "\x28\xb5\x2f\xfd\x00\x58", "\x00\x00\x00"},
		"gzip members, packed":  {Layers{Gzip, Gzip}, "", string(formats[0].pack(strings.Repeat(empty, 100)))},
		"gzip members in zstd":  {Layers{Gzip, Zstd}, "", string(formats[6].pack(strings.Repeat(empty, 100)))},
		"nothing, packed twice": {Layers{Gzip, Gzip}, "", empty},
		// The outer layer gives a byte of the inner one for each 5 KB of empty blocks.
		"blocks in blocks": {Layers{Deflate, Deflate}, "", blocksInBlocks},
	} {
		t.Run(name, func(t *testing.T) {
			source := &endless{piece: []byte(c.piece)}
			got, err := unpack(&p, c.layers, io.MultiReader(strings.NewReader(c.head), source))
			if err == nil || len(got) > 1 || source.read > barrenLimit+(64<<10) {
				t.Errorf("%d bytes of %d, %v", len(got), source.read, err)
			}
			if err != ErrBarren && name != "gzip name" { // which has a limit of its own
				t.Errorf("ended with: %v", err)
			}
		})
	}
}

// A window costs memory before anything is in it.
func TestWindows(t *testing.T) {
	var p Pool
	frame := func(window byte) string { // 1<<(10+window>>3), and a block of one byte
		return "\x28\xb5\x2f\xfd\x00" + string([]byte{window}) + "\x09\x00\x00x"
	}
	if got, err := unpack(&p, Layers{Zstd}, strings.NewReader(frame(13<<3))); err != nil || got != "x" {
		t.Errorf("8 MiB: %q, %v", got, err)
	}
	for _, window := range []byte{13<<3 | 1, 14 << 3, 21 << 3} {
		if got, err := unpack(&p, Layers{Zstd}, strings.NewReader(frame(window))); err == nil {
			t.Errorf("window %x: %q", window, got)
		}
	}
	// A frame in one segment has a window of its length, here 16 MiB.
	if _, err := unpack(&p, Layers{Zstd}, strings.NewReader("\x28\xb5\x2f\xfd\xa0\x00\x00\x00\x01\x09\x00\x00x")); err == nil {
		t.Error("a segment of 16 MiB is read")
	}
	// The windows of RFC 9841 may have a gigabyte.
	if _, err := unpack(&p, Layers{Brotli}, strings.NewReader("\x11\x1e\x03")); err == nil {
		t.Error("a large window of brotli is read")
	}
}

// Readers that failed or had a large window are not kept.
func TestReadersThatAreKept(t *testing.T) {
	large := text(3 << 20)
	for _, f := range formats {
		for name, c := range map[string]struct {
			raw  []byte
			kept bool
		}{
			"sound":   {f.pack(text(1000)), true},
			"large":   {f.pack(large), f.coding == Gzip || f.coding == Deflate},
			"damaged": {f.pack(text(1000))[:20], false},
		} {
			var p Pool
			r := p.Reader(Layers{f.coding}, bytes.NewReader(c.raw))
			_, _ = io.Copy(io.Discard, r)
			sound := r.err == io.EOF
			history := r.stream.history(r.given)
			r.Release()
			if kept := sound && history <= keptHistory; kept != c.kept {
				t.Errorf("%s, %s: kept %v (%v, %d bytes)", f.name, name, kept, sound, history)
			}
			if !c.kept && p.readers[f.coding].Get() != nil {
				t.Errorf("%s, %s: is in the pool", f.name, name)
			}
		}
	}
}

// FuzzDamaged feeds readers what an origin could send: they end, give no more than a
// real page could, and are fit for the next body.
func FuzzDamaged(f *testing.F) {
	body := text(5000)
	for i, from := range formats {
		raw := from.pack(body)
		f.Add(raw, byte(i), byte(0), uint16(0))
		f.Add(raw[:len(raw)/2], byte(i), byte(1), uint16(1))
		f.Add(append(raw[:len(raw)/2:len(raw)/2], "damage"...), byte(i), byte(2), uint16(7))
		f.Add(formats[0].pack(string(raw)), byte(i), byte(3), uint16(100))
	}
	var p Pool
	f.Fuzz(func(t *testing.T, raw []byte, inner, outer byte, piece uint16) {
		l := Layers{Coding(1 + inner%byte(Count-1)), Coding(outer % byte(Count))}
		from := io.Reader(bytes.NewReader(raw))
		if piece > 0 {
			from = &pieces{from, int(piece)}
		}
		r := p.Reader(l, from)
		n, err := io.Copy(io.Discard, r)
		if n > max(BombFloor, bombRatio*int64(len(raw)+1)) {
			t.Errorf("%d bytes of %d", n, len(raw))
		}
		if err == nil && n > 0 && len(raw) == 0 {
			t.Error("something of nothing")
		}
		if n, again := r.Read(make([]byte, 1)); n != 0 || again == nil {
			t.Errorf("%d bytes behind the end, %v", n, again)
		}
		r.Release()
		for _, f := range formats {
			if f.coding == l[0] {
				if got, err := unpack(&p, Layers{f.coding}, strings.NewReader(string(f.pack("<p>next")))); err != nil || got != "<p>next" {
					t.Fatalf("%s afterwards: %q, %v", f.name, got, err)
				}
			}
		}
	})
}

type pieces struct {
	io.Reader
	most int
}

func (p *pieces) Read(b []byte) (int, error) { return p.Reader.Read(b[:min(len(b), p.most)]) }
