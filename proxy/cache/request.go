package cache

// Request is what a request says that matters to a cache. Its zero value is a request
// without headers; [Request.Add] takes them in one by one and allocates nothing. It
// points into the headers, so it is valid for as long as they are.
type Request struct {
	// NoStore forbids to keep the answer (RFC 9111, 5.2.1.5). What is already kept
	// may answer the request.
	NoStore bool
	// OnlyIfCached asks for 504 if the origin would have to be asked (5.2.1.7).
	OnlyIfCached bool
	// Authorization says that the request has credentials.
	Authorization bool

	controlled bool // Cache-Control is there, so Pragma does not count
	noCache    bool
	pragma     bool

	maxAge, minFresh       Delta
	maxStale, staleIfError Delta

	noneMatch     [maxMatchLines][]byte
	noneMatches   int
	modifiedSince singleLine
	bytes         singleLine // Range
	ifRange       singleLine
	mustForward   bool
}

// maxMatchLines bounds the lines of If-None-Match that are looked at. Tags in further
// ones match nothing, which costs the client a copy it has.
const maxMatchLines = 8

// endless stands for max-stale without a number.
const endless = 1<<32 - 1

// singleLine is a header field that makes sense only once.
type singleLine struct {
	value []byte
	lines byte // 2 for more than one
}

func (s *singleLine) add(value []byte) {
	s.value = value
	s.lines = min(s.lines+1, 2)
}

// get returns the value if there is just one.
func (s *singleLine) get() ([]byte, bool) { return s.value, s.lines == 1 }

// Add takes in one header line, in any spelling; a line without meaning for caches is
// passed over.
func (r *Request) Add(name, value []byte) {
	switch len(name) {
	case len("range"):
		if nameIs(name, "range") {
			r.bytes.add(value)
		}
	case len("pragma"):
		if nameIs(name, "pragma") {
			r.readPragma(value)
		}
	case len("if-match"): // and "if-range"
		if nameIs(name, "if-match") {
			r.mustForward = true
		} else if nameIs(name, "if-range") {
			r.ifRange.add(value)
		}
	case len("cache-control"): // and "if-none-match", "authorization"
		switch {
		case nameIs(name, "cache-control"):
			r.readControl(value)
		case nameIs(name, "if-none-match"):
			if r.noneMatches < maxMatchLines {
				r.noneMatch[r.noneMatches] = value
				r.noneMatches++
			}
		case nameIs(name, "authorization"):
			r.Authorization = true
		}
	case len("if-modified-since"):
		if nameIs(name, "if-modified-since") {
			r.modifiedSince.add(value)
		}
	case len("if-unmodified-since"):
		if nameIs(name, "if-unmodified-since") {
			r.mustForward = true
		}
	}
}

// readControl takes in a line of Cache-Control (RFC 9111, 5.2.1, and RFC 5861). What
// asks for more freshness counts as strictly as it could be meant; what is content with
// less only counts if it is sound.
func (r *Request) readControl(line []byte) {
	r.controlled = true
	for s := (directiveScanner{rest: line}); s.next(); {
		for item := s.name; len(item) > 0; {
			var word []byte
			word, item = cutWord(item)
			r.readDirective(word, &s)
		}
	}
}

func (r *Request) readDirective(word []byte, s *directiveScanner) {
	var buf [longestWord]byte
	seconds, ok := parseDelta(s.argument)
	ok = ok && !s.broken
	switch string(lowered(word, &buf)) {
	case "no-cache":
		r.noCache = true
	case "no-store":
		r.NoStore = true
	case "only-if-cached":
		r.OnlyIfCached = r.OnlyIfCached || !s.broken
	case "max-age":
		if !ok {
			seconds = 0
		}
		r.maxAge.tighten(seconds)
	case "min-fresh":
		if ok && (!r.minFresh.Given || seconds > r.minFresh.Seconds) {
			r.minFresh = Delta{seconds, true}
		}
	case "max-stale":
		switch {
		case ok:
			r.maxStale.tighten(seconds)
		case s.argued || s.broken:
			r.maxStale.tighten(0)
		default:
			r.maxStale.tighten(endless)
		}
	case "stale-if-error":
		if !ok {
			seconds = 0
		}
		r.staleIfError.tighten(seconds)
	}
}

// readPragma takes in a line of Pragma, which counts as Cache-Control: no-cache where
// that field is absent (RFC 9111, 5.4).
func (r *Request) readPragma(line []byte) {
	for s := (directiveScanner{rest: line}); s.next(); {
		if nameIs(s.name, "no-cache") {
			r.pragma = true
		}
	}
}

// Apply makes the settings of a route count. It belongs behind the last [Request.Add].
func (r *Request) Apply(o Override) {
	if o.IgnoreClient {
		r.noCache, r.pragma = false, false
		r.maxAge, r.minFresh, r.maxStale, r.staleIfError = Delta{}, Delta{}, Delta{}, Delta{}
	}
}

// MustForward reports whether the request has a condition that the origin alone can
// judge, If-Match or If-Unmodified-Since (RFC 9110, 13.1.1 and 13.1.4; RFC 9111, 4.3.2):
// it must not be answered from a cache, nor without these headers be sent on.
func (r *Request) MustForward() bool { return r.mustForward }

// IsConditional reports whether the request has a condition or a range, which
// [Request.Evaluate] answers from a stored answer. Whoever fetches an answer in order
// to keep it must not send them on.
func (r *Request) IsConditional() bool {
	return r.noneMatches > 0 || r.modifiedSince.lines > 0 || r.bytes.lines > 0
}

// wantsValidation reports whether nothing may be used unless the origin confirms it.
func (r *Request) wantsValidation() bool {
	return r.noCache || r.pragma && !r.controlled
}

// wantsFresh reports whether the request says how fresh its answer should be, so that
// it should not be stale (RFC 9111, 5.2.1.1 and 5.2.1.3).
func (r *Request) wantsFresh() bool { return r.maxAge.Given || r.minFresh.Given }
