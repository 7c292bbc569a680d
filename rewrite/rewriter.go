package rewrite

import (
	"bytes"
	"errors"
	"hash/maphash"
	"io"

	"github.com/sedge-proxy/sedge/decision"
)

// Limits bound what a page can cost.
type Limits struct {
	// Memory is the most that is held back of a page, in bytes: a tag longer
	// than this ends the rewriting. 0 means 1 MiB.
	Memory decision.Size

	// Depth is how deep elements may be nested. Each open element costs about
	// 50 bytes, and 16 for each 64 parts of selectors that others follow. 0
	// means 65536.
	Depth int

	// Page is the most that a compiled page may take in memory; see
	// [CompilePage]. 0 means 32 MiB.
	Page decision.Size

	// Encoding is the page's character set; see [EncodingOf]. The zero value
	// makes the rewriter look for it in the page.
	Encoding Encoding

	// Values are a visitor's values for the slots of the program, in the order of
	// [Program.Slots]. Where one is missing or empty the slot's fallback stands.
	Values []string

	// Policy is what the headers of the answer allow; nil for everything. It is
	// looked at for programs that are [Program.Policed].
	Policy *Policy
}

const (
	defaultMemory = 1 << 20
	defaultDepth  = 1 << 16
	defaultPage   = 32 << 20

	attrSize   = 24        // bytes that noting an attribute costs
	keptMemory = 256 << 10 // buffers above this are not pooled
	keptDepth  = 1 << 10   // nor are stacks above this
)

// Reason says why the rest of a page passed through unchanged.
type Reason string

// The reasons of [Rewriter.Bailed].
const (
	NotBailed       Reason = ""
	BailedMemory    Reason = "memory"    // a tag, or the names of the elements, beyond Limits.Memory
	BailedDepth     Reason = "depth"     // elements nested deeper than Limits.Depth
	BailedAmbiguous Reason = "ambiguous" // browsers differ in what the page means
	BailedEncoding  Reason = "encoding"  // a character set that cannot be edited
	BailedSyntax    Reason = "syntax"    // no JSON from here on
	BailedTrailing  Reason = "trailing"  // text behind a JSON document, as a second document is
	BailedRequired  Reason = "required"  // a required edit matched nothing, or not within Limits.Memory: the whole page is unchanged, but matched on
)

// errClosed is returned by Write after Close.
var errClosed = errors.New("rewrite page: write after close")

// Rewriter rewrites one page. It is not safe for concurrent use.
type Rewriter struct {
	program *Program
	dst     io.Writer
	limits  Limits
	err     error
	bailed  Reason
	closed  bool

	scan     scanner
	doctype  bool // seen
	quirks   bool
	encoding Encoding
	bom      int // bytes of a byte order mark seen

	chunk   []byte // what Write was given
	flushed int    // up to where chunk has left or was dropped
	base    int64  // offset of chunk[0] in the page
	out     int64  // bytes written
	held    []byte // beginning of a token whose end has not come
	holding bool
	heldAt  int64 // offset of held[0] in the page

	// The token being handled. start is -1 when it is in held.
	token      []byte
	start, end int
	tokenDone  bool // it was written or dropped

	suppress int  // open elements whose content is taken away
	mute     bool // nothing can be inserted where the page stands
	tree
	works   []work
	applied []int32 // edits of the elements in works
	matches []Match
	seen    seen
	texter
	holder
	conflicts
	filler
	police  policing
	record  *pageBuilder // takes down what is found; nil but for CompilePage
	finder  finder
	splice  *Splice   // takes what is written; nil but for Page.Splice
	edited  [2][]byte // tags with changed attributes
	scratch []byte
	coded   []byte // content in the page's character set
	work    int64  // steps done, to test that cost is linear
}

func newRewriter(p *Program, seed maphash.Seed) *Rewriter {
	r := &Rewriter{program: p, seen: newSeen(p), matches: make([]Match, len(p.edits))}
	r.tree.init(p, seed)
	return r
}

func (l Limits) withDefaults() Limits {
	if l.Memory <= 0 {
		l.Memory = defaultMemory
	}
	if l.Depth <= 0 {
		l.Depth = defaultDepth
	}
	if l.Page <= 0 {
		l.Page = defaultPage
	}
	return l
}

func (r *Rewriter) reset(dst io.Writer, limits Limits) {
	limits = limits.withDefaults()
	r.dst, r.limits, r.encoding = dst, limits, limits.Encoding
	r.err, r.bailed, r.closed = nil, NotBailed, false
	r.scan = scanner{tagScanner: tagScanner{attrs: r.scan.attrs[:0], maxAttrs: int(limits.Memory) / attrSize}}
	r.token, r.start, r.end, r.tokenDone = nil, -1, 0, true
	r.doctype, r.quirks, r.bom = false, true, 0
	r.flushed, r.base, r.out = 0, 0, 0
	r.held, r.holding = r.held[:0], false
	r.suppress, r.mute, r.work = 0, false, 0
	r.works, r.applied = r.works[:0], r.applied[:0]
	r.texter.reset()
	r.conflicts.reset()
	r.filler.reset()
	r.police.reset(r.program, limits.Policy)
	r.holder.reset(r.program.required[bodyNumber(decision.BodyHTML)])
	for i := range r.matches {
		r.matches[i] = Match{First: -1, FirstOut: -1}
	}
	r.tree.reset()
	if r.encoding == EncodingOther {
		r.keeps = false
		r.bail(BailedEncoding)
	}
}

// Release gives the rewriter back to its program. It must not be used afterwards.
func (r *Rewriter) Release() {
	r.dst, r.chunk, r.token = nil, nil, nil
	r.limits.Values, r.limits.Policy = nil, nil // they are one visitor's
	r.police.release()
	clear(r.seen.value)
	if cap(r.held) > keptMemory || cap(r.edited[0]) > keptMemory || cap(r.edited[1]) > keptMemory ||
		cap(r.scratch) > keptMemory || cap(r.seen.values) > keptMemory || cap(r.coded) > keptMemory || cap(r.scan.attrs)*attrSize > keptMemory || r.tree.large() || r.texter.large() || r.holder.large() || r.finder.large() {
		return
	}
	r.program.pool.Put(r)
}

// Matches returns for each edit where it matched so far; final after [Rewriter.Close].
// The slice is valid until Release.
func (r *Rewriter) Matches() []Match { return r.matches }

// Bailed says why the rest of the page passed through unchanged; it is
// [NotBailed] when it did not.
func (r *Rewriter) Bailed() Reason {
	if r.untouched {
		return BailedRequired
	}
	return r.bailed
}

// Written returns the number of bytes written so far.
func (r *Rewriter) Written() int64 { return r.out }

// Write rewrites the next bytes of the page. The error is one of the destination.
func (r *Rewriter) Write(p []byte) (int, error) {
	if r.err == nil && r.closed {
		r.err = errClosed
	}
	if r.err != nil {
		return 0, r.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	r.chunk, r.flushed = p, 0
	switch {
	case r.keeps:
		r.came = append(r.came, p...)
	case r.untouched:
		r.pass(p)
	}
	r.byteOrderMark()
	pos := 0
	if r.holding {
		pos = r.resume()
	}
	for pos < len(p) && r.bailed == NotBailed && r.err == nil {
		if r.mayPassPlainly() {
			if pos = r.passPlain(pos); pos == len(p) || r.bailed != NotBailed || r.err != nil {
				break
			}
		}
		pos = r.step(pos)
	}
	if r.inRun {
		r.holdRun(len(p))
	}
	r.flush(len(p))
	r.settle(false)
	r.base += int64(len(p))
	r.chunk = nil
	if r.err != nil {
		return 0, r.err
	}
	return len(p), nil
}

// step handles the text at pos and the token behind it.
func (r *Rewriter) step(pos int) int {
	mode, from, stage := r.scan.mode, pos, r.stage
	at, started := r.passText(r.chunk, pos)
	r.work++
	switch {
	case mode != inText:
	case stage < inBody:
		if r.text(r.chunk[pos:at], pos, r.base+int64(pos)); r.stage != stage {
			from = r.start // the text in front of it is white space
		}
	case r.inColgroup():
		if r.textInColgroup(r.chunk[pos:at], pos) {
			from = r.start
		}
	}
	if r.texts > 0 && !r.inRun {
		r.beginRun(mode, from)
	}
	if !started {
		return at
	}
	r.scan.kind, r.scan.attrs = kindOpen, r.scan.attrs[:0] // they would count as held
	if r.scan.mode != inText {
		r.scan.kind = kindRawOpen
	}
	end, out := r.candidate(r.chunk, at+1, -at)
	if out == undecided {
		if r.inRun {
			r.holdRun(at)
		}
		r.flush(at)
		r.held = append(r.held[:0], r.chunk[at:]...)
		r.holding, r.heldAt = true, r.base+int64(at)
		r.flushed = len(r.chunk)
		r.checkHeld()
		return len(r.chunk)
	}
	r.token, r.start, r.end = r.chunk[at:end], at, end
	r.handle(out)
	return end
}

// resume goes on with a token that earlier chunks began.
func (r *Rewriter) resume() int {
	end, out := r.candidate(r.chunk, 0, len(r.held))
	r.held = append(r.held, r.chunk[:end]...)
	r.flushed = end
	if r.checkHeld(); out == undecided || !r.holding {
		return end
	}
	r.token, r.start, r.end = r.held, -1, end
	r.holding = false
	r.handle(out)
	return end
}

// checkHeld bails when the token that is held, or the note of its attributes,
// takes more than the limit.
func (r *Rewriter) checkHeld() {
	if len(r.held)+len(r.scan.attrs)*attrSize > int(r.limits.Memory) {
		r.bail(BailedMemory)
	}
}

// bail lets the rest of the page pass through.
func (r *Rewriter) bail(why Reason) {
	if r.bailed != NotBailed {
		return
	}
	if r.inRun {
		r.inRun = false
		r.emit(r.run)
	}
	if !r.holding {
		r.cut()
	}
	r.bailed = why
	r.suppress = 0
	r.texts = 0
	if r.holding {
		r.holding = false
		r.emit(r.held)
	}
}

// handle deals with the token that was found.
func (r *Rewriter) handle(out outcome) {
	r.work++
	r.tokenDone = false
	if r.start >= 0 && len(r.token)+len(r.scan.attrs)*attrSize > int(r.limits.Memory) {
		r.bail(BailedMemory)
		return
	}
	if r.inRun {
		if out == literal && r.literalText() && !r.inColgroup() {
			r.holdToken()
			return
		}
		if r.endRun(); r.bailed != NotBailed {
			return
		}
	}
	switch out {
	case startTag:
		r.startTag()
	case endTag:
		r.endTag()
	case doctype:
		r.doctypeToken()
	case literal:
		switch {
		case r.scan.mode != inText || len(r.token) >= 3:
		case r.stage < inBody:
			r.text(r.token, -1, 1<<62)
		case r.inColgroup():
			r.popTo(len(r.stack) - 1)
		}
	}
	if r.start < 0 {
		r.keepToken()
	}
}

// Close ends the page: elements that are still open end here. It does not close
// the destination.
func (r *Rewriter) Close() error {
	if r.closed {
		return r.err
	}
	r.closed = true
	r.token, r.start, r.end, r.tokenDone = nil, -1, 0, true
	if r.inRun {
		r.endRun()
	}
	if r.bailed == NotBailed && r.err == nil {
		r.mute = r.scan.mode != inText
		r.holding = r.holding && r.suppress == 0
		r.popTo(1)
		r.mute = false
	}
	if r.holding {
		r.holding = false
		r.token, r.tokenDone = r.held, false
		r.keepToken()
	}
	r.settle(true)
	return r.err
}

// emit writes bytes, unless an outer edit takes them away.
func (r *Rewriter) emit(b []byte) {
	if len(b) == 0 || r.suppress > 0 || r.err != nil || r.untouched {
		return
	}
	if r.keeps {
		r.hold(b, &r.limits)
		r.out += int64(len(b))
		return
	}
	r.pass(b)
}

// insert writes the content of an edit.
func (r *Rewriter) insert(b []byte) {
	if !r.mute {
		r.emit(b)
	}
}

// flush writes, or drops, the chunk up to to.
func (r *Rewriter) flush(to int) {
	if to <= r.flushed {
		return
	}
	if r.splice != nil && r.suppress == 0 {
		r.splice.keep(r.flushed, to)
		r.out += int64(to - r.flushed)
	} else {
		r.emit(r.chunk[r.flushed:to])
	}
	r.flushed = to
}

// cut flushes what stands before the token.
func (r *Rewriter) cut() {
	if r.start >= 0 && !r.tokenDone {
		r.flush(r.start)
	}
}

// keepToken writes the token as it came.
func (r *Rewriter) keepToken() {
	if r.tokenDone {
		return
	}
	r.tokenDone = true
	if r.start >= 0 {
		r.flush(r.end)
	} else {
		r.emit(r.token)
	}
}

// dropToken takes the token away.
func (r *Rewriter) dropToken() {
	if r.tokenDone {
		return
	}
	r.cut()
	r.tokenDone = true
	r.flushed = r.end
}

// position returns the offset in the output of what is handled now.
func (r *Rewriter) outOffset() int64 {
	if r.suppress == 0 && r.start > r.flushed {
		return r.out + int64(r.start-r.flushed)
	}
	return r.out
}

// inOffset returns the offset in the page of the token.
func (r *Rewriter) inOffset() int64 {
	if r.start < 0 {
		return r.heldAt
	}
	return r.base + int64(r.start)
}

// value returns the value of an attribute of the token, with its character
// references resolved. It is valid until the next call.
func (r *Rewriter) value(a *attr) []byte {
	raw := r.token[a.value:a.end]
	if bytes.IndexByte(raw, '&') < 0 && bytes.IndexByte(raw, '\r') < 0 {
		return raw
	}
	r.scratch = appendUnescaped(r.scratch[:0], raw)
	return r.scratch
}
