package proxy

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/rewrite"
	"github.com/sedge-proxy/sedge/visitor/attributes"
)

// slotAttributes compiles what slots name of the request; nil for nothing.
func slotAttributes(slots []rewrite.Slot, cookie string) (*attributes.Extractor, error) {
	var names []string
	for _, s := range slots {
		if s.Kind == rewrite.SlotAttribute && !slices.Contains(names, s.Name) {
			names = append(names, s.Name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	if slices.Contains(names, "cookie."+cookie) {
		return nil, fmt.Errorf("a slot names the cookie %q, which is the visitor's own signed id", cookie)
	}
	x, faults := attributes.Compile(names)
	return x, faults.Err()
}

// slotValues returns this visitor's values for the slots of a program; nil when it
// has none. Bots, and people who want no profile, get the fallbacks of traits and
// attributes. The values outlive the exchange.
func (x *exchange) slotValues(p *program) []string {
	slots := p.Slots()
	if len(slots) == 0 {
		return nil
	}
	values := make([]string, len(slots))
	stateless := x.client.Bot || x.client.NoProfiling
	var found []string
	if p.attributes != nil && !stateless {
		found = p.attributes.Extract(nil, x)
	}
	for i, s := range slots {
		switch {
		case s.Kind == rewrite.SlotSegment:
			values[i] = strings.Clone(x.primary())
		case s.Kind == rewrite.SlotOffer:
			// A plugin was told no more of the stateless than they may see.
			values[i] = x.plan.Edits[s.Edit].Offer[s.Name]
		case stateless:
		case s.Kind == rewrite.SlotTrait && x.facts.Profile != nil:
			values[i] = traitText(x.facts.Profile.Traits[s.Name])
		case s.Kind == rewrite.SlotAttribute:
			if n := slices.Index(p.attributes.Names(), s.Name); n >= 0 && n < len(found) {
				values[i] = found[n]
			}
		}
	}
	return values
}

// traitText writes a trait as people read it.
func traitText(trait any) string {
	switch v := trait.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// filledVariant is a stored page with one visitor's values.
type filledVariant struct {
	body   []byte
	first  []int64 // where each edit matched first
	values []string
}

// etag makes the filled page's ETag of the stored page's and the values.
func (f *filledVariant) etag(page []byte) string {
	sum := sha256.New()
	_, _ = sum.Write(page)
	for _, value := range f.values {
		_, _ = sum.Write(binary.AppendUvarint(nil, uint64(len(value))))
		_, _ = sum.Write([]byte(value))
	}
	return `W/"` + hex.EncodeToString(sum.Sum(nil)[:12]) + `"`
}

// fill puts the visitor's values into a stored page; nil if that cannot be done.
func (x *exchange) fill(v *cache.Variant) *filledVariant {
	template, ok := v.Holes.(*rewrite.Template)
	program := x.program()
	if !ok || program == nil {
		return nil
	}
	f := &filledVariant{first: slices.Clone(v.First), values: x.slotValues(program)}
	f.body = template.AppendTo(make([]byte, 0, len(v.Body)+1024), v.Body, f.values, f.first)
	return f
}

// pack compresses a page that is one visitor's.
func (s *Server) pack(body []byte) []byte {
	w := s.packers.Get().(*gzip.Writer)
	defer s.packers.Put(w)
	var packed bytes.Buffer
	packed.Grow(len(body)/3 + 64)
	w.Reset(&packed)
	// A bytes.Buffer takes everything.
	_, _ = w.Write(body)
	_ = w.Close()
	return packed.Bytes()
}
