package proxy

import (
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/proxy/cache"
)

// originsOwn is the plan of a page that could not be personalized.
var originsOwn = decision.Plan{Concerned: true}

// decide finds the plan for the page. All of it shares one budget, and whatever
// goes wrong ends in the origin's own page.
func (x *exchange) decide() {
	x.server.stats.Concerned.Add(1)
	var began time.Time
	if x.trace != nil {
		began = x.server.now()
	}
	x.deliberate()
	x.traceDecision(began)
}

func (x *exchange) deliberate() {
	x.plan = &originsOwn
	defer func() {
		if r := recover(); r != nil {
			x.plan = &originsOwn
			x.noteFailOpen(ReasonPanic)
		}
	}()
	if err := x.know(); err != nil {
		x.noteFailOpen(x.orBudget(ReasonProfile))
		return
	}
	x.segment()
	x.assign()
	if x.budget.spent() {
		x.noteFailOpen(ReasonBudget)
		return
	}
	x.makePlan()
}

func (x *exchange) orBudget(reason Reason) Reason {
	if x.budget.spent() {
		return ReasonBudget
	}
	return reason
}

// know reads the visitor's profile and the request's attributes.
func (x *exchange) know() error {
	if x.budget == nil {
		x.budget = startBudget(x.spareBudget, x.server.cfg.PersonalizeBudget)
	}
	x.attributes = x.site.Attributes.Extract(x.attributes[:0], x)
	x.facts = decision.Facts{Now: x.began, VisitorID: x.visitor, Attributes: x.attributes}
	if x.visitor == "" || x.minted != "" {
		return nil // nobody is known who was not here before
	}
	profile, err := x.site.Profiles.Snapshot(x.budget, x.visitor)
	x.facts.Profile = profile
	return err
}

// segment says which segments the visitor is in.
func (x *exchange) segment() {
	x.segmentation = x.site.Segmenter.Segment(&x.facts)
	x.segmented = true
}

func (x *exchange) primary() string {
	if x.segmentation == nil {
		return ""
	}
	return x.segmentation.Primary
}

// assign says which arms the visitor is in; none for a bot or somebody without id.
func (x *exchange) assign() {
	x.assignments = x.site.Experiments.Assign(x.assignments[:0], x.visitor, x.primary())
}

// makePlan asks what is wanted for the page.
func (x *exchange) makePlan() {
	x.query = decision.Query{
		Page: x.page, Segment: x.primary(), Assignments: x.assignments,
		Attributes: x.attributes, VisitorID: x.visitor, Bodies: x.kind.parts,
	}
	plan := x.site.Planner.Plan(x.budget, &x.query)
	if plan == nil {
		x.noteFailOpen(x.orBudget(ReasonPlugin))
		return
	}
	if len(plan.Skipped) > 0 {
		x.noteFailOpen(ReasonPlugin, "experiences", strings.Join(plan.Skipped, ","), "causes", strings.Join(plan.Reasons, ","))
	}
	if !validAction(&plan.Action) {
		x.noteFailOpen(ReasonAction)
		return
	}
	x.plan = plan
}

// applies reports whether the plan changes anything for this visitor.
func applies(plan *decision.Plan) bool {
	if !plan.Action.IsZero() {
		return true
	}
	for i := range plan.Edits {
		if plan.Edits[i].Apply {
			return true
		}
	}
	return false
}

// validAction refuses what could break the framing of a message or send the
// request somewhere that nobody configured.
func validAction(a *decision.Action) bool {
	switch a.Status {
	case 0, fasthttp.StatusFound, fasthttp.StatusSeeOther, fasthttp.StatusTemporaryRedirect:
	default:
		return false
	}
	if a.Path != "" && (a.Path[0] != '/' || strings.HasPrefix(a.Path, "//")) {
		return false
	}
	if !printable(a.Redirect) || !printable(a.Path) || strings.ContainsAny(a.Path, "#?") {
		return false
	}
	for _, header := range a.Headers {
		f, ok := splitLine([]byte(header[0] + ":" + header[1]))
		if !ok || string(f.name) != header[0] || isReservedHeader(f.name) {
			return false
		}
	}
	return true
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// reservedHeaders belong to the connection, the framing or the identity of the
// request; no plugin may set them.
var reservedHeaders = [...]string{
	"Host", "Connection", "Content-Length", "Transfer-Encoding", "Keep-Alive", "Upgrade", "TE", "Trailer",
	"Proxy-Connection", "Expect", "Via", "Accept-Encoding", "Range", "If-Range", "Cookie", "Authorization",
}

func isReservedHeader(name []byte) bool {
	for _, reserved := range reservedHeaders {
		if equalFold(name, reserved) {
			return true
		}
	}
	return false
}

// redirect ends the request if the plan sends the visitor elsewhere.
func (x *exchange) redirect() bool {
	action := &x.plan.Action
	if action.Redirect == "" {
		return false
	}
	resp := x.answer(max(action.Status, fasthttp.StatusFound))
	resp.Header.Set(fasthttp.HeaderLocation, action.Redirect)
	x.setPrivate(&resp.Header, &cache.Directives{})
	x.lookup.status.Forward = cache.ForwardBypass
	x.setStatusHeaders(&resp.Header)
	x.giveCookie(&resp.Header)
	x.server.stats.Personalized.Add(1)
	x.expectWhole(x.newWatch())
	return true
}
