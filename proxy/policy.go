package proxy

import (
	"github.com/sedge-proxy/sedge/rewrite"
)

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
	return rewrite.ParsePolicy(enforced, reportOnly, x.scheme+"://"+x.host+string(x.rawPath))
}
