package proxy

import (
	"io"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/rewrite"
)

// editor is what changes a body on its way: a page, JSON or other text.
type editor interface {
	io.Writer
	Close() error
	Matches() []rewrite.Match
	Bailed() rewrite.Reason
	Conflicts() []rewrite.Conflict
	Refused() int
	Template(body []byte) ([]byte, *rewrite.Template)
	Release()
}

func newEditor(p *program, contentType string, dst io.Writer, limits rewrite.Limits) editor {
	switch rewrite.BodyOf(contentType) {
	case decision.BodyJSON:
		return p.NewJSONEditor(dst, limits)
	case decision.BodyText:
		return p.NewTextEditor(dst, limits)
	}
	return p.NewRewriter(dst, limits)
}

// partsOf says what kinds of bodies that may be edited a browser asks for when it
// loads a part of a page.
func partsOf(dest []byte) decision.Bodies {
	switch string(dest) {
	case "script", "style", "worker", "sharedworker", "serviceworker", "xslt", "track":
		return decision.BodiesOf(decision.BodyText)
	case "json", "manifest":
		return decision.BodiesOf(decision.BodyJSON)
	}
	return 0
}

// editedBodies asks the planner which kinds of bodies the experiences of the page
// may edit. A planner that panics edits nothing.
func (x *exchange) editedBodies() (bodies decision.Bodies) {
	if x.bodies != 0 {
		return x.bodies
	}
	defer func() {
		if r := recover(); r != nil {
			x.noteFailOpen(ReasonPanic)
		}
	}()
	x.bodies = x.site.Planner.Bodies(&x.page)
	return x.bodies
}

// isEdited reports whether an answer with this Content-Type is one that the
// request's experiences are about: a page, for what may become a page, and another
// body if some experience has edits of its kind.
func (x *exchange) isEdited(contentType []byte) bool {
	switch kind := rewrite.BodyOf(string(contentType)); {
	case kind == decision.BodyHTML:
		return x.kind.parts == 0
	case kind == "":
		return false
	default:
		return x.editedBodies().Has(kind)
	}
}

// hasEdits reports whether the plan has edits for the answer.
func (x *exchange) hasEdits() bool {
	kind := rewrite.BodyOf(string(x.ctx.Response.Header.ContentType()))
	for i := range x.plan.Edits {
		if x.plan.Edits[i].Kind() == kind {
			return true
		}
	}
	return false
}

// programFor returns the plan's edits for a body of the type, nil for none.
func (x *exchange) programFor(contentType []byte) *program {
	p := x.program()
	if p == nil || !p.Has(rewrite.BodyOf(string(contentType))) {
		return nil
	}
	return p
}

// noPage takes note that the answer is no page after all. Nobody gets an id from
// it, so somebody who would have got one is planned for once more, as nobody: what
// is measured must not be shown to people who are not counted.
func (x *exchange) noPage() {
	if x.minted == "" {
		return
	}
	x.forgetMinted()
	if !x.isEdited(x.ctx.Response.Header.ContentType()) {
		return
	}
	action := x.plan.Action
	x.facts, x.segmentation, x.segmented = decision.Facts{}, nil, false
	x.assignments = x.assignments[:0]
	x.deliberate()
	plan := *x.plan
	plan.Action = action // it is done
	x.plan = &plan
}
