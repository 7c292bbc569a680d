package proxy

import (
	"bytes"
	"io"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/proxy/cache"
	"github.com/sedge-proxy/sedge/proxy/coding"
	"github.com/sedge-proxy/sedge/proxy/upstream"
	"github.com/sedge-proxy/sedge/rewrite"
)

// mapping is what becomes of the URLs in one body; the zero value leaves them alone.
type mapping struct {
	of  *upstream.Mapping
	how upstream.MapOptions
	key string // equal for those that make the same of a body
}

// mapping says how the answer's body is mapped.
func (x *exchange) mapping() mapping {
	kinds := x.route.upstream.MappedBodies()
	h := &x.ctx.Response.Header
	if kinds == 0 || !isMappable(h, kinds) {
		return mapping{}
	}
	if control := cache.ReadControl(h); control.NoTransform {
		return mapping{}
	}
	if _, readable := coding.ParseLayers(h.ContentEncoding()); !readable {
		x.noteUnmapped()
		return mapping{}
	}
	m := mapping{of: x.route.upstream.Mapping(x.scheme, x.host)}
	if m.of == nil {
		return m
	}
	m.how.HTML = isHTML(h.ContentType())
	m.how.SpareCode = m.how.HTML && allowsByHash(h)
	m.key = m.of.Key()
	if m.how.SpareCode {
		m.key += " spare"
	}
	return m
}

// isMappable reports whether an answer has a body of the kinds given. What is to be
// saved as a file stays as it is: nobody goes on from it.
func isMappable(h *fasthttp.ResponseHeader, kinds decision.Bodies) bool {
	contentType := string(h.ContentType())
	if !kinds.Has(rewrite.BodyOf(contentType)) || !extendsASCII(contentType) {
		return false
	}
	switch h.StatusCode() {
	case fasthttp.StatusNoContent, fasthttp.StatusPartialContent, fasthttp.StatusNotModified:
		return false
	}
	disposition, _, _ := bytes.Cut(h.Peek(fasthttp.HeaderContentDisposition), []byte{';'})
	return !equalFold(trimSpace(disposition), "attachment")
}

// extendsASCII reports whether the charset of a Content-Type, if it names one, writes
// ASCII in bytes of its own, and nothing else in these.
func extendsASCII(contentType string) bool {
	_, charset, found := strings.Cut(strings.ToLower(contentType), "charset")
	if !found {
		return true
	}
	for _, other := range [...]string{"utf-16", "utf-32", "ucs-2", "unicodefe", "unicodeff", "10646", "2022", "utf-7", "hz-gb"} {
		if strings.Contains(charset, other) {
			return false
		}
	}
	return true
}

// allowsByHash reports whether a policy of the page names hashes of what it holds.
func allowsByHash(h *fasthttp.ResponseHeader) bool {
	for _, policy := range h.PeekAll(fasthttp.HeaderContentSecurityPolicy) {
		if bytes.Contains(bytes.ToLower(policy), []byte("'sha")) {
			return true
		}
	}
	return false
}

// noteUnmapped tells, at most once a second, of a body that cannot be read.
func (x *exchange) noteUnmapped() {
	s := x.server
	if s.quietMapping.due(s.now()) {
		s.log.Warn("URLs not mapped", "reason", string(ReasonEncoding), "request_id", x.id, "upstream", x.route.upstream.Name())
	}
}

// mapAnswer says how the answer's body is mapped, and makes the head fit that.
func (x *exchange) mapAnswer() mapping {
	if x.route.upstream.MappedBodies() == 0 {
		return mapping{}
	}
	h := &x.ctx.Response.Header
	if h.StatusCode() == fasthttp.StatusNotModified && x.hasMapped {
		x.markETag(h)
		addVary(h, fasthttp.HeaderAcceptEncoding)
	}
	m := x.mapping()
	if m.of != nil {
		delFold(h, ofBytes[:]...)
		x.markETag(h)
		addVary(h, fasthttp.HeaderAcceptEncoding) // whatever the origin does, we choose the coding
		if x.ctx.IsHead() {
			x.headOnly(true)
		}
	}
	return m
}

// streamMapped makes a body flow to the client whose URLs are mapped on the way.
func (x *exchange) streamMapped(from source, m mapping) {
	page := x.newPage(from, m)
	h := &x.ctx.Response.Header
	x.run(page, nil, x.codings(true))
	if page.replayed {
		delFold(h, fasthttp.HeaderETag) // it says that the body is mapped
	}
	x.sendPage(page)
}

// startMapping makes the page's URLs be mapped on their way to the rewriter.
func (b *pageBody) startMapping(to io.Writer) {
	if b.mapping.of == nil {
		return
	}
	if b.mapper == nil {
		b.mapper = new(upstream.Mapper)
	}
	b.mapper.Reset(b.mapping.of, to, b.mapping.how)
}

// prepareMapping makes the request such that the answer can be mapped: not packed in a
// way that we cannot read, and whole if a part of it would be of the wrong bytes. What
// the client has a mapped copy of is called by the origin's name for it.
func (x *exchange) prepareMapping(o *upstream.PrepareOptions) {
	if !x.mayBeMapped() {
		return
	}
	if x.wholly {
		o.StripHeaders = wholePage
	} else if !x.concerned && x.lookup.stale == nil && (x.ctx.IsGet() || x.ctx.IsHead()) {
		x.nameCopies(o)
	}
}

// mayBeMapped reports whether a body may come that is mapped, as far as the request
// tells.
func (x *exchange) mayBeMapped() bool {
	kinds := x.route.upstream.MappedBodies()
	if kinds == 0 {
		return false
	}
	switch dest := x.header("Sec-Fetch-Dest"); string(dest) {
	case "", "document", "iframe", "frame", "empty", "object", "embed":
		return true
	default:
		return partsOf(dest)&kinds != 0
	}
}

// isPartOfMapped reports whether a part was sent of what is mapped as a whole.
func (x *exchange) isPartOfMapped() bool {
	h := &x.ctx.Response.Header
	kinds := x.route.upstream.MappedBodies()
	return kinds != 0 && !x.wholly && h.StatusCode() == fasthttp.StatusPartialContent && kinds.Has(rewrite.BodyOf(string(h.ContentType())))
}

// ofBytes are the headers that are true of the origin's bytes alone.
var ofBytes = [...]string{fasthttp.HeaderAcceptRanges, "Content-MD5", "Digest", "Content-Digest", "Repr-Digest"}

// A mapped body is made of the origin's and the address that the client knows, which
// its copy is kept by. So the origin's ETag holds for it, weakly, and is given back to
// the origin in a condition. It gets a mark, by which copies are told apart that were
// made before the settings changed:
//
//	"abc" becomes W/"abc;sMARK", and W/"abc" becomes W/"abc;wMARK"

// markETag marks the answer's ETag.
func (x *exchange) markETag(h *fasthttp.ResponseHeader) {
	tag := string(h.Peek(fasthttp.HeaderETag))
	strength := "s"
	opaque, weak := strings.CutPrefix(tag, "W/")
	if weak {
		strength = "w"
	}
	if inner, ok := strings.CutSuffix(opaque, `"`); ok && len(inner) > 0 {
		h.Set(fasthttp.HeaderETag, "W/"+inner+";"+strength+x.route.upstream.MappingMark()+`"`)
	}
}

// unmarked returns the origin's ETag of which a client has a mapped copy.
func (x *exchange) unmarked(tag string) (origins string, ok bool) {
	tag, ok = strings.CutSuffix(tag, x.route.upstream.MappingMark()+`"`)
	tag = strings.TrimPrefix(tag, "W/")
	if !ok {
		return "", false
	}
	if inner, strong := strings.CutSuffix(tag, ";s"); strong {
		return inner + `"`, true
	}
	inner, weak := strings.CutSuffix(tag, ";w")
	return "W/" + inner + `"`, weak
}

// nameCopies asks the origin about its own ETags in the place of marked ones. A copy
// of a page that is not marked is not asked about: it was made while nothing was
// mapped, and must not be used again.
func (x *exchange) nameCopies(o *upstream.PrepareOptions) {
	var tags []string
	changed := false
	page := x.route.upstream.MappedBodies().Has(decision.BodyHTML) && bytes.Contains(x.header("Accept"), []byte("text/html"))
	for i := range x.fields {
		if !equalFold(x.fields[i].name, fasthttp.HeaderIfNoneMatch) {
			continue
		}
		for tag := range strings.SplitSeq(string(x.fields[i].value), ",") {
			tag = strings.Trim(tag, " \t")
			origins, marked := x.unmarked(tag)
			switch {
			case marked:
				tags = append(tags, origins)
				x.hasMapped, changed = true, true
			case page:
				changed = true
			default:
				tags = append(tags, tag)
			}
		}
	}
	switch {
	case !changed:
	case len(tags) == 0:
		o.StripHeaders = wholeIfWas
	default:
		o.AddHeaders = append(o.AddHeaders, [2]string{fasthttp.HeaderIfNoneMatch, strings.Join(tags, ", ")})
	}
}
