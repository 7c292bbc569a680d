package rewrite

import (
	"io"

	"github.com/sedge-proxy/sedge/decision"
)

// JSONEditor edits one JSON document on its way. It is not safe for concurrent use.
type JSONEditor struct {
	output
	places *jsonProgram

	jsonScanner
	chunk []byte // what Write was given

	// What stands between done and the end of the chunk has neither left nor been
	// dropped; held is the part of it that earlier chunks brought. While pending,
	// nothing from there on may leave: the member or item that comes may be taken
	// away, with the comma in front of it.
	done    int64
	held    []byte
	pending bool
	since   int64 // where that begins: behind the value before

	frames   []jsonFrame
	dropping int        // depth of the value that is taken away; -1 for none
	between  bool       // the comma behind a first member that is gone is dropped too
	hider    *jsonHider // of the value that is taken away

	comma  int64 // offset of the last comma of the innermost frame
	member *jsonMember
	name   []byte // the part of a name that earlier chunks brought
	plain  []byte // a name with its escapes resolved
	seen   []bool // by slot: members of open objects that were found
}

// jsonFrame is an open object or array that has places below.
type jsonFrame struct {
	node  *jsonNode
	muted bool // it is taken away: matches are counted, nothing is written
	kept  bool // it has a member or item in the output
	index int  // of the current item
	next  int  // the next of the node's items
}

func newJSONEditor(p *Program) *JSONEditor {
	j := &JSONEditor{places: p.json, seen: make([]bool, p.json.slots)}
	j.program, j.matches = p, make([]Match, len(p.edits))
	j.longest = 6*p.json.longest + 6 // characters may be written as \u0000
	return j
}

// NewJSONEditor returns an editor for one JSON document that writes to dst. It
// comes from a pool; give it back with [JSONEditor.Release].
func (p *Program) NewJSONEditor(dst io.Writer, limits Limits) *JSONEditor {
	j := p.jsonPool.Get().(*JSONEditor)
	j.output.reset(dst, limits, p.required[bodyNumber(decision.BodyJSON)])
	j.jsonScanner.reset(j.limits.Depth)
	j.chunk, j.done, j.held, j.pending, j.since = nil, 0, j.held[:0], false, 0
	j.frames, j.dropping, j.between, j.hider = j.frames[:0], -1, false, nil
	j.comma, j.member, j.name, j.plain = 0, nil, j.name[:0], j.plain[:0]
	return j
}

// Release gives the editor back to its program.
func (j *JSONEditor) Release() {
	j.dst, j.chunk, j.limits.Values = nil, nil, nil
	if j.large() || cap(j.held) > keptMemory || cap(j.name)+cap(j.plain) > keptMemory || cap(j.kinds) > keptDepth {
		return
	}
	j.program.jsonPool.Put(j)
}

// Write edits the next bytes of the document. The error is one of the destination.
func (j *JSONEditor) Write(p []byte) (int, error) {
	if j.err == nil && j.closed {
		j.err = errClosed
	}
	if j.err != nil {
		return 0, j.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	j.chunk = p
	j.take(p)
	if j.bailed == NotBailed {
		j.scan()
	}
	j.endChunk()
	j.settle(false)
	if j.err != nil {
		return 0, j.err
	}
	return len(p), nil
}

// Close ends the document. It does not close the destination.
func (j *JSONEditor) Close() error {
	if j.closed {
		return j.err
	}
	j.closed = true
	j.chunk = nil
	if j.bailed == NotBailed && j.err == nil && !j.ended() {
		j.bail(BailedSyntax, j.base)
		j.keep(j.base)
	}
	j.settle(true)
	return j.err
}

// endChunk lets go what can leave, and keeps the rest.
func (j *JSONEditor) endChunk() {
	end := j.base + int64(len(j.chunk))
	if j.bailed == NotBailed && j.inName() {
		j.keepName()
	}
	if j.bailed == NotBailed && j.pending {
		j.checkPending(end)
	}
	switch {
	case j.dropping >= 0 || j.between:
		j.drop(end)
	case j.pending:
		j.keep(j.since)
		j.held = append(j.held, j.chunk[max(j.done, j.base)-j.base:]...)
	default:
		j.keep(end)
	}
	j.base = end
	j.chunk = nil
}

// bail lets the rest of the document pass through; it was understood up to at.
func (j *JSONEditor) bail(why Reason, at int64) {
	if j.bailed != NotBailed {
		return
	}
	if j.inName() {
		j.passLongName(at)
	}
	if j.bailed != NotBailed {
		return
	}
	if j.pending && j.tooMuch(at) {
		why = BailedMemory
	}
	j.stop(why, at)
}

func (j *JSONEditor) stop(why Reason, at int64) {
	if j.dropping >= 0 || j.between {
		j.drop(at)
	}
	j.bailed, j.pending, j.dropping, j.between = why, false, -1, false
}

// tooMuch reports whether what is pending at an offset is more than may be held.
func (j *JSONEditor) tooMuch(at int64) bool { return at-j.since > int64(j.limits.Memory) }

// checkPending bails when that is so.
func (j *JSONEditor) checkPending(at int64) bool {
	if j.pending && j.tooMuch(at) {
		j.stop(BailedMemory, at)
		return true
	}
	return false
}

// keep writes the document up to an offset.
func (j *JSONEditor) keep(to int64) { j.move(to, true) }

// drop leaves it out.
func (j *JSONEditor) drop(to int64) { j.move(to, false) }

func (j *JSONEditor) move(to int64, write bool) {
	if j.done < min(to, j.base) {
		n := int(min(to, j.base) - j.done)
		if write {
			j.emit(j.held[:n])
		}
		j.held = append(j.held[:0], j.held[n:]...)
		j.done += int64(n)
	}
	if j.done < to {
		if write {
			j.emit(j.chunk[j.done-j.base : to-j.base])
		}
		j.done = to
	}
}

// outAt returns where in the output the document stands at an offset, which has
// not left yet.
func (j *JSONEditor) outAt(at int64) int64 {
	if j.dropping >= 0 || j.between {
		return j.out
	}
	return j.out + max(0, at-j.done)
}
