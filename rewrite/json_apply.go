package rewrite

import "github.com/sedge-proxy/sedge/decision"

// reach deals with a value, which begins at p, inside of a frame or at the root. It
// returns where to look on inside of it.
func (j *JSONEditor) reach(p int, kind jsonKind) *jsonNode {
	if j.depth == 0 {
		return j.arrive(p, kind, j.places.root, nil)
	}
	frame := &j.frames[len(j.frames)-1]
	if j.inObject() {
		m := j.member
		if j.member = nil; m == nil || j.checkPending(j.at(p)) {
			return nil
		}
		return j.arrive(p, kind, m.node, frame)
	}
	if j.checkPending(j.at(p)) {
		return nil
	}
	if j.leaveGap(p); frame.next < len(frame.node.items) {
		if it := &frame.node.items[frame.next]; it.index == frame.index {
			frame.next++
			return j.arrive(p, kind, it.node, frame)
		}
	}
	if !frame.muted {
		j.passOver()
	}
	return nil
}

// arrive applies the edits of a place to the value that begins at p. frame is nil
// for the root.
func (j *JSONEditor) arrive(p int, kind jsonKind, node *jsonNode, frame *jsonFrame) *jsonNode {
	if node == nil {
		return nil
	}
	fate := &node.fates[kind]
	at := j.at(p)
	if j.dropping >= 0 {
		j.count(node, kind, at, j.out, j.hider)
		return fate.inside
	}
	start := at // of the member or item, with its comma
	if fate.act == jsonRemove && frame != nil {
		switch {
		case frame.kept:
			start = j.comma
		case j.inObject():
			start = j.named
		}
	}
	var hider *jsonHider
	if fate.act != jsonKeep {
		hider = &fate.hides
	}
	j.count(node, kind, at, j.outAt(start), hider)
	switch fate.act {
	case jsonReplace:
		j.keep(at)
		j.insert(fate.text)
	case jsonRemove:
		j.keep(start)
	}
	if fate.act != jsonKeep {
		j.dropping, j.hider = j.depth, hider
	}
	if j.pending = false; frame != nil && fate.act != jsonRemove {
		frame.kept = true
	}
	return fate.inside
}

// count notes which edits match a value, and which of them another one hides.
func (j *JSONEditor) count(node *jsonNode, kind jsonKind, at, out int64, hider *jsonHider) {
	for _, n := range node.matches {
		if e := &j.program.edits[n]; e.op == decision.OpAppend && kind != jsonArray {
			continue
		}
		j.match(n, at, out, at+1)
		j.noteHidden(n, hider, at)
	}
}

// noteHidden notes the conflict of an edit with the one that hides it.
func (j *JSONEditor) noteHidden(n int32, hider *jsonHider, at int64) {
	if hider == nil || hider.by < 0 || hider.by == n || j.untouched {
		return
	}
	e, by := &j.program.edits[n], &j.program.edits[hider.by]
	if !e.apply || e.op == by.op && e.jsonText == by.jsonText && e.pointer == by.pointer {
		return
	}
	for _, alive := range hider.alive {
		if alive == n {
			return
		}
	}
	j.note(j.program, n, hider.by, at)
}

// endValue ends a value in front of p.
func (j *JSONEditor) endValue(p int) {
	if j.state = jsonAfter; j.depth == 0 {
		j.state = jsonDone
	}
	if j.depth != len(j.frames) {
		return
	}
	var frame *jsonFrame
	if j.depth > 0 {
		frame = &j.frames[len(j.frames)-1]
		frame.index++
	}
	if j.dropping >= 0 {
		if j.dropping != j.depth {
			return
		}
		j.drop(j.at(p))
		j.dropping, j.hider = -1, nil
	}
	if frame == nil {
		return
	}
	if frame.kept {
		j.pending, j.since = true, j.at(p)
	} else {
		j.between = true
	}
}

// closeValue takes the bracket at p that closes the innermost object or array.
func (j *JSONEditor) closeValue(p int) int {
	if j.depth == len(j.frames) {
		if j.checkPending(j.at(p)) {
			return p
		}
		j.leaveGap(p)
		frame := &j.frames[len(j.frames)-1]
		if j.inObject() {
			j.endObject(p, frame)
		} else {
			j.endArray(p, frame)
		}
		j.pending = false
		j.frames = j.frames[:len(j.frames)-1]
	}
	j.depth--
	j.endValue(p + 1)
	return p + 1
}

// endObject adds the members that are missing.
func (j *JSONEditor) endObject(p int, frame *jsonFrame) {
	for _, m := range frame.node.ends {
		found := j.seen[m.slot]
		if !found {
			j.missed(m.missed, p, &m.hides)
		}
		if m.text != nil && (!found || m.again) {
			j.add(frame, m.text)
		}
	}
}

// endArray adds the items behind the last one.
func (j *JSONEditor) endArray(p int, frame *jsonFrame) {
	j.missed(frame.node.atEnd, p, nil)
	if frame.next < len(frame.node.items) {
		if it := &frame.node.items[frame.next]; it.index == frame.index {
			j.missed(it.missed, p, nil)
		}
	}
	if frame.muted {
		return
	}
	if text, count := frame.node.tail.of(frame.index); count > 0 {
		j.add(frame, text)
	}
}

// missed counts the edits that add something in front of the bracket at p.
func (j *JSONEditor) missed(edits []int32, p int, hider *jsonHider) {
	if len(edits) == 0 {
		return
	}
	if j.dropping >= 0 {
		hider = j.hider
	}
	out := j.outAt(j.since)
	for _, n := range edits {
		j.match(n, j.at(p), out, j.at(p)+1)
		j.noteHidden(n, hider, j.at(p))
	}
}

// add writes a member or item behind the last one of a frame.
func (j *JSONEditor) add(frame *jsonFrame, text []jsonPiece) {
	j.keep(j.since)
	if frame.kept {
		j.emit(jsonComma[:])
	}
	frame.kept = true
	j.insert(text)
}

var jsonComma = [1]byte{','}
