package proxy

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"io"
	"strings"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/proxy/coding"
	"github.com/sedge-proxy/sedge/rewrite"
)

// minPacked is the size below which packing gains nothing.
const minPacked = 256

// A variant has room for each of its codings.
var _ = [cache.MaxCodings]struct{}([coding.Count - 1]struct{}{})

// identity is the body of a kept answer as its edits see it: unpacked, with its URLs
// mapped, and if it is a page scanned once.
type identity struct {
	body []byte
	page *seenPage // nil: it is no page, or one that cannot be compiled
	sum  [12]byte  // of body: tells versions apart that have no validator
}

// variant is a kept answer as one plan makes it, the same for all visitors.
type variant struct {
	splice *rewrite.Splice // of the identity body; nil: body is all
	body   []byte
	first  []int64 // for each edit where it matched first in what is sent, -1 for nowhere
	tags   [coding.Count]atomic.Pointer[keptTag]
}

// variantSize is what a variant takes beside its splice, body and first.
const variantSize = 144 + keptTagSize

func (v *variant) length() int {
	if v.splice != nil {
		return v.splice.Len()
	}
	return len(v.body)
}

func (v *variant) size() int {
	size := variantSize + 8*cap(v.first)
	if v.splice != nil {
		return size + v.splice.Size()
	}
	return size + cap(v.body)
}

// parts appends the pieces that the variant is sent in.
func (v *variant) parts(dst [][]byte) [][]byte {
	if v.splice != nil {
		return v.splice.AppendParts(dst)
	}
	return append(dst, v.body)
}

// respondKept answers with a kept page as the plan makes it. It reports false if that
// cannot be done; then the page goes the way of one that has just come.
func (x *exchange) respondKept(program *program) bool {
	o := x.lookup.found
	id, ok := o.Page(func() (*identity, int, bool) { return x.identityOf(o) })
	if !ok {
		x.server.objects.Drop(o) // it is damaged, or in a coding that nobody here reads
		return false
	}
	var values []string
	if program != nil {
		values = x.slotValues(program)
	}
	kept, v := x.variantOf(o, id, program, values)
	if v == nil {
		return false
	}
	h := &x.ctx.Response.Header
	c, packed := x.codingOf(o, kept, v)
	validator := o.Rules.ETag
	matched := false
	if x.header(fasthttp.HeaderIfNoneMatch) != nil {
		// A copy holds in whatever coding it came; see [exchange.codingOf].
		for _, of := range [...]coding.Coding{x.accepts().Best(coding.Live), x.accepts().Best(coding.Kept), coding.Identity, c} {
			h.SetBytesV(fasthttp.HeaderETag, x.pageTag(validator, id.sum[:], of, values))
			if matched = x.matchesETag(h.Peek(fasthttp.HeaderETag)); matched {
				break
			}
		}
	} else {
		tag := x.pageTag(validator, id.sum[:], c, values)
		h.SetBytesV(fasthttp.HeaderETag, tag)
		if kept != nil && o.Rules.page != nil && (program != nil || len(x.plan.Edits) == 0) && x.hasOwnVariants() {
			v.tags[c].Store(&keptTag{validator, string(tag)})
			o.Rules.page.learn(h)
		}
	}
	x.notePersonalized(program != nil)
	x.conclude()
	watch := x.newWatch()
	if watch != nil {
		watch.seeVariant(v.first)
	}
	x.from = nil
	if matched {
		setCoding(h, coding.Identity)
		x.notModified(&x.ctx.Response)
		x.expectWhole(watch)
		return true
	}
	x.sendVariant(v, c, packed, watch)
	return true
}

// codingOf says in what coding a variant leaves, and returns its body if that is kept so.
// What the origin did not pack is packed once it is asked for often, and not before.
func (x *exchange) codingOf(o *object, kept *cache.ObjectVariant[*variant], v *variant) (c coding.Coding, packed []byte) {
	if c = x.keptCoding(v); c == coding.Identity {
		return c, nil
	}
	if kept != nil {
		if packed = x.packedAs(o, kept, c); packed != nil {
			return c, packed
		}
	}
	c = x.accepts().Best(coding.Live)
	if layers, _ := coding.ParseLayers(o.Header.ContentEncoding()); !layers.Packed() {
		return coding.Identity, nil
	}
	return c, nil
}

// keptCoding is the one that the client likes best of those that a variant is kept in.
func (x *exchange) keptCoding(v *variant) coding.Coding {
	if v.length() < minPacked {
		return coding.Identity
	}
	return x.accepts().Best(coding.Kept)
}

// packedAs returns a kept variant's body in a coding, nil if that is not kept.
func (x *exchange) packedAs(o *object, kept *cache.ObjectVariant[*variant], c coding.Coding) []byte {
	return o.Packed(kept, uint8(c)-1, func() []byte { return x.pack(kept.Value, c, coding.Kept) })
}

// sendVariant sends a variant in a coding.
func (x *exchange) sendVariant(v *variant, c coding.Coding, packed []byte, watch *watch) {
	resp := &x.ctx.Response
	if c != coding.Identity && packed == nil && !x.ctx.IsHead() {
		packed = x.pack(v, c, coding.Live)
	}
	setCoding(&resp.Header, c)
	length := v.length()
	if packed != nil {
		length = len(packed)
	}
	if x.ctx.IsHead() {
		resp.SkipBody = true
		resp.Header.SetContentLength(length)
		if c != coding.Identity {
			resp.Header.Del(fasthttp.HeaderContentLength) // the next one may be packed otherwise
		}
		return
	}
	body := x.server.madeBodies.Get().(*madeBody)
	body.server, body.watch = x.server, watch
	if packed != nil {
		body.parts = append(body.parts, packed)
	} else {
		body.parts = v.parts(body.parts)
	}
	x.send(body, length)
}

func (x *exchange) pack(v *variant, c coding.Coding, e coding.Effort) []byte {
	s := &x.server.codings
	page := v.body
	if v.splice != nil {
		page = v.splice.AppendTo(nil)
	}
	return s.Append(make([]byte, 0, len(page)/3+64), c, e, page)
}

// madeBody is a body in memory on its way to a client.
type madeBody struct {
	flowTarget
	head  []byte // of an answer that brings its own: the first of the parts
	parts [][]byte
	watch *watch
	sent  bool
}

// WriteTo writes to the client; fasthttp's buffer for it is not used.
func (b *madeBody) WriteTo(io.Writer) (int64, error) {
	total := -int64(len(b.head))
	for _, part := range b.parts {
		total += int64(len(part))
	}
	if err := b.down.writeAll(b.parts); err != nil {
		return 0, err
	}
	b.sent = true
	return total, nil
}

// CloseWithError gives the body back.
func (b *madeBody) CloseWithError(err error) error {
	b.ended(false)
	if c, ok := b.down.(*conn); ok && !b.sent {
		c.undrop()
	}
	if b.sent && err == nil {
		b.watch.complete()
	}
	b.watch.release()
	s := b.server
	clear(b.parts)
	*b = madeBody{head: b.head[:0], parts: b.parts[:0]}
	s.madeBodies.Put(b)
	return nil
}

// variantOf returns the kept answer as the plan makes it, nil if that fails. It is kept
// if it is the same for all visitors; kept is nil if it is not.
func (x *exchange) variantOf(o *object, id *identity, program *program, values []string) (kept *cache.ObjectVariant[*variant], v *variant) {
	key := x.variantKey(program != nil)
	if values == nil {
		if kept = o.Variant(key); kept != nil {
			return kept, kept.Value
		}
	}
	defer func() {
		if r := recover(); r != nil {
			x.server.notePanic("editing a kept page", r, "request_id", x.id)
			x.noteFailOpen(ReasonPanic)
			kept, v = nil, nil
		}
	}()
	if v = x.makeVariant(o, id, program, values); v == nil {
		return nil, nil
	}
	if values == nil {
		kept = o.AddVariant(key, v, v.size())
		v = kept.Value
	}
	return kept, v
}

// variantKey is that of the plan, edited or not.
func (x *exchange) variantKey(edited bool) cache.VariantKey {
	key := cache.VariantKey{Generation: x.site.Generation, Form: uint32(x.kind.parts)}
	if edited {
		key.Plan = x.plan.Digest
	}
	return key
}

// makeVariant edits a kept answer.
func (x *exchange) makeVariant(o *object, id *identity, program *program, values []string) *variant {
	if program == nil {
		return &variant{body: id.body}
	}
	contentType := string(o.Header.ContentType())
	notes := x.notes(program)
	given := rewrite.Given{Values: values}
	html := rewrite.BodyOf(contentType) == decision.BodyHTML
	if html {
		given.Policy = x.pagePolicy(program)
	}
	if id.page != nil {
		if s := id.page.Splice(program.Program, given); s != nil {
			x.server.stats.Spliced.Add(1)
			notes.page(s)
			x.server.stats.SlotsRefused.Add(uint64(s.Refused()))
			return &variant{splice: s, first: firsts(s.Matches())}
		}
	}
	var out bytes.Buffer
	out.Grow(len(id.body) + 1024)
	limits := rewrite.Limits{Memory: x.server.cfg.PageMemory, Encoding: rewrite.EncodingOf(contentType), Values: values, Policy: given.Policy}
	editor := newEditor(program, contentType, &out, limits)
	defer editor.Release()
	x.server.stats.RewriteBytes.Add(uint64(len(id.body)))
	if _, err := editor.Write(id.body); err != nil {
		return nil
	}
	if err := editor.Close(); err != nil {
		return nil
	}
	notes.page(editor)
	x.server.stats.SlotsRefused.Add(uint64(editor.Refused()))
	return &variant{body: out.Bytes(), first: firsts(editor.Matches())}
}

func firsts(matches []rewrite.Match) []int64 {
	first := make([]int64, len(matches))
	for i, m := range matches {
		first[i] = -1
		if m.Count > 0 {
			first[i] = max(0, m.FirstOut)
		}
	}
	return first
}

// identityOf unpacks, maps and scans the body of a kept answer.
func (x *exchange) identityOf(o *object) (id *identity, size int, ok bool) {
	defer func() {
		if r := recover(); r != nil {
			x.server.notePanic("reading a kept page", r, "request_id", x.id)
			id, ok = nil, false
		}
	}()
	id = &identity{body: o.Body}
	layers, readable := coding.ParseLayers(o.Header.ContentEncoding())
	if !readable {
		return nil, 0, false
	}
	if layers.Packed() {
		if id.body = x.server.unpackAll(layers, o.Body); id.body == nil {
			return nil, 0, false
		}
		size += cap(id.body)
	}
	if m := x.mapping(); m.of != nil {
		id.body = fitting(m.of.Append(nil, id.body, m.how))
		size = cap(id.body)
	}
	contentType := string(o.Header.ContentType())
	if rewrite.BodyOf(contentType) == decision.BodyHTML {
		limits := rewrite.Limits{Memory: x.server.cfg.PageMemory, Encoding: rewrite.EncodingOf(contentType)}
		if compiled, _ := rewrite.CompilePage(id.body, limits); compiled != nil {
			id.page = &seenPage{Page: compiled}
			size += compiled.Size() - len(id.body)
		}
	}
	sum := sha256.Sum256(id.body)
	copy(id.sum[:], sum[:])
	return id, size + variantSize, true
}

// maxTagged is how long a validator of the origin's may be to stand in our ETags.
const maxTagged = 128

// pageTag makes the ETag of an edited page, of all that it depends on: the origin's
// ETag, or the sum of its body (a date may be the same for pages that differ by visitor), the coding, the plan, and the visitor's values for
// its slots. Nobody can tell from it what those are. The origin's validator stands behind,
// so that the origin can be asked by it; see [exchange.askByTag]. It is weak, since a page
// may be packed in more than one way.
func (x *exchange) pageTag(validator string, sum []byte, c coding.Coding, values []string) []byte {
	in := append(x.scratch[:0], byte(c), byte(x.kind.parts))
	if x.route.upstream.MappedBodies() != 0 {
		in = append(in, x.route.upstream.MappingMark()...)
	}
	if validator != "" {
		in = appendPart(in, validator)
	} else {
		in = appendPart(in, string(sum))
	}
	if lines := policyLines(&x.ctx.Response.Header); bytes.Contains(lines, []byte("'nonce-")) {
		in = appendPart(in, string(lines)) // the page has the nonce of this answer alone
	}
	// What failed must not be taken for what was planned.
	in = append(appendPart(in, string(x.reason)), x.plan.Digest[:]...)
	for _, value := range values {
		in = appendPart(in, value)
	}
	hash := sha256.Sum256(in)
	tag := append(in[:0], `W/"`...)
	tag = base64.RawURLEncoding.AppendEncode(tag, hash[:15])
	if validator != "" && len(validator) <= maxTagged {
		tag = append(tag, '.')
		tag = base64.RawURLEncoding.AppendEncode(tag, []byte(validator))
	}
	x.scratch = append(tag, '"')
	return x.scratch
}

func appendPart(dst []byte, field string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(field))), field...)
}

// askByTag returns the condition under which the client's copy of the page is still the
// right one, if it has one that would be: one with the ETag that the page would get now if
// it has not changed at the origin.
func (x *exchange) askByTag() [][2]string {
	if !x.kind.explicit || x.reason != "" {
		return nil
	}
	for i := range x.fields {
		f := &x.fields[i]
		if !equalFold(f.name, fasthttp.HeaderIfNoneMatch) {
			continue
		}
		for list := f.value; len(list) > 0; {
			var item []byte
			item, list, _ = bytes.Cut(list, []byte{','})
			if condition, ok := x.conditionOf(string(trimSpace(item))); ok {
				return [][2]string{condition}
			}
		}
	}
	return nil
}

// conditionOf returns the origin's own condition for an ETag of ours.
func (x *exchange) conditionOf(tag string) (condition [2]string, ok bool) {
	_, encoded, found := strings.Cut(strings.TrimSuffix(tag, `"`), ".")
	if !found || len(encoded) > 2*maxTagged {
		return condition, false
	}
	decoded, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || len(decoded) == 0 || !isFieldText(decoded) {
		return condition, false
	}
	validator := string(decoded)
	var values []string
	if program := x.program(); program != nil {
		values = x.slotValues(program)
	}
	matched := false
	for _, c := range [...]coding.Coding{x.accepts().Best(coding.Live), x.accepts().Best(coding.Kept), coding.Identity} {
		matched = matched || tag == string(x.pageTag(validator, nil, c, values))
	}
	if !matched {
		return condition, false
	}
	x.tag = tag
	return [2]string{fasthttp.HeaderIfNoneMatch, validator}, true
}

func isFieldText(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// matchesETag reports whether the client has this very answer, by the weak
// comparison of RFC 9110 section 13.1.2.
func (x *exchange) matchesETag(etag []byte) bool {
	if len(etag) == 0 {
		return false
	}
	etag = bytes.TrimPrefix(etag, []byte("W/"))
	for i := range x.fields {
		f := &x.fields[i]
		if !equalFold(f.name, fasthttp.HeaderIfNoneMatch) {
			continue
		}
		for list := f.value; len(list) > 0; {
			var item []byte
			item, list, _ = bytes.Cut(list, []byte{','})
			if item = bytes.TrimPrefix(trimSpace(item), []byte("W/")); bytes.Equal(item, etag) || string(item) == "*" {
				return true
			}
		}
	}
	return false
}

// notModified turns an answer into a 304: what describes the body goes.
func (x *exchange) notModified(resp *fasthttp.Response) {
	resp.SetStatusCode(fasthttp.StatusNotModified)
	resp.Header.SetContentType("")
	resp.Header.SetNoDefaultContentType(true)
	resp.Header.Del(fasthttp.HeaderContentLength)
	resp.SkipBody = true
}
