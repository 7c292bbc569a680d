package rewrite

import (
	"bytes"
	"html"
	"slices"
	"sort"
	"unicode/utf8"
)

// texter replaces text (the op replace_text). A run is the text between two tags
// or comments. While an edit waits for text, the run is held until its end is
// known, then searched and written.
type texter struct {
	texts   int     // edits of open elements that wait for text
	textOn  []int32 // by edit: open elements that it waits for; empty before the first
	waiting []int32 // the edits that wait, in their order
	inRun   bool
	run     []byte // the part of the run that earlier chunks brought
	runAt   int64  // offset of the run in the page
	effort  int64  // see Rewriter.search

	decoded []byte
	units   []unit
	pieces  [2][]piece
	made    []byte // replacements
}

// unit is a part of a run that is not written as it is meant: a character
// reference, a line end, a character of another character set.
type unit struct{ from, to, rawFrom, rawTo int32 }

// piece is a part of a run: text that stays, or a replacement in its place.
type piece struct {
	from, to         int32 // of the run as it is meant
	madeFrom, madeTo int32 // of texter.made; only if made
	made             bool
}

func (x *texter) reset() {
	x.texts, x.inRun, x.effort = 0, false, textEffort
	x.waiting, x.run = x.waiting[:0], x.run[:0]
	clear(x.textOn)
}

func (x *texter) large() bool {
	return cap(x.run)+cap(x.decoded)+cap(x.made) > keptMemory ||
		cap(x.units)+cap(x.pieces[0])+cap(x.pieces[1]) > keptMemory/16
}

// countTexts notes that an element whose text is replaced opens (1) or ends (-1).
func (r *Rewriter) countTexts(w *work, by int32) {
	if len(r.textOn) == 0 {
		r.textOn = make([]int32, len(r.program.edits))
	}
	for _, n := range r.applied[w.from:w.to] {
		if r.program.edits[n].replace == nil {
			continue
		}
		r.texts += int(by)
		r.textOn[n] += by
		at, found := slices.BinarySearch(r.waiting, n)
		switch {
		case by > 0 && !found:
			r.waiting = slices.Insert(r.waiting, at, n)
		case found && r.textOn[n] == 0:
			r.waiting = slices.Delete(r.waiting, at, at+1)
		}
	}
}

// beginRun begins a run at an index of the chunk if text stands there that may be
// replaced.
func (r *Rewriter) beginRun(m mode, from int) {
	e := r.top()
	switch {
	case r.suppress > 0 || e.flags&inert != 0:
		return
	case m == inRaw && (e.name == tagTitle || e.name == tagTextarea):
	case m != inText || r.stage < inBody:
		return
	case e.flags&foreign != 0 && (e.name == tagStyle || e.name == tagScript):
		return
	}
	r.flush(from)
	r.inRun, r.run, r.runAt = true, r.run[:0], r.base+int64(from)
}

// literalText reports whether the current token, which is no tag, is text.
func (r *Rewriter) literalText() bool {
	switch r.scan.mode {
	case inRaw:
		return true
	case inText:
		return len(r.token) < 2 || r.token[1] != '/' // "</>" is nothing at all
	}
	return false
}

// holdToken adds the current token to the run.
func (r *Rewriter) holdToken() {
	if r.start < 0 {
		r.run = append(r.run, r.token...)
		r.checkRun(len(r.run))
	}
	r.tokenDone = true
}

// holdRun keeps the run's part in the chunk for the next chunk.
func (r *Rewriter) holdRun(to int) {
	r.run = append(r.run, r.chunk[r.flushed:to]...)
	r.flushed = to
	r.checkRun(len(r.run))
}

func (r *Rewriter) checkRun(size int) {
	if size > int(r.limits.Memory) && r.record == nil {
		r.bail(BailedMemory)
	}
}

// endRun replaces the text of the run, which ends before the current token.
func (r *Rewriter) endRun() {
	text, at := r.run, -1
	switch {
	case r.start < 0: // all of it came in earlier chunks
	case len(text) == 0:
		text, at = r.chunk[r.flushed:r.start], r.flushed
	default:
		r.run = append(r.run, r.chunk[r.flushed:r.start]...)
		text, r.flushed = r.run, r.start
	}
	if r.checkRun(len(text)); r.bailed != NotBailed {
		return
	}
	r.inRun = false
	if r.record != nil {
		r.record.run(r, int(r.runAt), int(r.runAt)+len(text))
		return
	}
	if r.closed && r.scan.mode != inText {
		r.emit(text)
		return
	}
	r.replaceText(text, at)
}

// replaceText writes a run as the waiting edits make it. at is its index in the
// chunk, -1 if it does not stand there. Each edit searches what the edits before
// it left of the page's own text; it works once on a run, in however many of its
// elements that stands.
func (r *Rewriter) replaceText(text []byte, at int) {
	meant := r.decode(text)
	now := 0
	r.made = r.made[:0]
	r.pieces[0] = append(r.pieces[0][:0], piece{to: int32(len(meant))})
	r.effort += 64 * int64(len(text))
	for _, n := range r.waiting {
		if r.refusesText(n) {
			continue
		}
		from, to := r.pieces[now], r.pieces[1-now][:0]
		changed := false
		for i, p := range from {
			if p.made {
				to = append(to, p)
				continue
			}
			before := len(to)
			to = r.search(r, r.program.edits[n].replace, meant, p, to)
			changed = changed || len(to) > before+1 || to[before] != from[i]
		}
		r.pieces[1-now] = to
		if changed {
			now = 1 - now
		}
	}
	r.writePieces(text, at, r.pieces[now])
}

// writePieces writes the pieces of a run.
func (r *Rewriter) writePieces(text []byte, at int, pieces []piece) {
	done := 0
	stays := func(to int) {
		if at >= 0 {
			r.flush(at + to)
		} else if to > done {
			r.emit(text[done:to])
		}
		done = max(done, to)
	}
	for _, p := range pieces {
		if !p.made {
			continue
		}
		from, to := r.rawRange(p.from, p.to)
		if from > done && text[from-1] == '<' {
			// It must not begin a tag with what comes to stand behind it.
			stays(from - 1)
			r.emit([]byte("&lt;"))
			if at >= 0 {
				r.flushed = max(r.flushed, at+from)
			}
			done = from
		}
		stays(from)
		r.emit(r.made[p.madeFrom:p.madeTo])
		if at >= 0 {
			r.flushed = max(r.flushed, at+to)
		}
		done = max(done, to)
	}
	stays(len(text))
}

// search appends to dst what becomes of a piece of text. A pattern that may look
// at the rest of the text for each match would make the cost grow with the square
// of a page; such a pattern stops when it has looked at 16 MiB and 64 times the
// page's text.
func (t *texter) search(by replacer, x *replacement, meant []byte, p piece, dst []piece) []piece {
	text, from := meant[p.from:p.to], p.from
	keep := func(to int32) {
		if to > from {
			dst = append(dst, piece{from: from, to: to})
		}
	}
	found := func(a, b int, groups []int) {
		if a == b {
			return
		}
		keep(p.from + int32(a))
		start := int32(len(t.made))
		t.made = by.appendReplacement(t.made, x, text, groups)
		from = p.from + int32(b)
		dst = append(dst, piece{p.from + int32(a), from, start, int32(len(t.made)), true})
	}
	before := len(dst)
	switch {
	case x.literal != nil:
		for i := 0; ; {
			n := bytes.Index(text[i:], x.literal)
			if n < 0 {
				break
			}
			found(i+n, i+n+len(x.literal), nil)
			i += n + len(x.literal)
		}
	case x.re.Match(text):
		most := -1
		if x.unbounded {
			most = max(0, int(t.effort/int64(len(text)+1)))
		}
		all := x.re.FindAllSubmatchIndex(text, most)
		t.effort -= int64(len(all)+1) * int64(len(text)+1)
		for _, m := range all {
			found(m[0], m[1], m)
		}
	}
	keep(p.to)
	if len(dst) == before { // nothing of it is left
		dst = append(dst, p)
	}
	return dst
}

// replacer writes what stands in the place of a match.
type replacer interface {
	appendReplacement(dst []byte, x *replacement, text []byte, groups []int) []byte
}

const textEffort = 16 << 20

// decode returns a run as it is meant: with its character references resolved,
// line ends as line feeds and characters in UTF-8.
func (r *Rewriter) decode(text []byte) []byte {
	r.units = r.units[:0]
	table := r.encoding.table()
	if bytes.IndexByte(text, '&') < 0 && bytes.IndexByte(text, '\r') < 0 && (table == nil || isASCII(text)) {
		return text
	}
	r.decoded = r.decoded[:0]
	for i := 0; i < len(text); {
		c, from, n := text[i], len(r.decoded), 1
		switch {
		case c == '\r':
			r.decoded = append(r.decoded, '\n')
			if i+1 < len(text) && text[i+1] == '\n' {
				n = 2
			}
		case c == '&':
			r.decoded, n = appendTextReference(r.decoded, text[i:])
		case c >= utf8.RuneSelf && table != nil:
			r.decoded = utf8.AppendRune(r.decoded, table.DecodeByte(c))
		default:
			r.decoded = append(r.decoded, c)
			i++
			continue
		}
		r.units = append(r.units, unit{int32(from), int32(len(r.decoded)), int32(i), int32(i + n)})
		i += n
	}
	return r.decoded
}

// appendTextReference appends what the reference at the start of text stands for,
// and returns how long it is; "&" if there is none.
func appendTextReference(dst, text []byte) ([]byte, int) {
	end := 1
	for end < len(text) && end < 34 && (isLetter(text[end]) || '0' <= text[end] && text[end] <= '9' || end == 1 && text[end] == '#') {
		end++
	}
	if end < len(text) && text[end] == ';' {
		end++
	}
	if string(text[:end]) == "&amp;" {
		return append(dst, '&'), end
	}
	resolved := html.UnescapeString(string(text[:end]))
	if resolved == string(text[:end]) {
		return append(dst, '&'), 1
	}
	same := 0 // what a name without ";" is followed by is text
	for same < len(resolved)-1 && same < end-2 && resolved[len(resolved)-1-same] == text[end-1-same] {
		same++
	}
	return append(dst, resolved[:len(resolved)-same]...), end - same
}

// rawRange returns where a part of the run as it is meant stands in it as written.
// A part of a reference takes all of it.
func (t *texter) rawRange(from, to int32) (rawFrom, rawTo int) {
	units := t.units
	i := sort.Search(len(units), func(i int) bool { return units[i].to > from })
	switch {
	case i < len(units) && units[i].from <= from:
		rawFrom = int(units[i].rawFrom)
	case i > 0:
		rawFrom = int(units[i-1].rawTo + from - units[i-1].to)
	default:
		rawFrom = int(from)
	}
	i = sort.Search(len(units), func(i int) bool { return units[i].to >= to })
	switch {
	case i < len(units) && units[i].from < to:
		rawTo = int(units[i].rawTo)
	case i > 0:
		rawTo = int(units[i-1].rawTo + to - units[i-1].to)
	default:
		rawTo = int(to)
	}
	return rawFrom, rawTo
}
