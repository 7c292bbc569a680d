package proxy

import (
	"slices"
	"sync"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/rewrite"
)

// spliceMemory bounds what is kept of the splices of one page, in bytes. It is
// charged with the page.
const spliceMemory = 32 << 10

// seenPage is a page that the origin sent before, with what the latest plans made
// of it: a few plans, one for each segment, make most of a page's answers.
type seenPage struct {
	*rewrite.Page
	raw []byte // as it came

	mu      sync.Mutex
	splices []keptSplice // the latest last
	size    int
}

// plain reports whether the page lies there as it came: nothing was unpacked or mapped.
func (p *seenPage) plain() bool {
	body := p.Body()
	return len(body) == len(p.raw) && len(body) > 0 && &body[0] == &p.raw[0]
}

type keptSplice struct {
	plan decision.Digest
	*rewrite.Splice
}

// splice returns the page with the plan's edits, nil if it cannot be spliced. What was
// made of something that one answer brought along is not kept.
func (p *seenPage) splice(plan decision.Digest, program *program, given rewrite.Given) *rewrite.Splice {
	if given.Policy != nil || len(program.Slots()) > 0 {
		return p.Splice(program.Program, given)
	}
	if kept := p.kept(plan); kept != nil {
		return kept
	}
	s := p.Splice(program.Program, given)
	if s != nil && s.Size() <= spliceMemory/4 {
		p.keep(keptSplice{plan, s})
	}
	return s
}

func (p *seenPage) kept(plan decision.Digest) *rewrite.Splice {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.splices {
		if p.splices[i].plan == plan {
			return p.splices[i].Splice
		}
	}
	return nil
}

func (p *seenPage) keep(s keptSplice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.ContainsFunc(p.splices, func(k keptSplice) bool { return k.plan == s.plan }) {
		return // another request was as quick
	}
	p.splices = append(p.splices, s)
	for p.size += s.Size(); p.size > spliceMemory; p.splices = p.splices[1:] {
		p.size -= p.splices[0].Size()
		p.splices[0] = keptSplice{}
	}
}
