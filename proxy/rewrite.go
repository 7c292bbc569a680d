package proxy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/proxy/upstream"
	"github.com/sedge-proxy/sedge/rewrite"
)

// rewrite applies the plan to the origin's page and answers with it. A page that
// is left as it is takes the same way, so that its headers tell nothing.
func (x *exchange) rewrite() {
	resp := &x.ctx.Response
	edited := x.isEdited(resp.Header.ContentType())
	if !isHTML(resp.Header.ContentType()) {
		x.noPage()
		if !edited && resp.StatusCode() < 300 {
			x.setStatusHeaders(&resp.Header, "")
			x.stream()
			return
		}
	}
	cc := parseCacheControl(&resp.Header)
	reason, editable := x.editable(&cc)
	if !editable && reason != "" && x.hasEdits() {
		x.noteFailOpen(reason)
	}
	var lifetime time.Duration
	if editable && x.lookup.usable && x.ctx.IsGet() {
		lifetime = x.storableFor(&cc)
	}
	x.setPrivate(&resp.Header, cc)
	switch {
	case x.ctx.IsHead() && edited:
		// The length of an edited page is not known before it is made.
		resp.Header.Del(fasthttp.HeaderContentLength)
		x.conclude("fwd=" + x.forwarded())
	case !editable:
		x.conclude("fwd=" + x.forwarded())
		x.expectWhole(x.newWatch())
		x.stream()
	default:
		x.edit(lifetime)
	}
}

// forwarded says, in the words of RFC 9211, why the origin was asked.
func (x *exchange) forwarded() string {
	switch {
	case !x.lookup.usable:
		return "bypass"
	case x.lookup.refresh:
		return "request"
	}
	return "uri-miss"
}

func (x *exchange) conclude(status string) {
	h := &x.ctx.Response.Header
	x.setStatusHeaders(h, status)
	x.giveCookie(h)
}

func (x *exchange) forgetMinted() {
	if x.minted != "" {
		x.visitor, x.minted, x.counted = "", "", false
	}
}

// editable reports whether the answer is a page that can be edited, or why not.
// What no visitor of the page would see edited has no reason.
func (x *exchange) editable(cc *cacheControl) (Reason, bool) {
	h := &x.ctx.Response.Header
	switch {
	case h.StatusCode() == fasthttp.StatusPartialContent:
		return ReasonPartial, false
	case h.StatusCode() != fasthttp.StatusOK || !x.isEdited(h.ContentType()):
		return "", false
	case cc.noTransform:
		return ReasonNoChange, false
	case !rewrite.EditableBody(string(h.ContentType())):
		return ReasonCharset, false
	}
	if !isReadable(h) {
		return ReasonEncoding, false
	}
	return "", true
}

// isReadable reports whether the body is packed in no way, or in one that we unpack.
func isReadable(h *fasthttp.ResponseHeader) bool {
	coding := h.ContentEncoding()
	return len(coding) == 0 || equalFold(coding, "identity") || isPacked(h)
}

// storableFor returns for how long the edited page may be kept, 0 for not at all.
func (x *exchange) storableFor(cc *cacheControl) time.Duration {
	h := &x.ctx.Response.Header
	lifetime := cc.sharedLifetime()
	if lifetime <= 0 {
		return 0
	}
	for name, value := range h.All() {
		if equalFold(name, fasthttp.HeaderSetCookie) ||
			equalFold(name, fasthttp.HeaderVary) && !equalFold(value, fasthttp.HeaderAcceptEncoding) {
			return 0
		}
	}
	return lifetime - age(h, x.server.now())
}

// edit sends the page through the rewriter.
func (x *exchange) edit(lifetime time.Duration) {
	resp := &x.ctx.Response
	h := &resp.Header
	program := x.programFor(h.ContentType())
	mapped := x.mapping()
	origin, ok := resp.BodyStream().(*upstream.Body)
	if !ok { // an empty page: nothing to edit, nothing worth keeping
		x.conclude("fwd=" + x.forwarded())
		return
	}
	page := x.newPage(origin, mapped)
	page.watch = x.newWatch()
	store := lifetime > 0 && page.taken.Framed()
	if store {
		page.collect = x.newCollector(lifetime)
	}
	x.run(page, program, isPacked(h) && (program != nil || mapped.of != nil || store))
	status := "fwd=" + x.forwarded()
	if store && !page.replayed {
		status += "; stored"
	}
	if applies(x.plan) && (program != nil && !page.replayed || !x.plan.Action.IsZero()) {
		x.server.stats.Personalized.Add(1)
	}
	x.conclude(status)
	x.sendPage(page)
}

// newPage takes the origin's body for a page.
func (x *exchange) newPage(origin *upstream.Body, mapped mapping) *pageBody {
	page := x.server.pages.Get().(*pageBody)
	page.taken = origin.Take()
	page.arrived.from = page.taken
	page.mapping = mapped
	return page
}

// sendPage makes a page go out that is ready.
func (x *exchange) sendPage(page *pageBody) {
	if page.unpack && !page.pack {
		delFold(&x.ctx.Response.Header, fasthttp.HeaderContentEncoding)
	}
	x.send(page, page.length())
}

func isPacked(h *fasthttp.ResponseHeader) bool {
	return equalFold(h.ContentEncoding(), "gzip") || equalFold(h.ContentEncoding(), "x-gzip")
}

// run makes the page ready to leave, or to be edited while it leaves. What fails
// before anything has left ends in the origin's own bytes.
func (x *exchange) run(page *pageBody, program *program, unpack bool) {
	defer func() {
		if r := recover(); r != nil {
			x.server.notePanic("preparing a page", r, "request_id", x.id)
			page.replay()
			x.noteFailOpen(ReasonPanic)
		}
	}()
	h := &x.ctx.Response.Header
	pack := unpack && x.acceptsGzip()
	if program != nil || page.mapping.of != nil {
		page.gather(max(-1, h.ContentLength()))
	}
	if program != nil {
		contentType := string(h.ContentType())
		html := rewrite.BodyOf(contentType) == decision.BodyHTML
		limits := rewrite.Limits{Memory: x.server.cfg.PageMemory, Encoding: rewrite.EncodingOf(contentType)}
		limits.Values = x.slotValues(program)
		if html {
			limits.Policy = x.pagePolicy(program)
		}
		page.notes = notes{server: x.server, request: x.id, path: strings.Clone(clean(x.page.Path, maxLoggedPath)), plan: x.plan.Digest, edits: x.plan.Edits, program: program}
		if html && page.whole && page.splice(program, limits, unpack, pack) {
			return
		}
		page.rewriter = newEditor(program, contentType, page, limits)
	}
	if !page.open(unpack, pack) {
		x.noteFailOpen(ReasonCorrupt)
		return
	}
	if !page.whole {
		return
	}
	page.runWhole()
	if page.err != nil {
		reason := ReasonCorrupt
		switch page.err {
		case errPanic:
			reason = ReasonPanic
		case errBomb:
			reason = ReasonBomb
		}
		page.replay()
		x.noteFailOpen(reason)
	}
}

// program returns the plan's edits ready to run, nil for none.
func (x *exchange) program() *program {
	if len(x.plan.Edits) == 0 {
		return nil
	}
	p, ok := x.server.programs.Get(x.plan.Digest)
	if !ok {
		p = &program{}
		if p.Program, p.err = rewrite.Compile(x.plan.Edits); p.err == nil {
			p.attributes, p.err = slotAttributes(p.Slots(), x.site.Cookie.Name())
		}
		x.server.programs.Put(x.plan.Digest, p)
	}
	if p.err != nil {
		x.noteFailOpen(ReasonCompile, "error", p.err.Error())
		return nil
	}
	return p
}

// collector gathers an edited page for the cache.
type collector struct {
	server  *Server
	key     []byte
	variant *cache.Variant
	body    []byte
	full    bool // larger than what is kept
}

func (x *exchange) newCollector(lifetime time.Duration) *collector {
	now := x.server.now()
	h := &x.ctx.Response.Header
	v := &cache.Variant{Stored: now, Age: age(h, now), Expires: now.Add(lifetime)}
	h.CopyTo(&v.Header)
	v.Header.SetContentEncoding("")
	v.Header.Del(fasthttp.HeaderTransferEncoding)
	v.Header.Del(fasthttp.HeaderContentLength)
	return &collector{server: x.server, key: bytes.Clone(x.key), variant: v}
}

func (c *collector) add(p []byte) {
	if c == nil || c.full {
		return
	}
	if int64(len(c.body)+len(p)) > c.server.variants.MaxObject() {
		c.full, c.body = true, nil
		return
	}
	c.body = append(c.body, p...)
}

// templated can cut a visitor's values out of a page.
type templated interface {
	Template(page []byte) ([]byte, *rewrite.Template)
}

// restart forgets what was gathered, since the page begins anew.
func (c *collector) restart() {
	if c != nil {
		c.body, c.full = c.body[:0], false
	}
}

// store keeps a page that is complete.
func (c *collector) store(r templated, matches []rewrite.Match) {
	if c == nil || c.full {
		return
	}
	v := c.variant
	page, template := c.body, (*rewrite.Template)(nil)
	if r != nil {
		page, template = r.Template(c.body)
	}
	v.Body = bytes.Clone(page)
	v.First = make([]int64, len(matches))
	for i, m := range matches {
		v.First[i] = -1
		if m.Count > 0 {
			v.First[i] = m.FirstOut
			if template != nil {
				v.First[i] = template.Cut(m.FirstOut)
			}
		}
	}
	identity := v.Body
	if template != nil {
		v.Holes = template
		identity = template.AppendShape(slices.Clip(v.Body))
	}
	sum := sha256.Sum256(identity)
	v.Header.Set(fasthttp.HeaderETag, `W/"`+hex.EncodeToString(sum[:12])+`"`)
	if c.server.variants.Put(c.key, v) {
		c.server.stats.CacheStores.Add(1)
	}
}
