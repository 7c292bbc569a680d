//go:build !race

package coding

import (
	"bytes"
	"testing"
)

// Nothing is allocated for a body once there are readers and writers.
func TestPackingAllocates(t *testing.T) {
	var p Pool
	body := []byte(text(60_000))
	dst := make([]byte, 0, len(body))
	for _, c := range preferred[Live] {
		p.Append(dst, c, Live, body)
		packed := p.Append(nil, c, Live, body)
		into := make([]byte, 32<<10)
		if n := testing.AllocsPerRun(100, func() { p.Append(dst, c, Live, body) }); n > 0 {
			t.Errorf("packing in %v allocates %.0f times", c, n)
		}
		from := bytes.NewReader(packed)
		if n := testing.AllocsPerRun(100, func() {
			from.Reset(packed)
			r := p.Reader(Layers{c}, from)
			for {
				if _, err := r.Read(into); err != nil {
					break
				}
			}
			r.Release()
		}); n > 0 {
			t.Errorf("unpacking %v allocates %.0f times", c, n)
		}
	}
}
