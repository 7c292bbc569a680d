package cache

import (
	"strconv"
	"time"
)

// Forward says why a request went on to the origin (RFC 9211, 2.2).
type Forward byte

const (
	ForwardNone     Forward = iota // it did not: a hit
	ForwardBypass                  // the cache is not to handle such requests
	ForwardMethod                  // the method demands it
	ForwardURIMiss                 // nothing is stored for the URI
	ForwardVaryMiss                // what is stored is for other request headers
	ForwardMiss                    // one of the two
	ForwardRequest                 // what is stored is fresh, but not enough for this request
	ForwardStale                   // what is stored is stale
	ForwardPartial                 // what is stored is a part
)

// String returns the token for it.
func (f Forward) String() string {
	switch f {
	case ForwardBypass:
		return "bypass"
	case ForwardMethod:
		return "method"
	case ForwardURIMiss:
		return "uri-miss"
	case ForwardVaryMiss:
		return "vary-miss"
	case ForwardMiss:
		return "miss"
	case ForwardRequest:
		return "request"
	case ForwardStale:
		return "stale"
	case ForwardPartial:
		return "partial"
	}
	return ""
}

// Collapse says whether a request waited for the answer to another one.
type Collapse byte

const (
	NotCollapsed Collapse = iota
	Collapsed
	CollapsedInVain // it had to go to the origin in the end
)

// Status is what Cache-Status tells of the handling of one request (RFC 9211).
type Status struct {
	Forward       Forward       // ForwardNone for a hit
	ForwardStatus int           // what the origin answered, 0 if that is the answer's status
	HasTTL        bool          // TTL is known
	TTL           time.Duration // negative: stale
	Stored        bool          // the answer was kept
	Collapsed     Collapse
	Detail        string // a word more, such as a [Reason]
}

// Append appends Sedge's member of the list that Cache-Status is. It goes behind what
// caches closer to the origin wrote, most simply as a line of its own. Answers that
// Sedge makes up by itself have none.
func (s *Status) Append(dst []byte) []byte {
	dst = append(dst, "sedge"...)
	if s.Forward == ForwardNone {
		dst = append(dst, "; hit"...)
	} else {
		dst = append(append(dst, "; fwd="...), s.Forward.String()...)
		if s.ForwardStatus != 0 {
			dst = strconv.AppendInt(append(dst, "; fwd-status="...), int64(s.ForwardStatus), 10)
		}
	}
	if s.HasTTL {
		// Rounded up while fresh, so that it adds up with Age to the whole lifetime.
		ttl := s.TTL
		if ttl > 0 {
			ttl += time.Second - 1
		}
		dst = strconv.AppendInt(append(dst, "; ttl="...), wholeSeconds(ttl), 10)
	}
	if s.Forward != ForwardNone {
		if s.Stored {
			dst = append(dst, "; stored"...)
		}
		switch s.Collapsed {
		case Collapsed:
			dst = append(dst, "; collapsed"...)
		case CollapsedInVain:
			dst = append(dst, "; collapsed=?0"...)
		}
	}
	if s.Detail != "" {
		dst = appendWord(append(dst, "; detail="...), s.Detail)
	}
	return dst
}

// appendWord appends a Token of RFC 8941, or else a String.
func appendWord(dst []byte, word string) []byte {
	token := isAlpha(word[0]) || word[0] == '*'
	for i := range len(word) {
		token = token && (isTchar(word[i]) || word[i] == ':' || word[i] == '/')
	}
	if token {
		return append(dst, word...)
	}
	dst = append(dst, '"')
	for i := range len(word) {
		switch b := word[i]; {
		case b == '"' || b == '\\':
			dst = append(dst, '\\', b)
		case b >= ' ' && b <= '~':
			dst = append(dst, b)
		}
	}
	return append(dst, '"')
}
