package proxy

import "github.com/sedge-proxy/sedge/rewrite"

// notes reports how the edits of a page went. They outlive the exchange.
type notes struct {
	server  *Server
	request string // id
	program *program
}

// page reports on a page that was read to its end. Conflicts are logged once for
// each compiled plan: they are the same on every visit.
func (n *notes) page(bailed rewrite.Reason, conflicts []rewrite.Conflict) {
	if n.server == nil {
		return
	}
	if bailed != rewrite.NotBailed {
		n.server.stats.failOpen(ReasonRewrite)
		n.server.log.Warn("rest of the page not rewritten", "reason", string(bailed), "request_id", n.request)
	}
	if len(conflicts) == 0 {
		return
	}
	n.server.stats.Conflicts.Add(1)
	if n.program.reported.Swap(true) {
		return
	}
	for _, c := range conflicts {
		hidden, by := &n.program.edits[c.Edit], &n.program.edits[c.By]
		n.server.log.Warn("an edit has no effect, since an edit of another experience hides it",
			"experience", hidden.Experience, "op", string(hidden.Op), "select", hidden.Select,
			"by", by.Experience, "by_op", string(by.Op), "by_select", by.Select,
			"elements", c.Count, "request_id", n.request)
	}
}
