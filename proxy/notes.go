package proxy

import (
	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/rewrite"
)

const (
	// maxBlockedLines is how many edits of one page are named in the log.
	maxBlockedLines = 8

	maxLoggedPath = 256
)

// notes reports how the edits of a page went. They outlive the exchange.
type notes struct {
	server  *Server
	request string // id
	path    string
	plan    decision.Digest
	edits   []decision.PlannedEdit
	program *program
}

// edited is a page that was edited, one way or the other. HTML also has Blocked.
type edited interface {
	Bailed() rewrite.Reason
	Conflicts() []rewrite.Conflict
}

// page reports on a page that was read to its end.
func (n *notes) page(page edited) {
	if bailed := page.Bailed(); bailed != rewrite.NotBailed {
		n.server.stats.failOpen(ReasonRewrite)
		n.server.log.Warn("rest of the page not rewritten", "reason", string(bailed), "request_id", n.request, "path", n.path)
	}
	n.conflicts(page.Conflicts())
	if html, ok := page.(interface{ Blocked() []rewrite.Block }); ok {
		n.blocked(html.Blocked())
	}
}

// conflicts tells of edits that hide others, once for each compiled plan: they are
// the same on every visit.
func (n *notes) conflicts(conflicts []rewrite.Conflict) {
	if len(conflicts) == 0 {
		return
	}
	n.server.stats.Conflicts.Add(1)
	if n.program.reported.Swap(true) {
		return
	}
	for _, c := range conflicts {
		hidden, by := &n.edits[c.Edit], &n.edits[c.By]
		n.server.log.Warn("an edit has no effect, since an edit of another experience hides it",
			"experience", hidden.Experience, "op", string(hidden.Op), "at", target(hidden),
			"by", by.Experience, "by_op", string(by.Op), "by_at", target(by),
			"elements", c.Count, "request_id", n.request)
	}
}

// target names what an edit is about.
func target(e *decision.PlannedEdit) string {
	switch e.Kind() {
	case decision.BodyJSON:
		return e.Pointer
	case decision.BodyText:
		return e.Pattern
	}
	return e.Select
}

// blocked tells of edits that the page's policy forbids, at most once a second: a
// page that is often asked for must not fill the disk.
func (n *notes) blocked(blocks []rewrite.Block) {
	if len(blocks) == 0 {
		return
	}
	for i := range blocks {
		n.server.stats.PolicyRefused.Add(uint64(blocks[i].Count))
	}
	if !n.server.quietPolicy.due(n.server.now()) {
		return
	}
	for i := range blocks[:min(len(blocks), maxBlockedLines)] {
		experience, number := n.edits[blocks[i].Edit].Experience, 0
		for _, e := range n.edits[:blocks[i].Edit] {
			if e.Experience == experience {
				number++
			}
		}
		n.server.log.Warn("edit left out: the page's Content-Security-Policy forbids it", "experience", experience, "edit", number,
			"directive", blocks[i].Directive, "request_id", n.request, "path", n.path)
	}
}
