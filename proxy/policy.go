package proxy

import (
	"bytes"
	"strings"

	"github.com/sedge-proxy/sedge/rewrite"
)

// maxBlockedLines is how many edits of one page are named in the log.
const maxBlockedLines = 8

// pagePolicy returns what the answer's headers allow to be inserted; nil for a
// program that inserts nothing that a policy has a say in. It outlives the exchange.
func (x *exchange) pagePolicy(p *program) *rewrite.Policy {
	if !p.Policed() {
		return nil
	}
	var enforced, reportOnly []string
	for name, value := range x.ctx.Response.Header.All() {
		switch {
		case equalFold(name, "Content-Security-Policy"):
			enforced = append(enforced, string(value))
		case equalFold(name, "Content-Security-Policy-Report-Only"):
			reportOnly = append(reportOnly, string(value))
		}
	}
	return rewrite.ParsePolicy(enforced, reportOnly, x.scheme+"://"+x.host+string(x.browserPath()))
}

// browserPath returns the path that the browser asked for, whatever the plan makes
// the origin see.
func (x *exchange) browserPath() []byte {
	target := x.ctx.Request.Header.RequestURI()
	target, _, _ = bytes.Cut(target, []byte{'?'})
	if len(target) == 0 || target[0] == '/' {
		return target
	}
	_, rest, _ := bytes.Cut(target, []byte("://")) // the absolute form
	return rest[max(0, bytes.IndexByte(rest, '/')):]
}

// blocked returns what is to be noted when the page's policy forbids edits. The
// exchange is gone by then.
func (x *exchange) blocked() func([]rewrite.Block) {
	server, id, path, edits := x.server, x.id, strings.Clone(clean(x.page.Path, 256)), x.plan.Edits
	return func(blocks []rewrite.Block) {
		if len(blocks) == 0 {
			return
		}
		for i := range blocks {
			server.stats.PolicyRefused.Add(uint64(blocks[i].Count))
		}
		second := server.now().Unix()
		if server.quietPolicy.Swap(second) == second { // a page that is often asked for must not fill the disk
			return
		}
		for i := range blocks[:min(len(blocks), maxBlockedLines)] {
			experience, number := edits[blocks[i].Edit].Experience, 0
			for _, e := range edits[:blocks[i].Edit] {
				if e.Experience == experience {
					number++
				}
			}
			server.log.Warn("edit left out: the page's Content-Security-Policy forbids it", "experience", experience, "edit", number,
				"directive", blocks[i].Directive, "request_id", id, "path", path)
		}
	}
}
