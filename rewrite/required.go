package rewrite

import "io"

// holder keeps a page back until all required edits have matched. What they have
// to match must end within the first Limits.Memory bytes of the page, and what was
// written until then must not be more than four times that; both depend on the
// page alone and not on its chunks.
type holder struct {
	keeps     bool
	needs     int    // required edits that matched nothing so far
	late      bool   // all matched, but too far into the page
	untouched bool   // the page goes out as it came
	came      []byte // the page as it came
	wrote     []byte // what was written of it
}

func (h *holder) reset(required int) {
	h.needs, h.keeps, h.late = required, required > 0, false
	h.untouched = false
	h.came, h.wrote = h.came[:0], h.wrote[:0]
}

func (h *holder) large() bool { return cap(h.came) > keptMemory || cap(h.wrote) > keptMemory }

// hold keeps what was written, as far as it may still be wanted.
func (h *holder) hold(b []byte, limits *Limits) {
	if int64(len(h.wrote)) <= 4*int64(limits.Memory) {
		h.wrote = append(h.wrote, b...)
	}
}

// matchedRequired notes that a required edit matched for the first time, at the
// current token. With the last of them the page is let go.
func (r *Rewriter) matchedRequired() {
	if r.needs--; r.needs > 0 {
		return
	}
	most := int64(r.limits.Memory)
	r.late = r.late || r.base+int64(r.end) > most || r.outOffset() > 4*most
	if r.late || !r.keeps {
		return
	}
	r.keeps = false
	out := r.out
	if len(r.wrote) > 0 && r.err == nil {
		_, r.err = r.dst.Write(r.wrote)
	}
	r.out = out
}

// settle gives the page up if it cannot be edited as required any more; done tells
// that this was all of it.
func (r *Rewriter) settle(done bool) {
	if !r.keeps || !done && r.bailed == NotBailed && !r.late && int64(len(r.came)) <= int64(r.limits.Memory) {
		return
	}
	r.giveUp()
	r.out = 0
	r.pass(r.came)
}

// giveUp makes the page go out as it came. What matches is counted on, as it is for
// visitors whose page was not to be edited.
func (r *Rewriter) giveUp() {
	r.keeps, r.untouched = false, true
	r.fills = r.fills[:0]
	for i := range r.matches {
		r.matches[i].FirstOut = r.matches[i].First
	}
}

// pass writes bytes to the destination itself.
func (r *Rewriter) pass(b []byte) {
	if len(b) == 0 || r.err != nil {
		return
	}
	n, err := r.dst.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	r.out += int64(n)
	r.err = err
}
