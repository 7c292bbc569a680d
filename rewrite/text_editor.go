package rewrite

import (
	"bytes"
	"cmp"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/sedge-proxy/sedge/decision"
)

// TextEditor replaces text in one body that is neither a page nor JSON. What a
// pattern matches may begin and end anywhere, so the body is held until its end, up
// to Limits.Memory; a larger one passes through unchanged. It is not safe for
// concurrent use.
type TextEditor struct {
	output
	texter
	encoding Encoding
	body     []byte
	order    []int32 // the edits that matched, by their first match
}

func newTextEditor(p *Program) *TextEditor {
	t := &TextEditor{}
	t.program, t.matches = p, make([]Match, len(p.edits))
	return t
}

// NewTextEditor returns an editor for one body of text that writes to dst. It comes
// from a pool; give it back with [TextEditor.Release].
func (p *Program) NewTextEditor(dst io.Writer, limits Limits) *TextEditor {
	t := p.textPool.Get().(*TextEditor)
	t.output.reset(dst, limits, p.required[bodyNumber(decision.BodyText)])
	t.texter.reset()
	t.encoding, t.body = limits.Encoding, t.body[:0]
	return t
}

// Release gives the editor back to its program.
func (t *TextEditor) Release() {
	t.dst, t.limits.Values = nil, nil
	if t.output.large() || t.texter.large() || cap(t.body) > keptMemory {
		return
	}
	t.program.textPool.Put(t)
}

// Write takes the next bytes of the body. The error is one of the destination.
func (t *TextEditor) Write(p []byte) (int, error) {
	if t.err == nil && t.closed {
		t.err = errClosed
	}
	switch {
	case t.err != nil:
		return 0, t.err
	case t.bailed != NotBailed:
		t.pass(p)
	default:
		if t.body = append(t.body, p...); len(t.body) > int(t.limits.Memory) {
			t.bail(BailedMemory)
		}
	}
	if t.err != nil {
		return 0, t.err
	}
	return len(p), nil
}

// bail lets the body pass through unchanged.
func (t *TextEditor) bail(why Reason) {
	t.bailed, t.untouched = why, t.needs > 0
	t.pass(t.body)
}

// Close edits the body and writes it. It does not close the destination.
func (t *TextEditor) Close() error {
	if t.closed {
		return t.err
	}
	t.closed = true
	if t.bailed == NotBailed && t.err == nil {
		t.edit()
	}
	return t.err
}

func (t *TextEditor) edit() {
	text, ok := bytes.CutPrefix(t.body, []byte(byteOrderMark))
	if ok {
		t.encoding = EncodingUTF8
	}
	switch table := t.encoding.table(); {
	case table == nil && !utf8.Valid(text):
		t.bail(BailedEncoding)
		return
	case table == nil:
		t.encoding = EncodingUTF8
	}
	mark := len(t.body) - len(text)
	meant := t.decode(text)
	t.keeps = false // it is all here
	t.effort += 64 * int64(len(text))
	t.replace(meant)
	for _, n := range t.program.texts {
		if m := &t.matches[n]; m.Count > 0 {
			from, _ := t.rawRange(int32(m.First), int32(m.First))
			m.First = int64(mark + from)
		}
	}
	if t.needs > 0 {
		t.untouched = true
		for i := range t.matches {
			t.matches[i].FirstOut = t.matches[i].First
		}
		t.pass(t.body)
		return
	}
	t.pass(t.body[:mark])
	t.sortMatches()
	t.write(text, mark)
}

// decode returns text in UTF-8. Unlike in pages line ends are what they are.
func (t *TextEditor) decode(text []byte) []byte {
	t.units = t.units[:0]
	table := t.encoding.table()
	if table == nil || isASCII(text) {
		return text
	}
	t.decoded = t.decoded[:0]
	for i, c := range text {
		if c < utf8.RuneSelf {
			t.decoded = append(t.decoded, c)
			continue
		}
		from := len(t.decoded)
		t.decoded = utf8.AppendRune(t.decoded, table.DecodeByte(c))
		t.units = append(t.units, unit{int32(from), int32(len(t.decoded)), int32(i), int32(i + 1)})
	}
	return t.decoded
}

// replace finds what the edits make of the text, into pieces[0]. What an edit
// matches is counted in the text as it came, whatever other edits do to it.
func (t *TextEditor) replace(meant []byte) {
	whole := piece{to: int32(len(meant))}
	t.pieces[0] = append(t.pieces[0][:0], whole)
	t.made = t.made[:0]
	changed := false
	for _, n := range t.program.texts {
		e := &t.program.edits[n]
		made := len(t.made)
		to := t.search(t, e.replace, meant, whole, t.pieces[1][:0])
		t.pieces[1] = to
		t.countPieces(n, to)
		switch {
		case t.matches[n].Count == 0 && !changed || !e.apply || !t.canWrite(e.replace):
			t.made = t.made[:made]
		case !changed:
			t.pieces[0], t.pieces[1] = to, t.pieces[0]
			changed = true
		default:
			t.made = t.made[:made]
			t.replaceAgain(e.replace, meant)
		}
	}
}

// replaceAgain applies an edit to what the edits before it left of the text.
func (t *TextEditor) replaceAgain(x *replacement, meant []byte) {
	to := t.pieces[1][:0]
	for _, p := range t.pieces[0] {
		if p.made {
			to = append(to, p)
		} else {
			to = t.search(t, x, meant, p, to)
		}
	}
	t.pieces[0], t.pieces[1] = to, t.pieces[0]
}

// countPieces counts the matches of an edit. Offsets are those of the text as it is
// meant.
func (t *TextEditor) countPieces(n int32, pieces []piece) {
	m := &t.matches[n]
	for _, p := range pieces {
		if p.made {
			if m.Count++; m.Count == 1 {
				m.First = int64(p.from)
			}
		}
	}
	if m.Count > 0 && t.program.edits[n].required {
		t.needs--
	}
}

// write writes the pieces, and notes where in them the first matches stand.
func (t *TextEditor) write(text []byte, mark int) {
	done := 0
	for _, p := range t.pieces[0] {
		if !p.made {
			continue
		}
		from, to := t.rawRange(p.from, p.to)
		t.noteOut(mark+from, int64(mark+done))
		t.pass(text[done:from])
		t.noteOut(mark+to, -1)
		t.pass(t.made[p.madeFrom:p.madeTo])
		done = to
	}
	t.noteOut(mark+len(text)+1, int64(mark+done))
	t.pass(text[done:])
}

func (t *TextEditor) sortMatches() {
	t.order = t.order[:0]
	for _, n := range t.program.texts {
		if t.matches[n].Count > 0 {
			t.order = append(t.order, n)
		}
	}
	slices.SortFunc(t.order, func(a, b int32) int { return cmp.Compare(t.matches[a].First, t.matches[b].First) })
}

// noteOut notes where the first matches stand in the output that lie in front of an
// offset. What is written next is the body from an offset on, -1 for a replacement.
func (t *TextEditor) noteOut(to int, from int64) {
	for len(t.order) > 0 {
		m := &t.matches[t.order[0]]
		if m.First >= int64(to) {
			return
		}
		if m.FirstOut = t.out; from >= 0 {
			m.FirstOut += m.First - from
		}
		t.order = t.order[1:]
	}
}

// canWrite reports whether the body's character set has what a replacement puts
// into it.
func (t *TextEditor) canWrite(x *replacement) bool {
	table := t.encoding.table()
	if table == nil {
		return true
	}
	for i := range x.parts {
		for _, c := range x.parts[i].content {
			if b, ok := table.EncodeRune(c); !ok || c >= utf8.RuneSelf && b < utf8.RuneSelf {
				t.refused++
				return false
			}
		}
	}
	return true
}

// appendReplacement appends what stands in the place of a match, as the body writes
// it.
func (t *TextEditor) appendReplacement(dst []byte, x *replacement, text []byte, groups []int) []byte {
	for i := range x.parts {
		switch p := &x.parts[i]; {
		case p.group < 0:
			dst = t.appendEncoded(dst, p.content)
		case groups == nil: // plain text has only group 0
			dst = t.appendEncoded(dst, string(x.literal))
		case groups[2*p.group] >= 0:
			dst = t.appendEncoded(dst, string(text[groups[2*p.group]:groups[2*p.group+1]]))
		}
	}
	return dst
}

func (t *TextEditor) appendEncoded(dst []byte, s string) []byte {
	table := t.encoding.table()
	if table == nil {
		return append(dst, s...)
	}
	for _, c := range s {
		b, _ := table.EncodeRune(c) // canWrite has seen to it
		dst = append(dst, b)
	}
	return dst
}
