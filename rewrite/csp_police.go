package rewrite

import (
	"net/url"
	"slices"

	"github.com/sedge-proxy/sedge/decision"
)

// Block says that a page's Content-Security-Policy forbids what an edit would do, so
// that the edit was left out.
type Block struct {
	Edit      int    // the edit that had no effect
	Directive string // that forbids it; "meta" for an edit of the policy itself
	Count     int    // how often it was left out
}

// policing is what the policies of a page say to the edits of a program.
type policing struct {
	on       bool // the page has a policy
	stale    bool // what was decided does not hold any more
	policy   *Policy
	found    []policy // those of the headers, then those of the page so far
	bounds   policyBounds
	base     *url.URL // of addresses
	hasBase  bool     // a <base> came
	href     []byte   // what it says, as long as nobody asked
	before   int      // policies in front of it
	encoding Encoding // for which it was decided
	decided  []string // by edit: the directive that forbids it
	nonces   []string // by need
	blocked  []Block
}

func (d *policing) reset(p *Program, policy *Policy) {
	d.on, d.policy, d.blocked = false, policy, d.blocked[:0]
	if !p.policed {
		return
	}
	d.bounds, d.base, d.hasBase, d.href = newPolicyBounds(), nil, false, d.href[:0]
	if d.found = d.found[:0]; policy != nil {
		d.found = append(d.found, policy.enforced...)
		d.base = policy.page
		d.on = len(d.found)+len(policy.advisory) > 0
	}
	d.stale = d.on
}

// release forgets what belongs to one answer.
func (d *policing) release() {
	d.policy, d.base = nil, nil
	clear(d.found[:cap(d.found)])
	clear(d.nonces)
	clear(d.decided)
}

// Blocked returns which edits the page's policies forbid, as far as was seen. It is
// valid until Release.
func (r *Rewriter) Blocked() []Block { return r.police.blocked }

// Blocked returns which edits the page's policies forbid, as [Rewriter.Blocked] would.
func (s *Splice) Blocked() []Block { return s.blocked }

// block notes that an edit is left out.
func (d *policing) block(edit int32, directive string) {
	for i := range d.blocked {
		if b := &d.blocked[i]; b.Edit == int(edit) && b.Directive == directive {
			b.Count++
			return
		}
	}
	d.blocked = append(d.blocked, Block{int(edit), directive, 1})
}

// refuses reports whether a policy forbids what an edit would do to the current
// element, and notes it.
func (r *Rewriter) refuses(n int32, where *place) bool {
	return r.leaveOut(n, r.forbiddenBy(&r.program.edits[n], where))
}

// leaveOut notes that a directive forbids an edit; it reports false for none.
func (r *Rewriter) leaveOut(n int32, directive string) bool {
	if directive == "" {
		return false
	}
	r.police.block(n, directive)
	if r.program.edits[n].required && r.needs > 0 {
		r.late = true // the page is still held, and goes out as it came
	}
	return true
}

func (r *Rewriter) forbiddenBy(e *edit, where *place) string {
	if where.policy && e.changesPolicy() {
		return metaName
	}
	if !r.police.on {
		return ""
	}
	inside := e.op == decision.OpPrepend || e.op == decision.OpAppend || e.op == decision.OpSetInner && len(e.utf8) > 0
	if where.raw && inside {
		if where.name == tagScript || where.name == tagStyle {
			return r.tagForbiddenBy(nil)
		}
		return "" // it becomes text
	}
	if e.police == nil {
		return ""
	}
	if by := r.verdict(e.police.edit); by != "" || !e.police.tag || !e.ofTag {
		return by
	}
	return r.tagForbiddenBy(e)
}

// changesPolicy reports whether an edit of a <meta> with a policy would change it.
func (e *edit) changesPolicy() bool {
	switch e.op {
	case decision.OpReplace, decision.OpRemove, decision.OpUnwrap:
		return true
	case decision.OpSetAttribute, decision.OpRemoveAttribute:
		name := lower(e.name)
		return name == "http-equiv" || name == "content"
	}
	return false
}

// tagForbiddenBy asks whether the current script, style or link would be allowed,
// with the attribute that an edit gives it. It has to do with the nonce that it has.
func (r *Rewriter) tagForbiddenBy(e *edit) string {
	t := readPolicedTag(r.token, 0, nil)
	if e != nil {
		t.change(e)
	}
	needs := t.elementNeeds(nil)
	for i := range needs {
		n := &needs[i]
		if e == nil && n.fetched() {
			continue // its text does not run
		}
		n.fixed = true
		if _, by := r.police.ask(n, false); by != "" {
			return by
		}
	}
	return ""
}

// change sets or removes an attribute as an edit does.
func (t *policedTag) change(e *edit) {
	name := lower(e.name)
	t.attrs = slices.DeleteFunc(t.attrs, func(a policedAttr) bool { return a.name == name })
	if e.op == decision.OpSetAttribute {
		// Slots in an address that is loaded stand behind its "?".
		t.attrs = append(t.attrs, policedAttr{name: name, value: e.value})
	}
}

// ask says what the policies say to a need.
func (d *policing) ask(n *need, utf8 bool) (nonce, forbiddenBy string) {
	if len(d.href) > 0 && d.hasBase {
		d.setBase()
	}
	a := asked{need: n, utf8: utf8}
	if d.policy != nil {
		a.page = d.policy.page
	}
	if a.address = n.address; a.address != nil && d.base != nil {
		a.address = d.base.ResolveReference(a.address)
	}
	if len(d.found) == 0 && d.policy != nil { // nobody is stopped, but less is reported
		nonce, _ = decide(d.policy.advisory, &a)
		return nonce, ""
	}
	return decide(d.found, &a)
}

// verdict returns the directive that forbids what an edit inserts where the page
// stands; "" for none.
func (r *Rewriter) verdict(edit int32) string {
	d := &r.police
	if d.stale || d.encoding != r.encoding {
		d.stale, d.encoding = false, r.encoding
		d.decideAll(r.program, r.encoding == EncodingUTF8)
	}
	return d.decided[edit]
}

func (d *policing) decideAll(p *Program, utf8 bool) {
	if len(d.decided) == 0 {
		d.decided, d.nonces = make([]string, len(p.edits)), make([]string, len(p.needs))
	}
	for n := range p.edits {
		q := p.edits[n].police
		if q == nil {
			continue
		}
		d.decided[n] = ""
		for i := q.from; i < q.to; i++ {
			nonce, by := d.ask(&p.needs[i], utf8)
			if d.nonces[i] = nonce; by != "" && d.decided[n] == "" {
				d.decided[n] = by
			}
		}
	}
}

// refusesContent reports whether content may not be inserted where the page stands:
// a policy may have come since its element began.
func (r *Rewriter) refusesContent(e *edit) bool {
	if !r.police.on || r.mute || r.suppress > 0 {
		return false
	}
	return r.leaveOut(e.police.edit, r.verdict(e.police.edit))
}

// refusesText reports the same of an edit that waits for text.
func (r *Rewriter) refusesText(n int32) bool {
	q := r.program.edits[n].police
	if q == nil || !r.police.on {
		return false
	}
	by := r.verdict(n)
	if by == "" || slices.ContainsFunc(r.police.blocked, func(b Block) bool { return b.Edit == int(n) }) {
		return by != "" // noted once: it has no places to count
	}
	return r.leaveOut(n, by)
}

// appendNonce appends the attribute that a need was promised; number is the need's,
// + 1. By its grammar a nonce holds nothing that would have to be escaped.
func (r *Rewriter) appendNonce(dst []byte, number int32) []byte {
	if number == 0 || !r.police.on || r.police.nonces[number-1] == "" {
		return dst
	}
	dst = append(append(dst, ` nonce="`...), r.police.nonces[number-1]...)
	return append(dst, '"')
}
