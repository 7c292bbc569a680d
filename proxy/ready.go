package proxy

import (
	"bytes"
	"strconv"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/proxy/coding"
)

// keptRules is what is known of a kept answer beside its body.
type keptRules struct {
	cache.Rules
	page *pageHead // nil: it is no page that can be edited
}

// newKeptRules returns them with their size in memory.
func newKeptRules(rules *cache.Rules, h *fasthttp.ResponseHeader) (keptRules, int) {
	kept, size := keptRules{Rules: *rules}, rules.Size()
	if h.StatusCode() == fasthttp.StatusOK && isHTML(h.ContentType()) {
		kept.page = new(pageHead)
		size += pageHeadSize
		for name, value := range h.All() {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	return kept, size
}

// pageHead is the head of a kept page as it leaves over HTTP/1.1, once it has left the long
// way: the same for all visitors, but for the fields that are made for each answer. Their
// places are those that fasthttp gives them, since nothing may tell one way from the other.
type pageHead struct{ lines atomic.Pointer[headLines] }

const pageHeadSize = 96

type headLines struct {
	first []byte // the status line, to Content-Type; then come Content-Encoding and Content-Length
	rest  []byte // what comes behind; then come Age, ETag, Cache-Status and what is the visitor's
}

// learn takes the head from an answer that has all but the fields of [exchange.conclude].
func (p *pageHead) learn(answer *fasthttp.ResponseHeader) {
	if p.lines.Load() != nil {
		return
	}
	var h fasthttp.ResponseHeader
	answer.CopyTo(&h)
	setCoding(&h, coding.Identity)
	h.Del(fasthttp.HeaderAge)
	h.Del(fasthttp.HeaderETag)
	h.SetContentLength(0)
	head := bytes.Clone(h.Header())
	line := []byte("\r\nContent-Length: 0\r\n") // with what is in front of it: a value may end like it
	if at := bytes.Index(head, line); at >= 0 {
		p.lines.Store(&headLines{first: head[:at+len(crlf)], rest: bytes.TrimSuffix(head[at+len(line):], crlf)})
	}
}

// keptTag is the ETag of a variant in one coding, with the origin's that it was made of: a
// variant may outlive that.
type keptTag struct{ validator, text string }

// keptTagSize is what a tag takes. Most variants are asked for in one coding.
const keptTagSize = 128

// ready is an answer of which all is there.
type ready struct {
	variant *variant // nil: there is none
	head    *headLines
	tag     string
	coding  coding.Coding
	packed  []byte // the body in its coding, if it is not the identity
}

// hasOwnVariants reports whether all that a page's ETag is made of, beside the origin's, is
// in the key of its variants.
func (x *exchange) hasOwnVariants() bool {
	return x.reason == "" && x.kind.parts == 0 && (len(x.plan.Edits) > 0 || x.plan.Digest == decision.Digest{})
}

// isReady looks for a kept page's answer that only has to be sent.
func (x *exchange) isReady(o *object) bool {
	request := &x.ctx.Request.Header
	if o.Rules.page == nil || !x.concerned || !x.hasOwnVariants() ||
		!x.ctx.IsGet() || !request.IsHTTP11() || request.ConnectionClose() || x.header(fasthttp.HeaderIfNoneMatch) != nil {
		return false
	}
	if _, http1 := x.down.(*conn); !http1 || x.server.draining.Load() {
		return false
	}
	lines := o.Rules.page.lines.Load()
	if lines == nil {
		return false
	}
	kept := o.Variant(x.variantKey(len(x.plan.Edits) > 0)) // those with slots are not kept
	if kept == nil {
		return false
	}
	v := kept.Value
	c := x.keptCoding(v)
	tag := v.tags[c].Load()
	if tag == nil || tag.validator != o.Rules.ETag {
		return false
	}
	var packed []byte
	if c != coding.Identity {
		if packed = x.packedAs(o, kept, c); packed == nil {
			return false
		}
	}
	x.ready = ready{variant: v, head: lines, tag: tag.text, coding: c, packed: packed}
	return true
}

// sendReady sends it.
func (x *exchange) sendReady() {
	r := &x.ready
	x.notePersonalized(len(x.plan.Edits) > 0)
	watch := x.newWatch()
	if watch != nil {
		watch.seeVariant(r.variant.first)
	}
	body := x.server.madeBodies.Get().(*madeBody)
	body.server, body.watch = x.server, watch
	length := r.variant.length()
	if r.packed != nil {
		length = len(r.packed)
	}
	body.head = x.appendReady(body.head[:0], length)
	body.parts = append(body.parts, body.head)
	if r.packed != nil {
		body.parts = append(body.parts, r.packed)
	} else {
		body.parts = r.variant.parts(body.parts)
	}
	x.send(body, length)
}

func (x *exchange) appendReady(head []byte, length int) []byte {
	r := &x.ready
	head = append(head, r.head.first...)
	if r.coding != coding.Identity {
		head = append(append(append(head, "Content-Encoding: "...), r.coding.String()...), crlf...)
	}
	head = strconv.AppendInt(append(head, "Content-Length: "...), int64(length), 10)
	head = append(append(head, crlf...), r.head.rest...)
	head = cache.AppendAge(append(head, "Age: "...), x.lookup.verdict.Age)
	head = append(append(head, "\r\nETag: "...), r.tag...)
	head = append(head, "\r\nCache-Status: "...)
	from := len(head)
	head = x.lookup.status.Append(head)
	x.noteCacheStatus(head[from:])
	head = append(append(head, "\r\nX-Request-Id: "...), x.id...)
	head = append(head, crlf...)
	if x.minted != "" {
		head = x.site.Cookie.AppendSet(append(head, "Set-Cookie: "...), x.minted, x.scheme == "https")
		head = append(head, crlf...)
		x.server.stats.Minted.Add(1)
	}
	return append(head, crlf...)
}
