package proxy

import (
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/proxy/coding"
	"github.com/sedge-proxy/sedge/rewrite"
)

// rewrite applies the plan to the origin's page and answers with it. A page that
// is left as it is takes the same way, so that its headers tell nothing.
func (x *exchange) rewrite() {
	if x.ready.variant != nil {
		x.sendReady()
		return
	}
	resp := &x.ctx.Response
	edited := x.isEdited(resp.Header.ContentType())
	if !isHTML(resp.Header.ContentType()) {
		x.noPage()
		if !edited && resp.StatusCode() < 300 {
			x.setStatusHeaders(&resp.Header)
			x.stream()
			return
		}
	}
	control := cache.ReadControl(&resp.Header)
	reason, editable := x.editable(&control)
	if !editable && reason != "" && x.hasEdits() {
		x.noteFailOpen(reason)
	}
	validator := string(peekFold(&resp.Header, fasthttp.HeaderETag))
	x.setPrivate(&resp.Header, &control)
	x.setAge(&resp.Header)
	program := x.programFor(resp.Header.ContentType())
	switch {
	case resp.StatusCode() == fasthttp.StatusNotModified && x.tag != "":
		resp.Header.Set(fasthttp.HeaderETag, x.tag)
		x.conclude()
		x.expectWhole(x.newWatch())
	case editable && x.lookup.found != nil && x.respondKept(program):
	case x.ctx.IsHead() && edited:
		x.headOnly(editable && (program != nil || x.mapping().of != nil))
		x.conclude()
	case !editable:
		x.conclude()
		x.expectWhole(x.newWatch())
		x.stream()
	default:
		x.edit(program, validator)
	}
}

// notePersonalized counts a page that the plan has changed, edited or by its action.
func (x *exchange) notePersonalized(edited bool) {
	if edited && applies(x.plan) || !x.plan.Action.IsZero() {
		x.server.stats.Personalized.Add(1)
	}
}

func (x *exchange) conclude() {
	h := &x.ctx.Response.Header
	x.setStatusHeaders(h)
	x.giveCookie(h)
}

func (x *exchange) forgetMinted() {
	if x.minted != "" {
		x.visitor, x.minted, x.counted = "", "", false
	}
}

// editable reports whether the answer is a page that can be edited, or why not.
// What no visitor of the page would see edited has no reason.
func (x *exchange) editable(control *cache.Directives) (Reason, bool) {
	h := &x.ctx.Response.Header
	switch {
	case !x.isEdited(h.ContentType()):
		return "", false
	case h.StatusCode() == fasthttp.StatusPartialContent:
		return ReasonPartial, false
	case h.StatusCode() != fasthttp.StatusOK:
		return "", false
	case control.NoTransform:
		return ReasonNoChange, false
	case !rewrite.EditableBody(string(h.ContentType())):
		return ReasonCharset, false
	}
	if _, readable := coding.ParseLayers(h.ContentEncoding()); !readable {
		return ReasonEncoding, false
	}
	return "", true
}

// edit sends the page through the rewriter. validator is the ETag of the origin's page.
func (x *exchange) edit(program *program, validator string) {
	h := &x.ctx.Response.Header
	mapped := x.mapping()
	from := x.takeSource()
	if from == nil { // an empty page: nothing to edit
		x.conclude()
		return
	}
	page := x.newPage(from, mapped)
	page.watch, page.doubt = x.newWatch(), x.doubt
	x.run(page, program, x.codings(program != nil || mapped.of != nil))
	if applies(x.plan) && (program != nil && !page.replayed || !x.plan.Action.IsZero()) {
		x.server.stats.Personalized.Add(1)
	}
	if validator != "" {
		x.tagPage(page, validator, program)
	}
	x.conclude()
	if validator != "" && x.matchesETag(h.Peek(fasthttp.HeaderETag)) {
		watch := page.watch
		page.watch = nil
		_ = page.CloseWithError(nil)
		setCoding(h, coding.Identity)
		x.notModified(&x.ctx.Response)
		x.expectWhole(watch)
		return
	}
	x.sendPage(page)
}

// tagPage gives a page that has just come from the origin its ETag.
func (x *exchange) tagPage(page *pageBody, validator string, program *program) {
	var values []string
	if program != nil {
		values = x.slotValues(program)
	}
	c := page.packing
	if !page.layers.Packed() && len(x.ctx.Response.Header.ContentEncoding()) > 0 {
		c = coding.Count // as the origin packed it
	}
	x.ctx.Response.Header.SetBytesV(fasthttp.HeaderETag, x.pageTag(validator, nil, c, values))
}

// pageAddress is what lookalikes know the page's address by.
func (x *exchange) pageAddress() uint64 {
	return x.server.lookalikes.address(x.route.upstream.Name(), x.scheme, x.host, x.plan.Action.Path, x.page.Path, x.page.Query)
}

// newPage takes the origin's body for a page.
func (x *exchange) newPage(from source, mapped mapping) *pageBody {
	page := x.server.pages.Get().(*pageBody)
	page.taken = from
	page.arrived.from = page.taken
	page.mapping = mapped
	return page
}

// sendPage makes a page go out that is ready.
func (x *exchange) sendPage(page *pageBody) {
	h := &x.ctx.Response.Header
	if page.layers.Packed() {
		setCoding(h, page.packing)
	}
	length := page.length()
	if length < 0 && page.passes() {
		length = max(-1, h.ContentLength())
	}
	x.send(page, length)
}

// run makes the page ready to leave, or to be edited while it leaves. What fails
// before anything has left ends in the origin's own bytes.
func (x *exchange) run(page *pageBody, program *program, c codings) {
	defer func() {
		if r := recover(); r != nil {
			x.server.notePanic("preparing a page", r, "request_id", x.id)
			page.replay()
			x.noteFailOpen(ReasonPanic)
		}
	}()
	h := &x.ctx.Response.Header
	if program != nil {
		page.address = x.pageAddress()
	}
	// Also without edits: a Content-Length must not tell that there are none.
	page.gather(max(-1, h.ContentLength()))
	if program != nil {
		contentType := string(h.ContentType())
		html := rewrite.BodyOf(contentType) == decision.BodyHTML
		limits := rewrite.Limits{Memory: x.server.cfg.PageMemory, Encoding: rewrite.EncodingOf(contentType)}
		limits.Values = x.slotValues(program)
		if html {
			limits.Policy = x.pagePolicy(program)
		}
		page.notes = x.notes(program)
		if html && page.whole && page.splice(program, limits, c) {
			return
		}
		page.rewriter = newEditor(program, contentType, page, limits)
	}
	if !page.open(c) {
		page.doubted()
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
		case coding.ErrBomb:
			reason = ReasonBomb
		}
		page.replay()
		x.noteFailOpen(reason)
	}
}

// notes reports how the plan's edits went.
func (x *exchange) notes(program *program) notes {
	return notes{server: x.server, request: x.id, path: strings.Clone(clean(x.page.Path, maxLoggedPath)), plan: x.plan.Digest, edits: x.plan.Edits, program: program}
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
