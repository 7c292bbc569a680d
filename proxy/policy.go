package proxy

import (
	"bytes"

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
