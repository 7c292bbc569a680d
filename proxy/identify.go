package proxy

import (
	"bytes"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/visitor"
)

// identify says what kind of request this is, whose it is, and whether an
// experience names the page.
func (x *exchange) identify() {
	x.classify()
	x.recognize()
	x.concerned = x.kind.page && x.isConcerned() || x.kind.parts != 0 && x.kind.parts&x.editedBodies() != 0
	if x.concerned && x.mayMint() {
		x.mint()
	}
}

func (x *exchange) classify() {
	x.client = visitor.Classify(x.headerFunc)
	if x.client.Bot {
		x.server.stats.Bots.Add(1)
	}
	if !x.ctx.IsGet() && !x.ctx.IsHead() {
		return
	}
	dest := x.header("Sec-Fetch-Dest")
	accept := x.header("Accept")
	named := bytes.Contains(accept, []byte("text/html")) || bytes.Contains(accept, []byte("application/xhtml+xml"))
	anything := len(accept) == 0 || bytes.Contains(accept, []byte("*/*"))
	switch {
	case len(dest) == 0:
		x.kind = pageKind{page: named || anything, explicit: named, navigation: named || anything}
	case equalFold(dest, "document"):
		x.kind = pageKind{page: true, explicit: true, navigation: true}
	case equalFold(dest, "iframe"), equalFold(dest, "frame"):
		x.kind = pageKind{page: true, explicit: true}
	case equalFold(dest, "empty"):
		// Scripts that swap in whole pages say that they want HTML.
		x.kind = pageKind{page: named, explicit: named}
		if !named {
			x.kind.parts = decision.BodiesOf(decision.BodyJSON, decision.BodyText)
		}
	default:
		x.kind.parts = partsOf(dest)
	}
}

// recognize reads the visitor cookie. Bots and people who want no profile have
// no id; a prefetch has one, so that it shows what the navigation would show, and
// is not counted.
func (x *exchange) recognize() {
	id, present := x.cookieVisitor()
	x.visitor = id
	if present && x.visitor == "" {
		x.server.stats.Forged.Add(1)
	}
	if x.client.Bot || x.client.NoProfiling {
		x.visitor = ""
	}
	x.counted = x.visitor != "" && !x.client.Prefetch
}

// cookieVisitor returns the id that the visitor cookie vouches for, "" for none, and
// whether there is such a cookie at all.
func (x *exchange) cookieVisitor() (id string, present bool) {
	name := x.site.Cookie.Name()
	for i := range x.fields {
		f := &x.fields[i]
		if !equalFold(f.name, "Cookie") {
			continue
		}
		for rest := f.value; len(rest) > 0; {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, []byte{';'})
			key, value, _ := bytes.Cut(trimSpace(pair), []byte{'='})
			if string(key) != name {
				continue
			}
			present = true
			if verified, ok := x.site.Signer.Verify(value); ok && id == "" {
				id = x.server.texts.text(verified)
			}
		}
	}
	return id, present
}

// stickTo returns who stays with one server of the upstream; "" where it has no say.
// Upgrades and plain routes, which identify nobody, must reach the server that the
// visitor's pages come from.
func (x *exchange) stickTo() string {
	if x.visitor == "" && x.route.upstream.Sticky() {
		id, _ := x.cookieVisitor()
		return id
	}
	return x.visitor
}

// isConcerned asks the planner. A planner that panics concerns nothing.
func (x *exchange) isConcerned() (concerned bool) {
	if !x.route.personalize { // an upgrade that the origin refused
		return false
	}
	defer func() {
		if r := recover(); r != nil {
			x.noteFailOpen(ReasonPanic)
			concerned = false
		}
	}()
	return x.site.Planner.Concerned(&x.page)
}

// mayMint reports whether this request may give the visitor an id.
func (x *exchange) mayMint() bool {
	return x.visitor == "" && x.kind.navigation && !x.client.Bot && !x.client.Prefetch && !x.client.NoProfiling
}

func (x *exchange) mint() {
	id, value, err := x.site.Signer.Mint()
	if err != nil {
		x.server.log.Error("visitor not minted", "error", err)
		return
	}
	x.visitor, x.minted, x.counted = id, value, true
}

// giveCookie puts a minted visitor's cookie into the answer.
func (x *exchange) giveCookie(h *fasthttp.ResponseHeader) {
	if x.minted == "" {
		return
	}
	x.scratch = x.site.Cookie.AppendSet(x.scratch[:0], x.minted, x.scheme == "https")
	h.AddBytesV(fasthttp.HeaderSetCookie, x.scratch)
	x.server.stats.Minted.Add(1)
}
