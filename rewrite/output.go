package rewrite

import (
	"io"
	"slices"
)

// output is what editors of bodies other than pages write through: it counts, and
// holds the body back while required edits have not matched (see holder).
type output struct {
	program *Program
	dst     io.Writer
	limits  Limits
	err     error
	bailed  Reason
	closed  bool
	out     int64 // bytes written
	base    int64 // offset of the current chunk in the body

	matches []Match
	fills   []fill
	refused int
	scratch []byte
	holder
	conflicts
}

func (o *output) reset(dst io.Writer, limits Limits, required int) {
	o.dst, o.limits = dst, limits.withDefaults()
	o.err, o.bailed, o.closed, o.out, o.base = nil, NotBailed, false, 0, 0
	o.refused = 0
	o.fills = o.fills[:0]
	for i := range o.matches {
		o.matches[i] = Match{First: -1, FirstOut: -1}
	}
	o.holder.reset(required)
	o.conflicts.reset()
}

// Matches returns for each edit of the program where it matched so far.
func (o *output) Matches() []Match { return o.matches }

// Conflicts returns which edits had no effect because of others, as far as was
// seen: at most 32 pairs. It is valid until Release.
func (o *output) Conflicts() []Conflict {
	if o.untouched {
		return nil
	}
	return o.found
}

// Bailed says why the rest of the body passed through unchanged; it is [NotBailed]
// when it did not.
func (o *output) Bailed() Reason {
	if o.untouched {
		return BailedRequired
	}
	return o.bailed
}

// Written returns the number of bytes written so far.
func (o *output) Written() int64 { return o.out }

// Refused returns how often content was left out because the body could not hold it.
func (o *output) Refused() int { return o.refused }

// Template cuts the visitor's values out of a body that was written from its
// beginning to its end. It returns the body as it is, and nil, when none stand in it.
func (o *output) Template(body []byte) ([]byte, *Template) {
	if len(o.fills) == 0 || o.untouched {
		return body, nil
	}
	return cutTemplate(o.program.fills, slices.Clone(o.fills), body)
}

// emit writes bytes.
func (o *output) emit(b []byte) {
	if len(b) == 0 || o.err != nil || o.untouched {
		return
	}
	if o.keeps {
		o.hold(b, &o.limits)
		o.out += int64(len(b))
		return
	}
	o.pass(b)
}

// pass writes bytes to the destination itself.
func (o *output) pass(b []byte) {
	if len(b) == 0 || o.err != nil {
		return
	}
	n, err := o.dst.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	o.out += int64(n)
	o.err = err
}

// insert writes what an edit puts into the body, with the visitor's values.
func (o *output) insert(text []jsonPiece) {
	for i := range text {
		p := &text[i]
		o.emit(p.text)
		if p.slot < 0 || o.untouched {
			continue
		}
		f := fill{at: o.out, number: p.slot, escape: escapeScript, utf8Page: true}
		o.scratch = appendSlot(o.scratch[:0], f.escape, slotText(o.program.fills, o.limits.Values, f.number), true, false)
		f.length = int32(len(o.scratch))
		o.emit(o.scratch)
		o.fills = append(o.fills, f)
	}
}

// match counts a match of an edit whose place is at an offset in the body and, as
// far as is known, in the output; up to is how much of the body had to be seen.
func (o *output) match(n int32, at, out, upTo int64) {
	m := &o.matches[n]
	if m.Count++; m.Count > 1 {
		return
	}
	if o.untouched {
		out = at
	}
	m.First, m.FirstOut = at, out
	if !o.program.edits[n].required {
		return
	}
	if o.needs--; o.needs > 0 {
		return
	}
	most := int64(o.limits.Memory)
	if o.late = upTo > most || out > 4*most; o.late || !o.keeps {
		return
	}
	o.keeps = false
	written := o.out
	o.pass(o.wrote)
	o.out = written
}

// settle gives the body up if it cannot be edited as required any more; done tells
// that this was all of it.
func (o *output) settle(done bool) {
	if !o.keeps || !done && o.bailed == NotBailed && !o.late && int64(len(o.came)) <= int64(o.limits.Memory) {
		return
	}
	o.keeps, o.untouched = false, true
	o.fills = o.fills[:0]
	for i := range o.matches {
		o.matches[i].FirstOut = o.matches[i].First
	}
	o.out = 0
	o.pass(o.came)
}

// take notes a chunk for the case that the body has to go out as it came.
func (o *output) take(p []byte) {
	switch {
	case o.keeps:
		o.came = append(o.came, p...)
	case o.untouched:
		o.pass(p)
	}
}

func (o *output) large() bool {
	return o.holder.large() || cap(o.fills) > keptDepth || cap(o.scratch) > keptMemory
}
